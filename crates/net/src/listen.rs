//! Listening sockets: opened and tuned as nginx's `listen` directive asks.

use crate::address::Address;
use crate::socket::{Keepalive, set_keepalive};
use crate::sys;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

/// How a socket listens. `Default` is what nginx does without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections waiting to be accepted; 511 unless told otherwise.
    pub backlog: i32,
    /// A queue of its own for each socket bound to the address: bind one socket per worker.
    pub reuseport: bool,
    /// An IPv6 socket takes IPv6 only; on by default.
    pub ipv6only: bool,
    /// Accept only when the first bytes have come.
    pub deferred: bool,
    /// Length of the queue of TCP Fast Open.
    pub fastopen: Option<i32>,
    /// Receive buffer in bytes, inherited by the accepted connections.
    pub rcvbuf: Option<usize>,
    /// Send buffer in bytes, inherited by the accepted connections.
    pub sndbuf: Option<usize>,
    /// TCP keepalive on the accepted connections.
    pub keepalive: Option<Keepalive>,
    /// Multipath TCP.
    pub multipath: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            backlog: 511,
            reuseport: false,
            ipv6only: true,
            deferred: false,
            fastopen: None,
            rcvbuf: None,
            sndbuf: None,
            keepalive: None,
            multipath: false,
        }
    }
}

/// A call that failed while a socket was opened. `Display` names it as nginx's log does: `bind() failed (...)`.
#[derive(Debug)]
pub struct BindError {
    /// The call, such as `bind()` or `setsockopt(SO_REUSEPORT)`.
    pub call: &'static str,
    /// Why it failed; `AddrInUse` is worth another try a little later.
    pub error: io::Error,
}

/// Opens a listening socket: non-blocking, closed on exec. Trying again when the address is in use is the caller's.
///
/// A unix socket's file must not exist yet; it is made readable and writable for all (as nginx does) and stays when the
/// socket is closed. What [`tune`] cannot set is left as it is: ask [`tune`] to hear about it.
pub fn bind(address: &Address, options: &Options) -> Result<OwnedFd, BindError> {
    let (domain, to) = match address {
        Address::Inet(inet) => (Domain::for_address(*inet), SockAddr::from(*inet)),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path).or_fail("socket()")?),
    };
    let protocol = match address {
        Address::Inet(_) if options.multipath => Some(Protocol::MPTCP),
        _ => None,
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), protocol).or_fail("socket()")?;
    socket.set_reuse_address(true).or_fail("setsockopt(SO_REUSEADDR)")?;
    if let Address::Inet(inet) = address {
        if options.reuseport {
            socket.set_reuse_port(true).or_fail("setsockopt(SO_REUSEPORT)")?;
        }
        if inet.is_ipv6() {
            socket.set_only_v6(options.ipv6only).or_fail("setsockopt(IPV6_V6ONLY)")?;
        }
    }
    // Buffer sizes must be known before listen(): the window scale of accepted connections follows from them.
    let _ = tune(socket.as_fd(), address, options);
    socket.bind(&to).or_fail("bind()")?;
    if let Address::Unix(path) = address {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).or_fail("chmod()")?;
    }
    socket.listen(options.backlog).or_fail("listen()")?;
    Ok(socket.into())
}

/// Gives a socket that already listens (inherited, or kept over a reload) new options; the backlog by `listen()` again.
/// All of them are tried; the error is of the first that failed.
pub fn reconfigure(fd: BorrowedFd<'_>, address: &Address, options: &Options) -> Result<(), BindError> {
    SockRef::from(&fd).listen(options.backlog).or_fail("listen()")?;
    match tune(fd, address, options).into_iter().next() {
        Some(failed) => Err(failed),
        None => Ok(()),
    }
}

/// Sets the options that a socket can do without, and returns those that failed (nginx logs them and goes on).
pub fn tune(fd: BorrowedFd<'_>, address: &Address, options: &Options) -> Vec<BindError> {
    let socket = SockRef::from(&fd);
    let mut failed = Vec::new();
    let mut attempt = |call, result: io::Result<()>| {
        if let Err(error) = result {
            failed.push(BindError { call, error });
        }
    };
    if let Some(size) = options.rcvbuf {
        attempt("setsockopt(SO_RCVBUF)", socket.set_recv_buffer_size(size));
    }
    if let Some(size) = options.sndbuf {
        attempt("setsockopt(SO_SNDBUF)", socket.set_send_buffer_size(size));
    }
    if let Address::Inet(_) = address {
        if let Some(keepalive) = &options.keepalive {
            attempt("setsockopt(SO_KEEPALIVE)", set_keepalive(&socket, keepalive));
        }
        if let Some(queue) = options.fastopen {
            attempt(
                "setsockopt(TCP_FASTOPEN)",
                sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue),
            );
        }
        // The kernel rounds a second to one retransmission of SYN+ACK; 0 takes it back after a reload, where a socket
        // that does not know the option needs nothing.
        let deferred =
            sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, options.deferred.into());
        attempt(
            "setsockopt(TCP_DEFER_ACCEPT)",
            deferred.or_else(|error| if options.deferred { Err(error) } else { Ok(()) }),
        );
    }
    failed
}

trait OrFail<T> {
    fn or_fail(self, call: &'static str) -> Result<T, BindError>;
}

impl<T> OrFail<T> for io::Result<T> {
    fn or_fail(self, call: &'static str) -> Result<T, BindError> {
        self.map_err(|error| BindError { call, error })
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.call, self.error)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<BindError> for io::Error {
    fn from(failed: BindError) -> Self {
        io::Error::new(failed.error.kind(), failed)
    }
}
