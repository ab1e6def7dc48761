//! The request to the server: its line, its fields, its body.

use wire::Name;
use wire::h1::Method;

use super::Proxy;
use super::pass::{Destination, Fixed, Group};
use crate::deliver::itoa;
use crate::exchange::Exchange;
use crate::field_names::FieldNames;
use crate::modules::cache::Entry;
use crate::modules::otel;
use crate::request_fields::RequestFields;
use crate::variables::{Row, Template};

/// The fields of requests: those that the configuration sets, and which of the client's are left out for that.
pub struct Fields {
    /// `Host`, where it is not the default one.
    host: Option<Template>,
    /// What is set, with the name and `: ` ready to be copied.
    set: Vec<(Vec<u8>, Template)>,
    /// What of it is set in a subrequest, whose connection and body are not the client's.
    set_in_subrequest: Vec<(Vec<u8>, Template)>,
    /// Whether the lengths of the body are announced as usual.
    default_length: bool,
    /// Fields of the client that are left out.
    left_out: FieldNames,
    /// The same where the answer may be stored: conditions and ranges are between the client and the cache.
    left_out_to_store: FieldNames,
    /// Whether the stored answer's conditions are passed on: `If-Modified-Since` and `If-None-Match`.
    own_conditions: (bool, bool),
}

/// Fields that are the business of one connection, or are made anew.
const NEVER_PASSED: [Name; 9] = [
    Name::Host,
    Name::Connection,
    Name::ProxyConnection,
    Name::ContentLength,
    Name::TransferEncoding,
    Name::Te,
    Name::KeepAlive,
    Name::Expect,
    Name::Upgrade,
];

/// Fields that are the cache's business where an answer may be stored.
const CONDITIONS: [Name; 6] = [
    Name::IfModifiedSince,
    Name::IfUnmodifiedSince,
    Name::IfNoneMatch,
    Name::IfMatch,
    Name::Range,
    Name::IfRange,
];

impl Fields {
    /// Arranges the fields of a location.
    pub fn new(set: &[(Vec<u8>, Template)]) -> Fields {
        let mut fields = Fields {
            host: None,
            set: Vec::new(),
            set_in_subrequest: Vec::new(),
            default_length: true,
            left_out: FieldNames::default(),
            left_out_to_store: FieldNames::default(),
            own_conditions: (true, true),
        };
        for id in NEVER_PASSED {
            fields.left_out.insert_known(id);
        }
        for (name, value) in set {
            let id = Name::of(name);
            fields.left_out.insert(name);
            match id {
                Name::Host => {
                    fields.host = Some(value.clone());
                    continue;
                }
                Name::ContentLength => fields.default_length = false,
                Name::IfModifiedSince => fields.own_conditions.0 = false,
                Name::IfNoneMatch => fields.own_conditions.1 = false,
                _ => {}
            }
            if value.as_literal().is_some_and(<[u8]>::is_empty) {
                continue;
            }
            let mut start = name.clone();
            start.extend_from_slice(b": ");
            if set_in_subrequest(id, value) {
                fields.set_in_subrequest.push((start.clone(), value.clone()));
            }
            fields.set.push((start, value.clone()));
        }
        fields.left_out_to_store = fields.left_out.clone();
        for id in CONDITIONS {
            fields.left_out_to_store.insert_known(id);
        }
        fields
    }

    /// What is set in a subrequest in place of the client's fields: name and value.
    pub fn set_in_subrequest(&self) -> impl Iterator<Item = (&[u8], &Template)> {
        let host = self.host.iter().map(|host| (&b"Host"[..], host));
        let set = &self.set_in_subrequest;
        host.chain(set.iter().map(|(start, value)| (start.strip_suffix(b": ").unwrap_or(start), value)))
    }

    /// The client's fields that are not passed on.
    pub fn left_out(&self) -> &FieldNames {
        &self.left_out
    }

    fn leaves_out(&self, id: Name, name: &[u8], to_store: bool) -> bool {
        let left_out = if to_store { &self.left_out_to_store } else { &self.left_out };
        left_out.contains(id, name)
    }
}

/// Whether a field that is set goes with a subrequest. There, what was set for the client's own request, often for a whole
/// server, would announce a body that is not sent, or a change of protocol that cannot follow (RFC 9110, 7.6.1).
fn set_in_subrequest(id: Name, value: &Template) -> bool {
    match id {
        // What it says of this connection is true as well where it says nothing else.
        Name::Connection => value.as_literal().is_some_and(|options| {
            [&b"close"[..], b"keep-alive"].iter().any(|known| options.eq_ignore_ascii_case(known))
        }),
        id => !NEVER_PASSED.contains(&id),
    }
}

/// How the body of a request to a server is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl RequestFraming {
    fn is_empty(self) -> bool {
        matches!(self, RequestFraming::None | RequestFraming::Length(0))
    }
}

impl Proxy {
    /// Appends line and fields of the request; `uri` is the path that the destination itself names. Returns where the span
    /// of the attempt is to be written, where one is told.
    pub(super) fn append_head(
        &self,
        ex: &Exchange<'_>,
        authority: &[u8],
        uri: Option<&[u8]>,
        variable: bool,
        framing: RequestFraming,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        match &self.values.method {
            Some(method) => method.append(ex, out),
            None if ex.cache.as_get() => out.extend_from_slice(b"GET"),
            None => out.extend_from_slice(ex.method_text()),
        }
        out.push(b' ');
        self.append_target(ex, uri.unwrap_or_default(), variable, out);
        out.extend_from_slice(if self.values.http_11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" });
        self.append_host(ex, authority, out);
        let set = if ex.is_main() { &self.request.set } else { &self.request.set_in_subrequest };
        for (start, value) in set {
            let at = out.len();
            out.extend_from_slice(start);
            let empty = out.len();
            value.append(ex, out);
            if out.len() == empty {
                out.truncate(at);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
        // The body of a subrequest is of this server's making: what is sent is announced, whatever is set.
        if self.request.default_length || !(ex.is_main() || framing.is_empty()) {
            match framing {
                RequestFraming::None => {}
                RequestFraming::Length(length) => {
                    out.extend_from_slice(b"Content-Length: ");
                    out.extend_from_slice(itoa(length, &mut [0; 20]));
                    out.extend_from_slice(b"\r\n");
                }
                RequestFraming::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            }
        }
        let to_store = ex.cache.fills();
        if let Some(stored) = ex.cache.condition().filter(|_| to_store) {
            self.append_conditions(stored, out);
        }
        let trace = otel::carried(ex);
        let wanted = |name: &[u8]| !self.request.leaves_out(Name::Other, name, false);
        let span_at = trace.and_then(|trace| trace.append_fields(wanted, out));
        let fields = RequestFields::of(ex);
        if self.values.pass_request_headers {
            for (id, name, value) in fields.of_client() {
                if self.request.leaves_out(id, name, to_store)
                    || (trace.is_some() && otel::is_trace_field(name))
                    || (ex.shown_body.is_some() && name.eq_ignore_ascii_case(PARTIAL))
                {
                    continue;
                }
                append_field(name, value, out);
            }
        }
        if let Some(partial) = ex.shown_body.as_ref().and_then(|shown| shown.partial) {
            append_field(PARTIAL, if partial { b"true" } else { b"false" }, out);
        }
        for (name, value) in fields.copied() {
            if !self.request.leaves_out(Name::of(name), name, false) {
                append_field(name, value, out);
            }
        }
        out.extend_from_slice(b"\r\n");
        span_at
    }

    /// Where a request would go, in words, and its head.
    pub fn preview(&self, ex: &Exchange<'_>) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        let framing = match ex.visit.head.content_length {
            Some(length) if ex.is_main() && self.values.pass_request_body => RequestFraming::Length(length),
            _ => RequestFraming::None,
        };
        let fixed = match &self.destination {
            Destination::Fixed(fixed) => fixed,
            Destination::Variable(url) => {
                let url = String::from_utf8_lossy(&url.eval(ex)).into_owned();
                let rest = url.split_once("://").map_or(&*url, |(_, rest)| rest);
                let (authority, uri) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                self.append_head(ex, authority.as_bytes(), Some(uri.as_bytes()), true, framing, &mut head);
                return (url, head);
            }
        };
        self.append_head(ex, &fixed.authority, Some(&fixed.uri), false, framing, &mut head);
        let listed = match fixed.group.now(ex.visit.config) {
            Group::Listed(at) => ex.visit.config.upstreams.get(at),
            Group::Own(_) => None,
        };
        let servers: Vec<&str> =
            listed.iter().flat_map(|group| &group.peers).map(|peer| &*peer.name).collect();
        match servers.is_empty() {
            true => (String::from_utf8_lossy(&fixed.authority).into_owned(), head),
            false => (servers.join(", "), head),
        }
    }

    /// The first field is `Host`, wherever it is set; HTTP/1.1 knows no request without (RFC 9112, 3.2).
    fn append_host(&self, ex: &Exchange<'_>, authority: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(b"Host: ");
        let empty = out.len();
        match &self.request.host {
            Some(host) => host.append(ex, out),
            None => out.extend_from_slice(authority),
        }
        if out.len() == empty && self.values.http_11 {
            out.extend_from_slice(authority);
        }
        if out.len() == empty {
            out.truncate(at);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Asks for the answer on condition that it is no longer the stored one.
    fn append_conditions(&self, stored: &Entry, out: &mut Vec<u8>) {
        let (modified, tag) = self.request.own_conditions;
        if let Some(time) = stored.last_modified().filter(|_| modified) {
            out.extend_from_slice(b"If-Modified-Since: ");
            out.extend_from_slice(&wire::date::format(time));
            out.extend_from_slice(b"\r\n");
        }
        if let Some(tag) = stored.etag().filter(|_| tag) {
            out.extend_from_slice(b"If-None-Match: ");
            out.extend_from_slice(tag);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The target of the request line, as `proxy_pass` with and without a path asks for it.
    pub(super) fn append_target(&self, ex: &Exchange<'_>, uri: &[u8], variable: bool, out: &mut Vec<u8>) {
        let visit = ex.visit;
        if variable && !uri.is_empty() {
            // What variables made is the whole target.
            out.extend_from_slice(uri);
            return;
        }
        if uri.is_empty() && ex.as_sent {
            let target = visit.head.target.of(visit.bytes);
            out.extend_from_slice(if target.is_empty() { b"/" } else { target });
            return;
        }
        let cut =
            if ex.valid_location && !uri.is_empty() { self.location.len().min(ex.uri.len()) } else { 0 };
        if ex.valid_location {
            out.extend_from_slice(uri);
        }
        let rest = ex.uri.get(cut..).unwrap_or_default();
        if ex.internal || !visit.head.plain_path {
            wire::uri::escape(wire::uri::Escape::Uri, rest, out);
        } else {
            out.extend_from_slice(rest);
        }
        if !ex.args.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&ex.args);
        }
    }

    /// Whether the request is a HEAD, whose answer has no body.
    pub(super) fn is_head(&self, ex: &Exchange<'_>) -> bool {
        match &self.values.method {
            Some(method) => method.eval(ex).eq_ignore_ascii_case(b"HEAD"),
            None => ex.method == Method::Head && !ex.cache.as_get(),
        }
    }
}

/// Says whether an auth service is shown a part of the client's body.
const PARTIAL: &[u8] = b"X-Auth-Partial-Body";

fn append_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) const VARIABLES: &[Row] = &[
    Row::fresh("proxy_add_x_forwarded_for", |ex, out| {
        let visit = ex.visit;
        for field in visit.head.fields.iter().filter(|f| f.id == Name::XForwardedFor) {
            out.extend_from_slice(field.value.of(visit.bytes));
            out.extend_from_slice(b", ");
        }
        ex.with_remote(|address| address.append_ip(out));
        true
    }),
    Row::fresh("proxy_host", |ex, out| passed_to(ex, out, |fixed| &fixed.authority)),
    Row::fresh("proxy_port", |ex, out| passed_to(ex, out, |fixed| fixed.port.as_bytes())),
    Row::fresh("proxy_internal_body_length", |_, _| false),
    Row::fresh("proxy_internal_chunked", |_, _| false),
];

fn passed_to(ex: &Exchange<'_>, out: &mut Vec<u8>, part: impl Fn(&Fixed) -> &[u8]) -> bool {
    match &ex.upstream.passed_to {
        Some(fixed) => {
            out.extend_from_slice(part(fixed));
            true
        }
        None => false,
    }
}
