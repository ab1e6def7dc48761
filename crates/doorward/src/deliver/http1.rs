//! A response as bytes of HTTP/1: its head, and the framing that shows where its body ends (RFC 9112).

use std::io::{self, ErrorKind};

use wire::Name;
use wire::h1::Version;

use super::{itoa, not_sent};
use crate::body::{Body, FilePart, Truncated};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::core::{KeepAlive, ServerTokens};
use crate::modules::headers;
use crate::product;

/// A shorter file costs less when it is read and sent in one write with its head.
pub(super) const SENDFILE_LEAST: u64 = 8 << 10;

/// How much of a file is sent in one call, so that other requests get their turn.
const SENDFILE_MOST: usize = 2 << 20;

/// How the end of the body is shown.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

/// Writes the head and decides on the framing.
pub(super) fn head(ex: &mut Exchange<'_>, body: &Body, out: &mut Vec<u8>) -> Framing {
    let visit = ex.visit;
    let version = visit.head.version;
    let chunkable = version >= Version::Http11 && ex.plan.core.chunked_transfer_encoding;
    let status = ex.response.status;
    let bodiless = ex.method == wire::h1::Method::Head
        || matches!(status, 204 | 304)
        || status < 200
        || matches!(body, Body::Tunnel(_));
    if ex.response.adds_trailers && chunkable && !bodiless {
        ex.response.content_length = None;
    }
    let response = &ex.response;
    if version == Version::Http09 {
        visit.keep_alive.set(false);
        return if bodiless { Framing::None } else { Framing::Close };
    }
    let framing = match response.content_length {
        _ if bodiless => Framing::None,
        Some(0) if matches!(body, Body::Empty) => Framing::None,
        Some(_) => Framing::Length,
        None if chunkable => Framing::Chunked,
        None => Framing::Close,
    };
    if framing == Framing::Close || status == 101 {
        visit.keep_alive.set(false);
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    status_line(status, response.status_line.of(&response.fields.bytes), out);
    append_server(ex, out);
    if response.fields.get(Name::Date).is_none() && !response.no_date {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(&visit.worker.date());
        out.extend_from_slice(b"\r\n");
    }
    if let Some(value) = response.fields.get(Name::ContentType)
        && status != 204
    {
        field(out, b"Content-Type", value);
    }
    if let Some(length) = response.content_length
        && status != 204
    {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa(length, &mut [0; 20]));
        out.extend_from_slice(b"\r\n");
    }
    if let Some(time) = response.last_modified
        && matches!(status, 200 | 206 | 304)
        && response.fields.get(Name::LastModified).is_none()
    {
        field(out, b"Last-Modified", &wire::date::format(u64::try_from(time).unwrap_or(0)));
    }
    let absolute = ex.plan.core.absolute_redirect && !response.fields.location_is_foreign();
    let location =
        response.fields.get(Name::Location).filter(|location| absolute && location.starts_with(b"/"));
    if let Some(location) = location {
        append_location(ex, location, out);
    }
    if framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    append_connection(ex, status, out);
    for (id, name, value) in response.fields.visible() {
        match id {
            Name::Server | Name::ContentType | Name::ContentLength | Name::Connection => {}
            Name::Location if location.is_some() => {}
            _ => field(out, name, value),
        }
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn status_line(status: u16, of_upstream: &[u8], out: &mut Vec<u8>) {
    if of_upstream.is_empty() {
        out.extend_from_slice(itoa(u64::from(status), &mut [0; 20]));
        out.push(b' ');
        out.extend_from_slice(wire::status::reason(status).as_bytes());
    } else {
        out.extend_from_slice(of_upstream);
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn append_server(ex: &Exchange<'_>, out: &mut Vec<u8>) {
    if let Some(server) = ex.response.fields.get(Name::Server) {
        return field(out, b"Server", server);
    }
    if ex.response.no_server {
        return;
    }
    match &ex.plan.core.server_tokens {
        ServerTokens::On | ServerTokens::Build => field(out, b"Server", product::NAME_AND_VERSION.as_bytes()),
        ServerTokens::Off => field(out, b"Server", product::NAME.as_bytes()),
        ServerTokens::Text(text) => {
            let text = text.eval(ex);
            if !text.is_empty() {
                field(out, b"Server", &text);
            }
        }
    }
}

/// A path of this server as an absolute URL (`absolute_redirect`).
fn append_location(ex: &Exchange<'_>, location: &[u8], out: &mut Vec<u8>) {
    let core = &ex.plan.core;
    let visit = ex.visit;
    out.extend_from_slice(b"Location: http://");
    let host: &[u8] = if core.server_name_in_redirect { &ex.server.name } else { &visit.host };
    let local = visit.client.local();
    if host.is_empty() && !core.server_name_in_redirect {
        if let Some(net::Address::Inet(address)) = local {
            match address.ip() {
                std::net::IpAddr::V4(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
                std::net::IpAddr::V6(ip) => out.extend_from_slice(format!("[{ip}]").as_bytes()),
            }
        }
    } else {
        out.extend_from_slice(host);
    }
    if core.port_in_redirect
        && let Some(port) = local.and_then(net::Address::port).filter(|port| *port != 80)
    {
        out.push(b':');
        out.extend_from_slice(itoa(u64::from(port), &mut [0; 20]));
    }
    out.extend_from_slice(location);
    out.extend_from_slice(b"\r\n");
}

fn append_connection(ex: &Exchange<'_>, status: u16, out: &mut Vec<u8>) {
    if status == 101 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if ex.visit.keep_alive.get() {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
        let KeepAlive { header, .. } = ex.plan.core.keepalive_timeout;
        if header > 0 {
            out.extend_from_slice(b"Keep-Alive: timeout=");
            out.extend_from_slice(itoa(header, &mut [0; 20]));
            out.extend_from_slice(b"\r\n");
        }
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
}

pub(super) fn last_chunk(ex: &Exchange<'_>, body: &Body, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(upstream) = body.upstream() {
        upstream.append_trailers(out);
    }
    if ex.response.adds_trailers {
        headers::append_trailers(ex, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Sends the rest of a file without copying it through the process; `None` where the system does not do that.
pub(super) async fn sendfile(
    ex: &Exchange<'_>,
    out: &mut Vec<u8>,
    part: &mut FilePart,
) -> Option<Result<(), Truncated>> {
    let visit = ex.visit;
    visit.client.send_at_once();
    if let Err(error) = visit.client.write_start(out, ex.plan.core.send_timeout).await {
        return Some(Err(not_sent(ex, "send", &error)));
    }
    visit.bytes_sent.set(visit.bytes_sent.get() + out.len() as u64);
    out.clear();
    while part.length > 0 {
        let most = usize::try_from(part.length).map_or(SENDFILE_MOST, |length| length.min(SENDFILE_MOST));
        let file = std::os::fd::AsFd::as_fd(&*part.file);
        match visit.client.sendfile(file, part.offset, most, ex.plan.core.send_timeout).await {
            Ok(0) => {
                ex.log(Level::Alert, format_args!("sendfile() reported that the file was truncated"));
                return Some(Err(Truncated));
            }
            Ok(sent) => {
                let sent = sent as u64;
                part.offset += sent;
                part.length -= sent;
                visit.bytes_sent.set(visit.bytes_sent.get() + sent);
                visit.body_bytes_sent.set(visit.body_bytes_sent.get() + sent);
            }
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                return None;
            }
            Err(error) => return Some(Err(not_sent(ex, "sendfile", &error))),
        }
    }
    Some(Ok(()))
}

pub(super) async fn write(client: &Client, head: &mut Vec<u8>, piece: &[u8], timeout: u64) -> io::Result<()> {
    if head.is_empty() {
        client.write(piece, timeout).await
    } else if head.len() + piece.len() <= head.capacity() {
        // Copying what is small costs less than a vectored write.
        head.extend_from_slice(piece);
        client.write(head, timeout).await
    } else {
        client.write_both(head, piece, timeout).await
    }
}
