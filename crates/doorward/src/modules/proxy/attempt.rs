//! One attempt at one server: connecting, sending the request, reading the head of the answer.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use net::Stream;
use net::pool::Pooled;
use wire::h1::{ResponseHead, ResponseParser};

use super::Proxy;
use super::connect::io_failure;
use super::pass::Destination;
use super::request::RequestFraming;
use crate::client::Interrupted;
use crate::exchange::{Exchange, Visit};
use crate::log::Level;
use crate::modules::proxy_ssl::{Client, Peer};
use crate::modules::upstream::{Scheme, Upstream};
use crate::plan::Plan;
use crate::run::Stop;
use crate::worker::PoolKey;

/// How much of an answer is read at a time.
const READ: usize = 32 << 10;

/// How much of a kept body is sent at a time.
const PIECE: usize = 64 << 10;

const SENDING: &str = "sending request to upstream";
const READING: &str = "reading response header from upstream";

/// Why a server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Error {
        reused: bool,
    },
    Timeout,
    Invalid,
    Status(u16),
    /// The client's own body cannot be had.
    Request(Refused),
    ClientGone,
}

/// Why there is no more of a client's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Status(u16),
    Gone,
}

/// How much of a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    /// The server answered before it had all of the body.
    Answered,
}

/// The head of an answer while it is read.
struct Reading<'a> {
    head: &'a mut ResponseHead,
    parser: &'a mut ResponseParser,
    bytes: Vec<u8>,
    /// Bytes of interim answers that have come.
    interim: u64,
    /// What of them the client is still to get.
    hints: Vec<u8>,
    /// Whether the connection carried another request before.
    reused: bool,
}

/// Passes a body on, piece by piece.
struct Feed<'a> {
    visit: &'a Visit<'a>,
    plan: &'a Plan,
    watch: bool,
    timeout: u64,
}

/// Why a piece of a body was not sent.
enum Unsent {
    Request(Refused),
    Interrupted(Interrupted),
    Failed(io::Error),
}

/// What an attempt needs, made once for all attempts.
pub(super) struct Question<'a> {
    pub upstream: &'a Upstream,
    /// How TLS is begun, and with whom.
    pub tls: Option<(&'a Client, Arc<Peer>)>,
    pub head: Vec<u8>,
    /// Where the span of an attempt stands in the head.
    pub span_at: Option<usize>,
    /// What of the kept body goes behind the head.
    pub body: RequestFraming,
    /// Whether the client's body is passed on as it comes.
    pub streamed: bool,
    pub is_head: bool,
}

impl Proxy {
    /// One attempt at one server, up to the head of its answer.
    pub(super) async fn attempt(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        peer: usize,
        head: &mut ResponseHead,
        parser: &mut ResponseParser,
    ) -> Result<(Pooled, Option<PoolKey>, Vec<u8>), Failed> {
        let visit = ex.visit;
        let upstream = question.upstream;
        let key = (upstream.keep_alive.connections > 0).then_some(PoolKey {
            peer: upstream.peers[peer].id,
            location: if upstream.keep_alive.local { self.location_key } else { 0 },
            tls: question.tls.as_ref().map(|(_, peer)| peer.identity()),
        });
        let pooled = key.and_then(|key| visit.service.pools[upstream.index].borrow_mut().take(&key));
        let reused = pooled.is_some();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => Box::pin(self.connect(ex, question, &upstream.peers[peer].address)).await?,
        };
        if let Some(attempt) = ex.upstream.current() {
            attempt.connect_time = Some(net::clock::now() - attempt.started);
        }
        parser.reset();
        let mut reading = Reading { head, parser, bytes: Vec::new(), interim: 0, hints: Vec::new(), reused };
        self.send_head(ex, question, &mut connection, reused).await?;
        let mut sent = Sent::Whole;
        if question.body != RequestFraming::None {
            reading.bytes = visit.worker.buffers.take(READ);
            sent = Box::pin(self.send_body(ex, question, &mut connection, &mut reading)).await?;
        }
        if sent == Sent::Whole {
            self.read_head(ex, &mut connection, &mut reading).await?;
        }
        let Reading { head, bytes, .. } = reading;
        connection.requests += 1;
        let key = key.filter(|_| head.keep_alive && sent == Sent::Whole);
        Ok((connection, key, bytes))
    }

    /// Sends the head of the request, and with it a body that is short.
    async fn send_head(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        connection: &mut Pooled,
        reused: bool,
    ) -> Result<(), Failed> {
        let watch = self.watches(ex);
        let write = connection.stream.write_all(&question.head);
        ex.upstream.sending();
        let written = ex.visit.client.waiting(self.values.send_timeout, watch, write).await;
        if let Some(attempt) = ex.upstream.current() {
            attempt.bytes_sent = question.head.len() as u64;
        }
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => self.not_written(ex, &error, reused),
            Err(interrupted) => Err(self.interrupted(ex, interrupted, SENDING)),
        }
    }

    #[cold]
    fn not_written(&self, ex: &mut Exchange<'_>, error: &io::Error, reused: bool) -> Result<(), Failed> {
        // It may have answered before it closed: then the answer counts.
        if error.kind() == io::ErrorKind::BrokenPipe && !reused {
            return Ok(());
        }
        self.name_upstream(ex);
        let failure = io_failure(error, "writev()", "SSL_write()");
        ex.log(Level::Error, format_args!("{failure} while {SENDING}"));
        Err(Failed::Error { reused })
    }

    /// Sends a long body, or one that is still to come from the client; an answer ends it early.
    async fn send_body(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        connection: &mut Pooled,
        reading: &mut Reading<'_>,
    ) -> Result<Sent, Failed> {
        enum Event {
            Read(io::Result<usize>),
            Written(Result<(), Unsent>),
        }
        let bytes_sent = Cell::new(0);
        let stream = RefCell::new(&mut connection.stream);
        let watch = self.watches(ex);
        let feed = Feed { visit: ex.visit, plan: ex.plan, watch, timeout: self.values.send_timeout };
        let mut feeding = pin!(feed.run(question, &stream, &bytes_sent));
        let result = loop {
            let event = poll_fn(|cx| {
                let read = stream.borrow_mut().poll_read(cx, &mut reading.bytes, READ);
                if let Poll::Ready(read) = read {
                    return Poll::Ready(Event::Read(read));
                }
                feeding.as_mut().poll(cx).map(Event::Written)
            });
            match event.await {
                Event::Read(read) => match self.take_read(ex, read, reading).await {
                    Ok(true) => break Ok(Sent::Answered),
                    Ok(false) => {}
                    Err(failed) => break Err(failed),
                },
                Event::Written(Ok(())) => break Ok(Sent::Whole),
                Event::Written(Err(Unsent::Request(stop))) => break Err(Failed::Request(stop)),
                Event::Written(Err(Unsent::Interrupted(interrupted))) => {
                    break Err(self.interrupted(ex, interrupted, SENDING));
                }
                Event::Written(Err(Unsent::Failed(error))) => {
                    break self.not_written(ex, &error, reading.reused).map(|()| Sent::Whole);
                }
            }
        };
        if let Some(attempt) = ex.upstream.current() {
            attempt.bytes_sent += bytes_sent.get();
        }
        result
    }

    async fn read_head(
        &self,
        ex: &mut Exchange<'_>,
        connection: &mut Pooled,
        reading: &mut Reading<'_>,
    ) -> Result<(), Failed> {
        let watch = self.watches(ex);
        let buffers = &ex.visit.worker.buffers;
        // As in nginx the timeout is for all of the head: what comes drop by drop cannot draw it out.
        let began = net::clock::now();
        loop {
            let left = self.values.read_timeout.saturating_sub(net::clock::now() - began);
            let read = async {
                // The buffer is taken when there is something to read: then it is one that was used just now.
                if reading.bytes.capacity() == 0 {
                    connection.stream.read_ready().await?;
                    reading.bytes = buffers.take(READ);
                }
                connection.stream.read(&mut reading.bytes, READ).await
            };
            match ex.visit.client.waiting(left, watch, read).await {
                Ok(read) => {
                    if self.take_read(ex, read, reading).await? {
                        return Ok(());
                    }
                }
                Err(interrupted) => return Err(self.interrupted(ex, interrupted, READING)),
            }
        }
    }

    /// Looks at what was just read, and passes interim answers on; whether the head is complete.
    async fn take_read(
        &self,
        ex: &mut Exchange<'_>,
        read: io::Result<usize>,
        reading: &mut Reading<'_>,
    ) -> Result<bool, Failed> {
        let complete = self.look_at(ex, read, reading);
        if !reading.hints.is_empty() {
            Box::pin(self.send_hints(ex, &mut reading.hints)).await?;
        }
        complete
    }

    fn look_at(
        &self,
        ex: &mut Exchange<'_>,
        read: io::Result<usize>,
        reading: &mut Reading<'_>,
    ) -> Result<bool, Failed> {
        // A server that has answered anything has the request, and may have acted on it.
        let reused = reading.reused && reading.bytes.is_empty() && reading.interim == 0;
        match read {
            Ok(0) => {
                self.name_upstream(ex);
                ex.log(Level::Error, format_args!("upstream prematurely closed connection while {READING}"));
                Err(Failed::Error { reused })
            }
            Ok(read) => {
                if let Some(attempt) = ex.upstream.current() {
                    attempt.bytes_received += read as u64;
                }
                self.parse(ex, reading)
            }
            Err(error) => {
                self.name_upstream(ex);
                let failure = io_failure(&error, "recv()", "SSL_read()");
                ex.log(Level::Error, format_args!("{failure} while {READING}"));
                Err(Failed::Error { reused })
            }
        }
    }

    fn parse(&self, ex: &mut Exchange<'_>, reading: &mut Reading<'_>) -> Result<bool, Failed> {
        let Reading { head, parser, bytes, interim, hints, .. } = reading;
        loop {
            match parser.parse(bytes, head) {
                Ok(true) if (100..200).contains(&head.status) && head.status != 101 => {
                    // An interim answer (RFC 9110, 15.2): the real one follows, and not after any number of them.
                    *interim += u64::from(head.head_len);
                    if *interim > self.values.buffer_size {
                        return Err(self.too_big(ex));
                    }
                    self.append_hints(ex, head, bytes, hints);
                    bytes.drain(..(head.head_len as usize).min(bytes.len()));
                    parser.reset();
                    if bytes.is_empty() {
                        return Ok(false);
                    }
                }
                Ok(true) => {
                    if u64::from(head.head_len) > self.values.buffer_size {
                        return Err(self.too_big(ex));
                    }
                    for duplicate in &head.duplicates {
                        let text = duplicate.sentence(bytes);
                        ex.log(Level::Warn, format_args!("{text} while {READING}"));
                    }
                    if let Some(attempt) = ex.upstream.current() {
                        attempt.status = head.status;
                        attempt.header_time = Some(net::clock::now() - attempt.started);
                    }
                    return Ok(true);
                }
                Ok(false) if bytes.len() as u64 >= self.values.buffer_size => {
                    return Err(self.too_big(ex));
                }
                Ok(false) => return Ok(false),
                // What does not start as HTTP is no answer: a gateway must not guess what it means (D003).
                Err(error) => {
                    self.name_upstream(ex);
                    ex.log(Level::Error, format_args!("{error} while {READING}"));
                    return Err(Failed::Invalid);
                }
            }
        }
    }

    #[cold]
    fn too_big(&self, ex: &mut Exchange<'_>) -> Failed {
        self.name_upstream(ex);
        let size = self.values.buffer_size;
        ex.log(
            Level::Error,
            format_args!(
                "upstream sent too big header while reading response header from upstream \
                 (proxy_buffer_size is {size}: raise it where the answer's fields are meant)"
            ),
        );
        Failed::Invalid
    }

    #[cold]
    pub(super) fn interrupted(&self, ex: &mut Exchange<'_>, why: Interrupted, doing: &str) -> Failed {
        self.name_upstream(ex);
        match why {
            Interrupted::Elapsed => {
                ex.log(
                    Level::Error,
                    format_args!("upstream timed out (110: Connection timed out) while {doing}"),
                );
                Failed::Timeout
            }
            Interrupted::ClientGone => {
                let text = "client prematurely closed connection, so upstream connection is closed too";
                ex.log(Level::Info, format_args!("{text} while {doing}"));
                Failed::ClientGone
            }
        }
    }

    /// Makes the upstream's URL known to the error log: it costs too much to have it ready when nothing is logged.
    #[cold]
    pub(super) fn name_upstream(&self, ex: &mut Exchange<'_>) {
        let mut target = Vec::new();
        let uri = match &self.destination {
            Destination::Fixed(fixed) => fixed.uri.clone(),
            Destination::Variable(_) => Vec::new(),
        };
        self.append_target(ex, &uri, false, &mut target);
        let address = ex.upstream.current().map(|a| a.address.clone()).unwrap_or_default();
        let passed_to = ex.upstream.passed_to.as_ref();
        let scheme = passed_to.map_or(Scheme::Http, |fixed| fixed.scheme).as_str();
        let colon = if address.starts_with("unix:") { ":" } else { "" };
        ex.upstream.in_use(Some(format!("{scheme}://{address}{colon}{}", String::from_utf8_lossy(&target))));
    }
}

impl Feed<'_> {
    /// Sends every piece of the body, in the frame of the request.
    async fn run(
        &self,
        question: &Question<'_>,
        stream: &RefCell<&mut Stream>,
        sent: &Cell<u64>,
    ) -> Result<(), Unsent> {
        let mut framed = Vec::new();
        let mut offset = 0;
        loop {
            let mut piece = Vec::new();
            let end = if question.streamed {
                let read = self.visit.body_piece(self.plan, &mut piece).await;
                read.map_err(|stop| Unsent::of(&stop))?;
                self.visit.body_is_read()
            } else {
                let body = self.visit.body.borrow();
                let kept = body.kept.piece(offset, PIECE);
                piece = kept.map_err(|_| Unsent::Request(Refused::Status(500)))?;
                offset += piece.len() as u64;
                offset >= body.kept.len()
            };
            if question.body == RequestFraming::Chunked {
                framed.clear();
                append_chunk(&piece, end, &mut framed);
                std::mem::swap(&mut piece, &mut framed);
            }
            self.write(&piece, stream, sent).await?;
            if end {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        mut bytes: &[u8],
        stream: &RefCell<&mut Stream>,
        sent: &Cell<u64>,
    ) -> Result<(), Unsent> {
        while !bytes.is_empty() {
            let write = poll_fn(|cx| stream.borrow_mut().poll_write(cx, bytes));
            let written = self.visit.client.waiting(self.timeout, self.watch, write).await;
            let written = written.map_err(Unsent::Interrupted)?.map_err(Unsent::Failed)?;
            sent.set(sent.get() + written as u64);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Unsent {
    fn of(stop: &Stop) -> Unsent {
        Unsent::Request(match stop {
            Stop::Status(status) => Refused::Status(*status),
            _ => Refused::Gone,
        })
    }
}

/// Appends a chunk, or the last one.
pub(super) fn append_chunk(piece: &[u8], last: bool, out: &mut Vec<u8>) {
    if !piece.is_empty() {
        wire::h1::chunk_header(piece.len(), out);
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    if last {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}
