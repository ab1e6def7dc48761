//! Behind `101 Switching Protocols`, or a tunnel's 200: bytes pass both ways until one side closes.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use net::Stream;
use net::pool::Pooled;

use super::body::Lease;
use super::connect::io_failure;
use crate::client::Client;
use crate::exchange::Exchange;
use crate::log::Level;

/// How much of one direction is on its way at a time.
const BUFFER: usize = 16 << 10;

/// A connection to a server that has left HTTP.
pub struct Tunnel {
    connection: Pooled,
    /// The server counts as busy as long as this lives.
    _lease: Lease,
    /// What the server sent behind its head.
    ahead: Vec<u8>,
    /// Longest silence, in milliseconds.
    read_timeout: u64,
    /// Longest time that the server takes nothing.
    send_timeout: u64,
}

/// Why a tunnel ended before one side closed it in order.
enum Broken {
    Server(io::Error),
    Client(io::Error),
}

/// One direction: what was read and not yet written.
struct Flow {
    bytes: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Tunnel {
    /// A tunnel over a connection; `ahead` was read behind the head.
    pub fn new(
        connection: Pooled,
        lease: Lease,
        ahead: Vec<u8>,
        read_timeout: u64,
        send_timeout: u64,
    ) -> Tunnel {
        Tunnel { connection, _lease: lease, ahead, read_timeout, send_timeout }
    }

    /// Passes bytes until one side has closed and what it sent is delivered. The head has been sent.
    pub async fn run(mut self, ex: &mut Exchange<'_>) {
        let visit = ex.visit;
        visit.linger.set(false);
        let client_timeout = ex.plan.core.send_timeout;
        let mut up = Flow::of(visit.client.unread.take());
        let mut down = Flow::of(std::mem::take(&mut self.ahead));
        let end = loop {
            let mut wait = self.read_timeout;
            if !up.is_empty() {
                wait = wait.min(self.send_timeout);
            }
            if !down.is_empty() {
                wait = wait.min(client_timeout);
            }
            let moved = (up.moved(), down.moved());
            let step = poll_fn(|cx| step(cx, visit.client, &mut self.connection.stream, &mut up, &mut down));
            let result = visit.client.deadline.within(wait, step).await;
            let count = |flow: &Flow, before: usize| (flow.moved() - before) as u64;
            self.account(ex, count(&up, moved.0), count(&down, moved.1));
            match result {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break Ok(()),
                Ok(Err(broken)) => break Err(broken),
                Err(_) if down.is_empty() => break Err(Broken::Server(io::ErrorKind::TimedOut.into())),
                Err(_) => break Err(Broken::Client(io::ErrorKind::TimedOut.into())),
            }
            up.compact();
            down.compact();
        };
        self.ended(ex, end);
    }

    fn account(&self, ex: &mut Exchange<'_>, up: u64, down: u64) {
        let visit = ex.visit;
        visit.bytes_sent.set(visit.bytes_sent.get() + down);
        visit.body_bytes_sent.set(visit.body_bytes_sent.get() + down);
        if let Some(attempt) = ex.upstream.current() {
            attempt.bytes_sent += up;
            attempt.bytes_received += down;
        }
    }

    fn ended(self, ex: &mut Exchange<'_>, end: Result<(), Broken>) {
        if let Some(attempt) = ex.upstream.current() {
            attempt.response_time = Some(net::clock::now() - attempt.started);
        }
        let doing = "while proxying upgraded connection";
        match end {
            Ok(()) => {}
            Err(Broken::Server(error)) if error.kind() == io::ErrorKind::TimedOut => {
                let text = format_args!("upstream timed out (110: Connection timed out) {doing}");
                ex.log(Level::Info, text);
            }
            Err(Broken::Client(error)) if error.kind() == io::ErrorKind::TimedOut => {
                ex.log(Level::Info, format_args!("client timed out (110: Connection timed out) {doing}"));
            }
            Err(Broken::Server(error)) => {
                let failure = io_failure(&error, "recv()", "SSL_read()");
                ex.log(Level::Error, format_args!("{failure} {doing}, upstream"));
            }
            Err(Broken::Client(error)) => {
                let failure = io_failure(&error, "recv()", "SSL_read()");
                ex.log(Level::Info, format_args!("{failure} {doing}, client"));
            }
        }
    }
}

/// Moves what can be moved; ready with true after progress, with false when a side has closed.
fn step(
    cx: &mut Context<'_>,
    client: &Client,
    server: &mut Stream,
    up: &mut Flow,
    down: &mut Flow,
) -> Poll<Result<bool, Broken>> {
    let mut progress = up.write(|bytes| server.poll_write(cx, bytes)).map_err(Broken::Server)?;
    progress |= down.write(|bytes| client.poll_write(cx, bytes)).map_err(Broken::Client)?;
    progress |= up.read(|into, most| client.poll_read(cx, into, most)).map_err(Broken::Client)?;
    progress |= down.read(|into, most| server.poll_read(cx, into, most)).map_err(Broken::Server)?;
    // A side that has closed ends the tunnel as soon as what it sent is passed on (nginx knows no half-closed ones).
    if (up.ended && up.is_empty()) || (down.ended && down.is_empty()) || (up.ended && down.ended) {
        return Poll::Ready(Ok(false));
    }
    if progress { Poll::Ready(Ok(true)) } else { Poll::Pending }
}

impl Flow {
    fn of(bytes: Vec<u8>) -> Flow {
        Flow { bytes, written: 0, ended: false }
    }

    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn moved(&self) -> usize {
        self.written
    }

    fn compact(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }

    /// Whether something was written.
    fn write(&mut self, write: impl FnOnce(&[u8]) -> Poll<io::Result<usize>>) -> io::Result<bool> {
        let rest = self.bytes.get(self.written..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        match write(rest) {
            Poll::Ready(written) => {
                self.written += written?;
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    /// Whether something was read, or the end was seen.
    fn read(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>, usize) -> Poll<io::Result<usize>>,
    ) -> io::Result<bool> {
        let room = BUFFER.saturating_sub(self.bytes.len());
        if room == 0 || self.ended {
            return Ok(false);
        }
        match read(&mut self.bytes, room) {
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                Ok(true)
            }
            Poll::Ready(read) => read.map(|_| true),
            Poll::Pending => Ok(false),
        }
    }
}
