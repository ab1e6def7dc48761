//! The body of a response, pulled piece by piece by whoever writes it out.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::exchange::Exchange;
use crate::modules::proxy::{Tunnel, UpstreamBody};

/// A body of a response.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// Bytes that others read too, and the part of them that is meant.
    Shared(Arc<[u8]>, std::ops::Range<usize>),
    /// A part of a file.
    File(FilePart),
    /// What an upstream sends.
    Upstream(Box<UpstreamBody>),
    /// None, but what follows the head is another protocol's.
    Tunnel(Box<Tunnel>),
    /// Several, one behind the other.
    Parts(VecDeque<Body>),
}

/// A part of a file.
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// Where the part starts.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// A body that ended before its end: the connection to the client must not look complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl Body {
    /// Appends the next piece, at most about `most` bytes; false at the end, when nothing was appended.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        match self {
            Body::Empty | Body::Tunnel(_) => Ok(false),
            Body::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                out.extend_from_slice(&bytes);
                Ok(!bytes.is_empty())
            }
            Body::Shared(bytes, range) => {
                let end = range.end.min(range.start + most);
                let piece = bytes.get(range.start..end).unwrap_or_default();
                out.extend_from_slice(piece);
                range.start = end;
                Ok(!piece.is_empty())
            }
            Body::File(part) => part.next(out, most),
            Body::Upstream(upstream) => upstream.next(ex, out, most).await,
            Body::Parts(parts) => {
                while let Some(first) = parts.front_mut() {
                    if Box::pin(first.next(ex, out, most)).await? {
                        return Ok(true);
                    }
                    parts.pop_front();
                }
                Ok(false)
            }
        }
    }

    /// Whether it is known, without waiting, that nothing more will come.
    pub fn is_done(&self) -> bool {
        match self {
            Body::Empty | Body::Tunnel(_) => true,
            Body::Bytes(bytes) => bytes.is_empty(),
            Body::Shared(_, range) => range.is_empty(),
            Body::File(part) => part.length == 0,
            Body::Upstream(upstream) => upstream.is_done(),
            Body::Parts(parts) => parts.iter().all(Body::is_done),
        }
    }

    /// Lets go of it without writing it out: a short rest from an upstream is read, so that its connection is kept.
    pub async fn discard(self, ex: &mut Exchange<'_>) {
        if let Body::Upstream(mut upstream) = self {
            upstream.discard(ex).await;
        }
    }
}

impl FilePart {
    fn next(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, Truncated> {
        if self.length == 0 {
            return Ok(false);
        }
        let wanted = self.length.min(most as u64) as usize;
        let start = out.len();
        out.resize(start + wanted, 0);
        match self.file.read_at(&mut out[start..], self.offset) {
            Ok(0) | Err(_) => {
                // The file became shorter than its head promised.
                out.truncate(start);
                Err(Truncated)
            }
            Ok(read) => {
                out.truncate(start + read);
                self.offset += read as u64;
                self.length -= read as u64;
                Ok(true)
            }
        }
    }
}
