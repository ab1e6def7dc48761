//! `listen ... proxy_protocol`: where a connection comes from, as the proxy before this server says.

use std::net::SocketAddr;

use wire::proxy_protocol::{Header, read as parse, tlv};

use crate::client::Client;
use crate::exchange::Exchange;
use crate::log::{ErrorLog, Level};
use crate::module::Module;
use crate::variables::Row;

/// The variables. The parameter is one of `listen`.
pub static MODULE: Module = Module {
    name: "ngx_http_core_module",
    directives: &[],
    variables: &[
        Row::fresh("proxy_protocol_addr", |ex, out| end(ex, out, |(from, _)| from.ip().to_string())),
        Row::fresh("proxy_protocol_port", |ex, out| end(ex, out, |(from, _)| from.port().to_string())),
        Row::fresh("proxy_protocol_server_addr", |ex, out| end(ex, out, |(_, to)| to.ip().to_string())),
        Row::fresh("proxy_protocol_server_port", |ex, out| end(ex, out, |(_, to)| to.port().to_string())),
        Row::family("proxy_protocol_tlv_", value),
    ],
    plan: |_, _, _| Ok(()),
};

/// Reads the header before the first request; false where the connection is to be closed.
pub async fn read(client: &Client, log: &ErrorLog, ms: u64) -> bool {
    let mut unread = client.unread.take();
    let within = async {
        loop {
            match parse(&unread) {
                Ok(Some((header, length))) => {
                    unread.drain(..length);
                    return client.proxy.set(Box::new(header)).is_ok();
                }
                Ok(None) => {}
                Err(error) => {
                    let line = unread.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
                    let (line, address) = (line.escape_ascii(), client.peer.ip_text());
                    let context = format!(", client: {address}");
                    let text = format_args!("{error}: \"{line}\" while reading PROXY protocol");
                    log.write_on(Level::Error, client.number, text, &context);
                    return false;
                }
            }
            match client.read(&mut unread, wire::proxy_protocol::LONGEST, ms).await {
                Ok(read) if read > 0 => {}
                _ => return false,
            }
        }
    };
    // One time for the whole header: nobody may keep the connection by sending it byte by byte.
    let complete = client.deadline.within(ms, within).await.unwrap_or(false);
    *client.unread.borrow_mut() = unread;
    complete
}

fn end(ex: &Exchange<'_>, out: &mut Vec<u8>, which: impl Fn(&(SocketAddr, SocketAddr)) -> String) -> bool {
    let ends = ex.visit.client.proxy.get().and_then(|header| header.ends.as_ref());
    if let Some(ends) = ends {
        out.extend_from_slice(which(ends).as_bytes());
    }
    ends.is_some()
}

/// `$proxy_protocol_tlv_*`: by name, or by type as `0x..`; `ssl_*` inside the one of TLS.
fn value(ex: &Exchange<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(Header { tlvs, .. }) = ex.visit.client.proxy.get().map(|header| &**header) else { return false };
    let found = match name.strip_prefix(b"ssl_") {
        None => kind(name, &NAMES).and_then(|kind| tlv(tlvs, kind)),
        Some(inner) => {
            // One byte of flags and four of a verdict come before the inner list.
            let Some((head, list)) = tlv(tlvs, SSL).and_then(<[u8]>::split_first_chunk::<5>) else {
                return false;
            };
            if inner == b"verify" {
                let [_, a, b, c, d] = *head;
                out.extend_from_slice(u32::from_be_bytes([a, b, c, d]).to_string().as_bytes());
                return true;
            }
            kind(inner, &INNER_NAMES).and_then(|kind| tlv(list, kind))
        }
    };
    out.extend_from_slice(found.unwrap_or_default());
    found.is_some()
}

const SSL: u8 = 0x20;
const NAMES: [(&str, u8); 5] =
    [("alpn", 1), ("authority", 2), ("unique_id", 5), ("ssl", SSL), ("netns", 0x30)];
const INNER_NAMES: [(&str, u8); 5] =
    [("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];

fn kind(name: &[u8], names: &[(&str, u8)]) -> Option<u8> {
    let name = str::from_utf8(name).ok()?;
    match name.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?.try_into().ok(),
        None => names.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind),
    }
}
