//! One attempt at one server: connecting, sending the request, reading the head of the answer.

use std::io;

use net::pool::Pooled;
use net::{Connect, Keepalive, Stream};
use wire::h1::{ResponseError, ResponseHead, ResponseParser};

use super::Proxy;
use super::pass::Destination;
use super::request::RequestFraming;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::upstream::Upstream;
use crate::run::Stop;
use crate::worker::PoolKey;

/// How much of an answer is read at a time.
const READ: usize = 32 << 10;

/// Why a server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Error { reused: bool },
    Timeout,
    Invalid,
    Status(u16),
    ClientGone,
}

/// What an attempt needs, made once for all attempts.
pub(super) struct Question<'a> {
    pub upstream: &'a Upstream,
    pub head: Vec<u8>,
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
        let key = (upstream.keep_alive.connections > 0).then(|| PoolKey {
            peer,
            location: if upstream.keep_alive.local { self.location_key } else { 0 },
        });
        let pooled = key.and_then(|key| visit.service.pools[upstream.index].borrow_mut().take(&key));
        let reused = pooled.is_some();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => self.connect(ex, &upstream.peers[peer].address).await?,
        };
        if let Some(attempt) = ex.upstream.current() {
            attempt.connect_time = Some(net::clock::now() - attempt.started);
        }
        self.send(ex, question, &mut connection, reused).await?;
        parser.reset();
        let bytes = self.read_head(ex, &mut connection, head, parser, reused).await?;
        connection.requests += 1;
        let key = key.filter(|_| head.keep_alive && (!question.streamed || visit.body_is_read()));
        Ok((connection, key, bytes))
    }

    async fn connect(&self, ex: &mut Exchange<'_>, address: &net::Address) -> Result<Pooled, Failed> {
        let options = self.connect_options(ex);
        let watch = ex.is_main() && !self.values.ignore_client_abort;
        let connecting = Stream::connect(address, &options);
        match ex.visit.client.waiting(self.values.connect_timeout, watch, connecting).await {
            Ok(Ok(stream)) => Ok(Pooled::new(stream)),
            Ok(Err(error)) => {
                self.name_upstream(ex);
                ex.log(
                    Level::Error,
                    format_args!("connect() failed ({}) while connecting to upstream", system(&error)),
                );
                Err(Failed::Error { reused: false })
            }
            Err(interrupted) => Err(self.interrupted(ex, interrupted, "connecting to upstream")),
        }
    }

    fn connect_options(&self, ex: &Exchange<'_>) -> Connect {
        let values = &self.values;
        let bind = values.bind.address(ex);
        let size = |bytes: u64| usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        let keepalive = Keepalive { on: true, idle: None, interval: None, count: None };
        Connect {
            bind: bind.map(|(address, _)| address),
            transparent: bind.is_some_and(|(_, transparent)| transparent),
            rcvbuf: size(values.socket_rcvbuf),
            sndbuf: size(values.socket_sndbuf),
            keepalive: values.socket_keepalive.then_some(keepalive),
            nodelay: true,
        }
    }

    async fn send(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        connection: &mut Pooled,
        reused: bool,
    ) -> Result<(), Failed> {
        let visit = ex.visit;
        let watch = ex.is_main() && !self.values.ignore_client_abort;
        let timeout = self.values.send_timeout;
        let mut sent = question.head.len() as u64;
        ex.upstream.sending();
        let first =
            match visit.client.waiting(timeout, watch, connection.stream.write_all(&question.head)).await {
                Ok(written) => written,
                Err(interrupted) => {
                    return Err(self.interrupted(ex, interrupted, "sending request to upstream"));
                }
            };
        let mut result = first;
        if result.is_ok() && question.body != RequestFraming::None {
            let mut offset = 0;
            let mut piece = Vec::new();
            loop {
                piece.clear();
                if question.streamed {
                    match visit.body_piece(ex.plan, &mut piece).await {
                        Ok(_) => {}
                        Err(Stop::Status(status)) => return Err(Failed::Status(status)),
                        Err(_) => return Err(Failed::ClientGone),
                    }
                } else {
                    piece =
                        visit.body.borrow().kept.piece(offset, 64 << 10).map_err(|_| Failed::Status(500))?;
                    offset += piece.len() as u64;
                }
                let end = piece.is_empty();
                if question.body == RequestFraming::Chunked {
                    let mut framed = Vec::with_capacity(piece.len() + 24);
                    if end {
                        framed.extend_from_slice(b"0\r\n\r\n");
                    } else {
                        wire::h1::chunk_header(piece.len(), &mut framed);
                        framed.extend_from_slice(&piece);
                        framed.extend_from_slice(b"\r\n");
                    }
                    piece = framed;
                }
                result = match visit.client.waiting(timeout, watch, connection.stream.write_all(&piece)).await
                {
                    Ok(written) => written,
                    Err(interrupted) => {
                        return Err(self.interrupted(ex, interrupted, "sending request to upstream"));
                    }
                };
                sent += piece.len() as u64;
                if end || result.is_err() {
                    break;
                }
            }
        }
        if let Some(attempt) = ex.upstream.current() {
            attempt.bytes_sent = sent;
        }
        match result {
            Ok(()) => Ok(()),
            // It may have answered before it closed: then the answer counts.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !reused => Ok(()),
            Err(error) => {
                self.name_upstream(ex);
                ex.log(
                    Level::Error,
                    format_args!("writev() failed ({}) while sending request to upstream", system(&error)),
                );
                Err(Failed::Error { reused })
            }
        }
    }

    async fn read_head(
        &self,
        ex: &mut Exchange<'_>,
        connection: &mut Pooled,
        head: &mut ResponseHead,
        parser: &mut ResponseParser,
        reused: bool,
    ) -> Result<Vec<u8>, Failed> {
        const DOING: &str = "reading response header from upstream";
        let visit = ex.visit;
        let watch = ex.is_main() && !self.values.ignore_client_abort;
        let mut bytes = visit.worker.buffers.take(READ);
        loop {
            let read = connection.stream.read(&mut bytes, READ);
            let read = match visit.client.waiting(self.values.read_timeout, watch, read).await {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => {
                    self.name_upstream(ex);
                    ex.log(Level::Error, format_args!("recv() failed ({}) while {DOING}", system(&error)));
                    return Err(Failed::Error { reused: reused && bytes.is_empty() });
                }
                Err(interrupted) => return Err(self.interrupted(ex, interrupted, DOING)),
            };
            if read == 0 {
                self.name_upstream(ex);
                ex.log(Level::Error, format_args!("upstream prematurely closed connection while {DOING}"));
                return Err(Failed::Error { reused: reused && bytes.is_empty() });
            }
            if let Some(attempt) = ex.upstream.current() {
                attempt.bytes_received += read as u64;
            }
            loop {
                match parser.parse(&bytes, head) {
                    Ok(true) if (100..200).contains(&head.status) && head.status != 101 => {
                        // An interim answer (RFC 9110, 15.2): the real one follows.
                        bytes.drain(..(head.head_len as usize).min(bytes.len()));
                        parser.reset();
                        if bytes.is_empty() {
                            break;
                        }
                    }
                    Ok(true) => {
                        if head.head_len as u64 > self.values.buffer_size {
                            return Err(self.too_big(ex));
                        }
                        for duplicate in &head.duplicates {
                            let text = duplicate.sentence(&bytes);
                            ex.log(Level::Warn, format_args!("{text} while {DOING}"));
                        }
                        if let Some(attempt) = ex.upstream.current() {
                            attempt.status = head.status;
                            attempt.header_time = Some(net::clock::now() - attempt.started);
                        }
                        return Ok(bytes);
                    }
                    Ok(false) if bytes.len() as u64 >= self.values.buffer_size => {
                        return Err(self.too_big(ex));
                    }
                    Ok(false) => break,
                    Err(ResponseError::NoStatusLine) => {
                        self.name_upstream(ex);
                        ex.log(Level::Error, format_args!("{} while {DOING}", ResponseError::NoStatusLine));
                        return Ok(self.as_http09(ex, head, bytes));
                    }
                    Err(error) => {
                        self.name_upstream(ex);
                        ex.log(Level::Error, format_args!("{error} while {DOING}"));
                        return Err(Failed::Invalid);
                    }
                }
            }
        }
    }

    /// What does not start as HTTP is a body without a head (HTTP/0.9), as nginx takes it.
    fn as_http09(&self, ex: &mut Exchange<'_>, head: &mut ResponseHead, bytes: Vec<u8>) -> Vec<u8> {
        *head = ResponseHead { status: 200, ..ResponseHead::default() };
        ex.visit.keep_alive.set(false);
        if let Some(attempt) = ex.upstream.current() {
            attempt.status = 200;
        }
        bytes
    }

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

    fn interrupted(&self, ex: &mut Exchange<'_>, why: Interrupted, doing: &str) -> Failed {
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
    fn name_upstream(&self, ex: &mut Exchange<'_>) {
        let mut target = Vec::new();
        let uri = match &self.destination {
            Destination::Fixed(fixed) => fixed.uri.clone(),
            Destination::Variable(_) => Vec::new(),
        };
        self.append_target(ex, &uri, false, &mut target);
        let address = ex.upstream.current().map(|a| a.address.clone()).unwrap_or_default();
        let colon = if address.starts_with("unix:") { ":" } else { "" };
        ex.upstream.in_use(Some(format!("http://{address}{colon}{}", String::from_utf8_lossy(&target))));
    }
}

/// A system's error as nginx's log writes it: `111: Connection refused`.
fn system(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            format!("{code}: {text}")
        }
        None => error.to_string(),
    }
}
