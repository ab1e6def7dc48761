//! Asks FastCGI servers until one answers, up to the head of its answer.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use net::{Connect, Stream};
use wire::fastcgi::{self, Event, Records};
use wire::h1::{Method, ResponseHead, ResponseParser};
use wire::{Name, Range};

use super::{FastCgi, FastCgiBody, Pass};
use crate::body::Body;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::otel;
use crate::modules::proxy::{Group, Lease};
use crate::modules::upstream::{Target, Tried};
use crate::run::Stop;

/// How much of an answer is read at a time, and how much of it may wait while the request is still being sent.
const READ: usize = 32 << 10;

/// How much of a body is sent at a time.
const PIECE: usize = 64 << 10;

/// What is put before a head so that it reads as one of HTTP; the real status is in its fields (RFC 3875, 6.3.3).
const STATUS_LINE: &[u8] = b"HTTP/1.0 200\r\n";

const READING: &str = "reading response header from upstream";

/// Why a server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Error,
    Timeout,
    Invalid,
    Status(u16),
    /// The client's own body cannot be had.
    Body,
    /// The client does not send it as it should.
    Unsent(u16),
    ClientGone,
}

/// An answer whose head is complete.
struct Answer {
    stream: Stream,
    records: Records,
    /// Read and not taken apart yet.
    raw: Vec<u8>,
    /// The head, and what of the body came with it.
    bytes: Vec<u8>,
    head: ResponseHead,
    ended: bool,
}

impl FastCgi {
    /// Passes the request on and takes the answer's head; the body is pulled from what this returns.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let group = self.resolve(ex).await?.now(ex.visit.config);
        let visit = ex.visit;
        if ex.is_main() && !self.streams_body(ex) {
            visit.keep_body(ex.plan).await?;
        }
        let result = self.ask(ex, &group).await;
        ex.upstream.in_use(None);
        result
    }

    /// Whether the client's body is passed on as it comes, rather than read first (`fastcgi_request_buffering`).
    fn streams_body(&self, ex: &Exchange<'_>) -> bool {
        ex.is_main()
            && !self.values.request_buffering
            && self.values.pass_request_body
            && !ex.visit.body_has_arrived()
    }

    async fn resolve(&self, ex: &Exchange<'_>) -> Result<Group, Stop> {
        let template = match &self.pass {
            Pass::Fixed(group) => return Ok(group.clone()),
            Pass::Variable(template) => template,
        };
        let address = template.eval(ex);
        let shown = String::from_utf8_lossy(&address);
        let target = Target::parse(&address, false).map_err(|error| {
            ex.log(Level::Error, format_args!("{error} in upstream \"{shown}\""));
            Stop::Status(500)
        })?;
        Group::named(ex, &target, 80, &self.answers.resolver).await
    }

    async fn ask(&self, ex: &mut Exchange<'_>, group: &Group) -> Result<Body, Stop> {
        let visit = ex.visit;
        let mut head = Vec::new();
        let upstream = group.upstream(visit.config);
        let mut tried = Tried::new(upstream, ex);
        let mut tries = upstream.tries();
        if self.values.next_tries > 0 {
            tries = tries.min(usize::try_from(self.values.next_tries).unwrap_or(usize::MAX));
        }
        loop {
            let Some(choice) = upstream.choose(&mut tried, net::clock::now()) else {
                ex.upstream.begin(&upstream.name);
                ex.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
                return Err(give_up(ex, 502));
            };
            let peer = &upstream.peers[choice.index];
            ex.upstream.begin_at(upstream, choice.index);
            ex.upstream.in_use(Some(format!("fastcgi://{}", peer.name)));
            if head.is_empty() || otel::carried(ex).is_some() {
                // Of an attempt its span is told, which is its own.
                head.clear();
                self.append_params(ex, &mut head);
            }
            tries = tries.saturating_sub(1);
            let mut lease = Lease::new(visit.service, group, choice);
            let failed = match self.attempt(ex, &peer.address, &head).await {
                Ok(answer) => {
                    let status = answer.head.status;
                    if tries == 0 || !self.may_try_another(ex, Failed::Status(status)) {
                        return self.accept(ex, answer, lease);
                    }
                    Failed::Status(status)
                }
                Err(failed) => failed,
            };
            let status = match failed {
                Failed::ClientGone => {
                    give_up(ex, 0);
                    return Err(Stop::Gone);
                }
                Failed::Body => return Err(give_up(ex, 500)),
                Failed::Unsent(status) => return Err(give_up(ex, status)),
                Failed::Error | Failed::Invalid => 502,
                Failed::Timeout => 504,
                Failed::Status(status) => status,
            };
            // What is not there, or not allowed, says nothing about the server.
            if !matches!(status, 403 | 404) {
                lease.failed();
            }
            if tries == 0 || !self.may_try_another(ex, failed) {
                return Err(give_up(ex, status));
            }
            end_attempt(ex, status);
        }
    }

    fn may_try_another(&self, ex: &Exchange<'_>, failed: Failed) -> bool {
        let next = &self.values.next_upstream;
        let wanted = match failed {
            Failed::Error => next.error,
            Failed::Timeout => next.timeout,
            Failed::Invalid => next.invalid_header,
            Failed::Status(status) => next.statuses.contains(&status),
            Failed::Body | Failed::Unsent(_) | Failed::ClientGone => false,
        };
        // What of a body was passed on is not there to be sent again.
        let wanted = wanted && (ex.visit.body.borrow().kept.len() == ex.visit.body.borrow().received);
        let once = matches!(ex.method, Method::Post | Method::Lock | Method::Patch);
        wanted && (next.non_idempotent || !ex.upstream.was_sent() || !once)
    }

    async fn attempt(
        &self,
        ex: &mut Exchange<'_>,
        address: &net::Address,
        head: &[u8],
    ) -> Result<Answer, Failed> {
        let options = Connect { nodelay: true, ..Connect::default() };
        let connecting = Stream::connect(address, &options);
        let doing = "connecting to upstream";
        let mut stream = match self.waiting(ex, self.values.connect_timeout, connecting, doing).await? {
            Ok(stream) => stream,
            Err(error) => {
                ex.log(Level::Error, format_args!("connect() failed {} while {doing}", system_error(&error)));
                return Err(Failed::Error);
            }
        };
        if let Some(attempt) = ex.upstream.current() {
            attempt.connect_time = Some(net::clock::now() - attempt.started);
        }
        let mut raw = Vec::new();
        self.send(ex, &mut stream, head, &mut raw).await?;
        self.read_head(ex, stream, raw).await
    }

    /// Sends all of the request; what the server says meanwhile is put by, so that neither waits for the other.
    async fn send(
        &self,
        ex: &mut Exchange<'_>,
        stream: &mut Stream,
        head: &[u8],
        raw: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        let mut framed = head.to_vec();
        let with_body = ex.is_main() && self.values.pass_request_body;
        let mut offset = 0;
        if with_body && !ex.visit.body_is_read() {
            // The server is asked before the client has sent its body.
            ex.upstream.sending();
            if !self.write(ex, stream, &framed, raw).await? {
                return Ok(());
            }
            framed.clear();
        }
        loop {
            let piece = match with_body {
                true if !ex.visit.body_is_read() => match self.next_piece(ex, stream, raw).await? {
                    Some(piece) => piece,
                    None => return Ok(()),
                },
                true => ex.visit.body.borrow().kept.piece(offset, PIECE).map_err(|_| Failed::Body)?,
                false => Vec::new(),
            };
            offset += piece.len() as u64;
            fastcgi::piece(fastcgi::Stream::Stdin, &piece, &mut framed);
            let end = !with_body || (ex.visit.body_is_read() && offset >= ex.visit.body.borrow().received);
            if end {
                fastcgi::end(fastcgi::Stream::Stdin, &mut framed);
            }
            ex.upstream.sending();
            if !self.write(ex, stream, &framed, raw).await? || end {
                return Ok(());
            }
            framed.clear();
        }
    }

    /// The next piece of a body that is passed on as it comes, empty at its end; none where the server wants no more. What the
    /// server says meanwhile is put by.
    async fn next_piece(
        &self,
        ex: &Exchange<'_>,
        stream: &mut Stream,
        raw: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Failed> {
        let (visit, mut piece) = (ex.visit, Vec::new());
        let read = {
            let mut reading = pin!(visit.body_piece(ex.plan, &mut piece));
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                    return Poll::Ready(Some(read));
                }
                while raw.len() < READ {
                    match stream.poll_read(cx, raw, READ) {
                        Poll::Ready(Ok(1..)) => {}
                        Poll::Ready(_) => return Poll::Ready(None),
                        Poll::Pending => break,
                    }
                }
                Poll::Pending
            });
            read.await
        };
        match read {
            None => Ok(None),
            Some(Ok(_)) => Ok(Some(piece)),
            Some(Err(Stop::Status(status) | Stop::Lost(status))) => Err(Failed::Unsent(status)),
            Some(Err(_)) => Err(Failed::ClientGone),
        }
    }

    /// Writes one piece; false where the server takes no more, because it has answered.
    async fn write(
        &self,
        ex: &mut Exchange<'_>,
        stream: &mut Stream,
        mut piece: &[u8],
        raw: &mut Vec<u8>,
    ) -> Result<bool, Failed> {
        enum Done {
            Read(io::Result<usize>),
            Written(io::Result<usize>),
        }
        while !piece.is_empty() {
            let step = poll_fn(|cx| {
                if raw.len() < READ
                    && let Poll::Ready(read) = stream.poll_read(cx, raw, READ)
                {
                    return Poll::Ready(Done::Read(read));
                }
                stream.poll_write(cx, piece).map(Done::Written)
            });
            let doing = "sending request to upstream";
            match self.waiting(ex, self.values.send_timeout, step, doing).await? {
                Done::Read(Ok(read)) if read > 0 => count_received(ex, read),
                // It has closed its side: what it said before that counts.
                Done::Read(_) => return Ok(false),
                Done::Written(Ok(written)) => {
                    piece = piece.get(written..).unwrap_or_default();
                    if let Some(attempt) = ex.upstream.current() {
                        attempt.bytes_sent += written as u64;
                    }
                }
                Done::Written(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                Done::Written(Err(error)) => {
                    let error = system_error(&error);
                    ex.log(Level::Error, format_args!("writev() failed {error} while {doing}"));
                    return Err(Failed::Error);
                }
            }
        }
        Ok(true)
    }

    async fn read_head(
        &self,
        ex: &mut Exchange<'_>,
        mut stream: Stream,
        mut raw: Vec<u8>,
    ) -> Result<Answer, Failed> {
        let (mut records, mut parser, mut head) =
            (Records::default(), ResponseParser::new(), ResponseHead::default());
        let mut bytes = STATUS_LINE.to_vec();
        loop {
            let ended = take_records(ex, &mut records, &mut raw, &mut bytes, READING)
                .map_err(|()| Failed::Invalid)?;
            let complete = parser.parse(&bytes, &mut head).map_err(|error| {
                ex.log(Level::Error, format_args!("{error} while {READING}"));
                Failed::Invalid
            })?;
            let length = if complete { head.head_len as usize } else { bytes.len() };
            if (length - STATUS_LINE.len()) as u64 > self.values.buffer_size {
                ex.log(Level::Error, format_args!("upstream sent too big header while {READING}"));
                return Err(Failed::Invalid);
            }
            if complete {
                set_status(&mut head, &bytes).map_err(|()| {
                    ex.log(Level::Error, format_args!("upstream sent invalid status while {READING}"));
                    Failed::Invalid
                })?;
                return Ok(Answer { stream, records, raw, bytes, head, ended });
            }
            if ended {
                let text = "upstream prematurely closed FastCGI stdout";
                ex.log(Level::Error, format_args!("{text} while {READING}"));
                return Err(Failed::Invalid);
            }
            let read = stream.read(&mut raw, READ);
            match self.waiting(ex, self.values.read_timeout, read, READING).await? {
                Ok(read) if read > 0 => count_received(ex, read),
                Ok(_) => {
                    let text = "upstream prematurely closed connection";
                    ex.log(Level::Error, format_args!("{text} while {READING}"));
                    return Err(Failed::Error);
                }
                Err(error) => {
                    ex.log(
                        Level::Error,
                        format_args!("recv() failed {} while {READING}", system_error(&error)),
                    );
                    return Err(Failed::Error);
                }
            }
        }
    }

    fn accept(&self, ex: &mut Exchange<'_>, answer: Answer, mut lease: Lease) -> Result<Body, Stop> {
        let Answer { stream, records, raw, mut bytes, head, ended } = answer;
        let ready = bytes.split_off(head.head_len as usize);
        if let Some(attempt) = ex.upstream.current() {
            attempt.status = head.status;
            attempt.header_time = Some(net::clock::now() - attempt.started);
        }
        self.answers.take_head(ex, &head, bytes);
        lease.answered(ex);
        lease.tell(ex);
        let left = match ex.method {
            Method::Head => Some(0),
            _ if matches!(head.status, 204 | 304) => Some(0),
            _ => head.content_length,
        };
        let watch = ex.is_main() && !self.values.ignore_client_abort;
        let mut body = FastCgiBody {
            stream: Some(stream),
            lease: Some(lease),
            records,
            raw,
            ready,
            left,
            ended,
            read_timeout: self.values.read_timeout,
            watch,
        };
        if let Some(stop) = self.answers.elsewhere(ex) {
            body.close(ex);
            ex.upstream.next_handler();
            return Err(stop);
        }
        Ok(Body::FastCgi(Box::new(body)))
    }

    async fn waiting<F: Future>(
        &self,
        ex: &mut Exchange<'_>,
        ms: u64,
        future: F,
        doing: &str,
    ) -> Result<F::Output, Failed> {
        let watch = ex.is_main() && !self.values.ignore_client_abort;
        match ex.visit.client.waiting(ms, watch, future).await {
            Ok(output) => Ok(output),
            Err(Interrupted::Elapsed) => {
                let text = "upstream timed out (110: Connection timed out)";
                ex.log(Level::Error, format_args!("{text} while {doing}"));
                Err(Failed::Timeout)
            }
            Err(Interrupted::ClientGone) => {
                let text = "client prematurely closed connection, so upstream connection is closed too";
                ex.log(Level::Info, format_args!("{text} while {doing}"));
                Err(Failed::ClientGone)
            }
        }
    }
}

/// Takes apart what was read: the answer's bytes go to `out`, what is for the log into the log. True at the end.
pub(super) fn take_records(
    ex: &Exchange<'_>,
    records: &mut Records,
    raw: &mut Vec<u8>,
    out: &mut Vec<u8>,
    doing: &str,
) -> Result<bool, ()> {
    let mut at = 0;
    let ended = loop {
        let (event, next) = records.next(raw, at).map_err(|error| {
            ex.log(Level::Error, format_args!("{error} while {doing}"));
        })?;
        at = next;
        match event {
            Event::More => break false,
            Event::End => break true,
            Event::Stdout(range) => out.extend_from_slice(range.of(raw)),
            Event::Stderr(range) => {
                let text = String::from_utf8_lossy(range.of(raw));
                let text = text.trim_end_matches(['\r', '\n', '.', ' ']);
                ex.log(Level::Error, format_args!("FastCGI sent in stderr: \"{text}\" while {doing}"));
            }
        }
    };
    raw.clear();
    Ok(ended)
}

/// Takes status and reason from the field `Status`; a redirect need not have one (RFC 3875, 6.2.3).
fn set_status(head: &mut ResponseHead, bytes: &[u8]) -> Result<(), ()> {
    // Frames are the records' business.
    head.chunked = false;
    (head.status, head.status_line) = (200, Range::default());
    if let Some(field) = head.field(Name::Status).copied() {
        let (start, end) = (field.value.start as usize, field.value.end as usize);
        let digits = bytes.get(start..end.min(start + 3)).and_then(|digits| str::from_utf8(digits).ok());
        let status =
            digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
        head.status = status.filter(|status| *status >= 100).ok_or(())?;
        // A bare code leaves the words to this server.
        if end - start > 3 {
            head.status_line = field.value;
        }
    } else if head.field(Name::Location).is_some() {
        head.status = 302;
    }
    Ok(())
}

pub(super) fn count_received(ex: &mut Exchange<'_>, read: usize) {
    if let Some(attempt) = ex.upstream.current() {
        attempt.bytes_received += read as u64;
    }
}

fn end_attempt(ex: &mut Exchange<'_>, status: u16) {
    if let Some(attempt) = ex.upstream.current() {
        attempt.status = status;
        attempt.response_time = Some(net::clock::now() - attempt.started);
    }
}

fn give_up(ex: &mut Exchange<'_>, status: u16) -> Stop {
    end_attempt(ex, status);
    ex.upstream.next_handler();
    Stop::Status(status)
}
