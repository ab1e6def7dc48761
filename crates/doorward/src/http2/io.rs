//! What `h2` reads from and writes to: the connection, with what is written in one turn gathered for one call.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Shared;

/// How much is read at a time.
const READ: usize = 32 << 10;

/// How much is gathered before it is written.
const GATHERED: usize = 64 << 10;

/// The connection, as `h2` sees it.
pub(super) struct Io {
    shared: Rc<Shared>,
    /// What was read and `h2` has not asked for yet.
    read: Vec<u8>,
    taken: usize,
}

/// Frames on their way to the socket.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Since when the socket has taken nothing, in milliseconds of [`net::clock::now`].
    pub(super) blocked_since: Option<u64>,
}

impl Output {
    /// Writes what was gathered.
    pub(super) fn poll_write_out(shared: &Shared, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = shared.output.borrow_mut();
        while output.written < output.bytes.len() {
            let polled = {
                let rest = output.bytes.get(output.written..).unwrap_or_default();
                shared.client.poll_write(cx, rest)
            };
            match polled {
                Poll::Ready(written) => {
                    output.written += written?;
                    output.blocked_since = None;
                }
                Poll::Pending => {
                    output.blocked_since.get_or_insert_with(net::clock::now);
                    return Poll::Pending;
                }
            }
        }
        output.written = 0;
        shared.worker.buffers.put(std::mem::take(&mut output.bytes));
        Poll::Ready(Ok(()))
    }
}

impl Io {
    pub(super) fn new(shared: Rc<Shared>, read: Vec<u8>) -> Io {
        let mut io = Io { shared, read, taken: 0 };
        io.look();
        io
    }

    /// Looks at what was read, before `h2` does.
    fn look(&mut self) {
        let shared = &self.shared;
        shared.turn.set(shared.turn.get().saturating_sub(self.read.len()));
        if let Err(offence) = shared.guard.borrow_mut().look(&mut self.read) {
            shared.offence.set(Some(offence));
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = &mut *self;
        if io.taken == io.read.len() {
            io.taken = 0;
            io.read.clear();
            if io.read.capacity() < READ {
                io.read = io.shared.worker.buffers.take(READ);
            }
            if io.shared.turn.get() == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if io.shared.offence.get().is_none() {
                let polled = io.shared.client.poll_read(cx, &mut io.read, READ);
                io.look();
                if !matches!(polled, Poll::Ready(Ok(1..))) {
                    // Who waits holds no buffer.
                    io.shared.worker.buffers.put(std::mem::take(&mut io.read));
                }
                ready!(polled)?;
            }
            // The driver closes the connection as soon as `h2` is done with what came before.
            if io.read.is_empty() && io.shared.offence.get().is_some() {
                return Poll::Pending;
            }
        }
        let rest = io.read.get(io.taken..).unwrap_or_default();
        let piece = rest.get(..buf.remaining()).unwrap_or(rest);
        buf.put_slice(piece);
        io.taken += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let shared = &self.shared;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        // What is large is not copied.
        let large = length > GATHERED / 2;
        if large || shared.output.borrow().bytes.len() + length > GATHERED {
            ready!(Output::poll_write_out(shared, cx))?;
        }
        if large {
            let polled = shared.client.poll_write_vectored(cx, slices);
            let mut output = shared.output.borrow_mut();
            match polled.is_pending() {
                true => _ = output.blocked_since.get_or_insert_with(net::clock::now),
                false => output.blocked_since = None,
            }
            return polled;
        }
        let mut output = shared.output.borrow_mut();
        if output.bytes.capacity() == 0 {
            output.bytes = shared.worker.buffers.take(length);
        }
        for slice in slices {
            output.bytes.extend_from_slice(slice);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The driver writes what was gathered when the turn ends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Output::poll_write_out(&self.shared, cx))?;
        self.shared.client.shutdown();
        Poll::Ready(Ok(()))
    }
}
