//! `$ssl_*`.

use net::tls::certificate::{self, Shown, Style};
use net::tls::words as openssl;
use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use super::facts::{Offer, Outcome};
use super::verify::ClientCertificate;
use crate::exchange::Exchange;
use crate::modules::otel;
use crate::variables::Row;
use wire::uri::{Escape, escape};

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
    Row::fresh("ssl_sigalg", |ex, out| show(ex, out, |tls, out| signature(tls.signatures.own, out))),
    Row::fresh("ssl_session_id", |ex, out| {
        show(ex, out, |tls, out| {
            let Some(session) = &tls.session else { return false };
            otel::append_hex(&**session, out);
            true
        })
    }),
    Row::fresh("ssl_early_data", |ex, out| text(if ex.visit.client.is_early() { "1" } else { "" }, out)),
    // Encrypted client hellos are not taken.
    Row::fresh("ssl_ech_status", |_, _| false),
    Row::fresh("ssl_ech_outer_server_name", |_, _| false),
    Row::fresh("ssl_session_reused", |ex, out| {
        show(ex, out, |tls, out| text(if tls.resumed { "r" } else { "." }, out))
    }),
    Row::fresh("ssl_server_name", |ex, out| {
        let name = ex.visit.client.tls.get().and_then(|tls| tls.server_name.as_ref());
        name.is_some_and(|name| text(name, out))
    }),
    Row::fresh("ssl_alpn_protocol", |ex, out| {
        show(ex, out, |tls, out| {
            let Some(protocol) = &tls.alpn else { return false };
            out.extend_from_slice(protocol);
            true
        })
    }),
];

/// What a client's certificate says.
pub(super) const OF_CLIENTS: &[Row] = &[
    Row::fresh("ssl_client_verify", |ex, out| {
        show(ex, out, |tls, out| match &tls.certificate {
            None => text("NONE", out),
            Some(ClientCertificate { verdict: Ok(()), doubt: None, .. }) => text("SUCCESS", out),
            Some(ClientCertificate { verdict: Ok(()), doubt: Some(doubt), .. }) => {
                text("FAILED:", out) && text(doubt.words(), out)
            }
            Some(ClientCertificate { verdict: Err(refusal), .. }) => {
                text("FAILED:", out) && text(refusal.words(), out)
            }
        })
    }),
    Row::fresh("ssl_client_cert", |ex, out| {
        pem_of(ex, out, |pem, out| text(&pem.trim_end().replace('\n', "\n\t"), out))
    }),
    Row::fresh("ssl_client_raw_cert", |ex, out| pem_of(ex, out, text)),
    Row::fresh("ssl_client_escaped_cert", |ex, out| {
        pem_of(ex, out, |pem, out| {
            escape(Escape::UriComponent, pem.as_bytes(), out);
            true
        })
    }),
    Row::fresh("ssl_client_fingerprint", |ex, out| {
        show(ex, out, |tls, out| {
            let Some(certificate) = &tls.certificate else { return false };
            otel::append_hex(&certificate::fingerprint(&certificate.leaf), out);
            true
        })
    }),
    Row::fresh("ssl_client_s_dn", |ex, out| of_client(ex, out, |shown| shown.subject(Style::Rfc2253))),
    Row::fresh("ssl_client_i_dn", |ex, out| of_client(ex, out, |shown| shown.issuer(Style::Rfc2253))),
    Row::fresh("ssl_client_s_dn_legacy", |ex, out| of_client(ex, out, |shown| shown.subject(Style::Oneline))),
    Row::fresh("ssl_client_i_dn_legacy", |ex, out| of_client(ex, out, |shown| shown.issuer(Style::Oneline))),
    Row::fresh("ssl_client_sigalg", |ex, out| show(ex, out, |tls, out| signature(tls.signatures.peer, out))),
    Row::fresh("ssl_client_serial", |ex, out| {
        of_client(ex, out, |shown| certificate::upper_hex(shown.serial()))
    }),
    Row::fresh("ssl_client_v_start", |ex, out| of_client(ex, out, |shown| moment(shown.not_before()))),
    Row::fresh("ssl_client_v_end", |ex, out| of_client(ex, out, |shown| moment(shown.not_after()))),
    Row::fresh("ssl_client_v_remain", |ex, out| {
        of_client(ex, out, |shown| {
            let now = i64::try_from(net::clock::wall().0).unwrap_or(i64::MAX);
            (shown.not_after().saturating_sub(now).max(0) / SECONDS_OF_A_DAY).to_string()
        })
    }),
];

const SECONDS_OF_A_DAY: i64 = 86_400;

fn of_client(ex: &Exchange<'_>, out: &mut Vec<u8>, what: impl Fn(&Shown<'_>) -> String) -> bool {
    show(ex, out, |tls, out| {
        let shown = tls.certificate.as_ref().and_then(|certificate| Shown::parse(&certificate.leaf));
        shown.is_some_and(|shown| text(&what(&shown), out))
    })
}

fn pem_of(ex: &Exchange<'_>, out: &mut Vec<u8>, what: impl Fn(&str, &mut Vec<u8>) -> bool) -> bool {
    show(ex, out, |tls, out| {
        tls.certificate.as_ref().is_some_and(|certificate| what(&certificate::pem(&certificate.leaf), out))
    })
}

/// A moment as OpenSSL prints it: `Nov  8 03:18:04 2026 GMT`.
fn moment(seconds: i64) -> String {
    let date = wire::date::format(u64::try_from(seconds).unwrap_or(0));
    let date = String::from_utf8_lossy(&date).into_owned();
    // `Sun, 08 Nov 2026 03:18:04 GMT`
    let words: Vec<&str> = date.split(' ').collect();
    let [_, day, month, year, time, zone] = words[..] else { return date };
    format!("{month} {:>2} {time} {year} {zone}", day.trim_start_matches('0'))
}

fn show(ex: &Exchange<'_>, out: &mut Vec<u8>, what: impl Fn(&Outcome, &mut Vec<u8>) -> bool) -> bool {
    let outcome = ex.visit.client.tls.get().and_then(|tls| tls.outcome.get());
    outcome.is_some_and(|outcome| what(outcome, out))
}

fn offered(ex: &Exchange<'_>, out: &mut Vec<u8>, what: impl Fn(&Offer, &mut Vec<u8>) -> bool) -> bool {
    let offer = ex.visit.client.tls.get().and_then(|tls| tls.offer.as_ref());
    offer.is_some_and(|offer| what(offer, out))
}

fn text(text: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text.as_bytes());
    !text.is_empty()
}

fn signature(scheme: Option<SignatureScheme>, out: &mut Vec<u8>) -> bool {
    scheme.is_some_and(|scheme| text(openssl::signature_name(scheme), out))
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
