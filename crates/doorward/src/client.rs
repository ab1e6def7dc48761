//! What a request sees of its client: reading and writing with its timeouts, and noticing when the client has gone.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use net::{Address, Deadline, Stream};

use crate::http2;
use crate::modules::ssl::Tls;

/// One accepted connection of HTTP/1, or a stream of one of HTTP/2. It is shared by the parts of one task, which borrow
/// it for a poll at a time.
pub struct Client {
    transport: RefCell<Transport>,
    /// Whether [`Client::send_at_once`] is in force.
    nodelay: Cell<bool>,
    /// Wakes the task when a wait has lasted too long.
    pub deadline: Deadline,
    /// Who is at the other end.
    pub peer: Address,
    local: OnceCell<Rc<Address>>,
    /// What a proxy said of the connection (`listen ... proxy_protocol`).
    pub proxy: OnceCell<Rc<wire::proxy_protocol::Header>>,
    /// What TLS came to, where the client speaks it.
    pub tls: OnceCell<Rc<Tls>>,
    /// Counts connections, as error logs and `$connection` show it.
    pub number: u64,
    /// Requests begun on it.
    pub requests: Cell<u64>,
    /// Whether the present request came along with the one before it.
    pub pipelined: Cell<bool>,
    /// When it was accepted, in milliseconds of [`net::clock::now`].
    pub opened: u64,
    /// Which of the configuration's listeners it came through.
    pub listener: usize,
    /// What was read and belongs to no request yet.
    pub unread: RefCell<Vec<u8>>,
}

/// What carries a request and its response.
enum Transport {
    /// The whole connection.
    Connection(Stream),
    /// A stream of a connection of HTTP/2.
    Http2(Box<http2::Stream>),
}

/// Why a wait on behalf of a request ended without its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It took too long.
    Elapsed,
    /// The client closed the connection.
    ClientGone,
}

impl Client {
    /// A connection just accepted.
    pub fn new(stream: Stream, peer: Address, number: u64, listener: usize, deadline: Deadline) -> Client {
        Client {
            transport: RefCell::new(Transport::Connection(stream)),
            nodelay: Cell::new(false),
            deadline,
            peer,
            local: OnceCell::new(),
            proxy: OnceCell::new(),
            tls: OnceCell::new(),
            number,
            requests: Cell::new(0),
            pipelined: Cell::new(false),
            opened: net::clock::now(),
            listener,
            unread: RefCell::new(Vec::new()),
        }
    }

    /// A stream of a connection of HTTP/2, with a deadline of its own.
    pub fn of_stream(connection: &Client, stream: http2::Stream, deadline: Deadline) -> Client {
        Client {
            transport: RefCell::new(Transport::Http2(Box::new(stream))),
            nodelay: Cell::new(true),
            deadline,
            peer: connection.peer.clone(),
            local: connection.local.clone(),
            proxy: connection.proxy.clone(),
            tls: connection.tls.clone(),
            number: connection.number,
            requests: connection.requests.clone(),
            pipelined: Cell::new(false),
            opened: connection.opened,
            listener: connection.listener,
            unread: RefCell::default(),
        }
    }

    /// The connection, where it is the client's whole.
    pub fn connection(&self) -> io::Result<RefMut<'_, Stream>> {
        RefMut::filter_map(self.transport.borrow_mut(), |transport| match transport {
            Transport::Connection(stream) => Some(stream),
            Transport::Http2(_) => None,
        })
        .map_err(|_| ErrorKind::Unsupported.into())
    }

    /// The stream of HTTP/2, where it is one.
    pub fn http2(&self) -> Option<RefMut<'_, http2::Stream>> {
        let stream = RefMut::filter_map(self.transport.borrow_mut(), |transport| match transport {
            Transport::Connection(_) => None,
            Transport::Http2(stream) => Some(&mut **stream),
        });
        stream.ok()
    }

    fn with_connection<T>(
        &self,
        poll: impl FnOnce(&mut Stream) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut *self.transport.borrow_mut() {
            Transport::Connection(stream) => poll(stream),
            Transport::Http2(_) => Poll::Ready(Err(ErrorKind::Unsupported.into())),
        }
    }

    /// The address that the client reached.
    pub fn local(&self) -> Option<&Address> {
        if self.local.get().is_none()
            && let Ok(stream) = self.connection()
            && let Ok(address) = stream.local_addr()
        {
            let _ = self.local.set(Rc::new(address));
        }
        self.local.get().map(|address| &**address)
    }

    /// `https` where the client speaks TLS, `http` otherwise.
    pub fn scheme(&self) -> &'static str {
        if self.tls.get().is_some() { "https" } else { "http" }
    }

    /// Whether hands are still being shaken: what was read so far is early data, which others can send again.
    pub fn is_early(&self) -> bool {
        match &*self.transport.borrow() {
            Transport::Connection(stream) => stream.is_handshaking(),
            Transport::Http2(stream) => stream.connection().is_early(),
        }
    }

    /// What the kernel knows of the connection.
    pub fn tcp_info(&self) -> Option<net::TcpInfo> {
        match &*self.transport.borrow() {
            Transport::Connection(stream) => stream.tcp_info().ok(),
            Transport::Http2(stream) => stream.connection().tcp_info(),
        }
    }

    /// Ready when there is something to read, without reading it.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_connection(|stream| {
            if stream.is_handshaking() {
                // How a client ends a handshake that early data came in front of is nothing to read.
                ready!(stream.poll_handshake(cx))?;
            }
            stream.poll_read_ready(cx)
        })
    }

    /// Waits until hands are shaken, where a request came before that; more of such data is forgotten.
    pub async fn finish_handshake(&self, ms: u64) -> io::Result<()> {
        let finished = poll_fn(|cx| {
            self.with_connection(|stream| {
                while stream.is_handshaking() {
                    ready!(stream.poll_handshake(cx))?;
                    if stream.is_handshaking() {
                        ready!(stream.poll_discard(cx))?;
                    }
                }
                Poll::Ready(Ok(()))
            })
        });
        self.deadline.within(ms, finished).await.map_err(|_| ErrorKind::TimedOut)?
    }

    /// As [`Stream::poll_read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut Vec<u8>, max: usize) -> Poll<io::Result<usize>> {
        match &mut *self.transport.borrow_mut() {
            Transport::Connection(stream) => stream.poll_read(cx, buf, max),
            Transport::Http2(stream) => stream.poll_read(cx, buf),
        }
    }

    /// Reads what there is, at most about `max` bytes; 0 is the end.
    pub async fn read(&self, buf: &mut Vec<u8>, max: usize, ms: u64) -> io::Result<usize> {
        let read = poll_fn(|cx| self.poll_read(cx, buf, max));
        self.deadline.within(ms, read).await.map_err(|_| ErrorKind::TimedOut)?
    }

    /// Reads and forgets what there is.
    pub async fn discard(&self, ms: u64) -> io::Result<usize> {
        let read = poll_fn(|cx| self.with_connection(|stream| stream.poll_discard(cx)));
        self.deadline.within(ms, read).await.map_err(|_| ErrorKind::TimedOut)?
    }

    /// Writes everything; `ms` is the longest wait between two writes.
    pub async fn write(&self, mut bytes: &[u8], ms: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| self.with_connection(|stream| stream.poll_write(cx, bytes)));
            let written = self.deadline.within(ms, write).await.map_err(|_| ErrorKind::TimedOut)??;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes everything of two pieces, in one call where the system takes it.
    pub async fn write_both(&self, mut first: &[u8], second: &[u8], ms: u64) -> io::Result<()> {
        while !first.is_empty() {
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            let write = poll_fn(|cx| self.with_connection(|stream| stream.poll_write_vectored(cx, &slices)));
            let written = self.deadline.within(ms, write).await.map_err(|_| ErrorKind::TimedOut)??;
            if written >= first.len() {
                return self.write(second.get(written - first.len()..).unwrap_or_default(), ms).await;
            }
            first = first.get(written..).unwrap_or_default();
        }
        self.write(second, ms).await
    }

    /// Writes what the system takes now, for who has something else to do meanwhile.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with_connection(|stream| stream.poll_write(cx, bytes))
    }

    /// The same for several pieces.
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with_connection(|stream| stream.poll_write_vectored(cx, slices))
    }

    /// Writes everything, as the start of more that follows at once.
    pub async fn write_start(&self, mut bytes: &[u8], ms: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| self.with_connection(|stream| stream.poll_write_start(cx, bytes)));
            let written = self.deadline.within(ms, write).await.map_err(|_| ErrorKind::TimedOut)??;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// From now on a small piece is sent although an earlier one is not yet acknowledged (`TCP_NODELAY`). A response
    /// that is one write needs none of it, so that most connections of one request save the system call.
    pub fn send_at_once(&self) {
        if !self.nodelay.replace(true) {
            // Without it the client waits longer, no more.
            let _ = self.connection().and_then(|stream| stream.set_nodelay(true));
        }
    }

    /// Sends a part of a file; the bytes that were sent.
    pub async fn sendfile(
        &self,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        len: usize,
        ms: u64,
    ) -> io::Result<usize> {
        let send = poll_fn(|cx| self.with_connection(|stream| stream.poll_sendfile(cx, file, offset, len)));
        self.deadline.within(ms, send).await.map_err(|_| ErrorKind::TimedOut)?
    }

    /// Waits for something that the client waits for: at most `ms` milliseconds, and only while the client is there.
    pub async fn waiting<F: Future>(
        &self,
        ms: u64,
        watch: bool,
        future: F,
    ) -> Result<F::Output, Interrupted> {
        let mut future = pin!(future);
        let both = poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if watch && self.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Interrupted::ClientGone));
            }
            Poll::Pending
        });
        self.deadline.within(ms, both).await.unwrap_or(Err(Interrupted::Elapsed))
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.transport.borrow_mut() {
            Transport::Connection(stream) => {
                // Readable costs no system call; only then is it asked whether that is the end.
                let gone = stream.poll_read_ready(cx).is_ready() && stream.peek_closed();
                if gone { Poll::Ready(()) } else { Poll::Pending }
            }
            Transport::Http2(stream) => stream.poll_gone(cx),
        }
    }

    /// Tells the client that nothing more will come.
    pub fn shutdown(&self) {
        let _ = self.connection().and_then(|mut stream| stream.shutdown_write());
    }

    /// Gives the connection up in a way that the client sees as a reset.
    pub fn reset(self) {
        if let Transport::Connection(stream) = self.transport.into_inner() {
            stream.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_as_small_as_its_stream() {
        assert_eq!(size_of::<RefCell<Transport>>(), size_of::<RefCell<Stream>>());
    }
}
