//! A connection: a socket, with TLS over it where that was begun.

use crate::address::Address;
use crate::socket::{Connect, Keepalive, Socket, TcpInfo};
use crate::tls::Tls;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

/// An open connection. As small as the socket itself: an idle one holds no buffer.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Box<Tls>>,
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Stream {
        Stream { socket, tls: None }
    }
}

impl Stream {
    /// Connects to `address`. Errors are the system's; there is no timeout here.
    pub async fn connect(address: &Address, options: &Connect) -> io::Result<Stream> {
        Socket::connect(address, options).await.map(Stream::from)
    }

    /// From now on `connection` says what the bytes of the socket mean; `read` was read from the socket already. It is
    /// followed by [`Stream::handshake`].
    pub fn start_tls(&mut self, connection: rustls::Connection, read: Vec<u8>) {
        self.tls = Some(Box::new(Tls::new(connection, read)));
    }

    /// Shakes hands; without TLS there is nothing to do. An error of the protocol is `InvalidData` with the
    /// [`rustls::Error`] in it, and the peer has been told; `UnexpectedEof` is a peer that closed the connection.
    ///
    /// Where rustls takes early data from a client (RFC 8446, 2.3; its configuration has to have `send_half_rtt_data`), this
    /// comes back as soon as some of it can be read, and is called again for the rest of the handshake, unless reading goes
    /// on to what lies behind that.
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_handshake(cx)).await
    }

    /// As [`Stream::handshake`].
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_handshake(&self.socket, cx),
        }
    }

    /// Whether hands are still being shaken: what was read meanwhile is early data, which others can have recorded and sent
    /// again.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.connection().is_handshaking())
    }

    /// The state of TLS, where there is TLS.
    pub fn tls(&self) -> Option<&rustls::Connection> {
        self.tls.as_ref().map(|tls| tls.connection())
    }

    /// Appends at most `max` bytes to `buf`, into its spare capacity if it has any (otherwise it grows). 0 is the end of
    /// the stream. A read that leaves room in the buffer shows that the socket is drained: the next one waits for the
    /// event loop and does not ask the kernel in vain.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_read(cx, buf, max),
            Some(tls) => tls.poll_read(&self.socket, cx, buf, max),
        }
    }

    /// As [`Stream::poll_read`].
    pub async fn read(&mut self, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf, max)).await
    }

    /// Reads bytes and forgets them: how many there were. 0 is the end of the stream.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_discard(cx),
            Some(tls) => tls.poll_discard(&self.socket, cx),
        }
    }

    /// As [`Stream::poll_discard`].
    pub async fn discard(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_discard(cx)).await
    }

    /// Ready when a read is worth trying. No system call, so that a connection can wait without a buffer.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            Some(tls) if tls.has_unread() => Poll::Ready(Ok(())),
            _ => self.socket.poll_read_ready(cx),
        }
    }

    /// As [`Stream::poll_read_ready`].
    pub async fn read_ready(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_read_ready(cx)).await
    }

    /// Whether nothing has come since the last read: no data and no end. No system call unless the last read filled its
    /// buffer to the brim. Over TLS, what comes without data (a ticket, a change of keys) is taken in.
    pub fn is_idle(&mut self) -> bool {
        match &mut self.tls {
            None => self.socket.is_idle(),
            Some(tls) => tls.is_idle(&self.socket),
        }
    }

    /// Whether the peer has closed or reset the connection, with no data left to read. One system call.
    pub fn peek_closed(&mut self) -> bool {
        match &mut self.tls {
            None => self.socket.peek_closed(),
            Some(tls) => tls.peek_closed(&self.socket),
        }
    }

    /// Writes what the socket takes of `bytes`: how much. Over TLS, what was said to be written has reached the socket;
    /// whoever is told to wait comes back with the same bytes, or never.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_write(cx, bytes),
            Some(tls) => tls.poll_write(&self.socket, cx, &[IoSlice::new(bytes)]),
        }
    }

    /// Writes what the socket takes of all `slices` in one call: how much.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_write_vectored(cx, slices),
            Some(tls) => tls.poll_write(&self.socket, cx, slices),
        }
    }

    /// Writes what the socket takes, as the start of more that follows at once: the system may wait for the rest before
    /// it sends a segment (`MSG_MORE`).
    pub fn poll_write_start(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.socket.poll_write_start(cx, bytes),
            Some(_) => self.poll_write(cx, bytes),
        }
    }

    /// Ready when a write is worth trying. No system call.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = bytes.get(written..).filter(|_| written > 0).ok_or(io::ErrorKind::WriteZero)?;
        }
        Ok(())
    }

    /// Writes all of `slices`, which are consumed.
    pub async fn write_all_vectored(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Empty slices in front would look like a write of nothing.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = poll_fn(|cx| self.poll_write_vectored(cx, slices)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    /// Whether [`Stream::poll_sendfile`] can do anything: what is encrypted has to be read first.
    pub fn sends_files(&self) -> bool {
        self.tls.is_none()
    }

    /// Sends at most `len` bytes of `file` from `offset` without copying them through the process: how many were sent.
    /// 0 means that the file ends before `offset`; over TLS it is `Unsupported`.
    pub fn poll_sendfile(
        &mut self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        match self.sends_files() {
            true => self.socket.poll_sendfile(cx, file, offset, len),
            false => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// As [`Stream::poll_sendfile`].
    pub async fn sendfile(&mut self, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_sendfile(cx, file, offset, len)).await
    }

    /// Tells the peer that nothing more will be written.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        self.say_goodbye();
        self.socket.shutdown_write()
    }

    /// Closes the connection at once with a reset: what was not sent is dropped, and no state stays in the kernel.
    pub fn reset(mut self) {
        self.tls = None;
        self.socket.reset_on_close();
    }

    /// Sends small segments at once, or waits to fill them. Nothing to do for unix sockets.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket.set_nodelay(on)
    }

    /// Holds back segments that are not full until it is turned off (`tcp_nopush`). Nothing to do for unix sockets.
    pub fn set_nopush(&self, on: bool) -> io::Result<()> {
        self.socket.set_nopush(on)
    }

    /// Turns TCP keepalive on or off. Nothing to do for unix sockets.
    pub fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        self.socket.set_keepalive(keepalive)
    }

    /// The kernel's figures; an error for unix sockets.
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        self.socket.tcp_info()
    }

    /// This end's address.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.socket.local_addr()
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.socket.peer_addr()
    }

    /// Tells the peer, where there is TLS, that the end is meant and nothing was cut off (RFC 8446, 6.1).
    fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye(&self.socket);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
