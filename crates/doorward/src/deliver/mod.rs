//! Writes a response to its client: its head, then its body as it comes, framed so that the client sees the end.

mod head;
mod http1;
mod http2;
mod rate;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;

use wire::h1::Version;

use crate::body::{Body, FilePart, Truncated};
use crate::exchange::{Exchange, Visit};
use crate::log::{Level, system_error};
use crate::modules::proxy::UpstreamBody;
use crate::read_ahead::{Limits, ReadAhead};
use rate::Rate;

/// How much of a body is taken at a time.
const PIECE: usize = 32 << 10;

/// A response on its way, as the version of its request wants it.
enum Response {
    Http1(http1::Response),
    Http2(Box<http2::Response>),
}

impl Response {
    /// Makes the head and decides on the framing.
    fn new(ex: &mut Exchange<'_>, body: &Body) -> Response {
        if ex.visit.head.version == Version::Http20 {
            Response::Http2(Box::new(http2::Response::new(ex, body)))
        } else {
            Response::Http1(http1::Response::new(ex, body))
        }
    }

    /// Whether there is a body to send.
    fn has_body(&self) -> bool {
        match self {
            Response::Http1(response) => response.has_body(),
            Response::Http2(response) => response.has_body(),
        }
    }

    /// Whether nothing has been written yet.
    fn is_unsent(&self) -> bool {
        match self {
            Response::Http1(response) => response.is_unsent(),
            Response::Http2(response) => response.is_unsent(),
        }
    }

    /// Frames a piece of the body. `more` is whether there was one, `done` whether nothing follows it.
    fn frame(&mut self, ex: &Exchange<'_>, body: &Body, piece: &mut Vec<u8>, more: bool, done: bool) {
        match self {
            Response::Http1(response) => response.frame(ex, body, piece, more, done),
            Response::Http2(response) => response.frame(ex, body, more, done),
        }
    }

    /// Writes a framed piece, which may be left empty; how many bytes that were.
    async fn write(&mut self, visit: &Visit<'_>, piece: &mut Vec<u8>, ms: u64) -> io::Result<u64> {
        match self {
            Response::Http1(response) => response.write(visit, piece, ms).await,
            Response::Http2(response) => response.write(visit, piece, ms).await,
        }
    }

    /// Sends the rest of a file without copying it through the process; `None` where that is not done.
    async fn sendfile(&mut self, ex: &Exchange<'_>, part: &mut FilePart) -> Option<Result<(), Truncated>> {
        match self {
            Response::Http1(response) => response.sendfile(ex, part).await,
            Response::Http2(_) => None,
        }
    }

    /// Gives its memory back.
    fn end(self, visit: &Visit<'_>) {
        match self {
            Response::Http1(response) => response.end(visit),
            Response::Http2(_) => {}
        }
    }
}

/// Writes head and body. Whether the connection can go on is left in the visit.
pub async fn deliver(ex: &mut Exchange<'_>, mut body: Body) {
    let mut response = Response::new(ex, &body);
    let sent = if response.has_body() {
        let sent = stream(ex, &mut body, &mut response).await;
        if body.is_filling() {
            body.discard(ex).await;
        }
        sent
    } else if let Body::Tunnel(tunnel) = body {
        let sent = send(ex, &mut response, &mut Vec::new()).await;
        if sent.is_ok() {
            tunnel.run(ex).await;
        }
        sent
    } else if body.is_filling() {
        let sent = send(ex, &mut response, &mut Vec::new()).await;
        body.discard(ex).await;
        sent
    } else {
        body.discard(ex).await;
        send(ex, &mut response, &mut Vec::new()).await
    };
    ex.visit.complete.set(sent.is_ok());
    if sent.is_err() {
        ex.visit.keep_alive.set(false);
        ex.visit.linger.set(false);
    }
    response.end(ex.visit);
}

/// Sends interim responses (1xx), which are written as HTTP/1 has them.
pub async fn send_interim(ex: &Exchange<'_>, heads: &[u8]) -> io::Result<()> {
    let visit = ex.visit;
    let length = if visit.head.version == Version::Http20 {
        http2::send_interim(ex, heads)?
    } else {
        visit.client.send_at_once();
        visit.client.write(heads, ex.plan.core.send_timeout).await?;
        heads.len() as u64
    };
    visit.bytes_sent.set(visit.bytes_sent.get() + length);
    Ok(())
}

/// Sends the head with the first piece of the body, then the other pieces.
async fn stream(ex: &mut Exchange<'_>, body: &mut Body, response: &mut Response) -> Result<(), Truncated> {
    let visit = ex.visit;
    let mut piece = visit.worker.buffers.take(PIECE);
    let mut rate = Rate::new(ex);
    let mut ahead: Option<Box<ReadAhead>> = None;
    let result = loop {
        piece.clear();
        if let Body::File(part) = body
            && rate.per_second == 0
            && let Some(result) = response.sendfile(ex, part).await
        {
            break result;
        }
        let most = rate.next_piece(PIECE);
        let more = match ahead.as_deref_mut().filter(|ahead| !ahead.is_passed()) {
            None => body.next(ex, &mut piece, most).await,
            Some(ahead) => ahead.next(&mut piece, most),
        };
        // Both must have come to their end.
        let done = match ahead.as_deref() {
            Some(ahead) if !ahead.is_passed() => ahead.is_done(),
            _ => body.is_done(),
        };
        let payload = piece.len() as u64;
        match more {
            Ok(more) => response.frame(ex, body, &mut piece, more, done),
            // Nothing was sent yet of what turns out to be no answer.
            Err(Truncated) if response.is_unsent() && is_broken(body) => break Err(Truncated),
            Err(Truncated) => {
                // What was read already is the client's; the end is missing, and it must see that.
                if !piece.is_empty() {
                    response.frame(ex, body, &mut piece, true, false);
                }
                let _ = send(ex, response, &mut piece).await;
                break Err(Truncated);
            }
        }
        let sent = {
            let mut write = pin!(response.write(visit, &mut piece, ex.plan.core.send_timeout));
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
        if let Err(error) = account(ex, sent, payload) {
            break Err(error);
        }
        if more == Ok(false) || done {
            break Ok(());
        }
        // The next piece is not to wait until the client has acknowledged this one.
        visit.client.send_at_once();
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
    visit.worker.buffers.put(piece);
    result
}

fn is_broken(body: &Body) -> bool {
    body.upstream().is_some_and(UpstreamBody::is_broken)
}

/// How far a body is read ahead of a client that is slow to take it.
fn reads_ahead(body: &Body) -> Option<Limits> {
    match body {
        Body::Upstream(upstream) => upstream.reads_ahead(),
        Body::Gzip(gzip) => reads_ahead(gzip.body()),
        _ => None,
    }
}

/// Writes a piece that is framed as it is to be, or nothing but the head.
async fn send(ex: &Exchange<'_>, response: &mut Response, piece: &mut Vec<u8>) -> Result<(), Truncated> {
    let payload = piece.len() as u64;
    let sent = response.write(ex.visit, piece, ex.plan.core.send_timeout).await;
    account(ex, sent, payload)
}

fn account(ex: &Exchange<'_>, sent: io::Result<u64>, payload: u64) -> Result<(), Truncated> {
    let visit = ex.visit;
    match sent {
        Ok(length) => {
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
    } else if ex.visit.head.version == Version::Http20 && error.kind() == ErrorKind::ConnectionReset {
        ex.log(Level::Info, format_args!("client canceled stream while sending to client"));
    } else {
        ex.log(Level::Info, format_args!("{call}() failed {} while sending to client", system_error(error)));
    }
    Truncated
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
