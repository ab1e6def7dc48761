//! Accepting connections from a listening socket on a worker's event loop.

use crate::address::Address;
use crate::socket::{Socket, named};
use crate::stream::Stream;
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::task::{Context, Poll, ready};
use tokio::net::{TcpListener, UnixListener};

/// A listening socket as one worker sees it. Dropping it stops this worker's accepting only.
#[derive(Debug)]
pub enum Listener {
    /// An IP socket.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Registers a copy of `fd` with the running event loop. An error if `fd` is not a listening stream socket.
    pub fn new(fd: BorrowedFd<'_>) -> io::Result<Listener> {
        let socket = SockRef::from(&fd);
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening socket"));
        }
        let unix = socket.local_addr()?.is_unix();
        socket.set_nonblocking(true)?;
        let copy = fd.try_clone_to_owned()?;
        if unix {
            UnixListener::from_std(StdUnixListener::from(copy)).map(Listener::Unix)
        } else {
            TcpListener::from_std(std::net::TcpListener::from(copy)).map(Listener::Tcp)
        }
    }

    /// The next connection and where it comes from. A connection that was gone before it was accepted is passed over;
    /// other errors are the system's (`EMFILE`): wait a little before the next try.
    pub async fn accept(&self) -> io::Result<(Stream, Address)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`Listener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>> {
        loop {
            let accepted = match self {
                Listener::Tcp(listener) => ready!(listener.poll_accept(cx))
                    .map(|(stream, peer)| (Socket::Tcp(stream).into(), Address::Inet(peer))),
                Listener::Unix(listener) => ready!(listener.poll_accept(cx)).map(|(stream, peer)| {
                    let path = peer.as_pathname().map_or_else(PathBuf::new, PathBuf::from);
                    (Socket::Unix(stream).into(), Address::Unix(path))
                }),
            };
            match accepted {
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> io::Result<Address> {
        let address = match self {
            Listener::Tcp(listener) => SockRef::from(listener).local_addr()?,
            Listener::Unix(listener) => SockRef::from(listener).local_addr()?,
        };
        named(&address)
    }
}
