//! Requests that a case gives as the bytes of HTTP/1, in parts that HTTP/2 has too.

use crate::client::find;
use crate::hpack::Field;

/// What is to be sent.
pub(crate) enum Part {
    /// Before the first request: a header of the PROXY protocol.
    Before(Vec<u8>),
    /// A request's pseudo-fields and fields, and whether that is all of it.
    Head(Vec<Field>, bool),
    /// A piece of its body, and whether it is the last.
    Data(Vec<u8>, bool),
    /// The fields behind its body.
    Trailers(Vec<Field>),
}

impl Part {
    pub(crate) fn is_head(&self) -> bool {
        matches!(self, Part::Head(..))
    }
}

/// Reads what is sent on one connection.
#[derive(Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Default, PartialEq)]
enum State {
    #[default]
    Beginning,
    Head,
    /// So much of the body is still to come.
    Body(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
}

impl Reader {
    /// Takes bytes and gives the parts that are complete with them; an error says what HTTP/2 has no words for.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Part>, String> {
        self.bytes.extend(bytes);
        let mut parts = Vec::new();
        while let Some(part) = self.next()? {
            parts.extend(part);
        }
        Ok(parts)
    }

    /// Whether the last request is complete, or there was none.
    pub(crate) fn is_between(&self) -> bool {
        self.bytes.is_empty() && matches!(self.state, State::Beginning | State::Head)
    }

    /// One step; `None` where more bytes are needed.
    fn next(&mut self) -> Result<Option<Option<Part>>, String> {
        let part = match self.state {
            State::Beginning => {
                let Some(length) = proxy_header(&self.bytes) else { return Ok(None) };
                self.state = State::Head;
                (length > 0).then(|| Part::Before(self.take(length)))
            }
            State::Head => {
                let Some(end) = find(&self.bytes, b"\r\n\r\n") else { return Ok(None) };
                let head = self.take(end + 4);
                let (fields, framing) = head_of(head.get(..end).unwrap_or_default())?;
                self.state = framing;
                Some(Part::Head(fields, self.state == State::Head))
            }
            State::Body(_) | State::Chunk(_) if self.bytes.is_empty() => return Ok(None),
            State::Body(left) => {
                let piece = self.take(left);
                let left = left - piece.len();
                self.state = if left > 0 { State::Body(left) } else { State::Head };
                Some(Part::Data(piece, left == 0))
            }
            State::ChunkSize => {
                let Some(line) = self.line() else { return Ok(None) };
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
                self.state = match size.ok_or("chunks that are none")? {
                    0 => State::Trailers,
                    size => State::Chunk(size),
                };
                None
            }
            State::Chunk(left) => {
                let piece = self.take(left);
                let left = left - piece.len();
                self.state = if left > 0 { State::Chunk(left) } else { State::ChunkEnd };
                Some(Part::Data(piece, false))
            }
            State::ChunkEnd => {
                let Some(line) = self.line() else { return Ok(None) };
                self.state = State::ChunkSize;
                if !line.is_empty() {
                    return Err("chunks that are none".to_owned());
                }
                None
            }
            State::Trailers => {
                if self.bytes.starts_with(b"\r\n") {
                    self.take(2);
                    self.state = State::Head;
                    Some(Part::Data(Vec::new(), true))
                } else {
                    let Some(end) = find(&self.bytes, b"\r\n\r\n") else { return Ok(None) };
                    let trailers = self.take(end + 4);
                    self.state = State::Head;
                    let lines = trailers.get(..end).unwrap_or_default();
                    Some(Part::Trailers(lines_of(lines).map(field).collect::<Result<_, _>>()?))
                }
            }
        };
        Ok(Some(part))
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.bytes.drain(..length.min(self.bytes.len())).collect()
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = find(&self.bytes, b"\r\n")?;
        let mut line = self.take(end + 2);
        line.truncate(end);
        Some(line)
    }
}

/// How long the header of the PROXY protocol is that a connection begins with; `None` while that cannot be said.
pub(crate) fn proxy_header(bytes: &[u8]) -> Option<usize> {
    const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let begins = |with: &[u8]| {
        !bytes.is_empty()
            && bytes.get(..with.len().min(bytes.len())) == with.get(..bytes.len().min(with.len()))
    };
    if begins(b"PROXY ") {
        return find(bytes, b"\r\n").map(|end| end + 2);
    }
    if begins(BINARY) {
        let length = bytes.get(14..16)?;
        let end = 16 + usize::from(u16::from_be_bytes([*length.first()?, *length.last()?]));
        return (bytes.len() >= end).then_some(end);
    }
    (!bytes.is_empty()).then_some(0)
}

/// The fields of a head, and what comes behind it.
fn head_of(head: &[u8]) -> Result<(Vec<Field>, State), String> {
    let mut lines = lines_of(head);
    let line = str::from_utf8(lines.next().unwrap_or_default()).map_err(|_| "a request line that is none")?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = *words else { return Err("a request line that is none".to_owned()) };
    if version != "HTTP/1.1" {
        return Err(version
            .split_inclusive('/')
            .next()
            .filter(|name| *name == "HTTP/")
            .map_or_else(|| "a request line that is none".to_owned(), |_| version.to_owned()));
    }
    if method == "CONNECT" {
        return Err("CONNECT".to_owned());
    }
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte)) {
        return Err("a method that is none".to_owned());
    }
    if !target.starts_with('/') && target != "*" {
        return Err("a target that is no path".to_owned());
    }
    if target.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("a request line that is none".to_owned());
    }
    let mut pseudo: Vec<Field> =
        vec![(b":method".to_vec(), method.into()), (b":scheme".to_vec(), b"http".to_vec())];
    let mut fields: Vec<Field> = Vec::new();
    let mut state = State::Head;
    let mut framed = false;
    let mut frames = |next: State| {
        if std::mem::replace(&mut framed, true) { Err("two lengths".to_owned()) } else { Ok(next) }
    };
    for line in lines {
        let (name, value) = field(line)?;
        let text = String::from_utf8_lossy(&value).into_owned();
        match &*name {
            b"host" if pseudo.len() > 2 => return Err("two hosts".to_owned()),
            b"host" => pseudo.push((b":authority".to_vec(), value)),
            // What HTTP/2 does with its connection is not for a request to say.
            b"connection" if ["close", "keep-alive"].contains(&&*text.to_ascii_lowercase()) => {}
            b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" => {
                return Err(format!("the field {}", String::from_utf8_lossy(&name)));
            }
            b"expect" => return Err("the field expect".to_owned()),
            b"te" if text != "trailers" => return Err("the field te".to_owned()),
            b"transfer-encoding" if text == "chunked" => state = frames(State::ChunkSize)?,
            b"transfer-encoding" => return Err("a transfer-encoding".to_owned()),
            b"content-length" => {
                let length = text.parse().map_err(|_| "a content-length that is none")?;
                state = frames(if length > 0 { State::Body(length) } else { State::Head })?;
                fields.push((name, value));
            }
            // Browsers send each cookie in a field of its own (RFC 9113, section 8.2.3).
            b"cookie" => {
                fields.extend(text.split("; ").map(|crumb| (name.clone(), crumb.as_bytes().to_vec())));
            }
            _ => fields.push((name, value)),
        }
    }
    pseudo.push((b":path".to_vec(), target.into()));
    pseudo.extend(fields);
    Ok((pseudo, state))
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (line, behind) = match find(text, b"\r\n") {
            Some(end) => (text.get(..end)?, text.get(end + 2..)),
            None => (text, None),
        };
        rest = behind;
        Some(line)
    })
}

fn field(line: &[u8]) -> Result<Field, String> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a field that is none")?;
    let (name, value) = line.split_at(colon);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if name.is_empty() || !name.iter().all(token) || value.iter().any(|byte| b"\0\r\n".contains(byte)) {
        return Err("a field that is none".to_owned());
    }
    Ok((name.to_ascii_lowercase(), value.to_vec()))
}
