//! The life of an HTTP/1 connection: wait, read a head, run the request, write the answer, log it, and again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use wire::h1::{RequestHead, RequestParser};

use crate::client::Client;
use crate::config::{Config, Hosts, Server};
use crate::deliver::deliver;
use crate::exchange::{Exchange, Visit};
use crate::log::Level;
use crate::modules::access_log;
use crate::modules::core::Lingering;
use crate::request_body::RequestBody;
use crate::run::{refuse, run};
use crate::worker::{Service, Worker};

/// What comes behind a request.
enum After {
    /// Another may come within so many milliseconds.
    KeepAlive(u64),
    /// The connection is closed at once.
    Close,
    /// What the client still sends is read for a while first.
    Linger { time: u64, timeout: u64 },
    /// The connection is reset.
    Reset,
}

/// Serves a connection to its end.
pub async fn serve(client: Client, service: Rc<Service>, worker: Rc<Worker>) {
    let config = &*service.config;
    let first_server = &config.servers[config.listeners[client.listener].hosts.default];
    let mut wait = first_server.core.client_header_timeout;
    loop {
        if client.unread.borrow().is_empty() && !readable(&client, &service, wait).await {
            break;
        }
        // What an active request needs lives in a box of its own: an idle connection is small.
        let after = Box::pin(request(&client, &service, &worker)).await;
        match after {
            After::KeepAlive(timeout) if !service.is_retired() => wait = timeout,
            After::KeepAlive(_) | After::Close => break,
            After::Linger { time, timeout } => {
                linger(&client, time, timeout).await;
                break;
            }
            After::Reset => {
                worker.closed();
                return client.reset();
            }
        }
    }
    worker.closed();
}

/// Waits for the first byte of a request, without holding a buffer for it.
async fn readable(client: &Client, service: &Service, ms: u64) -> bool {
    let idle = client.requests.get() > 0;
    let ready = poll_fn(|cx| {
        if let Poll::Ready(ready) = client.poll_readable(cx) {
            return Poll::Ready(ready.is_ok());
        }
        // Woken by a reload or a graceful end: nothing is lost when an idle connection closes.
        if idle && service.is_retired() { Poll::Ready(false) } else { Poll::Pending }
    });
    client.deadline.within(ms, ready).await.unwrap_or(false)
}

async fn linger(client: &Client, time: u64, timeout: u64) {
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
    bytes.clear();
    worker.buffers.put(bytes);
    worker.heads.borrow_mut().push(parsed);
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
    let hosts = hosts_of(client, config);
    let server = &config.servers[hosts.default];
    parser.reset();
    worker.counters.reading.fetch_add(1, Ordering::Relaxed);
    let refused = read_head(client, server, head, parser, bytes, started).await;
    worker.counters.reading.fetch_sub(1, Ordering::Relaxed);
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
    worker.counters.writing.fetch_add(1, Ordering::Relaxed);
    let after = answer(client, service, worker, head, bytes, started, refused).await;
    worker.counters.writing.fetch_sub(1, Ordering::Relaxed);
    after
}

/// Reads until the head is complete, or it is clear that it will be refused: then the status is returned.
async fn read_head(
    client: &Client,
    server: &Server,
    head: &mut RequestHead,
    parser: &mut RequestParser,
    bytes: &mut Vec<u8>,
    started: u64,
) -> Result<Option<u16>, After> {
    let limits = &server.limits;
    let log = &server.plan.core.error_log;
    let context =
        || format!(", client: {}, server: {}", client.peer.ip_text(), String::from_utf8_lossy(&server.name));
    loop {
        if !bytes.is_empty() {
            match parser.parse(bytes, limits, head) {
                Ok(true) => {
                    for line in &head.ignored {
                        let text = RequestHead::ignored_line(*line, bytes);
                        log.write_on(
                            Level::Info,
                            client.number,
                            format_args!("{text} while reading client request headers"),
                            &context(),
                        );
                    }
                    return Ok(None);
                }
                Ok(false) => {}
                Err(error) => {
                    let doing = if head.line.is_empty() { "request line" } else { "request headers" };
                    let text = format_args!("{error} while reading client {doing}");
                    log.write_on(Level::Info, client.number, text, &context());
                    return Ok(Some(error.status()));
                }
            }
        }
        let spent = net::clock::now() - started;
        let left = server.core.client_header_timeout.saturating_sub(spent).max(1);
        // The buffer is filled before it is grown.
        let room = bytes.capacity() - bytes.len();
        match client.read(bytes, if room > 0 { room } else { 16 << 10 }, left).await {
            Ok(0) => {
                if parser.begun() {
                    let text = format_args!(
                        "client prematurely closed connection while reading client request line"
                    );
                    log.write_on(Level::Info, client.number, text, &context());
                }
                return Err(After::Close);
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let text = format_args!(
                    "client timed out (110: Connection timed out) while reading client request headers"
                );
                log.write_on(Level::Info, client.number, text, &context());
                // nginx logs the request with 408 and closes without a word.
                return Ok(Some(408));
            }
            Err(error) => {
                log.write_on(
                    Level::Info,
                    client.number,
                    format_args!("recv() failed ({error}) while reading client request line"),
                    &context(),
                );
                return Err(After::Close);
            }
        }
    }
}

async fn answer(
    client: &Client,
    service: &Rc<Service>,
    worker: &Rc<Worker>,
    head: &RequestHead,
    bytes: &[u8],
    started: u64,
    refused: Option<u16>,
) -> After {
    let config = &*service.config;
    let hosts = hosts_of(client, config);
    let mut host = Vec::new();
    let asked = head.server_host().map(|range| range.of(bytes));
    if let Some(Ok(valid)) = asked.map(wire::host::host) {
        host.extend_from_slice(valid.name);
        host.make_ascii_lowercase();
    }
    let (at, pattern) = hosts.find(&host);
    let server = &config.servers[at];
    let visit = Visit {
        worker,
        service,
        config,
        client,
        head,
        bytes,
        host,
        body: RefCell::new(RequestBody {
            decoder: head.body(),
            expects_continue: head.expect_continue,
            ..RequestBody::default()
        }),
        slots: RefCell::default(),
        started,
        realip: RefCell::default(),
        bytes_sent: Cell::new(0),
        body_bytes_sent: Cell::new(0),
        keep_alive: Cell::new(refused.is_none() && head.keep_alive()),
        linger: Cell::new(true),
        complete: Cell::new(false),
        subrequests: Cell::new(0),
    };
    let mut ex = Exchange::new(&visit, server);
    if let Some(pattern) = pattern {
        let name = visit.host.clone();
        pattern.matches(&mut ex, Some(&name));
    }
    let body = match refused {
        Some(408) => None,
        Some(status) => refuse(&mut ex, status).await,
        None => {
            target(&mut ex);
            limit_keep_alive(&ex);
            run(&mut ex).await
        }
    };
    match body {
        Some(body) => {
            if service.is_retired() {
                visit.keep_alive.set(false);
            }
            deliver(&mut ex, body).await;
        }
        None => {
            visit.keep_alive.set(false);
            visit.linger.set(false);
            if refused == Some(408) {
                ex.response.status = 408;
            }
        }
    }
    access_log::write(&ex);
    after(&ex).await
}

/// The servers of the address that the client reached.
fn hosts_of<'c>(client: &Client, config: &'c Config) -> &'c Hosts {
    let listener = &config.listeners[client.listener];
    if listener.specific.is_empty() { &listener.hosts } else { listener.hosts_at(client.local()) }
}

/// Path and query of the target.
fn target(ex: &mut Exchange<'_>) {
    let visit = ex.visit;
    ex.args = visit.head.query.map(|q| q.of(visit.bytes).to_vec()).unwrap_or_default();
    ex.uri = visit.head.uri(visit.bytes).to_vec();
}

fn limit_keep_alive(ex: &Exchange<'_>) {
    let (visit, core) = (ex.visit, &ex.server.plan.core);
    if !visit.keep_alive.get() {
        return;
    }
    let client = visit.client;
    if core.keepalive_timeout.timeout == 0
        || client.requests.get() >= core.keepalive_requests
        || net::clock::now() - client.opened > core.keepalive_time
    {
        visit.keep_alive.set(false);
    }
}

/// What comes behind this request: the next, an end, or an end with patience for what the client still sends.
async fn after(ex: &Exchange<'_>) -> After {
    let (visit, core) = (ex.visit, &ex.plan.core);
    let lingers = |always: bool| match core.lingering_close {
        Lingering::Off => false,
        Lingering::On => visit.linger.get() && !always,
        Lingering::Always => true,
    };
    let linger = || After::Linger { time: core.lingering_time, timeout: core.lingering_timeout };
    if visit.keep_alive.get() {
        if visit.body_is_read() || discard_rest(ex).await {
            return After::KeepAlive(core.keepalive_timeout.timeout);
        }
        return if core.lingering_close == Lingering::Off { After::Close } else { linger() };
    }
    if ex.response.status == 444 {
        return if core.reset_timedout_connection { After::Reset } else { After::Close };
    }
    let unread = !visit.body_is_read() || !visit.client.unread.borrow().is_empty();
    if (unread && lingers(false)) || core.lingering_close == Lingering::Always {
        return linger();
    }
    After::Close
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
