//! The task of a connection: reads and writes its frames, begins its requests, and ends it.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};

use super::diagnostics::{self, Told};
use super::guard::Offence;
use super::io::{Io, Output};
use super::request::{Running, log_refused, read_head, serve_stream};
use super::{Piece, Shared, Stream, TURN};
use crate::boxed::boxed_future;
use crate::client::Client;
use crate::connection::{self, Refused};
use crate::log::{Level, system_error};
use crate::modules::core::Lingering;

/// How long a client may take to hear that a connection ends before it is closed, in milliseconds.
const FAREWELL: u64 = 1000;

/// What is read of a head beyond what nginx counts: `h2` counts 32 bytes more for each field.
const FIELD_OVERHEAD: usize = 32;

/// How much the client may send of all bodies together before it hears that they are read.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// How much of one response waits for the socket; the rest waits for its turn.
const SEND_BUFFER: usize = 64 << 10;

/// Bounds of the longest frame that an end may take (RFC 9113, 4.2).
const LEAST_FRAME: u32 = 1 << 14;
const LARGEST_FRAME: u32 = (1 << 24) - 1;

/// How much small frames of bodies that nobody has read may take beside their payload, in bytes.
const SMALL_FRAMES: usize = 1 << 20;

/// Drives a connection to its end; `unread` was read from it already.
pub(super) async fn drive(shared: &Rc<Shared>, unread: Vec<u8>) {
    let server = shared.default_server();
    let limits = &server.limits;
    let most = usize::try_from(server.http2.max_concurrent_streams).unwrap_or(usize::MAX).max(1);
    let fields = limits.large_size.saturating_mul(limits.large_buffers);
    let overhead = limits.max_headers.saturating_add(4).saturating_mul(FIELD_OVERHEAD);
    let list = u32::try_from(fields.saturating_add(overhead)).unwrap_or(u32::MAX);
    let handshake = h2::server::Builder::new()
        .initial_window_size(server.http2.body_preread_size)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(u32::try_from(most).unwrap_or(u32::MAX))
        .max_header_list_size(list)
        // A frame is kept until it is whole: one holds all fields, and no more.
        .max_frame_size(list.clamp(LEAST_FRAME, LARGEST_FRAME))
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .handshake::<Io, Piece>(Io::new(shared.clone(), unread));
    let timeout = server.core.client_header_timeout;
    // In a box, which is gone when the connection begins: here it would be stored beside the connection.
    let handshake = Box::pin(handshake);
    let connection = match shared.client.deadline.within(timeout, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if !error.is_io() {
                shared.log(Level::Info, format_args!("invalid connection preface"));
            }
            return;
        }
        Err(_) => {
            return shared.log(Level::Info, format_args!("client timed out (110: Connection timed out)"));
        }
    };
    let mut driver = Driver {
        connection,
        shared,
        most,
        idle_since: net::clock::now(),
        within: None,
        late: None,
        leaving: false,
        over: false,
        cut_off: false,
        due: None,
    };
    let lingers = poll_fn(|cx| driver.poll(cx)).await;
    let core = shared.core();
    if lingers && core.lingering_close != Lingering::Off {
        drop(driver);
        connection::linger(&shared.client, core.lingering_time, core.lingering_timeout).await;
    }
}

/// What a connection waits for, for so long and no longer.
#[derive(Clone, Copy)]
enum Wait {
    /// The socket takes what is written.
    Socket,
    /// The head that the client has begun, of a stream.
    Head(u32),
    /// A request, or that the client closes what has ended.
    Request,
}

struct Driver<'s> {
    connection: Connection<Io, Piece>,
    shared: &'s Rc<Shared>,
    /// Streams at a time.
    most: usize,
    /// Since when no stream runs.
    idle_since: u64,
    /// The stream whose head the client has begun and not completed, and since when.
    within: Option<(u32, u64)>,
    /// The stream whose head took too long.
    late: Option<u32>,
    /// The client was told that no more requests are taken.
    leaving: bool,
    /// The connection is being closed, whatever runs on it.
    over: bool,
    /// The client has made too much of it, and gets no more patience.
    cut_off: bool,
    /// When the deadline is set to.
    due: Option<u64>,
}

impl Driver<'_> {
    /// Ready at the end of the connection, with whether the client may still be sending.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let shared = self.shared;
        if !shared.driver.borrow().as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            *shared.driver.borrow_mut() = Some(cx.waker().clone());
        }
        if shared.service.is_retired() {
            self.leave();
        }
        shared.turn.set(TURN);
        loop {
            if let Some(offence) = shared.offence.take()
                && !self.over
            {
                shared.log(offence.level(), format_args!("{offence}"));
                self.close(offence.reason());
            }
            let (polled, told) = diagnostics::during(|| self.poll_frames(cx));
            let mut why = None;
            for told in told {
                match told {
                    Told::Stream(text) => {
                        shared.log(Level::Info, format_args!("{text} while reading client request headers"));
                    }
                    Told::Connection(text) => why = Some(text),
                }
            }
            if let Poll::Ready(ended) = polled {
                return Poll::Ready(self.ended(ended, why));
            }
            if shared.offence.get().is_some() {
                continue;
            }
            let written = Output::poll_write_out(shared, cx);
            if let Poll::Ready(Err(error)) = written {
                self.log_lost(&error);
                return Poll::Ready(false);
            }
            match self.poll_overdue(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Wait::Socket) => {
                    self.log_timed_out();
                    return Poll::Ready(false);
                }
                // It has had its turn: until it goes on, the connection is one that waits.
                Poll::Ready(Wait::Head(stream)) => {
                    self.log_timed_out();
                    self.late = Some(stream);
                    shared.client.requests.set(shared.client.requests.get() + 1);
                }
                Poll::Ready(Wait::Request) if self.over => {
                    self.log_timed_out();
                    return Poll::Ready(false);
                }
                Poll::Ready(Wait::Request) if self.within.is_some() && !self.leaving => {
                    self.log_timed_out();
                    self.close(Reason::PROTOCOL_ERROR);
                }
                Poll::Ready(Wait::Request) => self.close(Reason::NO_ERROR),
            }
        }
    }

    /// Closes the connection, whatever runs on it.
    fn close(&mut self, reason: Reason) {
        (self.over, self.leaving) = (true, true);
        self.idle_since = net::clock::now();
        self.cut_off = reason == Reason::ENHANCE_YOUR_CALM;
        self.connection.abrupt_shutdown(reason);
    }

    /// Reads and writes frames, and begins the requests that have come; ready when the connection has ended.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            // Who resets a request has it run to its end here: so many run at a time, and no more.
            if self.shared.active.get() >= self.most {
                return self.connection.poll_closed(cx);
            }
            match std::task::ready!(self.connection.poll_accept(cx)) {
                Some(Ok((request, respond))) => self.begin(request, respond),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Ready with what was waited for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        let (shared, now) = (self.shared, net::clock::now());
        let (core, header_timeout) = (shared.core(), shared.default_server().core.client_header_timeout);
        let blocked = shared.output.borrow().blocked_since.map(|since| since + core.send_timeout);
        let within = shared.guard.borrow().within();
        if self.within.map(|(stream, _)| stream) != within {
            self.within = within.map(|stream| (stream, now));
        }
        let head = self.within.filter(|(stream, _)| !self.leaving && self.late != Some(*stream));
        let idle = if shared.active.get() > 0 || head.is_some() {
            self.idle_since = now;
            None
        } else {
            Some(
                self.idle_since
                    + match shared.client.requests.get() {
                        _ if self.leaving => FAREWELL,
                        0 => header_timeout,
                        _ => core.keepalive_timeout.timeout,
                    },
            )
        };
        let waits = [
            blocked.map(|due| (due, Wait::Socket)),
            head.map(|(stream, since)| (since + header_timeout, Wait::Head(stream))),
            idle.map(|due| (due, Wait::Request)),
        ];
        let next = waits.into_iter().flatten().min_by_key(|(due, _)| *due);
        let due = next.map(|(due, _)| due);
        let deadline = &shared.client.deadline;
        if due != self.due {
            self.due = due;
            match due {
                Some(due) => deadline.set(due.saturating_sub(now)),
                None => deadline.clear(),
            }
        }
        match (deadline.poll_expired(cx), next) {
            (Poll::Ready(_), Some((_, wait))) => Poll::Ready(wait),
            _ => Poll::Pending,
        }
    }

    /// Takes no more requests; those that run are finished.
    fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.connection.graceful_shutdown();
        }
    }

    /// Begins a request.
    fn begin(&mut self, request: http::Request<RecvStream>, mut respond: SendResponse<Piece>) {
        let (shared, started) = (self.shared, net::clock::now());
        let stream = respond.stream_id().as_u32();
        let length = shared.guard.borrow_mut().take_head(stream);
        if self.late == Some(stream) {
            // Only now `h2` knows of it.
            return respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        let (client, worker) = (&shared.client, &shared.worker);
        worker.counters.requests.fetch_add(1, Ordering::Relaxed);
        let requests = client.requests.get() + 1;
        client.requests.set(requests);
        let core = shared.core();
        if core.keepalive_timeout.timeout == 0
            || requests >= core.keepalive_requests
            || started - client.opened > core.keepalive_time
        {
            self.leave();
        }
        let (parts, body) = request.into_parts();
        let mut parsed = worker.heads.borrow_mut().pop().unwrap_or_default();
        let mut bytes = worker.buffers.take(4096);
        let read = read_head(&parts, body.is_end_stream(), shared, &mut parsed.0, &mut bytes);
        let refused = match read {
            Ok(()) => None,
            Err(error) => {
                log_refused(shared, &parsed.0, &bytes, &error);
                if error.ends_connection() {
                    return self.close(Reason::ENHANCE_YOUR_CALM);
                }
                Some(Refused::Answered(error.status()))
            }
        };
        if let Some(length) = length {
            parsed.0.head_len = length;
        }
        let stream = Stream::new(shared.clone(), body, respond);
        let client = Client::of_stream(client, stream, worker.timers.deadline());
        let running = Running::new(shared.clone());
        // A future that is moved into its task is copied, and this one is large.
        tokio::task::spawn_local(boxed_future(|| {
            serve_stream(running, client, parsed, bytes, started, refused)
        }));
    }

    /// What ends the connection is logged, with the reason where `h2` has told it. Whether the client may still be sending.
    fn ended(&self, ended: Result<(), h2::Error>, why: Option<String>) -> bool {
        let shared = self.shared;
        match ended {
            Ok(()) => !self.cut_off,
            Err(error) => match error.get_io() {
                Some(error) => {
                    self.log_lost(error);
                    false
                }
                None => {
                    let flood = error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
                    match flood {
                        true => shared.log(Offence::Flood.level(), format_args!("{}", Offence::Flood)),
                        false => {
                            let why = why.unwrap_or_else(|| error.to_string());
                            shared.log(Level::Info, format_args!("{why} while processing HTTP/2 connection"));
                        }
                    }
                    !flood && !error.is_remote()
                }
            },
        }
    }

    #[cold]
    fn log_timed_out(&self) {
        self.shared.log(Level::Info, format_args!("client timed out (110: Connection timed out)"));
    }

    #[cold]
    fn log_lost(&self, error: &std::io::Error) {
        if self.shared.active.get() > 0 {
            let error = system_error(error);
            self.shared.log(
                Level::Info,
                format_args!(
                    "client prematurely closed connection {error} while processing HTTP/2 connection"
                ),
            );
        }
    }
}
