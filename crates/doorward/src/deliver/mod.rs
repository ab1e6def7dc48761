//! Writes a response to an HTTP/1 client: its head, then its body as it comes, framed so that the client sees the end.

mod http1;
mod rate;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;

use crate::body::{Body, Truncated};
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::proxy::UpstreamBody;
use crate::read_ahead::{Limits, ReadAhead};
use http1::{Framing, SENDFILE_LEAST, head, last_chunk, sendfile, write};
use rate::Rate;

/// How much of a body is taken at a time.
const PIECE: usize = 32 << 10;

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
