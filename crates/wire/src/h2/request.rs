//! From the fields of a stream to the head of a request, with nginx's checks in nginx's order.

use super::refusal::RequestError;
use crate::h1::{Limits, Method, RequestHead, UNIQUE, Version, in_method, number, split_target};
use crate::host::host;
use crate::name::NameSet;
use crate::uri::normalize;
use crate::{Field, Name, Range};

/// What the pseudo-header fields say (RFC 9113, 8.3.1); `None` for what was not sent.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pseudo<'a> {
    /// `:method`
    pub method: Option<&'a [u8]>,
    /// `:scheme`
    pub scheme: Option<&'a [u8]>,
    /// `:authority`
    pub authority: Option<&'a [u8]>,
    /// `:path`
    pub path: Option<&'a [u8]>,
}

/// Makes the head of a request of a stream's fields, in the order sent. Its ranges point into `bytes`, where the head is
/// written as HTTP/1 would have it: request line, field lines, an empty line; `$request_length` counts these. `ends` is
/// whether the stream ends with its fields, so that there is no body.
///
/// Several `cookie` fields become one (8.2.3), and `host` is there even if only `:authority` was sent. What is
/// in [`RequestHead::ignored`] are the names of fields that were left out; they stand behind the head.
pub fn request<'a>(
    pseudo: &Pseudo<'a>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ends: bool,
    limits: &Limits,
    head: &mut RequestHead,
    bytes: &mut Vec<u8>,
) -> Result<(), RequestError> {
    head.clear();
    head.version = Version::Http20;
    bytes.clear();
    let mut room = Room { left: limits.large_size.saturating_mul(limits.large_buffers), limits };
    line(pseudo, limits, &mut room, head, bytes)?;
    let mut reader =
        Fields { limits, head, bytes, seen: NameSet::of(&[]), cookies: Vec::new(), left_out: Vec::new() };
    for (name, value) in fields {
        room.take(name, value)?;
        reader.field(name, value)?;
    }
    reader.finish(pseudo.authority, ends)
}

/// How much of a head nginx takes: every name and value for itself, and all together.
struct Room<'l> {
    left: usize,
    limits: &'l Limits,
}

impl Room<'_> {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        if name.len().max(value.len()) > self.limits.large_size {
            return Err(RequestError::TooLargeField);
        }
        match self.left.checked_sub(name.len() + value.len()) {
            Some(left) => self.left = left,
            None => return Err(RequestError::TooLarge),
        }
        Ok(())
    }
}

/// Checks the pseudo-header fields and writes the request line.
fn line(
    pseudo: &Pseudo<'_>,
    limits: &Limits,
    room: &mut Room<'_>,
    head: &mut RequestHead,
    bytes: &mut Vec<u8>,
) -> Result<(), RequestError> {
    let named = [
        (&b":method"[..], pseudo.method),
        (b":scheme", pseudo.scheme),
        (b":authority", pseudo.authority),
        (b":path", pseudo.path),
    ];
    for (name, value) in named {
        room.take(name, value.unwrap_or_default())?;
    }
    let method = present("method", pseudo.method)?;
    if !method.iter().all(|&byte| in_method(byte)) {
        return Err(RequestError::InvalidMethod(text(method)));
    }
    head.method = Method::of(method);
    let scheme = present("scheme", pseudo.scheme)?;
    let in_scheme = |(at, byte): (usize, &u8)| {
        byte.is_ascii_alphabetic()
            || (at > 0 && (byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')))
    };
    if !scheme.iter().enumerate().all(in_scheme) {
        return Err(RequestError::Invalid("scheme", text(scheme)));
    }
    if let Some(authority) = pseudo.authority {
        host(authority).map_err(|_| RequestError::InvalidAuthority)?;
    }
    let path = present("path", pseudo.path)?;
    let bad = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    if !path.starts_with(b"/") || path.iter().any(bad) {
        return Err(RequestError::Invalid("path", text(path)));
    }
    head.method_text = append(method, bytes);
    bytes.push(b' ');
    head.target = append(path, bytes);
    split_target(bytes, head);
    if !head.plain_path && normalize(head.path.of(bytes), limits.merge_slashes, &mut head.decoded).is_err() {
        // A path that leads out of its root is none, not what came before the step out.
        head.decoded.clear();
        return Err(RequestError::Invalid("path", text(path)));
    }
    bytes.push(b' ');
    head.protocol = append(b"HTTP/2.0", bytes);
    head.line = Range::new(0, bytes.len());
    bytes.extend_from_slice(b"\r\n");
    Ok(())
}

fn present<'a>(name: &'static str, value: Option<&'a [u8]>) -> Result<&'a [u8], RequestError> {
    let value = value.ok_or(RequestError::Missing(name))?;
    if value.is_empty() { Err(RequestError::Empty(name)) } else { Ok(value) }
}

/// Fields on their way into a head.
struct Fields<'h> {
    limits: &'h Limits,
    head: &'h mut RequestHead,
    bytes: &'h mut Vec<u8>,
    seen: NameSet,
    /// The values of the `cookie` fields, joined.
    cookies: Vec<u8>,
    /// The names of fields that are left out.
    left_out: Vec<Vec<u8>>,
}

impl Fields<'_> {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        let odd =
            is_odd(name, self.limits.underscores).map_err(|()| RequestError::InvalidName(text(name)))?;
        if value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            return Err(RequestError::InvalidValue(text(name), text(value)));
        }
        if odd && self.limits.ignore_invalid {
            self.left_out.push(name.to_vec());
            return Ok(());
        }
        if name == b"cookie" {
            if !self.cookies.is_empty() {
                self.cookies.extend_from_slice(b"; ");
            }
            self.cookies.extend_from_slice(value);
            return Ok(());
        }
        if self.head.fields.len() >= self.limits.max_headers {
            return Err(RequestError::TooManyFields);
        }
        let field = self.append(name, value);
        let again = !self.seen.insert(field.id);
        if again && UNIQUE.contains(field.id) {
            return Err(self.duplicate(field));
        }
        if field.id == Name::Te && (again || !value.eq_ignore_ascii_case(b"trailers")) {
            return Err(RequestError::InvalidTe);
        }
        if field.id == Name::Host {
            host(value).map_err(|_| RequestError::InvalidHost)?;
            self.head.host = Some(field.value);
        }
        self.head.fields.push(field);
        Ok(())
    }

    fn append(&mut self, name: &[u8], value: &[u8]) -> Field {
        let id = Name::of(name);
        let name = append(name, self.bytes);
        self.bytes.extend_from_slice(b": ");
        let value = append(value, self.bytes);
        self.bytes.extend_from_slice(b"\r\n");
        Field { name, value, id }
    }

    #[cold]
    fn duplicate(&self, field: Field) -> RequestError {
        let before = self.head.field(field.id).copied().unwrap_or_default();
        let whole = |field: Field| {
            format!("{}: {}", text(field.name.of(self.bytes)), text(field.value.of(self.bytes)))
        };
        match field.id {
            Name::Host => RequestError::DuplicateHost(whole(field), whole(before)),
            _ => RequestError::DuplicateField(whole(field), whole(before)),
        }
    }

    /// What nginx checks when all fields are there, in its order.
    fn finish(mut self, authority: Option<&[u8]>, ends: bool) -> Result<(), RequestError> {
        if !self.cookies.is_empty() {
            let cookies = std::mem::take(&mut self.cookies);
            let field = self.append(b"cookie", &cookies);
            self.head.fields.push(field);
        }
        for (id, name) in OF_CONNECTION {
            if self.seen.contains(id) {
                return Err(RequestError::OfConnection(name));
            }
        }
        match (authority, self.head.host) {
            (None, None) => return Err(RequestError::NoHost),
            (Some(authority), Some(host)) if host.of(self.bytes) != authority => {
                return Err(RequestError::TwoHosts);
            }
            (Some(authority), None) => {
                let field = self.append(b"host", authority);
                self.head.host = Some(field.value);
                self.head.fields.push(field);
            }
            _ => {}
        }
        let head = &mut *self.head;
        if self.seen.contains(Name::ContentLength)
            && let Some(field) = head.field(Name::ContentLength)
        {
            let length = number(field.value.of(self.bytes)).ok_or(RequestError::InvalidContentLength)?;
            if length > 0 && ends {
                return Err(RequestError::EndsEarly);
            }
            head.content_length = Some(length);
        } else if !ends {
            head.chunked = true;
        }
        self.bytes.extend_from_slice(b"\r\n");
        head.head_len = self.bytes.len() as u32;
        for name in &self.left_out {
            head.ignored.push(append(name, self.bytes));
        }
        match head.method {
            Method::Connect => Err(RequestError::Connect),
            Method::Trace => Err(RequestError::Trace),
            _ => Ok(()),
        }
    }
}

/// Fields that say how a connection of HTTP/1 goes on (RFC 9113, 8.2.2).
const OF_CONNECTION: [(Name, &str); 4] = [
    (Name::Connection, "Connection"),
    (Name::KeepAlive, "Keep-Alive"),
    (Name::TransferEncoding, "Transfer-Encoding"),
    (Name::Upgrade, "Upgrade"),
];

/// Whether a name is not what names usually are; an error where it cannot be one.
fn is_odd(name: &[u8], underscores: bool) -> Result<bool, ()> {
    if name.is_empty() {
        return Err(());
    }
    let mut odd = false;
    for byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => {}
            b'_' if underscores => {}
            0..=b' ' | 0x7f | b':' | b'A'..=b'Z' => return Err(()),
            _ => odd = true,
        }
    }
    Ok(odd)
}

fn append(text: &[u8], bytes: &mut Vec<u8>) -> Range {
    let start = bytes.len();
    bytes.extend_from_slice(text);
    Range::new(start, bytes.len())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
