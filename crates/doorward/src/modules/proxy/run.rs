//! Asks servers until one answers.

use std::borrow::Cow;
use std::io;

use conf::Span;
use net::pool::Pooled;
use net::{Connect, Stream};
use wire::Name;
use wire::h1::{Method, ResponseError, ResponseHead, ResponseParser};

use super::body::{Lease, UpstreamBody};
use super::pass::Destination;
use super::request::RequestFraming;
use super::{Proxy, Tunnel, pass};
use crate::body::Body;
use crate::client::Interrupted;
use crate::error_pages::split_args;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::upstream::{Scheme, Target, Tried, Upstream};
use crate::run::Stop;
use crate::worker::PoolKey;

/// How much of an answer is read at a time.
const READ: usize = 32 << 10;

/// Why a server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Error { reused: bool },
    Timeout,
    Invalid,
    Status(u16),
    ClientGone,
}

/// What an attempt needs, made once for all attempts.
struct Question<'a> {
    upstream: &'a Upstream,
    head: Vec<u8>,
    /// What of the kept body goes behind the head.
    body: RequestFraming,
    /// Whether the client's body is passed on as it comes.
    streamed: bool,
    is_head: bool,
}

/// A head that a server answered, with what came behind it.
struct Answer {
    connection: Pooled,
    lease: Lease,
    key: Option<PoolKey>,
    bytes: Vec<u8>,
}

impl Proxy {
    /// Passes the request on and takes the answer's head; the body is pulled from what this returns.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let fixed = self.resolve(ex)?;
        let visit = ex.visit;
        let streamed = self.streams_body(ex);
        if ex.is_main() && !streamed {
            visit.keep_body(ex.plan).await?;
        }
        ex.upstream.proxy_host.clone_from(&fixed.authority);
        ex.upstream.proxy_port = fixed.port.clone().into_bytes();
        let upstream = &*visit.config.upstreams[fixed.upstream];
        let question = self.question(ex, &fixed, upstream, streamed);
        let result = self.ask(ex, fixed.upstream, &question).await;
        ex.upstream.in_use(None);
        visit.worker.buffers.put(question.head);
        result
    }

    /// Where this request goes.
    fn resolve(&self, ex: &mut Exchange<'_>) -> Result<Cow<'_, pass::Fixed>, Stop> {
        match &self.destination {
            Destination::Fixed(fixed) => Ok(Cow::Borrowed(fixed)),
            Destination::Variable(template) => {
                let url = template.eval(ex);
                let shown = String::from_utf8_lossy(&url).into_owned();
                let Some((scheme, rest)) = Scheme::split(&url) else {
                    ex.log(Level::Error, format_args!("invalid URL prefix in \"{shown}\""));
                    return Err(Stop::Status(500));
                };
                let target = match Target::parse(rest, true) {
                    Ok(target) => target,
                    Err(error) => {
                        ex.log(Level::Error, format_args!("{error} in upstream \"{shown}\""));
                        return Err(Stop::Status(500));
                    }
                };
                let mut uri = target.uri.clone();
                if uri.starts_with(b"?") {
                    uri.insert(0, b'/');
                }
                let Some(upstream) = ex.visit.config.find_upstream(&target) else {
                    ex.log(Level::Error, format_args!("no resolver defined to resolve {}", target.host));
                    return Err(Stop::Status(502));
                };
                Ok(Cow::Owned(pass::Fixed {
                    scheme,
                    upstream,
                    authority: target.authority(scheme).into_bytes(),
                    port: target.port.unwrap_or(scheme.port()).to_string(),
                    uri,
                    url: Vec::new(),
                    span: Span::default(),
                }))
            }
        }
    }

    /// Whether the client's body is passed on as it comes, rather than read first.
    fn streams_body(&self, ex: &Exchange<'_>) -> bool {
        ex.is_main()
            && !self.values.request_buffering
            && self.values.body.is_none()
            && self.values.pass_request_body
            && (!ex.visit.head.chunked || self.values.http_11)
            && !ex.visit.body_is_read()
    }

    fn question<'a>(
        &self,
        ex: &Exchange<'_>,
        fixed: &pass::Fixed,
        upstream: &'a Upstream,
        streamed: bool,
    ) -> Question<'a> {
        let visit = ex.visit;
        let set_body = self.values.body.as_ref().map(|body| body.eval(ex));
        let framing = match &set_body {
            Some(body) => RequestFraming::Length(body.len() as u64),
            // A subrequest has no body, and one that is not sent is not announced either.
            None if !ex.is_main() || !self.values.pass_request_body => RequestFraming::None,
            None if streamed => match visit.head.content_length {
                Some(length) => RequestFraming::Length(length),
                None => RequestFraming::Chunked,
            },
            None if visit.head.chunked => RequestFraming::Length(visit.body.borrow().kept.len()),
            None => visit.head.content_length.map_or(RequestFraming::None, RequestFraming::Length),
        };
        let mut head = visit.worker.buffers.take(2048);
        let variable = matches!(self.destination, Destination::Variable(_));
        self.append_head(ex, &fixed.authority, Some(&fixed.uri), variable, framing, &mut head);
        if let Some(body) = &set_body {
            head.extend_from_slice(body);
        }
        let body = if set_body.is_some() { RequestFraming::None } else { framing };
        Question { upstream, head, body, streamed, is_head: self.is_head(ex) }
    }

    async fn ask(&self, ex: &mut Exchange<'_>, index: usize, question: &Question<'_>) -> Result<Body, Stop> {
        let visit = ex.visit;
        let upstream = question.upstream;
        let began = net::clock::now();
        let mut tried = Tried::default();
        let mut tries = upstream.tries();
        if self.values.next_upstream_tries > 0 {
            tries = tries.min(self.values.next_upstream_tries as usize);
        }
        let mut parsed = visit.worker.answers.borrow_mut().pop().unwrap_or_default();
        let result = loop {
            let Some(choice) = upstream.choose(&mut tried, net::clock::now()) else {
                ex.upstream.begin(&upstream.name);
                ex.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
                break Err(self.give_up(ex, 502));
            };
            let peer = &upstream.peers[choice.index];
            ex.upstream.begin(&peer.name);
            tries = tries.saturating_sub(1);
            let mut lease = Lease::new(visit.service, index, choice);
            let (head, parser) = &mut *parsed;
            let failed = match self.attempt(ex, question, choice.index, head, parser).await {
                Ok((connection, key, bytes)) => {
                    let answer = Answer { connection, lease, key, bytes };
                    match self.failing_status(ex, head.status, question, tries, began) {
                        Some(status) => {
                            drop(answer);
                            Failed::Status(status)
                        }
                        None => break self.accept(ex, question, head, answer).await,
                    }
                }
                Err(failed) => {
                    if failed != Failed::ClientGone {
                        lease.failed();
                    }
                    failed
                }
            };
            if matches!(failed, Failed::Error { reused: true }) {
                // A kept connection that the server closed meanwhile is nobody's failure.
                tries += 1;
            }
            let status = match failed {
                Failed::ClientGone => break Err(Stop::Gone),
                Failed::Timeout => 504,
                Failed::Status(status) => status,
                _ => 502,
            };
            if let Some(attempt) = ex.upstream.current() {
                attempt.status = status;
                attempt.response_time = Some(net::clock::now() - attempt.started);
            }
            if tries == 0 || !self.may_try_another(ex, failed, question, began) {
                break Err(self.give_up(ex, status));
            }
        };
        visit.worker.answers.borrow_mut().push(parsed);
        result
    }

    fn give_up(&self, ex: &mut Exchange<'_>, status: u16) -> Stop {
        if let Some(attempt) = ex.upstream.current() {
            attempt.status = status;
            attempt.response_time = Some(net::clock::now() - attempt.started);
        }
        ex.upstream.next_handler();
        Stop::Status(status)
    }

    fn may_try_another(
        &self,
        ex: &Exchange<'_>,
        failed: Failed,
        question: &Question<'_>,
        began: u64,
    ) -> bool {
        let next = &self.values.next_upstream;
        let wanted = match failed {
            Failed::Error { .. } => next.error,
            Failed::Timeout => next.timeout,
            Failed::Invalid => next.invalid_header,
            Failed::Status(_) => true,
            Failed::ClientGone => false,
        };
        let sent = ex.upstream.was_sent();
        let repeatable =
            next.non_idempotent || !sent || !matches!(ex.method, Method::Post | Method::Lock | Method::Patch);
        let limit = self.values.next_upstream_timeout;
        wanted
            && repeatable
            && !(question.streamed && sent)
            && (limit == 0 || net::clock::now() - began < limit)
    }

    /// A status that counts as a failure, where another server can still be tried.
    fn failing_status(
        &self,
        ex: &Exchange<'_>,
        status: u16,
        question: &Question<'_>,
        tries: usize,
        began: u64,
    ) -> Option<u16> {
        let counts = self.values.next_upstream.statuses.contains(&status);
        (counts && tries > 0 && self.may_try_another(ex, Failed::Status(status), question, began))
            .then_some(status)
    }

    /// One attempt at one server, up to the head of its answer.
    async fn attempt(
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
        let options = Connect { nodelay: true, ..Connect::default() };
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

    /// Takes an answer as this request's own, unless its fields or this server's settings send it elsewhere.
    async fn accept(
        &self,
        ex: &mut Exchange<'_>,
        question: &Question<'_>,
        head: &ResponseHead,
        answer: Answer,
    ) -> Result<Body, Stop> {
        let Answer { connection, lease, key, mut bytes } = answer;
        let visit = ex.visit;
        let head_len = (head.head_len as usize).min(bytes.len());
        let mut raw = Vec::new();
        if head_len < bytes.len() {
            raw = visit.worker.buffers.take(bytes.len() - head_len);
            raw.extend_from_slice(&bytes[head_len..]);
            bytes.truncate(head_len);
        }
        let trailers = self.values.pass_trailers.then_some(self.values.buffer_size as usize);
        let decoder = head.body(question.is_head, trailers);
        self.take_head(ex, head, bytes);
        if head.upgrade && ex.request_field(Name::Upgrade).is_some() {
            return self.switch(ex, connection, lease, raw);
        }
        let ignore_abort = self.values.ignore_client_abort;
        let body =
            UpstreamBody::new(connection, lease, key, decoder, raw, self.values.read_timeout, ignore_abort);
        let mut body = Box::new(body);
        body.settle(ex);
        if let Some(stop) = self.elsewhere(ex) {
            body.discard(ex).await;
            ex.upstream.next_handler();
            return Err(stop);
        }
        Ok(Body::Upstream(body))
    }

    /// The server has changed the protocol as the client asked for it.
    fn switch(
        &self,
        ex: &mut Exchange<'_>,
        connection: Pooled,
        lease: Lease,
        ahead: Vec<u8>,
    ) -> Result<Body, Stop> {
        if !ex.is_main() {
            ex.log(Level::Error, format_args!("connection upgrade in subrequest"));
            return Err(Stop::Status(502));
        }
        let (read_timeout, send_timeout) = (self.values.read_timeout, self.values.send_timeout);
        Ok(Body::Tunnel(Box::new(Tunnel::new(connection, lease, ahead, read_timeout, send_timeout))))
    }

    /// `X-Accel-Redirect`, and `proxy_intercept_errors` where there is a page for the status.
    fn elsewhere(&self, ex: &mut Exchange<'_>) -> Option<Stop> {
        if !self.ignores(b"x-accel-redirect")
            && ex.is_main()
            && let Some(target) = ex.response.fields.upstream_value(Name::XAccelRedirect)
        {
            let target = target.to_vec();
            self.keep_fields_for_redirect(ex);
            if target.starts_with(b"@") {
                return Some(Stop::Named(target));
            }
            let mut decoded = Vec::new();
            let Ok(args) = wire::uri::unsafe_uri(&target, &mut decoded) else {
                return Some(Stop::Status(404));
            };
            let args = args.map(<[u8]>::to_vec);
            split_args(&decoded, ex);
            ex.uri = decoded;
            ex.args = args.unwrap_or_default();
            if ex.method != Method::Head {
                ex.method = Method::Get;
            }
            return Some(Stop::Redirect);
        }
        let status = ex.response.status;
        if self.values.intercept_errors
            && status >= 300
            && ex.plan.core.error_pages.find(status).is_some()
            && !ex.error_page
        {
            let challenges: Vec<Vec<u8>> = ex
                .response
                .fields
                .visible()
                .filter(|(id, ..)| status == 401 && *id == Name::WwwAuthenticate)
                .map(|(_, _, value)| value.to_vec())
                .collect();
            ex.response.fields.hide_upstream();
            for challenge in challenges {
                ex.response.fields.add("WWW-Authenticate", &challenge);
            }
            ex.response.content_length = None;
            ex.response.last_modified = None;
            return Some(Stop::Status(status));
        }
        None
    }

    /// An internal redirect keeps of the answer what describes the response rather than the redirect.
    fn keep_fields_for_redirect(&self, ex: &mut Exchange<'_>) {
        const KEPT: [Name; 6] = [
            Name::SetCookie,
            Name::ContentType,
            Name::CacheControl,
            Name::Expires,
            Name::AcceptRanges,
            Name::ContentDisposition,
        ];
        let fields = &mut ex.response.fields;
        let kept: Vec<(Vec<u8>, Vec<u8>)> = fields
            .visible()
            .filter(|(id, ..)| KEPT.contains(id))
            .map(|(_, name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        fields.hide_upstream();
        for (name, value) in kept {
            fields.add_bytes(&name, &value);
        }
        ex.response.content_length = None;
        ex.response.last_modified = None;
        ex.response.status = 0;
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
