//! Heads of responses as upstreams send them.

use super::body::{Chunked, Decoder};
use super::lines::{Line, Lines, Rules};
use super::refusal::{text, whole};
use super::request::number;
use super::scan;
use crate::name::NameSet;
use crate::{Field, Name, Range, field, list};

/// A response head. All ranges lie in the buffer it was parsed from.
#[derive(Clone, Default, Debug)]
pub struct ResponseHead {
    /// Bytes of the head; the body starts there.
    pub head_len: u32,
    /// The major and minor version.
    pub version: (u16, u16),
    /// The status code, at least 100.
    pub status: u16,
    /// Code and phrase as they were sent: `200 OK`.
    pub status_line: Range,
    /// The phrase alone, perhaps empty.
    pub reason: Range,
    /// The fields in the order they were sent, without `duplicates`.
    pub fields: Vec<Field>,
    /// Repeated fields of which only the first counts; each is worth a line in the log.
    pub duplicates: Vec<Duplicate>,
    /// The Content-Length.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub chunked: bool,
    /// The connection may be used again behind the body, when the body is not framed by the connection's end.
    pub keep_alive: bool,
    /// The protocol changes (101).
    pub upgrade: bool,
}

impl ResponseHead {
    /// The first field called `id`.
    pub fn field(&self, id: Name) -> Option<&Field> {
        field::find(&self.fields, id)
    }

    /// How the body is framed; `head` when the request was HEAD. Trailers are kept, up to `trailers` bytes.
    pub fn body(&self, head: bool, trailers: Option<usize>) -> Decoder {
        match self.content_length {
            _ if head || matches!(self.status, 204 | 304) => Decoder::None,
            _ if self.chunked => {
                Decoder::Chunked(trailers.map_or_else(Chunked::new, Chunked::keeping_trailers))
            }
            Some(0) => Decoder::None,
            Some(length) => Decoder::Length(length),
            None => Decoder::UntilClose,
        }
    }

    fn clear(&mut self) {
        let (mut fields, mut duplicates) =
            (std::mem::take(&mut self.fields), std::mem::take(&mut self.duplicates));
        fields.clear();
        duplicates.clear();
        *self = ResponseHead { fields, duplicates, ..ResponseHead::default() };
    }
}

/// A field that was ignored because one of its name came before.
#[derive(Clone, Copy, Debug)]
pub struct Duplicate {
    /// The field that is ignored.
    pub field: Field,
    /// The field that counts.
    pub previous: Field,
}

impl Duplicate {
    /// The error_log sentence, level warn.
    pub fn sentence(&self, buf: &[u8]) -> String {
        let (now, before) = (whole(buf, self.field), whole(buf, self.previous));
        format!("upstream sent duplicate header line: \"{now}\", previous value: \"{before}\", ignored")
    }
}

/// Why a response is refused with 502. Display is nginx's sentence for the error_log, level error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum ResponseError {
    /// Not a status line at all: nginx passes everything, from the first byte on, as an HTTP/0.9 body with status
    /// 200 and closes the connection behind it.
    #[error("upstream sent no valid HTTP/1.0 header")]
    NoStatusLine,
    #[error("upstream sent invalid status {0:03}")]
    InvalidStatus(u16),
    #[error("upstream sent HTTP/1.0 response with early hints")]
    EarlyHintsIn10,
    #[error("upstream sent invalid header: \"{0}\\x{1:02x}...\"")]
    InvalidField(String, u8),
    #[error("upstream sent duplicate header line: \"{0}\", previous value: \"{1}\"")]
    DuplicateField(String, String),
    #[error("upstream sent invalid \"Content-Length\" header: \"{0}\"")]
    InvalidContentLength(String),
    #[error("upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    LengthAndEncoding,
    #[error("upstream sent unknown \"Transfer-Encoding\": \"{0}\"")]
    UnknownTransferEncoding(String),
}

/// Reads one response head from a growing buffer, in time that grows with its length however its bytes arrive.
///
/// [`reset`](ResponseParser::reset) it behind each head: behind one of status 103 the next head follows.
#[derive(Clone, Default, Debug)]
pub struct ResponseParser {
    phase: Phase,
    pos: usize,
    digits: u8,
    status: usize,
    lines: Lines,
    seen: NameSet,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Phase {
    #[default]
    Fresh,
    Protocol(u8),
    Major,
    Minor,
    Status,
    AfterStatus,
    Reason,
    Return,
    Fields,
}

impl ResponseParser {
    /// A parser at the first byte of a response.
    pub fn new() -> ResponseParser {
        ResponseParser::default()
    }

    /// Starts over with the next response.
    pub fn reset(&mut self) {
        *self = ResponseParser::default();
    }

    /// Goes on reading; true when the head is complete.
    pub fn parse(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<bool, ResponseError> {
        if self.phase == Phase::Fresh {
            head.clear();
            self.phase = Phase::Protocol(0);
        }
        if self.phase != Phase::Fields {
            if !self.status_line(buf, head)? {
                return Ok(false);
            }
            if head.status < 100 {
                return Err(ResponseError::InvalidStatus(head.status));
            }
            head.keep_alive = head.version >= (1, 1);
            if head.status == 103 && !head.keep_alive {
                return Err(ResponseError::EarlyHintsIn10);
            }
            self.lines = Lines::at(self.pos);
            self.phase = Phase::Fields;
        }
        self.fields(buf, head)
    }

    fn status_line(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<bool, ResponseError> {
        if self.pos == 0 && self.usual(buf, head).is_some() {
            return Ok(true);
        }
        self.any(buf, head)
    }

    /// Reads a status line of which all is there and that is what it usually is: HTTP/1.1, a code, a reason, CR LF.
    #[inline]
    fn usual(&mut self, buf: &[u8], head: &mut ResponseHead) -> Option<()> {
        let code = buf.strip_prefix(b"HTTP/1.1 ")?;
        let ([a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' '], reason) = code.split_first_chunk()?
        else {
            return None;
        };
        let len = scan::control(reason)?;
        if !reason.get(len..)?.starts_with(b"\r\n") {
            return None;
        }
        head.version = (1, 1);
        head.status = [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'));
        head.status_line = Range::new(9, 13 + len);
        head.reason = Range::new(13, 13 + len);
        self.pos = 13 + len + 2;
        Some(())
    }

    /// Goes on reading a status line, whatever it is and however much of it is there.
    #[inline(never)]
    fn any(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<bool, ResponseError> {
        while let Some(&byte) = buf.get(self.pos) {
            if self.phase == Phase::Reason {
                // A NUL is a byte like any other here.
                let rest = buf.get(self.pos..).unwrap_or_default();
                self.pos += scan::line_break(rest).unwrap_or(rest.len());
                match buf.get(self.pos) {
                    None => break,
                    Some(0) => {
                        self.pos += 1;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            let byte = buf.get(self.pos).copied().unwrap_or(byte);
            let digit = u16::from(byte.wrapping_sub(b'0'));
            match (self.phase, byte) {
                (Phase::Protocol(seen), _) => {
                    if b"HTTP/".get(usize::from(seen)) != Some(&byte) {
                        return Err(ResponseError::NoStatusLine);
                    }
                    self.phase = if byte == b'/' { Phase::Major } else { Phase::Protocol(seen + 1) };
                }
                (Phase::Major, b'.') if self.digits > 0 => self.next(Phase::Minor),
                (Phase::Major, b'0'..=b'9') if head.version.0 <= 99 && (self.digits > 0 || digit > 0) => {
                    head.version.0 = head.version.0 * 10 + digit;
                    self.digits = 1;
                }
                (Phase::Minor, b' ') if self.digits > 0 => self.next(Phase::Status),
                (Phase::Minor, b'0'..=b'9') if head.version.1 <= 99 => {
                    head.version.1 = head.version.1 * 10 + digit;
                    self.digits = 1;
                }
                // Before the code only; nginx lets spaces into it.
                (Phase::Status, b' ') if self.digits == 0 => {}
                (Phase::Status, b'0'..=b'9') => {
                    if self.digits == 0 {
                        self.status = self.pos;
                    }
                    head.status = head.status * 10 + digit;
                    self.digits += 1;
                    if self.digits == 3 {
                        self.next(Phase::AfterStatus);
                    }
                }
                // IIS may send 403.1.
                (Phase::AfterStatus, b' ' | b'.') => {
                    self.phase = Phase::Reason;
                    head.reason = Range::new(self.pos + 1, self.pos + 1);
                }
                (Phase::AfterStatus | Phase::Reason, b'\r') => {
                    self.line_ends(head);
                    self.phase = Phase::Return;
                }
                (Phase::AfterStatus | Phase::Reason, b'\n') => {
                    self.line_ends(head);
                    self.pos += 1;
                    return Ok(true);
                }
                (Phase::Return, b'\n') => {
                    self.pos += 1;
                    return Ok(true);
                }
                _ => return Err(ResponseError::NoStatusLine),
            }
            self.pos += 1;
        }
        Ok(false)
    }

    fn next(&mut self, phase: Phase) {
        self.phase = phase;
        self.digits = 0;
    }

    fn line_ends(&self, head: &mut ResponseHead) {
        head.status_line = Range::new(self.status, self.pos);
        if self.phase == Phase::Reason {
            head.reason = Range::new(head.reason.start as usize, self.pos);
        }
    }

    fn fields(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<bool, ResponseError> {
        let rules = Rules { underscores: true, status_lines: true };
        loop {
            let line = self
                .lines
                .next(buf, rules)
                .map_err(|bad| ResponseError::InvalidField(text(bad.line.of(buf)), bad.byte))?;
            match line {
                Line::Again => return Ok(false),
                Line::End => {
                    head.head_len = self.lines.pos() as u32;
                    if head.status == 101 {
                        head.keep_alive = false;
                        head.upgrade = true;
                    }
                    return Ok(true);
                }
                Line::Field { field, .. } => {
                    // Early hints are passed on unread.
                    if head.status == 103 || self.note(buf, head, field)? {
                        head.fields.push(field);
                    }
                }
            }
        }
    }

    /// Takes from a field what the head itself tells; false when the field is a duplicate to ignore.
    fn note(&mut self, buf: &[u8], head: &mut ResponseHead, field: Field) -> Result<bool, ResponseError> {
        if SINGLE.contains(field.id) {
            let first = self.seen.insert(field.id);
            if !first {
                let previous = head.field(field.id).copied().unwrap_or_default();
                head.duplicates.push(Duplicate { field, previous });
            }
            return Ok(first);
        }
        let value = field.value.of(buf);
        match field.id {
            Name::ContentLength | Name::TransferEncoding if !self.seen.insert(field.id) => {
                let previous = head.field(field.id).copied().unwrap_or_default();
                return Err(ResponseError::DuplicateField(whole(buf, field), whole(buf, previous)));
            }
            Name::ContentLength => {
                if self.seen.contains(Name::TransferEncoding) {
                    return Err(ResponseError::LengthAndEncoding);
                }
                let length = number(value);
                head.content_length = length;
                if length.is_none() {
                    return Err(ResponseError::InvalidContentLength(whole(buf, field)));
                }
            }
            Name::TransferEncoding => {
                if self.seen.contains(Name::ContentLength) {
                    return Err(ResponseError::LengthAndEncoding);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::UnknownTransferEncoding(text(value)));
                }
                head.chunked = true;
            }
            // The usual values need no search.
            Name::Connection if value == b"keep-alive" || value == b"Keep-Alive" => {}
            Name::Connection if list::contains(value, b"close") => head.keep_alive = false,
            _ => {}
        }
        Ok(true)
    }
}

/// Fields of which nginx takes the first and ignores the rest.
const SINGLE: NameSet = NameSet::of(&[
    Name::Status,
    Name::ContentType,
    Name::Date,
    Name::LastModified,
    Name::ETag,
    Name::Server,
    Name::Location,
    Name::Refresh,
    Name::Expires,
    Name::XAccelExpires,
    Name::XAccelRedirect,
    Name::XAccelLimitRate,
]);
