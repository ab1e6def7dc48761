//! A response as frames of HTTP/2: its head, data, trailers (RFC 9113, 8.1).

use std::future::poll_fn;
use std::io::{self, ErrorKind};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use wire::Name;

use super::head::{append_location, append_server, is_bodiless, own_location, shown_last_modified};
use crate::body::Body;
use crate::client::Client;
use crate::exchange::{Exchange, Visit};
use crate::log::Level;
use crate::modules::headers;

/// What a frame has in front of its payload (RFC 9113, 4.1).
const FRAME_HEAD: u64 = 9;

/// A response on its way.
pub(super) struct Response {
    /// The head, until it is sent.
    head: Option<http::Response<()>>,
    has_body: bool,
    /// What is being sent is the last of the body.
    last: bool,
    trailers: Option<HeaderMap>,
    /// The longest frame of data (`http2_chunk_size`).
    most: usize,
}

impl Response {
    /// Makes the head.
    pub(super) fn new(ex: &Exchange<'_>, body: &Body) -> Response {
        let bodiless = is_bodiless(ex, body);
        let empty = ex.response.content_length == Some(0)
            && matches!(body, Body::Empty)
            && !ex.response.adds_trailers;
        Response {
            head: Some(head(ex)),
            has_body: !bodiless && !empty,
            last: false,
            trailers: None,
            most: ex.plan.http2_chunk_size,
        }
    }

    pub(super) fn has_body(&self) -> bool {
        self.has_body
    }

    pub(super) fn is_unsent(&self) -> bool {
        self.head.is_some()
    }

    /// Notes what follows the piece that is sent next.
    pub(super) fn frame(&mut self, ex: &Exchange<'_>, body: &Body, more: bool, done: bool) {
        if more && !done {
            return;
        }
        self.last = true;
        let mut lines = Vec::new();
        if let Some(upstream) = body.upstream() {
            upstream.append_trailers(&mut lines);
        }
        if ex.response.adds_trailers {
            headers::append_trailers(ex, &mut lines);
        }
        if !lines.is_empty() {
            let mut trailers = HeaderMap::new();
            add_lines(ex, &mut trailers, &lines);
            self.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        }
    }

    /// Sends a piece, which is left empty; how many bytes that were, heads of frames included. Fields count as they are
    /// before they are compressed.
    pub(super) async fn write(&mut self, visit: &Visit<'_>, piece: &mut Vec<u8>, ms: u64) -> io::Result<u64> {
        let client = visit.client;
        let mut length = 0;
        let over = !self.has_body || (self.last && piece.is_empty() && self.trailers.is_none());
        if let Some(head) = self.head.take() {
            length += FRAME_HEAD + size(head.headers());
            stream(client)?.send_head(head, over)?;
            if over {
                return Ok(length);
            }
        }
        let ends = self.last && self.trailers.is_none();
        if !piece.is_empty() || ends {
            let payload = piece.len();
            length += payload as u64 + FRAME_HEAD * payload.div_ceil(self.most).max(1) as u64;
            let mut sent = stream(client)?.piece(piece);
            let send = poll_fn(|cx| stream(client)?.poll_send(cx, &mut sent, self.most, ends));
            client.deadline.within(ms, send).await.map_err(|_| ErrorKind::TimedOut)??;
        }
        if let Some(trailers) = self.trailers.take() {
            length += FRAME_HEAD + size(&trailers);
            stream(client)?.send_trailers(trailers)?;
        }
        Ok(length)
    }
}

fn stream(client: &Client) -> io::Result<std::cell::RefMut<'_, crate::http2::Stream>> {
    client.http2().ok_or_else(|| ErrorKind::Unsupported.into())
}

fn size(fields: &HeaderMap) -> u64 {
    fields.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}

fn head(ex: &Exchange<'_>) -> http::Response<()> {
    let response = &ex.response;
    let status = response.status;
    let mut head = http::Response::new(());
    // nginx knows no status that is not of three digits; a larger one of an upstream cannot be said.
    *head.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let fields = head.headers_mut();
    let mut text = Vec::with_capacity(64);
    if append_server(ex, &mut text) {
        insert(ex, fields, http::header::SERVER, &text);
    }
    if response.fields.get(Name::Date).is_none() && !response.no_date {
        insert(ex, fields, http::header::DATE, &ex.visit.worker.date());
    }
    if let Some(value) = response.fields.get(Name::ContentType)
        && status != 204
    {
        insert(ex, fields, http::header::CONTENT_TYPE, value);
    }
    if let Some(length) = response.content_length
        && status != 204
    {
        fields.append(http::header::CONTENT_LENGTH, length.into());
    }
    if let Some(time) = shown_last_modified(ex) {
        insert(ex, fields, http::header::LAST_MODIFIED, &wire::date::format(time));
    }
    let location = own_location(ex);
    if let Some(location) = location {
        text.clear();
        append_location(ex, location, &mut text);
        insert(ex, fields, http::header::LOCATION, &text);
    }
    for (id, name, value) in response.fields.visible() {
        match id {
            Name::Server | Name::ContentType | Name::ContentLength => {}
            // What is said of a connection of HTTP/1 (RFC 9113, 8.2.2).
            Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade
            | Name::Te => {}
            Name::Location if location.is_some() => {}
            _ => add(ex, fields, name, value),
        }
    }
    head
}

/// Sends interim responses (1xx) that are written as HTTP/1 has them; how many bytes that were.
pub fn send_interim(ex: &Exchange<'_>, heads: &[u8]) -> io::Result<u64> {
    let mut length = 0;
    let mut rest = heads;
    while let Some(end) = memmem(rest, b"\r\n\r\n") {
        let (block, others) = rest.split_at(end);
        let (line, lines) = block.split_at(memmem(block, b"\r\n").unwrap_or(block.len()));
        let status = line.get(9..12).and_then(|digits| http::StatusCode::from_bytes(digits).ok());
        let mut head = http::Response::new(());
        *head.status_mut() = status.ok_or(ErrorKind::InvalidData)?;
        add_lines(ex, head.headers_mut(), lines);
        length += FRAME_HEAD + size(head.headers());
        stream(ex.visit.client)?.send_interim(head)?;
        rest = others.get(4..).unwrap_or_default();
    }
    Ok(length)
}

fn memmem(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Adds fields that are written as HTTP/1 has them.
fn add_lines(ex: &Exchange<'_>, fields: &mut HeaderMap, lines: &[u8]) {
    for line in lines.split(|byte| *byte == b'\n') {
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let (name, value) = line.split_at(colon);
            add(ex, fields, name, value.get(1..).unwrap_or_default().trim_ascii());
        }
    }
}

fn add(ex: &Exchange<'_>, fields: &mut HeaderMap, name: &[u8], value: &[u8]) {
    match HeaderName::from_bytes(name) {
        Ok(name) => insert(ex, fields, name, value),
        Err(_) => log_left_out(ex, name),
    }
}

fn insert(ex: &Exchange<'_>, fields: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    match HeaderValue::from_bytes(value) {
        // One that there is no room for is among tens of thousands.
        Ok(value) => _ = fields.try_append(name, value),
        Err(_) => log_left_out(ex, name.as_str().as_bytes()),
    }
}

#[cold]
fn log_left_out(ex: &Exchange<'_>, name: &[u8]) {
    let name = name.escape_ascii();
    ex.log(
        Level::Warn,
        format_args!(
            "response field \"{name}\" is left out: HTTP/2 has no such name or value (RFC 9113, 8.2.1)"
        ),
    );
}
