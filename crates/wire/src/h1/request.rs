//! Heads of requests as clients send them: what nginx accepts is accepted, with its statuses and sentences.

use super::body::{Chunked, Decoder};
use super::lines::{BadLine, Line, Lines, Rules};
use super::request_line::RequestLine;
use super::room::Room;
use crate::field::{self, Field, Name, NameSet};
use crate::host::host;
use crate::{Range, list};

/// What a server block allows a head to be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `client_header_buffer_size`, bytes.
    pub header_buffer: usize,
    /// `large_client_header_buffers`, how many.
    pub large_buffers: usize,
    /// `large_client_header_buffers`, bytes of each: the longest request line or field line.
    pub large_size: usize,
    /// `ignore_invalid_headers`: fields with odd names are left out, else they are passed on.
    pub ignore_invalid: bool,
    /// `underscores_in_headers`: an underscore does not make a name odd.
    pub underscores: bool,
    /// `max_headers`: how many fields.
    pub max_headers: usize,
    /// `allow_connect`: CONNECT over HTTP/1.1 is not refused.
    pub allow_connect: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_buffer: 1024,
            large_buffers: 4,
            large_size: 8192,
            ignore_invalid: true,
            underscores: false,
            max_headers: 1000,
            allow_connect: false,
        }
    }
}

/// The method, when it is one that nginx knows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each stands for the method of its name")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Patch,
    Connect,
    Mkcol,
    Copy,
    Move,
    Propfind,
    Proppatch,
    Lock,
    Unlock,
    /// Any other word of capitals, hyphens and underscores.
    #[default]
    Other,
}

impl Method {
    /// The method that `text` names, exactly.
    pub fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            b"MKCOL" => Method::Mkcol,
            b"COPY" => Method::Copy,
            b"MOVE" => Method::Move,
            b"PROPFIND" => Method::Propfind,
            b"PROPPATCH" => Method::Proppatch,
            b"LOCK" => Method::Lock,
            b"UNLOCK" => Method::Unlock,
            _ => Method::Other,
        }
    }
}

/// The version a request was sent in.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// No version, no fields: `GET /x`.
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1 and every later 1.x.
    #[default]
    Http11,
}

/// What the Connection fields say about keeping the connection.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Connection {
    /// Nothing: the version decides.
    #[default]
    None,
    /// `close`
    Close,
    /// `keep-alive`
    KeepAlive,
}

/// A request head. All ranges lie in the buffer it was parsed from.
#[derive(Clone, Default, Debug)]
pub struct RequestHead {
    /// Bytes of the head, from the buffer's begin to behind the empty line; the body starts there.
    pub head_len: u32,
    /// The request line without its line break; after an error, as much of it as had arrived.
    pub line: Range,
    /// The method.
    pub method: Method,
    /// The method's word.
    pub method_text: Range,
    /// The target as it was sent, without scheme and host (`$request_uri`); `/` for CONNECT.
    pub target: Range,
    /// The target up to the first `?` or `#`, as it was sent.
    pub path: Range,
    /// Between `?` and `#` or the end, perhaps empty.
    pub query: Option<Range>,
    /// The scheme of an absolute-form target.
    pub scheme: Option<Range>,
    /// Host and port of an absolute-form or authority-form target. It wins over the Host field.
    pub authority: Option<Range>,
    /// The absolute-form target has a query but no path (`http://h?q`): `target` lacks its first slash.
    pub empty_path: bool,
    /// The path needs no [`normalize`](crate::uri::normalize).
    pub plain_path: bool,
    /// The version.
    pub version: Version,
    /// The version as it was sent (`$server_protocol`); empty in HTTP/0.9.
    pub protocol: Range,
    /// The fields in the order they were sent.
    pub fields: Vec<Field>,
    /// Lines left out because of their odd names; each is worth a line in the log, see [`RequestHead::ignored_line`].
    pub ignored: Vec<Range>,
    /// The Host field's value, checked to be a host.
    pub host: Option<Range>,
    /// The Content-Length.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub chunked: bool,
    /// What the Connection fields say.
    pub connection: Connection,
    /// The Connection fields name `upgrade`.
    pub connection_upgrade: bool,
    /// The first Upgrade field's value.
    pub upgrade: Option<Range>,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The version is 1.1 and not 1.2, which matters to CONNECT only.
    pub(super) exactly_http11: bool,
}

impl RequestHead {
    /// Whether the client means to keep the connection after this request.
    pub fn keep_alive(&self) -> bool {
        match self.connection {
            Connection::None => self.version == Version::Http11 && self.method != Method::Connect,
            Connection::Close => false,
            Connection::KeepAlive => self.method != Method::Connect,
        }
    }

    /// The host that chooses the server: the target's, else the Host field's.
    pub fn server_host(&self) -> Option<Range> {
        self.authority.or(self.host)
    }

    /// The first field called `id`.
    pub fn field(&self, id: Name) -> Option<&Field> {
        field::find(&self.fields, id)
    }

    /// How the body that follows is framed. Trailers are dropped, as nginx drops a request's.
    pub fn body(&self) -> Decoder {
        match self.content_length {
            _ if self.chunked => Decoder::Chunked(Chunked::new()),
            Some(length) if length > 0 => Decoder::Length(length),
            _ => Decoder::None,
        }
    }

    /// The error_log sentence for one of `ignored`.
    pub fn ignored_line(line: Range, buf: &[u8]) -> String {
        format!("client sent invalid header line: \"{}\"", text(line.of(buf)))
    }

    /// Empties the head and keeps its memory.
    fn clear(&mut self) {
        let (mut fields, mut ignored) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.ignored));
        fields.clear();
        ignored.clear();
        *self = RequestHead { fields, ignored, ..RequestHead::default() };
    }
}

/// Why a request is refused, after which the connection ends. Display is nginx's sentence for the error_log, level
/// info.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum RequestError {
    #[error("client sent invalid method")]
    InvalidMethod,
    #[error("client sent invalid request")]
    InvalidRequest,
    #[error("client sent invalid version")]
    InvalidVersion,
    #[error("client sent invalid method in HTTP/0.9 request")]
    InvalidMethod09,
    #[error("client sent too long URI")]
    TooLongUri,
    #[error("client sent invalid host in request line")]
    InvalidHostInLine,
    #[error("client sent too large request")]
    TooLargeRequest,
    #[error("client sent too long header line: \"{0}...\"")]
    TooLongField(String),
    #[error("client sent too many header lines")]
    TooManyFields,
    #[error("client sent invalid header line: \"{0}\\x{1:02x}...\"")]
    InvalidField(String, u8),
    #[error("client sent duplicate header line: \"{0}\", previous value: \"{1}\"")]
    DuplicateField(String, String),
    #[error("client sent duplicate host header: \"{0}\", previous value: \"{1}\"")]
    DuplicateHost(String, String),
    #[error("client sent invalid host header")]
    InvalidHost,
    #[error("client sent HTTP/1.1 request without \"Host\" header")]
    MissingHost,
    #[error("client sent invalid \"Content-Length\" header")]
    InvalidContentLength,
    #[error("client sent HTTP/1.0 request with \"Transfer-Encoding\" header")]
    TransferEncodingIn10,
    #[error("client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    LengthAndEncoding,
    #[error("client sent unknown \"Transfer-Encoding\": \"{0}\"")]
    UnknownTransferEncoding(String),
    #[error("client sent CONNECT method")]
    Connect,
    #[error("client sent CONNECT request with body")]
    ConnectWithBody,
    #[error("client sent TRACE method")]
    Trace,
}

impl RequestError {
    /// nginx's status. 494 is its own for heads that are too large: `error_page` may name it, the client is sent 400.
    pub fn status(&self) -> u16 {
        match self {
            RequestError::InvalidVersion => 505,
            RequestError::TooLongUri => 414,
            RequestError::TooLargeRequest | RequestError::TooLongField(_) | RequestError::TooManyFields => {
                494
            }
            RequestError::UnknownTransferEncoding(_) => 501,
            RequestError::Connect | RequestError::Trace => 405,
            _ => 400,
        }
    }

    /// Whether the client is likely still sending, so that the close must linger for the answer to arrive.
    pub fn lingers(&self) -> bool {
        self.status() == 494
    }
}

/// Reads one request head from a growing buffer and looks at each byte once.
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
        let Some(start) = self.line.start() else {
            // nginx throws empty lines away as they come; we keep no endless supply of them.
            let endless = self.line.pos() > limits.header_buffer;
            return if endless { Err(RequestError::InvalidRequest) } else { Ok(false) };
        };
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
            let end = match &line {
                Ok(Line::Again) => buf.len() + 1,
                Ok(_) => self.lines.pos(),
                Err(_) => self.lines.pos() + 1,
            };
            let room = self.room.get_or_insert_with(|| Room::new(limits, start));
            if !room.holds(start, end, limits) {
                return Err(too_large(buf, start, room.end(), head));
            }
            match line.map_err(|bad| invalid(bad, buf))? {
                Line::Again => return Ok(false),
                Line::End => {
                    head.head_len = self.lines.pos() as u32;
                    check(buf, limits, self.seen, head)?;
                    return Ok(true);
                }
                Line::Field { name, value, odd } => {
                    if odd && limits.ignore_invalid {
                        head.ignored.push(Range { start: name.start, end: value.end });
                        continue;
                    }
                    if head.fields.len() >= limits.max_headers {
                        return Err(RequestError::TooManyFields);
                    }
                    let field = Field { name, value, id: Name::of(name.of(buf)) };
                    if field.id != Name::Other && NOTED.contains(field.id) {
                        self.note(buf, head, field)?;
                    }
                    head.fields.push(field);
                }
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
                if value.eq_ignore_ascii_case(b"keep-alive") {
                    head.connection = Connection::KeepAlive;
                } else if list::contains(value, b"close") {
                    head.connection = Connection::Close;
                } else if list::contains(value, b"keep-alive") {
                    head.connection = Connection::KeepAlive;
                }
                head.connection_upgrade |= list::has_token(value, b"upgrade");
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
const UNIQUE: NameSet = NameSet::of(&[
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
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let mut sum = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (!digits.is_empty() && i64::try_from(sum).is_ok()).then_some(sum)
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

/// `Name: value`, for the log.
pub(super) fn whole(buf: &[u8], field: Field) -> String {
    format!("{}: {}", text(field.name.of(buf)), text(field.value.of(buf)))
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
