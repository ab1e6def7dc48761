//! A response as bytes of HTTP/1: its head, and the framing that shows where its body ends (RFC 9112).

use std::io::{self, ErrorKind};

use wire::Name;
use wire::h1::Version;

use super::head::{append_location, append_server, is_bodiless, own_location, shown_last_modified};
use super::{itoa, not_sent};
use crate::body::{Body, FilePart, Truncated};
use crate::exchange::{Exchange, Visit};
use crate::log::Level;
use crate::modules::core::KeepAlive;
use crate::modules::headers;

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

/// A response on its way.
pub(super) struct Response {
    framing: Framing,
    /// What goes before the next piece of the body: the head, or the size line of a chunk.
    before: Vec<u8>,
}

impl Response {
    /// Writes the head and decides on the framing.
    pub(super) fn new(ex: &mut Exchange<'_>, body: &Body) -> Response {
        let visit = ex.visit;
        if visit.client.requests.get() > 1 {
            visit.client.send_at_once();
        }
        let mut before = visit.worker.buffers.take(4096);
        let framing = head(ex, body, &mut before);
        Response { framing, before }
    }

    /// Whether there is a body to send.
    pub(super) fn has_body(&self) -> bool {
        self.framing != Framing::None
    }

    /// Whether nothing has been written yet.
    pub(super) fn is_unsent(&self) -> bool {
        !self.before.is_empty()
    }

    /// Frames a piece of the body. `more` is whether there was one, `done` whether nothing follows it.
    pub(super) fn frame(
        &mut self,
        ex: &Exchange<'_>,
        body: &Body,
        piece: &mut Vec<u8>,
        more: bool,
        done: bool,
    ) {
        if self.framing != Framing::Chunked {
            return;
        }
        if more {
            wire::h1::chunk_header(piece.len(), &mut self.before);
            piece.extend_from_slice(b"\r\n");
        }
        if done || !more {
            last_chunk(ex, body, piece);
        }
    }

    /// Writes a framed piece; how many bytes that were.
    pub(super) async fn write(&mut self, visit: &Visit<'_>, piece: &[u8], timeout: u64) -> io::Result<u64> {
        let (client, before) = (visit.client, &mut self.before);
        let length = (before.len() + piece.len()) as u64;
        if before.is_empty() {
            client.write(piece, timeout).await?;
        } else if before.len() + piece.len() <= before.capacity() {
            // Copying what is small costs less than a vectored write.
            before.extend_from_slice(piece);
            client.write(before, timeout).await?;
        } else {
            client.write_both(before, piece, timeout).await?;
        }
        before.clear();
        Ok(length)
    }

    /// Sends the rest of a file without copying it through the process; `None` where that is not done.
    pub(super) async fn sendfile(
        &mut self,
        ex: &Exchange<'_>,
        part: &mut FilePart,
    ) -> Option<Result<(), Truncated>> {
        if part.length <= SENDFILE_LEAST || self.framing == Framing::Chunked {
            return None;
        }
        let visit = ex.visit;
        visit.client.send_at_once();
        if let Err(error) = visit.client.write_start(&self.before, ex.plan.core.send_timeout).await {
            return Some(Err(not_sent(ex, "send", &error)));
        }
        visit.bytes_sent.set(visit.bytes_sent.get() + self.before.len() as u64);
        self.before.clear();
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

    /// Gives its memory back.
    pub(super) fn end(self, visit: &Visit<'_>) {
        visit.worker.buffers.put(self.before);
    }
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

fn head(ex: &mut Exchange<'_>, body: &Body, out: &mut Vec<u8>) -> Framing {
    let visit = ex.visit;
    let version = visit.head.version;
    let chunkable = version >= Version::Http11 && ex.plan.core.chunked_transfer_encoding;
    let status = ex.response.status;
    let bodiless = is_bodiless(ex, body);
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
    let start = out.len();
    out.extend_from_slice(b"Server: ");
    match append_server(ex, out) {
        true => out.extend_from_slice(b"\r\n"),
        false => out.truncate(start),
    }
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
    if let Some(time) = shown_last_modified(ex) {
        field(out, b"Last-Modified", &wire::date::format(time));
    }
    let location = own_location(ex);
    if let Some(location) = location {
        out.extend_from_slice(b"Location: ");
        append_location(ex, location, out);
        out.extend_from_slice(b"\r\n");
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
