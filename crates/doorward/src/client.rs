//! A client's connection: reading and writing with its timeouts, and noticing when the client has gone.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::Poll;

use net::{Address, Deadline, Stream};

use crate::modules::ssl::Tls;

/// One accepted connection. It is shared by the parts of one task, which borrow it for a poll at a time.
pub struct Client {
    stream: RefCell<Stream>,
    /// Whether [`Client::send_at_once`] is in force.
    nodelay: Cell<bool>,
    /// Wakes the task when a wait has lasted too long.
    pub deadline: Deadline,
    /// Who is at the other end.
    pub peer: Address,
    local: OnceCell<Box<Address>>,
    /// What a proxy said of the connection (`listen ... proxy_protocol`).
    pub proxy: OnceCell<Box<wire::proxy_protocol::Header>>,
    /// What TLS came to, where the client speaks it.
    pub tls: OnceCell<Box<Tls>>,
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
            stream: RefCell::new(stream),
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

    /// The address that the client reached.
    pub fn local(&self) -> Option<&Address> {
        if self.local.get().is_none()
            && let Ok(address) = self.stream.borrow().local_addr()
        {
            let _ = self.local.set(Box::new(address));
        }
        self.local.get().map(|address| &**address)
    }

    /// `https` where the client speaks TLS, `http` otherwise.
    pub fn scheme(&self) -> &'static str {
        if self.tls.get().is_some() { "https" } else { "http" }
    }

    /// What the kernel knows of the connection.
    pub fn tcp_info(&self) -> Option<net::TcpInfo> {
        self.stream.borrow().tcp_info().ok()
    }

    /// Ready when there is something to read, without reading it.
    pub fn poll_readable(&self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        self.stream.borrow().poll_read_ready(cx)
    }

    /// Reads what there is, at most `max` bytes; 0 is the end.
    pub async fn read(&self, buf: &mut Vec<u8>, max: usize, ms: u64) -> io::Result<usize> {
        let read = poll_fn(|cx| self.stream.borrow_mut().poll_read(cx, buf, max));
        self.deadline.within(ms, read).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Reads and forgets what there is.
    pub async fn discard(&self, ms: u64) -> io::Result<usize> {
        let read = poll_fn(|cx| self.stream.borrow_mut().poll_discard(cx));
        self.deadline.within(ms, read).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Writes everything; `ms` is the longest wait between two writes.
    pub async fn write(&self, mut bytes: &[u8], ms: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| self.stream.borrow_mut().poll_write(cx, bytes));
            let written = self.deadline.within(ms, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes everything of two pieces, in one call where the system takes it.
    pub async fn write_both(&self, mut first: &[u8], second: &[u8], ms: u64) -> io::Result<()> {
        while !first.is_empty() {
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            let write = poll_fn(|cx| self.stream.borrow_mut().poll_write_vectored(cx, &slices));
            let written = self.deadline.within(ms, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
            if written >= first.len() {
                return self.write(second.get(written - first.len()..).unwrap_or_default(), ms).await;
            }
            first = first.get(written..).unwrap_or_default();
        }
        self.write(second, ms).await
    }

    /// Writes what the system takes now, for who has something else to do meanwhile.
    pub fn poll_write(&self, cx: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.borrow_mut().poll_write(cx, bytes)
    }

    /// Writes everything, as the start of more that follows at once.
    pub async fn write_start(&self, mut bytes: &[u8], ms: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| self.stream.borrow_mut().poll_write_start(cx, bytes));
            let written = self.deadline.within(ms, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// From now on a small piece is sent although an earlier one is not yet acknowledged (`TCP_NODELAY`). A response
    /// that is one write needs none of it, so that most connections of one request save the system call.
    pub fn send_at_once(&self) {
        if !self.nodelay.replace(true) {
            // Without it the client waits longer, no more.
            let _ = self.stream.borrow().set_nodelay(true);
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
        let send = poll_fn(|cx| self.stream.borrow_mut().poll_sendfile(cx, file, offset, len));
        self.deadline.within(ms, send).await.map_err(|_| io::ErrorKind::TimedOut)?
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
            if watch {
                let mut stream = self.stream.borrow_mut();
                // Readable costs no system call; only then is it asked whether that is the end.
                if stream.poll_read_ready(cx).is_ready() && stream.peek_closed() {
                    return Poll::Ready(Err(Interrupted::ClientGone));
                }
            }
            Poll::Pending
        });
        self.deadline.within(ms, both).await.unwrap_or(Err(Interrupted::Elapsed))
    }

    /// Tells the client that nothing more will come.
    pub fn shutdown(&self) {
        let _ = self.stream.borrow_mut().shutdown_write();
    }

    /// Gives the connection up in a way that the client sees as a reset.
    pub fn reset(self) {
        self.stream.into_inner().reset();
    }

    /// The stream, for a tunnel that takes it over.
    pub fn stream(&self) -> &RefCell<Stream> {
        &self.stream
    }
}
