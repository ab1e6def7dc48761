//! Heads of requests as clients send them: what nginx accepts is accepted, with its statuses and sentences.

use super::lines::{BadLine, Line, Lines, Rules};
use super::refusal::{RequestError, text, whole};
use super::request_head::{Connection, Limits, Method, RequestHead, Version};
use super::request_line::RequestLine;
use super::room::Room;
use crate::host::host;
use crate::name::NameSet;
use crate::uri::normalize;
use crate::{Field, Name, Range, list};

/// Reads one request head from a growing buffer, in time that grows with its length however its bytes arrive.
///
/// Call [`parse`](RequestParser::parse) with the buffer from the request's first byte on, again with more bytes
/// while it answers false; [`reset`](RequestParser::reset) before the next request.
#[derive(Clone, Default, Debug)]
pub struct RequestParser {
    phase: Phase,
    line: RequestLine,
    lines: Lines,
    room: Option<Room>,
    seen: NameSet,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Phase {
    #[default]
    Fresh,
    Line,
    Fields,
}

impl RequestParser {
    /// A parser at the first byte of a request.
    pub fn new() -> RequestParser {
        RequestParser::default()
    }

    /// Starts over with the next request.
    pub fn reset(&mut self) {
        *self = RequestParser::default();
    }

    /// Whether any byte of a request was seen, apart from empty lines before it.
    pub fn begun(&self) -> bool {
        self.line.start().is_some()
    }

    /// Whether the request line is complete, so that fields are being read.
    pub fn in_fields(&self) -> bool {
        self.phase == Phase::Fields
    }

    /// Goes on reading; true when the head is complete. After an error the request line is in `head.line`.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<bool, RequestError> {
        if self.phase == Phase::Fresh {
            head.clear();
            self.phase = Phase::Line;
        }
        if self.phase == Phase::Line {
            match self.request_line(buf, limits, head) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    head.line = self.broken_line(buf);
                    return Err(error);
                }
            }
            if head.version == Version::Http09 {
                head.head_len = self.line.pos() as u32;
                return Ok(true);
            }
            self.phase = Phase::Fields;
            self.lines = Lines::at(self.line.pos());
        }
        self.fields(buf, limits, head)
    }

    fn request_line(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<bool, RequestError> {
        let parsed = self.line.parse(buf, head);
        // nginx throws empty lines away as they come; we keep no endless supply of them, however they arrive.
        if self.line.start().unwrap_or(self.line.pos()) > limits.header_buffer {
            return Err(RequestError::InvalidRequest);
        }
        let Some(start) = self.line.start() else { return Ok(false) };
        let room = self.room.get_or_insert_with(|| Room::new(limits, start));
        let end = match &parsed {
            Ok(true) => self.line.pos(),
            // An incomplete line takes at least one byte more.
            Ok(false) => buf.len() + 1,
            // What nginx has no room for it does not find bad.
            Err(_) => self.line.pos() + 1,
        };
        if !room.holds(start, end, limits) {
            return Err(RequestError::TooLongUri);
        }
        let complete = parsed?;
        if complete && !head.plain_path {
            normalize(head.path.of(buf), limits.merge_slashes, &mut head.decoded).map_err(|_| {
                // A path that leads out of its root is none, not what came before the step out.
                head.decoded.clear();
                RequestError::InvalidRequest
            })?;
        }
        if complete && let Some(authority) = head.authority {
            host(authority.of(buf)).map_err(|_| RequestError::InvalidHostInLine)?;
        }
        Ok(complete)
    }

    /// What there is of a request line that could not be read.
    #[cold]
    fn broken_line(&self, buf: &[u8]) -> Range {
        let start = self.line.start().unwrap_or(self.line.pos());
        let line = buf.get(start..).unwrap_or_default();
        let len = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
        Range::new(start, start + len)
    }

    fn fields(&mut self, buf: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<bool, RequestError> {
        let rules = Rules { underscores: limits.underscores, status_lines: false };
        loop {
            let start = self.lines.start();
            let line = self.lines.next(buf, rules);
            let pos = self.lines.pos();
            let room = self.room.get_or_insert_with(|| Room::new(limits, start));
            match line {
                Ok(Line::Field { field, odd }) if room.holds(start, pos, limits) => {
                    if odd && limits.ignore_invalid {
                        head.ignored.push(Range { start: field.name.start, end: field.value.end });
                        continue;
                    }
                    if head.fields.len() >= limits.max_headers {
                        return Err(RequestError::TooManyFields);
                    }
                    if NOTED.contains(field.id) {
                        self.note(buf, head, field)?;
                    }
                    head.fields.push(field);
                }
                Ok(Line::End) if room.holds(start, pos, limits) => {
                    head.head_len = pos as u32;
                    check(buf, limits, self.seen, head)?;
                    return Ok(true);
                }
                // An incomplete line takes at least one byte more.
                Ok(Line::Again) if room.holds(start, pos + 1, limits) => return Ok(false),
                // What nginx has no room for it does not find bad.
                Err(bad) if room.holds(start, pos + 1, limits) => return Err(invalid(bad, buf)),
                _ => return Err(too_large(buf, start, room.end(), head)),
            }
        }
    }

    /// Takes from a field what the head itself tells.
    fn note(&mut self, buf: &[u8], head: &mut RequestHead, field: Field) -> Result<(), RequestError> {
        let first = self.seen.insert(field.id);
        let value = field.value.of(buf);
        if !first && UNIQUE.contains(field.id) {
            return Err(duplicate(buf, head, field));
        }
        match field.id {
            Name::Host => {
                host(value).map_err(|_| RequestError::InvalidHost)?;
                head.host = Some(field.value);
            }
            Name::Connection => {
                // The usual values need no search.
                if value == b"keep-alive" || value == b"Keep-Alive" {
                    head.connection = Connection::KeepAlive;
                } else {
                    if list::contains(value, b"close") {
                        head.connection = Connection::Close;
                    } else if list::contains(value, b"keep-alive") {
                        head.connection = Connection::KeepAlive;
                    }
                    head.connection_upgrade |= list::has_token(value, b"upgrade");
                }
            }
            Name::Upgrade if first => head.upgrade = Some(field.value),
            Name::Expect => {
                head.expect_continue =
                    head.version == Version::Http11 && value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Fields that may stand in a request once.
pub(crate) const UNIQUE: NameSet = NameSet::of(&[
    Name::Host,
    Name::IfModifiedSince,
    Name::IfUnmodifiedSince,
    Name::IfMatch,
    Name::IfNoneMatch,
    Name::ContentLength,
    Name::ContentRange,
    Name::IfRange,
    Name::TransferEncoding,
    Name::Expect,
    Name::Authorization,
    Name::ProxyAuthorization,
]);

/// Fields that the head wants to know about: the unique ones and those about the connection.
const NOTED: NameSet = UNIQUE.with(&[Name::Connection, Name::Upgrade]);

/// What nginx checks when the head is complete, in its order.
fn check(buf: &[u8], limits: &Limits, seen: NameSet, head: &mut RequestHead) -> Result<(), RequestError> {
    if head.host.is_none() && head.version == Version::Http11 {
        return Err(RequestError::MissingHost);
    }
    let value = |id| if seen.contains(id) { head.field(id).map(|field| field.value) } else { None };
    let (length, encoding) = (value(Name::ContentLength), value(Name::TransferEncoding));
    if let Some(length) = length {
        head.content_length = Some(number(length.of(buf)).ok_or(RequestError::InvalidContentLength)?);
    }
    if let Some(encoding) = encoding.map(|encoding| encoding.of(buf)) {
        if head.version != Version::Http11 {
            return Err(RequestError::TransferEncodingIn10);
        }
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            return Err(RequestError::UnknownTransferEncoding(text(encoding)));
        }
        if length.is_some() {
            return Err(RequestError::LengthAndEncoding);
        }
        head.chunked = true;
    }
    match head.method {
        Method::Connect if !limits.allow_connect || !head.exactly_http11 => Err(RequestError::Connect),
        Method::Connect if head.chunked || head.content_length.is_some_and(|length| length > 0) => {
            Err(RequestError::ConnectWithBody)
        }
        Method::Trace => Err(RequestError::Trace),
        _ => Ok(()),
    }
}

/// Digits only, at least one, below 2^63: what counts as a Content-Length.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    const MAX: u64 = i64::MAX as u64;
    let mut sum = 0;
    for digit in digits {
        if !digit.is_ascii_digit() || sum > MAX / 10 {
            return None;
        }
        sum = sum * 10 + u64::from(digit - b'0');
    }
    (!digits.is_empty() && sum <= MAX).then_some(sum)
}

#[cold]
fn invalid(bad: BadLine, buf: &[u8]) -> RequestError {
    RequestError::InvalidField(text(bad.line.of(buf)), bad.byte)
}

#[cold]
fn duplicate(buf: &[u8], head: &RequestHead, field: Field) -> RequestError {
    let before = head.field(field.id).copied().unwrap_or_default();
    let (now, before) = (whole(buf, field), whole(buf, before));
    match field.id {
        Name::Host => RequestError::DuplicateHost(now, before),
        _ => RequestError::DuplicateField(now, before),
    }
}

/// `full` is where the buffer ended that could not hold the line.
#[cold]
fn too_large(buf: &[u8], start: usize, full: usize, head: &RequestHead) -> RequestError {
    let line = buf.get(start..full.min(buf.len())).unwrap_or_default();
    if line.is_empty() && head.fields.is_empty() {
        return RequestError::TooLargeRequest;
    }
    // What nginx leaves room for in a line of its log.
    const LOGGED: usize = 2048 - 300;
    RequestError::TooLongField(text(line.get(..LOGGED).unwrap_or(line)))
}
