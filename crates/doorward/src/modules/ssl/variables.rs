//! `$ssl_*`.

use net::tls::words as openssl;
use rustls::{CipherSuite, NamedGroup};

use super::Tls;
use super::facts::Offer;
use crate::exchange::Exchange;
use crate::modules::otel;
use crate::variables::Row;

pub(super) const ROWS: &[Row] = &[
    Row::fresh("ssl_protocol", |ex, out| show(ex, out, |tls, out| text(tls.protocol(), out))),
    Row::fresh("ssl_cipher", |ex, out| {
        show(ex, out, |tls, out| tls.suite.is_some_and(|suite| append_cipher(suite, out)))
    }),
    Row::fresh("ssl_ciphers", |ex, out| {
        offered(ex, out, |offer, out| joined(&offer.suites, out, |suite, out| append_cipher(*suite, out)))
    }),
    Row::fresh("ssl_curve", |ex, out| {
        show(ex, out, |tls, out| tls.group.is_some_and(|group| append_group(group, out)))
    }),
    Row::fresh("ssl_curves", |ex, out| {
        offered(ex, out, |offer, out| joined(&offer.groups, out, |group, out| append_group(*group, out)))
    }),
    Row::fresh("ssl_sigalgs", |ex, out| {
        offered(ex, out, |offer, out| {
            joined(&offer.signatures, out, |scheme, out| append_number(u16::from(*scheme), out))
        })
    }),
    Row::fresh("ssl_session_id", |ex, out| {
        show(ex, out, |tls, out| {
            let Some(session) = &tls.session else { return false };
            otel::append_hex(&**session, out);
            true
        })
    }),
    Row::fresh("ssl_session_reused", |ex, out| {
        show(ex, out, |tls, out| text(if tls.resumed { "r" } else { "." }, out))
    }),
    Row::fresh("ssl_server_name", |ex, out| {
        show(ex, out, |tls, out| tls.server_name.as_ref().is_some_and(|name| text(name, out)))
    }),
    Row::fresh("ssl_alpn_protocol", |ex, out| {
        show(ex, out, |tls, out| {
            let Some(protocol) = &tls.alpn else { return false };
            out.extend_from_slice(protocol);
            true
        })
    }),
];

fn show(ex: &Exchange<'_>, out: &mut Vec<u8>, what: impl Fn(&Tls, &mut Vec<u8>) -> bool) -> bool {
    ex.visit.client.tls.get().is_some_and(|tls| what(tls, out))
}

fn offered(ex: &Exchange<'_>, out: &mut Vec<u8>, what: impl Fn(&Offer, &mut Vec<u8>) -> bool) -> bool {
    show(ex, out, |tls, out| tls.offer.as_ref().is_some_and(|offer| what(offer, out)))
}

fn text(text: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text.as_bytes());
    !text.is_empty()
}

fn joined<T>(list: &[T], out: &mut Vec<u8>, append: impl Fn(&T, &mut Vec<u8>) -> bool) -> bool {
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        append(item, out);
    }
    !list.is_empty()
}

fn append_cipher(suite: CipherSuite, out: &mut Vec<u8>) -> bool {
    named(openssl::cipher_name(suite), suite.into(), out)
}

fn append_group(group: NamedGroup, out: &mut Vec<u8>) -> bool {
    named(openssl::group_name(group), group.into(), out)
}

fn named(name: Option<&str>, number: u16, out: &mut Vec<u8>) -> bool {
    match name {
        Some(name) => text(name, out),
        None => append_number(number, out),
    }
}

/// What has no name, as OpenSSL's callers show it: `0x1a1a`.
fn append_number(number: u16, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"0x");
    otel::append_hex(&number.to_be_bytes(), out);
    true
}
