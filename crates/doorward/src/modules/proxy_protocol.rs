//! `listen ... proxy_protocol`: where a connection comes from, as the proxy before this server says.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::{fmt, io};

use wire::proxy_protocol::{BrokenTlv, HeaderError, read as parse, tlv};

use crate::client::Client;
use crate::exchange::Exchange;
use crate::log::{ErrorLog, Level, system_error};
use crate::module::Module;
use crate::variables::Row;

/// The variables. The parameter is one of `listen`.
pub static MODULE: Module = Module {
    name: "ngx_http_core_module",
    directives: &[],
    variables: &[
        Row::fresh("proxy_protocol_addr", |ex, out| end(ex, out, |(from, _)| from.ip().to_string())),
        Row::fresh("proxy_protocol_port", |ex, out| end(ex, out, |(from, _)| port(from))),
        Row::fresh("proxy_protocol_server_addr", |ex, out| end(ex, out, |(_, to)| to.ip().to_string())),
        Row::fresh("proxy_protocol_server_port", |ex, out| end(ex, out, |(_, to)| port(to))),
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
                    return client.proxy.set(std::rc::Rc::new(header)).is_ok();
                }
                Ok(None) => {}
                Err(error @ HeaderError::Broken) => {
                    let line = unread.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
                    note(client, log, Level::Error, format_args!("{error}: \"{}\"", line.escape_ascii()));
                    return false;
                }
                Err(error) => {
                    note(client, log, Level::Error, format_args!("{error}"));
                    return false;
                }
            }
            match client.read(&mut unread, wire::proxy_protocol::LONGEST, ms).await {
                Ok(0) => note(client, log, Level::Info, format_args!("client closed connection")),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => timed_out(client, log),
                Err(error) => {
                    note(client, log, Level::Info, format_args!("recv() failed {}", system_error(&error)));
                }
            }
            return false;
        }
    };
    // One time for the whole header: nobody may keep the connection by sending it byte by byte.
    let complete = client.deadline.within(ms, within).await.unwrap_or_else(|_| {
        timed_out(client, log);
        false
    });
    *client.unread.borrow_mut() = unread;
    complete
}

fn timed_out(client: &Client, log: &ErrorLog) {
    note(client, log, Level::Info, format_args!("client timed out (110: Connection timed out)"));
}

#[cold]
fn note(client: &Client, log: &ErrorLog, level: Level, text: fmt::Arguments<'_>) {
    let local = client.local().map(ToString::to_string).unwrap_or_default();
    let context = format!(", client: {}, server: {local}", client.peer.ip_text());
    log.write_on(level, client.number, format_args!("{text} while reading PROXY protocol"), &context);
}

fn end(ex: &Exchange<'_>, out: &mut Vec<u8>, which: impl Fn(&(SocketAddr, SocketAddr)) -> String) -> bool {
    let ends = ex.visit.client.proxy.get().and_then(|header| header.ends.as_ref());
    if let Some(ends) = ends {
        out.extend_from_slice(which(ends).as_bytes());
    }
    ends.is_some()
}

/// As in nginx, port 0 is shown as nothing.
fn port(end: &SocketAddr) -> String {
    if end.port() == 0 { String::new() } else { end.port().to_string() }
}

/// Why a variable has no value, in nginx's words.
#[derive(Debug, thiserror::Error)]
enum TlvError {
    #[error(transparent)]
    Broken(#[from] BrokenTlv),
    #[error("unknown PROXY protocol TLV \"{0}\"")]
    Unknown(String),
    #[error("invalid PROXY protocol TLV \"{0}\"")]
    Invalid(String),
}

/// `$proxy_protocol_tlv_*`: by name, or by type as `0x..`; `ssl_*` inside the one of TLS.
fn value(ex: &Exchange<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(header) = ex.visit.client.proxy.get() else { return false };
    match find(&header.tlvs, &String::from_utf8_lossy(name)) {
        Ok(Some(value)) => {
            out.extend_from_slice(&value);
            true
        }
        Ok(None) => false,
        Err(error) => {
            ex.log(Level::Error, format_args!("{error}"));
            false
        }
    }
}

const SSL: u8 = 0x20;
const NAMES: [(&str, u8); 5] =
    [("alpn", 1), ("authority", 2), ("unique_id", 5), ("ssl", SSL), ("netns", 0x30)];
const INNER_NAMES: [(&str, u8); 5] =
    [("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];

fn find<'t>(tlvs: &'t [u8], name: &str) -> Result<Option<Cow<'t, [u8]>>, TlvError> {
    let (list, own, names) = match name.strip_prefix("ssl_") {
        None => (tlvs, name, &NAMES),
        Some(own) => {
            let Some(of_tls) = tlv(tlvs, SSL)? else { return Ok(None) };
            // One byte of flags and four of a verdict come before the inner list.
            let ([_, verdict @ ..], list) = of_tls.split_first_chunk::<5>().ok_or(BrokenTlv)?;
            if own == "verify" {
                return Ok(Some(u32::from_be_bytes(*verdict).to_string().into_bytes().into()));
            }
            (list, own, &INNER_NAMES)
        }
    };
    let kind = match own.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).map_err(|_| TlvError::Invalid(name.to_owned()))?,
        None => {
            let known = names.iter().find(|(known, _)| *known == own);
            u32::from(known.ok_or_else(|| TlvError::Unknown(name.to_owned()))?.1)
        }
    };
    // A type of more than one byte can be asked for; nobody has it.
    let Ok(kind) = u8::try_from(kind) else { return Ok(None) };
    Ok(tlv(list, kind)?.map(Cow::Borrowed))
}
