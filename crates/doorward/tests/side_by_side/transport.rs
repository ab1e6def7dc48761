//! What the client of a case is connected by.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::PATIENCE;
use crate::tls::Tls;

/// A connection that carries bytes.
pub(crate) struct Transport {
    socket: Socket,
    tls: Option<Tls>,
    ended: bool,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Transport {
    /// Connects to `HOST:PORT` or `unix:PATH`; what the server does not take for a while is lost.
    pub(crate) fn connect(address: &str, over_tls: bool) -> io::Result<Self> {
        let socket = if let Some(path) = address.strip_prefix("unix:") {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Socket::Unix(stream)
        } else {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Socket::Tcp(stream)
        };
        let tls = if over_tls { Some(Tls::new("localhost")?) } else { None };
        Ok(Self { socket, tls, ended: false })
    }

    /// Sends what the server takes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // One that closes early is seen when its answer is read.
        let _ = match &mut self.tls {
            None => self.socket.write_all(bytes),
            Some(tls) => {
                self.socket.read_within(PATIENCE);
                tls.send(&mut self.socket, bytes)
            }
        };
    }

    /// Reads once: some bytes, the end (false), or nothing in this time.
    pub(crate) fn fill(&mut self, into: &mut Vec<u8>, time: Duration) -> Option<bool> {
        if self.ended {
            return Some(false);
        }
        self.socket.read_within(time);
        let mut buffer = vec![0; 1 << 16];
        let read = loop {
            let read = match &mut self.tls {
                None => self.socket.read(&mut buffer),
                Some(tls) => tls.read(&mut self.socket, &mut buffer),
            };
            match read {
                // A machine that was stopped for a moment interrupts reads that have a timeout.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(length) if length > 0 => {
                into.extend(buffer.get(..length).unwrap_or_default());
                return Some(true);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            // A reset ends a connection as a close does.
            Ok(_) | Err(_) => self.ended = true,
        }
        Some(false)
    }

    /// Nothing more will be sent.
    pub(crate) fn shutdown_write(&mut self) {
        // A connection that the server has reset is down already.
        let _ = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Socket {
    fn read_within(&self, time: Duration) {
        // A read without a limit is ended by the limit of the whole test.
        let _ = match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Self::Unix(stream) => stream.set_read_timeout(Some(time)),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}
