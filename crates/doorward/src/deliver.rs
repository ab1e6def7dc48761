//! Writes a response to an HTTP/1 client: its head, then its body as it comes, framed so that the client sees the end.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;

use wire::Name;
use wire::h1::Version;

use crate::body::{Body, FilePart, Truncated};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::core::{KeepAlive, ServerTokens};
use crate::modules::headers;
use crate::modules::proxy::UpstreamBody;
use crate::product;
use crate::read_ahead::{Limits, ReadAhead};

/// How much of a body is taken at a time.
const PIECE: usize = 32 << 10;

/// A shorter file costs less when it is read and sent in one write with its head.
const SENDFILE_LEAST: u64 = 8 << 10;

/// How much of a file is sent in one call, so that other requests get their turn.
const SENDFILE_MOST: usize = 2 << 20;

/// How the end of the body is shown.
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

/// Writes head and body. Whether the connection can go on is left in the visit.
pub async fn deliver(ex: &mut Exchange<'_>, mut body: Body) {
    let mut out = ex.visit.worker.buffers.take(4096);
    if ex.visit.client.requests.get() > 1 {
        ex.visit.client.send_at_once();
    }
    let framing = head(ex, &body, &mut out);
    let sent = match framing {
        Framing::None => {
            if let Body::Tunnel(tunnel) = body {
                let sent = send(ex, &mut out, &[], 0).await;
                if sent.is_ok() {
                    tunnel.run(ex).await;
                }
                sent
            } else if body.is_filling() {
                let sent = send(ex, &mut out, &[], 0).await;
                body.discard(ex).await;
                sent
            } else {
                body.discard(ex).await;
                send(ex, &mut out, &[], 0).await
            }
        }
        _ => {
            let sent = stream(ex, &mut body, framing, &mut out).await;
            if body.is_filling() {
                body.discard(ex).await;
            }
            sent
        }
    };
    ex.visit.complete.set(sent.is_ok());
    if sent.is_err() {
        ex.visit.keep_alive.set(false);
        ex.visit.linger.set(false);
    }
    out.clear();
    ex.visit.worker.buffers.put(out);
}

/// Sends the head with the first piece of the body, then the other pieces.
async fn stream(
    ex: &mut Exchange<'_>,
    body: &mut Body,
    framing: Framing,
    out: &mut Vec<u8>,
) -> Result<(), Truncated> {
    let worker = ex.visit.worker;
    let mut piece = worker.buffers.take(PIECE);
    let mut rate = Rate::new(ex);
    let mut ahead: Option<Box<ReadAhead>> = None;
    let result = loop {
        piece.clear();
        if let Body::File(part) = body
            && part.length > SENDFILE_LEAST
            && framing != Framing::Chunked
            && rate.per_second == 0
            && let Some(result) = sendfile(ex, out, part).await
        {
            break result;
        }
        let most = rate.next_piece(PIECE);
        let more = match ahead.as_deref_mut().filter(|ahead| !ahead.is_passed()) {
            None => body.next(ex, &mut piece, most).await,
            Some(ahead) => ahead.next(&mut piece, most),
        };
        // Both must have come to their end.
        let done = |body: &Body| match ahead.as_deref() {
            Some(ahead) if !ahead.is_passed() => ahead.is_done(),
            _ => body.is_done(),
        };
        let done = done(body);
        let payload = piece.len() as u64;
        match more {
            Ok(true) if framing == Framing::Chunked => {
                wire::h1::chunk_header(piece.len(), out);
                piece.extend_from_slice(b"\r\n");
                if done {
                    last_chunk(ex, body, &mut piece);
                }
            }
            Ok(true) => {}
            Ok(false) if framing == Framing::Chunked => last_chunk(ex, body, &mut piece),
            Ok(false) => {}
            // Nothing was sent yet of what turns out to be no answer.
            Err(Truncated) if !out.is_empty() && is_broken(body) => break Err(Truncated),
            Err(Truncated) => {
                // What was read already is the client's; the end is missing, and it must see that.
                let _ = send(ex, out, &piece, payload).await;
                break Err(Truncated);
            }
        }
        let length = (out.len() + piece.len()) as u64;
        let sent = {
            let mut write = pin!(write(ex.visit.client, out, &piece, ex.plan.core.send_timeout));
            let first = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
            match (first, reads_ahead(body)) {
                (Poll::Ready(sent), _) => sent,
                (Poll::Pending, None) => write.await,
                (Poll::Pending, Some(limits)) => {
                    let ahead = ahead.get_or_insert_default();
                    Box::pin(ahead.meanwhile(ex, body, limits, write)).await
                }
            }
        };
        if let Err(error) = account(ex, sent, length, payload) {
            break Err(error);
        }
        out.clear();
        if more == Ok(false) || done {
            break Ok(());
        }
        // The next piece is not to wait until the client has acknowledged this one.
        ex.visit.client.send_at_once();
        if rate.per_second > 0 {
            let pause = rate.wait(payload);
            match reads_ahead(body) {
                None => pause.await,
                Some(limits) => {
                    let ahead = ahead.get_or_insert_default();
                    Box::pin(ahead.meanwhile(ex, body, limits, pin!(pause))).await;
                }
            }
        }
    };
    piece.clear();
    worker.buffers.put(piece);
    result
}

/// Sends the rest of a file without copying it through the process; `None` where the system does not do that.
async fn sendfile(
    ex: &Exchange<'_>,
    out: &mut Vec<u8>,
    part: &mut FilePart,
) -> Option<Result<(), Truncated>> {
    let visit = ex.visit;
    visit.client.send_at_once();
    if let Err(error) = visit.client.write_start(out, ex.plan.core.send_timeout).await {
        return Some(Err(not_sent(ex, "send", &error)));
    }
    visit.bytes_sent.set(visit.bytes_sent.get() + out.len() as u64);
    out.clear();
    while part.length > 0 {
        let most = usize::try_from(part.length).map_or(SENDFILE_MOST, |length| length.min(SENDFILE_MOST));
        let file = std::os::fd::AsFd::as_fd(&*part.file);
        match visit.client.sendfile(file, part.offset, most, ex.plan.core.send_timeout).await {
            Ok(0) => {
                ex.log(Level::Alert, format_args!("sendfile() reported that the file was truncated"));
                return Some(Err(Truncated));
            }
            Ok(sent) => {
                let sent = sent as u64;
                part.offset += sent;
                part.length -= sent;
                visit.bytes_sent.set(visit.bytes_sent.get() + sent);
                visit.body_bytes_sent.set(visit.body_bytes_sent.get() + sent);
            }
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                return None;
            }
            Err(error) => return Some(Err(not_sent(ex, "sendfile", &error))),
        }
    }
    Some(Ok(()))
}

fn last_chunk(ex: &Exchange<'_>, body: &Body, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(upstream) = body.upstream() {
        upstream.append_trailers(out);
    }
    if ex.response.adds_trailers {
        headers::append_trailers(ex, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn is_broken(body: &Body) -> bool {
    body.upstream().is_some_and(UpstreamBody::is_broken)
}

/// How far a body is read ahead of a client that is slow to take it.
fn reads_ahead(body: &Body) -> Option<Limits> {
    match body {
        Body::Upstream(upstream) => upstream.reads_ahead(),
        _ => None,
    }
}

async fn send(ex: &Exchange<'_>, head: &mut Vec<u8>, piece: &[u8], payload: u64) -> Result<(), Truncated> {
    let length = (head.len() + piece.len()) as u64;
    let sent = write(ex.visit.client, head, piece, ex.plan.core.send_timeout).await;
    account(ex, sent, length, payload)
}

async fn write(client: &Client, head: &mut Vec<u8>, piece: &[u8], timeout: u64) -> io::Result<()> {
    if head.is_empty() {
        client.write(piece, timeout).await
    } else if head.len() + piece.len() <= head.capacity() {
        // Copying what is small costs less than a vectored write.
        head.extend_from_slice(piece);
        client.write(head, timeout).await
    } else {
        client.write_both(head, piece, timeout).await
    }
}

fn account(ex: &Exchange<'_>, sent: io::Result<()>, length: u64, payload: u64) -> Result<(), Truncated> {
    let visit = ex.visit;
    match sent {
        Ok(()) => {
            visit.bytes_sent.set(visit.bytes_sent.get() + length);
            visit.body_bytes_sent.set(visit.body_bytes_sent.get() + payload);
            Ok(())
        }
        Err(error) => Err(not_sent(ex, "writev", &error)),
    }
}

#[cold]
fn not_sent(ex: &Exchange<'_>, call: &str, error: &io::Error) -> Truncated {
    if error.kind() == ErrorKind::TimedOut {
        ex.visit.timed_out.set(true);
        let text = "client timed out (110: Connection timed out) while sending to client";
        ex.log(Level::Info, format_args!("{text}"));
    } else {
        ex.log(Level::Info, format_args!("{call}() failed {} while sending to client", system_error(error)));
    }
    Truncated
}

/// Writes the head and decides on the framing.
fn head(ex: &mut Exchange<'_>, body: &Body, out: &mut Vec<u8>) -> Framing {
    let visit = ex.visit;
    let version = visit.head.version;
    let chunkable = version >= Version::Http11 && ex.plan.core.chunked_transfer_encoding;
    let status = ex.response.status;
    let bodiless = ex.method == wire::h1::Method::Head
        || matches!(status, 204 | 304)
        || status < 200
        || matches!(body, Body::Tunnel(_));
    if ex.response.adds_trailers && chunkable && !bodiless {
        ex.response.content_length = None;
    }
    let response = &ex.response;
    if version == Version::Http09 {
        visit.keep_alive.set(false);
        return if bodiless { Framing::None } else { Framing::Close };
    }
    let framing = match response.content_length {
        _ if bodiless => Framing::None,
        Some(0) if matches!(body, Body::Empty) => Framing::None,
        Some(_) => Framing::Length,
        None if chunkable => Framing::Chunked,
        None => Framing::Close,
    };
    if framing == Framing::Close || status == 101 {
        visit.keep_alive.set(false);
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    status_line(status, response.status_line.of(&response.fields.bytes), out);
    append_server(ex, out);
    if response.fields.get(Name::Date).is_none() && !response.no_date {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(&visit.worker.date());
        out.extend_from_slice(b"\r\n");
    }
    if let Some(value) = response.fields.get(Name::ContentType)
        && status != 204
    {
        field(out, b"Content-Type", value);
    }
    if let Some(length) = response.content_length
        && status != 204
    {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa(length, &mut [0; 20]));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(time) = response.last_modified
        && matches!(status, 200 | 206 | 304)
        && response.fields.get(Name::LastModified).is_none()
    {
        field(out, b"Last-Modified", &wire::date::format(u64::try_from(time).unwrap_or(0)));
    }
    let absolute = ex.plan.core.absolute_redirect && !response.fields.location_is_foreign();
    let location =
        response.fields.get(Name::Location).filter(|location| absolute && location.starts_with(b"/"));
    if let Some(location) = location {
        append_location(ex, location, out);
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    append_connection(ex, status, out);
    for (id, name, value) in response.fields.visible() {
        match id {
            Name::Server | Name::ContentType | Name::ContentLength | Name::Connection => {}
            Name::Location if location.is_some() => {}
            _ => field(out, name, value),
        }
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn status_line(status: u16, of_upstream: &[u8], out: &mut Vec<u8>) {
    if of_upstream.is_empty() {
        out.extend_from_slice(itoa(u64::from(status), &mut [0; 20]));
        out.push(b' ');
        out.extend_from_slice(wire::status::reason(status).as_bytes());
    } else {
        out.extend_from_slice(of_upstream);
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn append_server(ex: &Exchange<'_>, out: &mut Vec<u8>) {
    if let Some(server) = ex.response.fields.get(Name::Server) {
        return field(out, b"Server", server);
    }
    if ex.response.no_server {
        return;
    }
    match &ex.plan.core.server_tokens {
        ServerTokens::On | ServerTokens::Build => field(out, b"Server", product::NAME_AND_VERSION.as_bytes()),
        ServerTokens::Off => field(out, b"Server", product::NAME.as_bytes()),
        ServerTokens::Text(text) => {
            let text = text.eval(ex);
            if !text.is_empty() {
                field(out, b"Server", &text);
            }
        }
    }
}

/// A path of this server as an absolute URL (`absolute_redirect`).
fn append_location(ex: &Exchange<'_>, location: &[u8], out: &mut Vec<u8>) {
    let core = &ex.plan.core;
    let visit = ex.visit;
    out.extend_from_slice(b"Location: http://");
    let host: &[u8] = if core.server_name_in_redirect { &ex.server.name } else { &visit.host };
    let local = visit.client.local();
    if host.is_empty() && !core.server_name_in_redirect {
        if let Some(net::Address::Inet(address)) = local {
            match address.ip() {
                std::net::IpAddr::V4(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
                std::net::IpAddr::V6(ip) => out.extend_from_slice(format!("[{ip}]").as_bytes()),
            }
        }
    } else {
        out.extend_from_slice(host);
    }
    if core.port_in_redirect
        && let Some(port) = local.and_then(net::Address::port).filter(|port| *port != 80)
    {
        out.push(b':');
        out.extend_from_slice(itoa(u64::from(port), &mut [0; 20]));
    }
    out.extend_from_slice(location);
    out.extend_from_slice(b"\r\n");
}

fn append_connection(ex: &Exchange<'_>, status: u16, out: &mut Vec<u8>) {
    if status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if ex.visit.keep_alive.get() {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        let KeepAlive { header, .. } = ex.plan.core.keepalive_timeout;
        if header > 0 {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            out.extend_from_slice(itoa(header, &mut [0; 20]));
            out.extend_from_slice(b"\r\n");
        }
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

/// Decimal digits without a detour through formatting.
pub fn itoa(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Appends a number with at least three digits, as statuses and milliseconds are written.
pub fn append_three_digits(number: u64, out: &mut Vec<u8>) {
    for least in [100, 10] {
        if number < least {
            out.push(b'0');
        }
    }
    out.extend_from_slice(itoa(number, &mut [0; 20]));
}

/// `limit_rate`: how fast the body may go.
struct Rate {
    per_second: u64,
    free: u64,
    sent: u64,
    started: u64,
}

impl Rate {
    fn new(ex: &Exchange<'_>) -> Rate {
        let number = |template: &crate::variables::Template| {
            if template.as_literal() == Some(b"0") {
                return 0;
            }
            conf::value::size(&template.eval(ex)).unwrap_or(0)
        };
        let per_second = ex.limit_rate.unwrap_or_else(|| number(&ex.plan.core.limit_rate));
        let free = if per_second == 0 { 0 } else { number(&ex.plan.core.limit_rate_after) };
        Rate { per_second, free, sent: 0, started: net::clock::now() }
    }

    fn next_piece(&self, most: usize) -> usize {
        if self.per_second == 0 {
            return most;
        }
        let elapsed = net::clock::now() - self.started;
        let allowed = self.free + self.per_second * (elapsed / 1000 + 1);
        (allowed.saturating_sub(self.sent).max(1) as usize).min(most)
    }

    async fn wait(&mut self, sent: u64) {
        self.sent += sent;
        if self.per_second == 0 {
            return;
        }
        let due = self.sent.saturating_sub(self.free) * 1000 / self.per_second;
        let elapsed = net::clock::now() - self.started;
        if due > elapsed {
            tokio::time::sleep(std::time::Duration::from_millis(due - elapsed)).await;
        }
    }
}
