//! FastCGI as its client speaks it: a request written as records, and the records of an answer taken apart.
//!
//! Names and numbers are those of the FastCGI Specification 1.0. One request is on a connection at a time, with id 1.

use crate::Range;

/// What is in a record's stream of bytes that goes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Names and values.
    Params = 4,
    /// The request's body.
    Stdin = 5,
}

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
const RESPONDER: u8 = 1;
const HEADER: usize = 8;

/// Most bytes of a stream in one record; a multiple of eight, so that no padding is needed.
const MOST: usize = 0xfff8;

/// Starts a request in the role of a responder, after which the connection is closed.
pub fn begin(out: &mut Vec<u8>) {
    header(BEGIN_REQUEST, 8, out);
    out.extend_from_slice(&[0, RESPONDER, 0, 0, 0, 0, 0, 0]);
}

/// Appends records with a piece of a stream; an empty piece has none.
pub fn piece(stream: Stream, bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.chunks(MOST) {
        header(stream as u8, part.len() as u16, out);
        out.extend_from_slice(part);
    }
}

/// Ends a stream.
pub fn end(stream: Stream, out: &mut Vec<u8>) {
    header(stream as u8, 0, out);
}

/// Appends a name and its value as the `Params` stream holds them.
pub fn param(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for length in [name.len(), value.len()] {
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => out.push(short),
            // Four bytes, the highest bit set; heads are far shorter than what does not fit.
            _ => out.extend_from_slice(&(length as u32 | 0x8000_0000).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

fn header(kind: u8, length: u16, out: &mut Vec<u8>) {
    let [high, low] = length.to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, 0, 1, high, low, 0, 0]);
}

/// Takes an answer's records apart, wherever the connection cut them.
#[derive(Clone, Debug, Default)]
pub struct Records {
    header: [u8; HEADER],
    have: usize,
    kind: u8,
    /// What is still to come of the record's content, and of its padding.
    content: u16,
    padding: u8,
}

/// What comes next in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// More bytes are needed.
    More,
    /// The answer itself, head and body.
    Stdout(Range),
    /// What is for the error log.
    Stderr(Range),
    /// The answer is over.
    End,
}

/// Why an answer is no FastCGI. Display is nginx's sentence for the error_log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum RecordError {
    #[error("upstream sent unsupported FastCGI protocol version: {0}")]
    Version(u8),
    #[error("upstream sent invalid FastCGI record type: {0}")]
    Kind(u8),
    #[error("upstream sent unexpected FastCGI request id: {0}")]
    Id(u16),
}

impl Records {
    /// What comes next in `buf` from `at` on, and where the event after it is to be looked for.
    pub fn next(&mut self, buf: &[u8], mut at: usize) -> Result<(Event, usize), RecordError> {
        loop {
            let rest = buf.get(at..).unwrap_or_default();
            if self.have < HEADER {
                let taken = rest.len().min(HEADER - self.have);
                for (to, from) in self.header.iter_mut().skip(self.have).zip(rest) {
                    *to = *from;
                }
                (self.have, at) = (self.have + taken, at + taken);
                if self.have < HEADER {
                    return Ok((Event::More, at));
                }
                self.open()?;
                // An empty record ends the stream, which END_REQUEST says as well.
                continue;
            }
            if self.content > 0 {
                let taken = rest.len().min(usize::from(self.content));
                if taken == 0 {
                    return Ok((Event::More, at));
                }
                self.content -= taken as u16;
                let range = Range::new(at, at + taken);
                at += taken;
                match self.kind {
                    STDOUT => return Ok((Event::Stdout(range), at)),
                    STDERR => return Ok((Event::Stderr(range), at)),
                    _ => continue,
                }
            }
            let taken = rest.len().min(usize::from(self.padding));
            (self.padding, at) = (self.padding - taken as u8, at + taken);
            if self.padding > 0 {
                return Ok((Event::More, at));
            }
            self.have = 0;
            if self.kind == END_REQUEST {
                return Ok((Event::End, at));
            }
        }
    }

    fn open(&mut self) -> Result<(), RecordError> {
        let [version, kind, id_high, id_low, high, low, padding, _] = self.header;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        if !matches!(kind, STDOUT | STDERR | END_REQUEST) {
            return Err(RecordError::Kind(kind));
        }
        let id = u16::from_be_bytes([id_high, id_low]);
        if id != 1 {
            return Err(RecordError::Id(id));
        }
        (self.kind, self.content, self.padding) = (kind, u16::from_be_bytes([high, low]), padding);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"\x01\x06\0\x01\0\x05\x03\0hello\0\0\0\x01\x07\0\x01\0\x02\0\0no\x01\x06\0\x01\0\0\0\0\
                            \x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0";

    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut records, mut out, mut err) = (Records::default(), Vec::new(), Vec::new());
        for piece in pieces {
            let mut at = 0;
            loop {
                let (event, next) = records.next(piece, at).unwrap();
                at = next;
                match event {
                    Event::More => break,
                    Event::Stdout(range) => out.extend_from_slice(range.of(piece)),
                    Event::Stderr(range) => err.extend_from_slice(range.of(piece)),
                    Event::End => return (out, err, true),
                }
            }
            assert_eq!(at, piece.len());
        }
        (out, err, false)
    }

    #[test]
    fn records_may_be_cut_anywhere() {
        for cut in 0..ANSWER.len() {
            let (start, rest) = ANSWER.split_at(cut);
            assert_eq!(read(&[start, rest]), (b"hello".to_vec(), b"no".to_vec(), true), "{cut}");
        }
        let bytes: Vec<&[u8]> = ANSWER.chunks(1).collect();
        assert_eq!(read(&bytes), (b"hello".to_vec(), b"no".to_vec(), true));
        assert!(!read(&[&ANSWER[..ANSWER.len() - 1]]).2);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let next = |bytes: &[u8]| Records::default().next(bytes, 0).map(|(event, _)| event);
        assert_eq!(next(b"HTTP/1.1 200 OK"), Err(RecordError::Version(b'H')));
        assert_eq!(next(b"\x01\x05\0\x01\0\0\0\0"), Err(RecordError::Kind(5)));
        assert_eq!(next(b"\x01\x06\x01\x01\0\0\0\0"), Err(RecordError::Id(257)));
    }

    #[test]
    fn long_names_and_values_have_long_lengths() {
        let mut out = Vec::new();
        param(b"A", &[b'x'; 127], &mut out);
        assert_eq!(out[..3], [1, 127, b'A']);
        out.clear();
        param(b"A", &[b'x'; 128], &mut out);
        assert_eq!(out[..6], [1, 0x80, 0, 0, 128, b'A']);
        out.clear();
        piece(Stream::Stdin, &vec![b'x'; MOST + 1], &mut out);
        assert_eq!(out.len(), MOST + 1 + 2 * HEADER);
        assert_eq!(out[HEADER + MOST..][..HEADER], [1, 5, 0, 1, 0, 1, 0, 0]);
    }
}
