//! A connected socket: bytes in, bytes out, and what the kernel can be asked of it.

use crate::address::Address;
use crate::sys;
use bytes::BufMut;
use nix::errno::Errno;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::coop::poll_proceed;

/// A connected socket. As small as tokio's own: an idle one holds no buffer.
#[derive(Debug)]
pub enum Socket {
    /// Over IP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// How to connect. `Default` leaves everything to the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// Local address to connect from; port 0 lets the system choose.
    pub bind: Option<SocketAddr>,
    /// The local address may be one that this machine does not have (needs `CAP_NET_RAW`).
    pub transparent: bool,
    /// Receive buffer in bytes.
    pub rcvbuf: Option<usize>,
    /// Send buffer in bytes.
    pub sndbuf: Option<usize>,
    /// TCP keepalive.
    pub keepalive: Option<Keepalive>,
    /// Send small segments at once.
    pub nodelay: bool,
}

/// TCP keepalive: `None` leaves a figure to the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Whether it is on; `false` turns it off where it was inherited.
    pub on: bool,
    /// Seconds of silence before the first probe.
    pub idle: Option<u32>,
    /// Seconds between probes.
    pub interval: Option<u32>,
    /// Probes without answer after which the connection is dead.
    pub count: Option<u32>,
}

/// What `$tcpinfo_*` shows; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round trip time.
    pub rtt: u32,
    /// Variation of the round trip time.
    pub rttvar: u32,
    /// Congestion window for sending, in segments.
    pub snd_cwnd: u32,
    /// Room for receiving, in bytes.
    pub rcv_space: u32,
}

/// Calls the same method of whichever socket it is.
macro_rules! either {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Socket::Tcp($socket) => $call,
            Socket::Unix($socket) => $call,
        }
    };
}

impl Socket {
    /// Connects to `address`. Errors are the system's; there is no timeout here.
    pub async fn connect(address: &Address, options: &Connect) -> io::Result<Socket> {
        match address {
            Address::Inet(to) => connect_inet(*to, options).await.map(Socket::Tcp),
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                set_buffers(&SockRef::from(&stream), options)?;
                Ok(Socket::Unix(stream))
            }
        }
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
        if max == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "a read of no bytes")));
        }
        loop {
            let turn = ready!(poll_proceed(cx));
            match self.try_read(buf, max) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(turn);
                    ready!(self.poll_read_ready(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    turn.made_progress();
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Reads what there is, as far as the event loop knows of any.
    fn try_read(&self, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        if buf.len() == buf.capacity() {
            buf.reserve(max);
        }
        let room = max.min(buf.capacity() - buf.len());
        let read = either!(self, socket => socket.try_read_buf(&mut buf.limit(max)))?;
        if read > 0 && read < room {
            self.not_ready(Interest::READABLE);
        }
        Ok(read)
    }

    /// Lets the event loop know that the socket has nothing more to give, or takes nothing more.
    fn not_ready(&self, direction: Interest) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = either!(self, socket => socket.try_io(direction, nothing));
    }

    /// Reads bytes and forgets them: how many there were. 0 is the end of the stream.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bin = [std::mem::MaybeUninit::uninit(); 4096];
        let mut bin = ReadBuf::uninit(&mut bin);
        ready!(either!(self, socket => Pin::new(socket).poll_read(cx, &mut bin)))?;
        Poll::Ready(Ok(bin.filled().len()))
    }

    /// Ready when a read is worth trying. No system call, so that a connection can wait without a buffer.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_read_ready(cx))
    }

    /// Whether nothing has come since the last read: no data and no end. No system call unless the last read filled its
    /// buffer to the brim.
    pub fn is_idle(&self) -> bool {
        self.peek().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer has closed or reset the connection, with no data left to read. One system call.
    pub fn peek_closed(&self) -> bool {
        match recv(self.as_fd().as_raw_fd(), &mut [0], PEEK) {
            Ok(bytes) => bytes == 0,
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Err(_) => true,
        }
    }

    /// Reads what there is into `buf`, as far as the event loop knows of any; `WouldBlock` where it knows of none.
    pub(crate) fn try_read_slice(&self, buf: &mut [u8]) -> io::Result<usize> {
        let read = either!(self, socket => socket.try_read(buf))?;
        if read > 0 && read < buf.len() {
            self.not_ready(Interest::READABLE);
        }
        Ok(read)
    }

    /// Writes what the socket takes now of all `slices`: how much.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, socket => socket.try_write_vectored(slices))
    }

    /// Looks at the next byte, and lets the event loop know if there is none.
    fn peek(&self) -> io::Result<usize> {
        let fd = self.as_fd().as_raw_fd();
        let look = || Ok(recv(fd, &mut [0], PEEK)?);
        either!(self, socket => socket.try_io(Interest::READABLE, look))
    }

    /// Writes what the socket takes of `bytes`: how much.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let turn = ready!(poll_proceed(cx));
            match either!(&*self, socket => socket.try_write(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(turn);
                    ready!(self.poll_write_ready(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    if result.as_ref().is_ok_and(|written| *written > 0 && *written < bytes.len()) {
                        self.not_ready(Interest::WRITABLE);
                    }
                    turn.made_progress();
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Writes what the socket takes of all `slices` in one call: how much.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, socket => Pin::new(socket).poll_write_vectored(cx, slices))
    }

    /// Writes what the socket takes, as the start of more that follows at once: the system may wait for the rest before
    /// it sends a segment (`MSG_MORE`).
    pub fn poll_write_start(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let write = |socket: SockRef<'_>| socket.send_with_flags(bytes, libc::MSG_MORE);
            match either!(&*self, socket => {
                socket.try_io(Interest::WRITABLE, || write(SockRef::from(socket)))
            }) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Ready when a write is worth trying. No system call.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => socket.poll_write_ready(cx))
    }

    /// Sends at most `len` bytes of `file` from `offset` without copying them through the process: how many were sent.
    /// 0 means that the file ends before `offset`.
    pub fn poll_sendfile(
        &mut self,
        cx: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let start = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        loop {
            ready!(self.poll_write_ready(cx))?;
            let fd = self.as_fd();
            let mut at = start;
            let send = || Ok(sendfile64(fd, file, Some(&mut at), len)?);
            match either!(&*self, socket => socket.try_io(Interest::WRITABLE, send)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Tells the peer that nothing more will be written.
    pub fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }

    /// Lets the connection end with a reset when it is dropped: what was not sent is lost, and no state stays in the
    /// kernel.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(socket) = self {
            // If the system refuses, the connection is closed in the ordinary way.
            let _ = socket.set_zero_linger();
        }
    }

    /// Sends small segments at once, or waits to fill them. Nothing to do for unix sockets.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_nodelay(on),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Holds back segments that are not full until it is turned off (`tcp_nopush`). Nothing to do for unix sockets.
    pub fn set_nopush(&self, on: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => SockRef::from(socket).set_tcp_cork(on),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Turns TCP keepalive on or off. Nothing to do for unix sockets.
    pub fn set_keepalive(&self, keepalive: &Keepalive) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => set_keepalive(&SockRef::from(socket), keepalive),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// The kernel's figures; an error for unix sockets.
    pub fn tcp_info(&self) -> io::Result<TcpInfo> {
        sys::tcp_info(self.as_fd())
    }

    /// This end's address.
    pub fn local_addr(&self) -> io::Result<Address> {
        named(&SockRef::from(self).local_addr()?)
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<Address> {
        named(&SockRef::from(self).peer_addr()?)
    }
}

const PEEK: MsgFlags = MsgFlags::MSG_PEEK.union(MsgFlags::MSG_DONTWAIT);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, socket => socket.as_fd())
    }
}

async fn connect_inet(to: SocketAddr, options: &Connect) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let raw = SockRef::from(&socket);
    set_buffers(&raw, options)?;
    if let Some(keepalive) = &options.keepalive {
        set_keepalive(&raw, keepalive)?;
    }
    if let Some(from) = options.bind {
        if options.transparent {
            let (level, name) = match to {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
            };
            sys::set_option(socket.as_fd(), level, name, 1)?;
        }
        if from.port() == 0 {
            // The port is chosen at connect(), by the pair of addresses: else 28 thousand connections use all up.
            // Where the kernel does not know it, the connection works as well, so a failure does not matter.
            let _ = sys::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
        }
        socket.bind(from)?;
    }
    let stream = socket.connect(to).await?;
    if options.nodelay {
        stream.set_nodelay(true)?;
    }
    Ok(stream)
}

fn set_buffers(socket: &SockRef<'_>, options: &Connect) -> io::Result<()> {
    if let Some(size) = options.rcvbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    Ok(())
}

pub(crate) fn set_keepalive(socket: &SockRef<'_>, keepalive: &Keepalive) -> io::Result<()> {
    if !keepalive.on {
        return socket.set_keepalive(false);
    }
    let mut figures = TcpKeepalive::new();
    if let Some(seconds) = keepalive.idle {
        figures = figures.with_time(Duration::from_secs(seconds.into()));
    }
    if let Some(seconds) = keepalive.interval {
        figures = figures.with_interval(Duration::from_secs(seconds.into()));
    }
    if let Some(count) = keepalive.count {
        figures = figures.with_retries(count);
    }
    socket.set_tcp_keepalive(&figures)
}

/// What the system tells as an address.
pub(crate) fn named(address: &socket2::SockAddr) -> io::Result<Address> {
    Address::from_socket2(address).ok_or_else(|| io::Error::other("unsupported protocol family"))
}
