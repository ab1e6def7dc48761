//! A piece of a response on its way through `h2`, which hands it to the socket without copying it.

use std::rc::Rc;

use bytes::Buf;

use crate::worker::Worker;

/// A smaller piece is copied, so that it does not hold a large buffer while it waits.
const COPIED: usize = 2 << 10;

/// A part of a buffer that goes back to its worker when all parts of it are written.
pub struct Piece {
    lent: Rc<Lent>,
    at: usize,
    end: usize,
}

struct Lent {
    bytes: Vec<u8>,
    worker: Rc<Worker>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.worker.buffers.put(std::mem::take(&mut self.bytes));
    }
}

impl Piece {
    /// All of a buffer, which is left empty.
    pub(super) fn of(bytes: &mut Vec<u8>, worker: &Rc<Worker>) -> Piece {
        let end = bytes.len();
        let bytes = if end <= COPIED {
            let copy = bytes.to_vec();
            bytes.clear();
            copy
        } else {
            let next = worker.buffers.take(bytes.capacity());
            std::mem::replace(bytes, next)
        };
        Piece { lent: Rc::new(Lent { bytes, worker: worker.clone() }), at: 0, end }
    }

    /// Takes the first `length` bytes away.
    pub(super) fn split(&mut self, length: usize) -> Piece {
        let end = self.end.min(self.at.saturating_add(length));
        let first = Piece { lent: self.lent.clone(), at: self.at, end };
        self.at = end;
        first
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.end - self.at
    }

    fn chunk(&self) -> &[u8] {
        self.lent.bytes.get(self.at..self.end).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.at = self.end.min(self.at + count);
    }
}
