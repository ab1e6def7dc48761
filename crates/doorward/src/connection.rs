//! The life of an HTTP/1 connection: wait, read a head, run the request, write the answer, log it, and again.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use wire::h1::{Method, RequestHead, RequestParser, Version};

use crate::boxed::boxed_future;
use crate::client::Client;
use crate::config::{Config, Hosts, Server};
use crate::deliver::deliver;
use crate::exchange::{Exchange, Visit};
use crate::http2;
use crate::log::{Level, system_error};
use crate::modules::cache;
use crate::modules::core::{Lingering, body_allowed};
use crate::modules::{access_log, identity, otel, proxy_protocol, ssl};
use crate::run::{Stop, give_up, refuse, run};
use crate::worker::{Counted, Service, Worker};

/// What comes behind a request.
pub enum After {
    /// Another may come within so many milliseconds; in the first `least` of them a graceful end waits for it.
    KeepAlive { timeout: u64, least: u64 },
    /// The connection is closed at once.
    Close,
    /// What the client still sends is read for a while first.
    Linger { time: u64, timeout: u64 },
    /// The connection is reset.
    Reset,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is closed.
    Closed,
    /// It is given up so that the client sees a reset.
    Reset,
    /// It goes on as one of HTTP/2.
    Http2,
}

/// Serves a connection to its end.
pub async fn serve(client: &Client, service: &Rc<Service>, worker: &Rc<Worker>) -> End {
    let config = &*service.config;
    let first_server = &config.servers[config.listeners[client.listener].hosts.default];
    let mut wait = first_server.core.client_header_timeout;
    let mut certain = wait;
    if config.listeners[client.listener].proxy_protocol
        && !Box::pin(proxy_protocol::read(client, &first_server.plan.core.error_log, wait)).await
    {
        return End::Closed;
    }
    let hosts = hosts_of(client, config);
    if hosts.ssl {
        let begun = !client.unread.borrow().is_empty() || readable(client, service, wait, certain).await;
        if !begun || !boxed_future(|| ssl::accept(client, worker, service, hosts, wait)).await {
            return End::Closed;
        }
        if http2::is_chosen(client) {
            return End::Http2;
        }
    } else if http2::is_offered(client, service) && Box::pin(http2::begins(client, wait)).await {
        return End::Http2;
    }
    loop {
        if client.unread.borrow().is_empty() && !readable(client, service, wait, certain).await {
            break;
        }
        // What an active request needs lives in a box of its own: an idle connection is small.
        let after = boxed_future(|| request(client, service, worker)).await;
        if !matches!(after, After::KeepAlive { .. }) {
            // When the client sees the end of the connection, its request has been logged, as with nginx.
            worker.log_lines.flush();
        }
        match after {
            After::KeepAlive { timeout, least } if least > 0 || !service.is_retired() => {
                (wait, certain) = (timeout, least.min(timeout));
            }
            After::KeepAlive { .. } | After::Close => {
                finish_handshake(client, wait).await;
                break;
            }
            After::Linger { time, timeout } => {
                linger(client, time, timeout).await;
                break;
            }
            After::Reset => return End::Reset,
        }
    }
    End::Closed
}

/// Waits for the first byte of a request, without holding a buffer for it.
async fn readable(client: &Client, service: &Service, ms: u64, certain: u64) -> bool {
    if certain > 0 {
        let ready = poll_fn(|cx| client.poll_readable(cx).map(|ready| ready.is_ok()));
        match client.deadline.within(certain, ready).await {
            Ok(ready) => return ready,
            Err(_) if certain >= ms => return false,
            Err(_) => {}
        }
    }
    let ready = poll_fn(|cx| {
        if let Poll::Ready(ready) = client.poll_readable(cx) {
            return Poll::Ready(ready.is_ok());
        }
        // Woken by a reload or a graceful end: nothing is lost when an idle connection closes, but for a response that came
        // before the client has ended the handshake.
        if service.is_retired() && !client.is_early() { Poll::Ready(false) } else { Poll::Pending }
    });
    client.deadline.within(ms - certain, ready).await.unwrap_or(false)
}

/// Lets the client end a handshake that its request came before, so that it has tickets for the next, and so that the
/// response is not lost in a reset, as where something is left unread.
async fn finish_handshake(client: &Client, ms: u64) {
    if client.is_early() {
        // Who does not end it loses nothing but that.
        let _ = client.finish_handshake(ms).await;
    }
}

/// Reads what the client still sends, so that it sees what was sent to it before the connection is closed.
pub async fn linger(client: &Client, time: u64, timeout: u64) {
    finish_handshake(client, time.min(timeout)).await;
    client.shutdown();
    let end = net::clock::now() + time;
    while let now = net::clock::now()
        && now < end
    {
        match client.discard(timeout.min(end - now)).await {
            Ok(read) if read > 0 => {}
            _ => break,
        }
    }
}

/// Reads one request and answers it.
async fn request(client: &Client, service: &Rc<Service>, worker: &Rc<Worker>) -> After {
    let mut parsed = worker.heads.borrow_mut().pop().unwrap_or_default();
    let mut bytes = client.unread.take();
    if bytes.capacity() == 0 {
        bytes = worker.buffers.take(4096);
    }
    let after = read_and_answer(client, service, worker, &mut parsed, &mut bytes).await;
    worker.buffers.put(bytes);
    worker.keep_head(parsed);
    // An idle connection holds no memory for what it may send.
    if client.unread.borrow().is_empty() {
        worker.buffers.put(client.unread.take());
    }
    after
}

async fn read_and_answer(
    client: &Client,
    service: &Rc<Service>,
    worker: &Rc<Worker>,
    parsed: &mut (RequestHead, RequestParser),
    bytes: &mut Vec<u8>,
) -> After {
    let started = net::clock::now();
    let (head, parser) = parsed;
    let config = &*service.config;
    let server = first_server(client, config);
    parser.reset();
    let reading = Counted::new(&worker.counters.reading);
    let refused = read_head(client, server, head, parser, bytes, started).await;
    drop(reading);
    let refused = match refused {
        Ok(status) => status,
        Err(after) => return after,
    };
    worker.counters.requests.fetch_add(1, Ordering::Relaxed);
    client.requests.set(client.requests.get() + 1);
    // What is behind the head belongs to the body, or to the next request.
    let head_len = (head.head_len as usize).min(bytes.len());
    if refused.is_none() && head_len < bytes.len() {
        let mut unread = worker.buffers.take(bytes.len() - head_len);
        unread.extend_from_slice(&bytes[head_len..]);
        *client.unread.borrow_mut() = unread;
    }
    let _writing = Counted::new(&worker.counters.writing);
    answer(client, service, worker, head, bytes, started, refused).await
}

/// A request that is not run.
#[derive(Clone, Copy, PartialEq)]
pub enum Refused {
    /// It is answered with a status.
    Answered(u16),
    /// It is logged with a status, and the connection closed.
    Silently(u16),
}

/// Reads until the head is complete, or it is clear that it will be refused.
async fn read_head(
    client: &Client,
    server: &Server,
    head: &mut RequestHead,
    parser: &mut RequestParser,
    bytes: &mut Vec<u8>,
    started: u64,
) -> Result<Option<Refused>, After> {
    client.pipelined.set(!bytes.is_empty() && client.requests.get() > 0);
    let log = HeadLog { client, server };
    loop {
        if !bytes.is_empty() {
            match parser.parse(bytes, &server.limits, head) {
                Ok(true) => {
                    for line in &head.ignored {
                        let text = RequestHead::ignored_line(*line, bytes);
                        log.write(head, parser, bytes, format_args!("{text}"));
                    }
                    return Ok(None);
                }
                Ok(false) => {}
                Err(error) => {
                    log.write(head, parser, bytes, format_args!("{error}"));
                    return Ok(Some(Refused::Answered(error.status())));
                }
            }
        }
        let spent = net::clock::now() - started;
        let left = server.core.client_header_timeout.saturating_sub(spent).max(1);
        // The buffer is filled before it is grown.
        let room = bytes.capacity() - bytes.len();
        match client.read(bytes, if room > 0 { room } else { 16 << 10 }, left).await {
            Ok(0) if bytes.is_empty() => {
                log.closed();
                return Err(After::Close);
            }
            Ok(0) => {
                log.write(head, parser, bytes, format_args!("client prematurely closed connection"));
                return Ok(Some(Refused::Silently(400)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let text = format_args!("client timed out (110: Connection timed out)");
                log.write(head, parser, bytes, text);
                return Ok(Some(Refused::Silently(408)));
            }
            Err(_) if bytes.is_empty() => return Err(After::Close),
            Err(error) => {
                let text = system_error(&error);
                log.write(head, parser, bytes, format_args!("recv() failed {text}"));
                return Ok(Some(Refused::Silently(400)));
            }
        }
    }
}

/// What is logged while a head is read, in nginx's words.
struct HeadLog<'c> {
    client: &'c Client,
    server: &'c Server,
}

impl HeadLog<'_> {
    fn write(
        &self,
        head: &RequestHead,
        parser: &RequestParser,
        bytes: &[u8],
        message: std::fmt::Arguments<'_>,
    ) {
        let log = &self.server.plan.core.error_log;
        if !log.wants(Level::Info) {
            return;
        }
        let in_fields = parser.in_fields();
        let doing = match self.client.pipelined.get() {
            _ if in_fields => "client request headers",
            false => "client request line",
            true => "client pipelined request line",
        };
        let line = match in_fields {
            true => head.line.of(bytes),
            false => {
                bytes.trim_ascii_start().split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default()
            }
        };
        let mut context = format!(
            ", client: {}, server: {}",
            self.client.peer.ip_text(),
            String::from_utf8_lossy(&self.server.name)
        );
        if !line.is_empty() {
            context.push_str(&format!(", request: \"{}\"", String::from_utf8_lossy(line)));
        }
        if in_fields && let Some(host) = head.host {
            context.push_str(&format!(", host: \"{}\"", String::from_utf8_lossy(host.of(bytes))));
        }
        log.write_on(
            Level::Info,
            self.client.number,
            format_args!("{message} while reading {doing}"),
            &context,
        );
    }

    /// The client closed the connection between requests, or before its first.
    #[cold]
    fn closed(&self) {
        let (client, log) = (self.client, &self.server.plan.core.error_log);
        let ip = client.peer.ip_text();
        if client.requests.get() > 0 {
            let text = format_args!("client {ip} closed keepalive connection");
            return log.write_on(Level::Info, client.number, text, "");
        }
        let local = client.local().map(ToString::to_string).unwrap_or_default();
        let context = format!(", client: {ip}, server: {local}");
        let text = format_args!("client closed connection while waiting for request");
        log.write_on(Level::Info, client.number, text, &context);
    }
}

/// Runs a request whose head was read, sends the answer and logs it.
pub async fn answer(
    client: &Client,
    service: &Rc<Service>,
    worker: &Rc<Worker>,
    head: &mut RequestHead,
    bytes: &[u8],
    started: u64,
    refused: Option<Refused>,
) -> After {
    let config = &*service.config;
    let hosts = hosts_of(client, config);
    let mut host = Vec::new();
    if let Some(asked) = head.server_host().map(|range| range.of(bytes))
        && (refused.is_none() || wire::host::host(asked).is_ok())
    {
        host.extend_from_slice(wire::host::name(asked));
        host.make_ascii_lowercase();
    }
    let (at, pattern) = hosts.find(&host);
    let server = &config.servers[at];
    let mut refused = refused;
    if head.version == Version::Http20
        && refused.is_none()
        && !http2::is_served(server, &config.listeners[client.listener])
    {
        let text =
            "client attempted to request the server name for which the negotiated protocol is disabled";
        server.plan.core.error_log.write_on(Level::Info, client.number, format_args!("{text}"), "");
        refused = Some(Refused::Answered(421));
    }
    if let Some(names) = &server.plan.identity {
        identity::remove(names, head, bytes);
    }
    let head = &*head;
    let visit = Visit::new(worker, service, client, server, head, bytes, host, started);
    if refused.is_some() {
        visit.keep_alive.set(false);
    }
    let _processing = server.counts.as_ref().map(|counts| counts.begin());
    let mut ex = Exchange::new(&visit, server);
    if let Some(pattern) = pattern {
        let name = visit.host.clone();
        pattern.matches(&mut ex, Some(&name));
    }
    let mut background = None;
    if config.background_updates {
        let updates = ex.cache.updates.get_or_insert_default().clone();
        background = Some(cache::Background::new(&visit, updates));
    }
    let responded = {
        let responding = pin!(respond(&mut ex, hosts, refused));
        let mut responding = pin!(service.unless_over(responding));
        poll_fn(|cx| {
            let responded = responding.as_mut().poll(cx);
            if let Some(background) = &mut background {
                let _ = background.poll(cx);
            }
            responded
        })
        .await
    };
    if responded.is_none() {
        visit.keep_alive.set(false);
        visit.linger.set(false);
        if visit.bytes_sent.get() == 0 {
            // nginx's number for a client whose connection was closed before it had an answer.
            ex.response.status = 499;
        }
    }
    access_log::write(&ex);
    otel::end(&ex);
    if let Some(counts) = &server.counts {
        counts.ended(&ex);
    }
    if let Some(mut background) = background {
        service.unless_over(pin!(poll_fn(|cx| background.poll(cx)))).await;
    }
    after(&ex, refused.is_some()).await
}

/// Runs a request, or refuses it, and sends the answer.
async fn respond(ex: &mut Exchange<'_>, hosts: &Hosts, refused: Option<Refused>) {
    let visit = ex.visit;
    let body = match refused {
        Some(Refused::Silently(status)) => {
            visit.timed_out.set(status == 408);
            ex.response.status = status;
            None
        }
        Some(Refused::Answered(status)) => {
            target(ex);
            refuse(ex, status).await
        }
        None if ex.method == Method::Connect && !ex.server.allow_connect => {
            target(ex);
            let error = wire::h1::RequestError::Connect;
            ex.log(Level::Info, format_args!("{error} while reading client request headers"));
            refuse(ex, error.status()).await
        }
        None if hosts.ssl
            && let Some(status) = ssl::refusal(ex) =>
        {
            target(ex);
            refuse(ex, status).await
        }
        None => {
            target(ex);
            match early_body(ex).await {
                Ok(()) => run(ex).await,
                Err(stop) => give_up(ex, stop).await,
            }
        }
    };
    match body {
        Some(body) => {
            if visit.service.is_retired() {
                visit.keep_alive.set(false);
            }
            deliver(ex, body).await;
        }
        None => {
            visit.keep_alive.set(false);
            visit.linger.set(false);
        }
    }
}

/// The server that counts before a request has named one: the one that was shaken hands with, else the address's default.
pub fn first_server<'c>(client: &Client, config: &'c Config) -> &'c Server {
    &config.servers[client.tls.get().map_or_else(|| hosts_of(client, config).default, |tls| tls.server)]
}

/// The servers of the address that the client reached.
pub fn hosts_of<'c>(client: &Client, config: &'c Config) -> &'c Hosts {
    let listener = &config.listeners[client.listener];
    if listener.specific.is_empty() { &listener.hosts } else { listener.hosts_at(client.local()) }
}

/// Path and query of the target.
fn target(ex: &mut Exchange<'_>) {
    let visit = ex.visit;
    ex.args = visit.head.query.map(|q| q.of(visit.bytes).to_vec()).unwrap_or_default();
    ex.uri = visit.head.uri(visit.bytes).to_vec();
}

/// Reads the body first, where `client_body_early_read` says so.
async fn early_body(ex: &Exchange<'_>) -> Result<(), Stop> {
    let early = |template: &crate::variables::Template| {
        let value = template.eval(ex);
        !value.is_empty() && value != b"0"
    };
    if ex.server.core.client_body_early_read.iter().any(early) {
        let length = ex.visit.head.content_length.unwrap_or(0);
        if !body_allowed(ex.plan, length) {
            ex.log(Level::Error, format_args!("client intended to send too large body: {length} bytes"));
            return Err(Stop::Status(413));
        }
        ex.visit.keep_body(ex.plan).await?;
    }
    Ok(())
}

/// What comes behind this request: the next, an end, or an end with patience for what the client still sends.
async fn after(ex: &Exchange<'_>, refused: bool) -> After {
    let (visit, core) = (ex.visit, &ex.plan.core);
    if let Some(is_whole) = visit.client.http2().map(|stream| stream.is_whole()) {
        if !is_whole {
            // A reset takes back what waits to be sent: what came of the response goes out before it.
            tokio::task::yield_now().await;
        }
        if let Some(mut stream) = visit.client.http2() {
            stream.end(visit.timed_out.get());
        }
        return After::Close;
    }
    if visit.timed_out.get() {
        return if core.reset_timedout_connection { After::Reset } else { After::Close };
    }
    if visit.keep_alive.get() && (visit.body_is_read() || discard_rest(ex).await) {
        return After::KeepAlive {
            timeout: core.keepalive_timeout.timeout,
            least: core.keepalive_min_timeout,
        };
    }
    // Closed with something unread, the connection would be reset, and the response lost on its way.
    let unread = refused || !visit.body_is_read() || !visit.client.unread.borrow().is_empty();
    let lingers = match core.lingering_close {
        Lingering::Off => false,
        Lingering::On => visit.linger.get() && unread,
        Lingering::Always => true,
    };
    match lingers {
        true => After::Linger { time: core.lingering_time, timeout: core.lingering_timeout },
        false => After::Close,
    }
}

/// Reads the rest of a body that nobody wanted, so that the next request can be found behind it.
async fn discard_rest(ex: &Exchange<'_>) -> bool {
    let (visit, core) = (ex.visit, &ex.plan.core);
    visit.body.borrow_mut().expects_continue = false;
    let end = net::clock::now() + core.lingering_time;
    let mut piece = visit.worker.buffers.take(8192);
    let complete = loop {
        piece.clear();
        if net::clock::now() >= end {
            break false;
        }
        match visit.body_piece(ex.plan, &mut piece).await {
            Ok(0) => break true,
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    visit.worker.buffers.put(piece);
    complete
}
