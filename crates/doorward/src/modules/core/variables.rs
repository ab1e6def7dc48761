//! The variables of the core module.

use net::Address;
use wire::Name;
use wire::h1::{Method, Version};

use crate::compile::as_path;
use crate::deliver::{append_three_digits, itoa};
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::otel;
use crate::modules::static_files::{map_to_path, root};
use crate::modules::upstream::{append_fields, append_seconds};
use crate::product;
use crate::request_fields::RequestFields;
use crate::variables::Row;

pub(super) const ROWS: &[Row] = &[
    Row::family("http_", |ex, name, out| {
        // nginx joins the values of a repeated field; those of Cookie with a semicolon.
        if name == b"cookie" {
            return join_cookies(ex, out);
        }
        let fields = RequestFields::of(ex);
        let client = fields.of_client().map(|(_, name, value)| (name, value));
        append_fields(client.chain(fields.copied()), name, out)
    }),
    Row::family("arg_", |ex, name, out| append_some(wire::uri::arg(&ex.args, name), out)),
    Row::family("cookie_", |ex, name, out| {
        let visit = ex.visit;
        let cookies = visit.head.fields.iter().filter(|f| f.id == Name::Cookie);
        let found = cookies.filter_map(|f| wire::cookie::cookie(f.value.of(visit.bytes), name)).next();
        append_some(found, out)
    }),
    Row::family("sent_http_", sent_http),
    Row::fresh("uri", uri),
    Row::fresh("document_uri", uri),
    Row::fresh("request_uri", |ex, out| append(ex.visit.head.target.of(ex.visit.bytes), out)),
    Row::fresh("args", |ex, out| append(&ex.args, out)).writable(|ex, value| {
        ex.args = value.to_vec();
        ex.as_sent = false;
    }),
    Row::fresh("query_string", |ex, out| append(&ex.args, out)),
    Row::fresh("is_args", |ex, out| append(if ex.args.is_empty() { b"" } else { b"?" }, out)),
    Row::fresh("request", |ex, out| append(ex.visit.head.line.of(ex.visit.bytes), out)),
    // A subrequest is asked about its main request, which it knows as the client sent it.
    Row::fresh("request_method", |ex, out| match ex.is_main() {
        true => append(ex.method_text(), out),
        false => append(ex.visit.head.method_text.of(ex.visit.bytes), out),
    }),
    Row::fresh("request_length", |ex, out| {
        let visit = ex.visit;
        number(u64::from(visit.head.head_len) + visit.body.borrow().received, out)
    }),
    Row::fresh("request_time", |ex, out| {
        append_seconds(net::clock::now().saturating_sub(ex.visit.started), out);
        true
    }),
    Row::once("request_id", |_, out| {
        otel::append_hex(&crate::random::bytes::<16>(), out);
        true
    }),
    Row::fresh("request_completion", |ex, out| {
        let complete = ex.visit.complete.get();
        append(if complete { b"OK" } else { b"" }, out)
    }),
    Row::fresh("request_body", |ex, out| match &ex.visit.body.borrow().kept {
        crate::request_body::Kept::Memory(bytes) => append(bytes, out),
        _ => false,
    }),
    Row::fresh("request_body_file", |ex, out| match &ex.visit.body.borrow().kept {
        crate::request_body::Kept::File(file, _) => {
            append_some(file.path().map(|path| path.as_os_str().as_encoded_bytes()), out)
        }
        _ => false,
    }),
    Row::fresh("content_length", |ex, out| append_some(ex.request_field(Name::ContentLength), out)),
    Row::fresh("content_type", |ex, out| append_some(ex.request_field(Name::ContentType), out)),
    Row::fresh("host", |ex, out| {
        append(if ex.visit.host.is_empty() { &ex.server.name } else { &ex.visit.host }, out)
    }),
    Row::fresh("request_port", |ex, out| match request_port(ex) {
        0 => true,
        port => number(u64::from(port), out),
    }),
    Row::fresh("is_request_port", |ex, out| append(if request_port(ex) == 0 { b"" } else { b":" }, out)),
    Row::fresh("hostname", |_, out| append(crate::random::hostname(), out)),
    Row::fresh("server_name", |ex, out| append(&ex.server.name, out)),
    Row::fresh("server_addr", |ex, out| match ex.visit.client.local() {
        Some(address) => {
            address.append_ip(out);
            true
        }
        None => false,
    }),
    Row::fresh("server_port", |ex, out| match ex.visit.client.local().and_then(Address::port) {
        Some(port) => number(u64::from(port), out),
        None => true,
    }),
    Row::fresh("server_protocol", |ex, out| append(ex.visit.head.protocol.of(ex.visit.bytes), out)),
    Row::fresh("scheme", |ex, out| append(ex.visit.client.scheme().as_bytes(), out)),
    Row::fresh("https", |ex, out| append(if ex.visit.client.tls.get().is_some() { b"on" } else { b"" }, out)),
    Row::fresh("remote_addr", |ex, out| {
        ex.with_remote(|a| a.append_ip(out));
        true
    }),
    Row::fresh("remote_port", |ex, out| {
        ex.with_remote(|a| match a.port() {
            Some(port) if port > 0 => number(u64::from(port), out),
            _ => true,
        })
    }),
    Row::fresh("binary_remote_addr", |ex, out| {
        ex.with_remote(|a| match a {
            Address::Inet(std::net::SocketAddr::V4(v4)) => append(&v4.ip().octets(), out),
            Address::Inet(std::net::SocketAddr::V6(v6)) => append(&v6.ip().octets(), out),
            Address::Unix(_) => append(b"unix:", out),
        })
    }),
    Row::fresh("remote_user", |ex, out| match crate::authorization::basic_user(ex) {
        Some(user) => append(&user, out),
        None => false,
    }),
    Row::fresh("document_root", |ex, out| append(&root(ex), out)),
    Row::fresh("realpath_root", |ex, out| match as_path(&root(ex)).canonicalize() {
        Ok(path) => append(path.as_os_str().as_encoded_bytes(), out),
        Err(error) => {
            let (path, error) = (root(ex), system_error(&error));
            ex.log(Level::Crit, format_args!("realpath() \"{}\" failed {error}", as_path(&path).display()));
            false
        }
    }),
    Row::fresh("request_filename", |ex, out| append(&map_to_path(ex, &ex.uri), out)),
    Row::fresh("status", |ex, out| {
        append_three_digits(u64::from(ex.status()), out);
        true
    }),
    Row::fresh("bytes_sent", |ex, out| number(ex.visit.bytes_sent.get(), out)),
    Row::fresh("body_bytes_sent", |ex, out| number(ex.visit.body_bytes_sent.get(), out)),
    Row::fresh("connection", |ex, out| number(ex.visit.client.number, out)),
    Row::fresh("connection_requests", |ex, out| number(ex.visit.client.requests.get(), out)),
    Row::fresh("connection_time", |ex, out| {
        append_seconds(net::clock::now().saturating_sub(ex.visit.client.opened), out);
        true
    }),
    Row::fresh("pipe", |ex, out| append(if ex.visit.client.pipelined.get() { b"p" } else { b"." }, out)),
    Row::fresh("pid", |_, out| number(u64::from(std::process::id()), out)),
    Row::fresh("nginx_version", |_, out| append(product::NGINX_VERSION.as_bytes(), out)),
    Row::fresh("msec", |_, out| {
        let (seconds, ms) = net::clock::wall();
        append_seconds(seconds * 1000 + u64::from(ms), out);
        true
    }),
    Row::fresh("time_local", |_, out| {
        crate::time::access_log(net::clock::wall().0, out);
        true
    }),
    Row::fresh("time_iso8601", |_, out| {
        crate::time::iso8601(net::clock::wall().0, out);
        true
    }),
    Row::fresh("limit_rate", |ex, out| number(ex.limit_rate.unwrap_or(0), out)).writable(|ex, value| {
        ex.limit_rate = conf::value::size(value).or(ex.limit_rate);
    }),
    Row::fresh("tcpinfo_rtt", |ex, out| tcp(ex, out, |i| i.rtt)),
    Row::fresh("tcpinfo_rttvar", |ex, out| tcp(ex, out, |i| i.rttvar)),
    Row::fresh("tcpinfo_snd_cwnd", |ex, out| tcp(ex, out, |i| i.snd_cwnd)),
    Row::fresh("tcpinfo_rcv_space", |ex, out| tcp(ex, out, |i| i.rcv_space)),
];

fn append(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(bytes);
    true
}

fn append_some(bytes: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    bytes.is_some_and(|bytes| append(bytes, out))
}

fn number(n: u64, out: &mut Vec<u8>) -> bool {
    append(itoa(n, &mut [0; 20]), out)
}

/// The path: none where the request's line could not be read, empty where its path leads out of the root.
fn uri(ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
    let read = !ex.uri.is_empty() || !ex.visit.head.path.is_empty();
    read && append(&ex.uri, out)
}

/// The port that the client named with the host; 0 for none.
fn request_port(ex: &Exchange<'_>) -> u16 {
    let host = ex.visit.head.server_host().map(|range| range.of(ex.visit.bytes));
    host.and_then(|host| wire::host::host(host).ok()).map_or(0, |host| host.port)
}

fn tcp(ex: &Exchange<'_>, out: &mut Vec<u8>, which: impl Fn(&net::TcpInfo) -> u32) -> bool {
    ex.visit.client.tcp_info().is_some_and(|info| number(u64::from(which(&info)), out))
}

fn join_cookies(ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
    let visit = ex.visit;
    let mut found = false;
    for field in visit.head.fields.iter().filter(|f| f.id == Name::Cookie) {
        if found {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(field.value.of(visit.bytes));
        found = true;
    }
    found
}

/// `$sent_http_*`: fields of the response, those that are only made when it is written included.
fn sent_http(ex: &Exchange<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    let response = &ex.response;
    match name {
        b"content_length" => match response.content_length {
            Some(length) => return number(length, out),
            None => return false,
        },
        b"last_modified" if response.fields.get(Name::LastModified).is_none() => {
            return response
                .last_modified
                .and_then(|t| u64::try_from(t).ok())
                .is_some_and(|time| append(&wire::date::format(time), out));
        }
        b"keep_alive" => {
            let seconds = ex.plan.core.keepalive_timeout.header;
            return seconds > 0
                && ex.visit.keep_alive.get()
                && append(b"timeout=", out)
                && number(seconds, out);
        }
        b"connection" => {
            let said: &[u8] = match response.status {
                101 => b"upgrade",
                _ if ex.visit.keep_alive.get() => b"keep-alive",
                _ => b"close",
            };
            return append(said, out);
        }
        b"transfer_encoding" => {
            let chunked = response.content_length.is_none()
                && response.status >= 200
                && !matches!(response.status, 204 | 304)
                && ex.method != Method::Head
                && ex.plan.core.chunked_transfer_encoding
                && ex.visit.head.version >= Version::Http11;
            return chunked && append(b"chunked", out);
        }
        _ => {}
    }
    append_fields(response.fields.visible().map(|(_, n, v)| (n, v)), name, out)
}
