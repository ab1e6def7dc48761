//! What a request head says, and what it may look like.

use super::body::{Chunked, Decoder};
use super::refusal::text;
use crate::Range;
use crate::{Field, Name, field};

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
    /// `merge_slashes`: a run of slashes in a path is one.
    pub merge_slashes: bool,
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
            merge_slashes: true,
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
    /// HTTP/2, whose requests are streams of one connection.
    Http20,
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
    /// The path is clean as it was sent; otherwise `decoded` has the clean one. See [`RequestHead::uri`].
    pub plain_path: bool,
    /// The [normalized](crate::uri::normalize) path, when it differs from what was sent.
    pub decoded: Vec<u8>,
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
    /// The body is chunked; in HTTP/2, it has no announced length.
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
    /// Whether the client means to keep the connection after this request. In HTTP/2 that is not for a request to say.
    pub fn keep_alive(&self) -> bool {
        match self.connection {
            _ if self.version == Version::Http20 => false,
            Connection::None => self.version == Version::Http11 && self.method != Method::Connect,
            Connection::Close => false,
            Connection::KeepAlive => self.method != Method::Connect,
        }
    }

    /// The decoded and cleaned path (`$uri` as the request begins).
    pub fn uri<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        if self.plain_path { self.path.of(buf) } else { &self.decoded }
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
            // A stream has an end of its own.
            _ if self.chunked && self.version == Version::Http20 => Decoder::UntilClose,
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
    pub(crate) fn clear(&mut self) {
        let (mut fields, mut ignored) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.ignored));
        let mut decoded = std::mem::take(&mut self.decoded);
        fields.clear();
        ignored.clear();
        decoded.clear();
        *self = RequestHead { fields, ignored, decoded, ..RequestHead::default() };
    }
}
