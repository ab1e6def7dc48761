//! Bodies: where the payload stands in what was received, and where the message ends.

use super::lines::{Line, Lines, Rules};
use crate::Field;

/// How a body is framed, and how much of it is still to come.
#[derive(Clone, Default, Debug)]
pub enum Decoder {
    /// No body, or nothing more of it.
    #[default]
    None,
    /// So many bytes more.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Everything until the connection ends; the caller notices the end.
    UntilClose,
}

/// What a call of [`Decoder::decode`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decoded {
    /// Bytes of the buffer that are dealt with, payload among them.
    pub consumed: usize,
    /// The payload, within the consumed bytes; may be empty.
    pub data: std::ops::Range<usize>,
    /// The body has ended; what is behind `consumed` belongs to the next message.
    pub done: bool,
}

/// A body that cannot be read. nginx says "client sent invalid chunked body" (400) or "upstream sent invalid chunked
/// response".
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// The framing is broken or a size overflows.
    #[error("invalid chunked body")]
    Invalid,
    /// A chunk's size line with its extensions is longer than anyone needs.
    #[error("too long chunk header")]
    TooLongChunkHeader,
    /// The trailers that were to be kept do not fit.
    #[error("too big trailers")]
    TooBigTrailers,
    /// A trailer that was to be kept is no field line.
    #[error("invalid trailer")]
    InvalidTrailer,
}

impl Decoder {
    /// Finds the first piece of payload in `buf`, which starts behind what was consumed before.
    ///
    /// Call it again with the rest while it consumes; with more bytes when it does not and is not done.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Decoded, BodyError> {
        match self {
            Decoder::None => Ok(Decoded { consumed: 0, data: 0..0, done: true }),
            Decoder::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= len as u64;
                Ok(Decoded { consumed: len, data: 0..len, done: *left == 0 })
            }
            Decoder::Chunked(chunked) => chunked.decode(buf),
            Decoder::UntilClose => Ok(Decoded { consumed: buf.len(), data: 0..buf.len(), done: false }),
        }
    }

    /// What chunks have announced so far: the size of the last one whose size line was read, and of all before it
    /// together. A body that is too large is known by that, before it has come.
    pub fn announced(&self) -> (u64, u64) {
        match self {
            Decoder::Chunked(chunked) => (chunked.last, chunked.before),
            _ => (0, 0),
        }
    }

    /// Whether the body has ended, so that the connection is at the next message.
    pub fn is_done(&self) -> bool {
        match self {
            Decoder::None | Decoder::Length(0) => true,
            Decoder::Chunked(chunked) => chunked.state == State::Done,
            Decoder::Length(_) | Decoder::UntilClose => false,
        }
    }
}

/// The state of a chunked body (RFC 9112, 7.1). Line breaks are CR LF, as nginx insists on since 1.29.
#[derive(Clone, Default, Debug)]
pub struct Chunked {
    state: State,
    /// The size being read, then the bytes left of the chunk.
    size: u64,
    /// The size of the last chunk that was announced, and of all before it together.
    last: u64,
    before: u64,
    /// Bytes of the present size line.
    line: usize,
    /// How many bytes of trailers to keep, when they are wanted.
    keep: Option<usize>,
    trailer_bytes: Vec<u8>,
    trailers: Vec<Field>,
    failed: Option<BodyError>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Start,
    Size,
    Extension,
    SizeReturn,
    Data,
    DataReturn,
    DataFeed,
    Trailer,
    TrailerField,
    TrailerFieldFeed,
    LastFeed,
    Done,
}

impl Chunked {
    /// The longest size line with its extensions.
    const LINE: usize = 8192;

    /// A body whose trailers are skipped.
    pub fn new() -> Chunked {
        Chunked::default()
    }

    /// A body whose trailers are kept, up to so many bytes.
    pub fn keeping_trailers(bytes: usize) -> Chunked {
        Chunked { keep: Some(bytes), ..Chunked::default() }
    }

    /// The trailers, when the body is done and they were kept: the fields and the buffer they lie in.
    pub fn trailers(&self) -> (&[Field], &[u8]) {
        (&self.trailers, &self.trailer_bytes)
    }

    /// Bytes left of the chunk whose payload is next or was begun.
    pub fn chunk_left(&self) -> u64 {
        if self.state == State::Data { self.size } else { 0 }
    }

    fn decode(&mut self, buf: &[u8]) -> Result<Decoded, BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = self.framing(buf, 0).inspect_err(|error| self.failed = Some(*error))?;
        if self.state != State::Data {
            return Ok(Decoded { consumed: start, data: start..start, done: self.state == State::Done });
        }
        let rest = buf.len() - start;
        let len = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest);
        let end = start + len;
        self.size -= len as u64;
        if self.size > 0 {
            return Ok(Decoded { consumed: end, data: start..end, done: false });
        }
        self.state = State::DataReturn;
        // The payload is good whatever follows it: an error is told by the next call.
        let consumed = self.framing(buf, end).unwrap_or_else(|error| {
            self.failed = Some(error);
            end
        });
        Ok(Decoded { consumed, data: start..end, done: self.state == State::Done })
    }

    /// Reads what is no payload, from `pos` up to the next payload, the end of the body, or the end of the buffer.
    fn framing(&mut self, buf: &[u8], mut pos: usize) -> Result<usize, BodyError> {
        while !matches!(self.state, State::Data | State::Done)
            && let Some(&byte) = buf.get(pos)
        {
            pos += 1;
            self.state = match (self.state, byte) {
                (State::Start, _) => {
                    (self.size, self.line) = (hex(byte)?, 0);
                    State::Size
                }
                (State::Size | State::Extension, _) => self.size_line(byte)?,
                (State::SizeReturn, b'\n') if self.size > 0 => {
                    self.before = self.before.saturating_add(self.last);
                    self.last = self.size;
                    State::Data
                }
                (State::SizeReturn, b'\n') => State::Trailer,
                (State::DataReturn, b'\r') => State::DataFeed,
                (State::DataFeed, b'\n') => State::Start,
                (State::Trailer, b'\r') => State::LastFeed,
                (State::LastFeed, b'\n') => {
                    self.read_trailers()?;
                    State::Done
                }
                (State::Trailer | State::TrailerField, b'\n') => return Err(BodyError::Invalid),
                (State::TrailerField, b'\r') => State::TrailerFieldFeed,
                (State::Trailer | State::TrailerField, _) => {
                    self.keep(byte)?;
                    State::TrailerField
                }
                (State::TrailerFieldFeed, b'\n') => {
                    self.keep(b'\n')?;
                    State::Trailer
                }
                _ => return Err(BodyError::Invalid),
            };
        }
        Ok(pos)
    }

    fn size_line(&mut self, byte: u8) -> Result<State, BodyError> {
        self.line += 1;
        if self.line > Chunked::LINE {
            return Err(BodyError::TooLongChunkHeader);
        }
        if self.state == State::Extension {
            return match byte {
                b'\r' => Ok(State::SizeReturn),
                b'\n' => Err(BodyError::Invalid),
                _ => Ok(State::Extension),
            };
        }
        match byte {
            b'\r' => Ok(State::SizeReturn),
            b';' | b' ' | b'\t' => Ok(State::Extension),
            _ => {
                // The sum must stay below 2^63, as in a Content-Length.
                if self.size > i64::MAX as u64 / 16 {
                    return Err(BodyError::Invalid);
                }
                self.size = self.size * 16 + hex(byte)?;
                Ok(State::Size)
            }
        }
    }

    fn keep(&mut self, byte: u8) -> Result<(), BodyError> {
        if let Some(limit) = self.keep {
            if self.trailer_bytes.len() >= limit {
                return Err(BodyError::TooBigTrailers);
            }
            self.trailer_bytes.push(byte);
        }
        Ok(())
    }

    /// Finds the fields in the trailer lines that were kept.
    fn read_trailers(&mut self) -> Result<(), BodyError> {
        let mut lines = Lines::default();
        let rules = Rules { underscores: true, status_lines: false };
        loop {
            match lines.next(&self.trailer_bytes, rules) {
                Ok(Line::Field { field, .. }) => self.trailers.push(field),
                Ok(Line::Again | Line::End) => return Ok(()),
                Err(_) => return Err(BodyError::InvalidTrailer),
            }
        }
    }
}

fn hex(byte: u8) -> Result<u64, BodyError> {
    char::from(byte).to_digit(16).map(u64::from).ok_or(BodyError::Invalid)
}

/// Writes the line before a chunk's payload: its size in hexadecimal and CR LF.
pub fn chunk_header(len: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = (len >> (digit * 4)) & 0xf;
        out.push(b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}
