//! What comes before a request over TLS: who shakes hands, what is asked of the client, and what is refused for it.

use super::page::Page;
use super::target::Target;
use super::why;
use crate::client::Client;
use crate::config::Config;
use crate::exchange::Exchange;
use crate::modules::ssl::preview::{self, NEGOTIATED};
use crate::variables::{Computed, Index, Source, Variables};

/// A variable whose value nobody knows before a client is there: its name stands for it.
struct Untold(Vec<u8>);

impl Computed for Untold {
    fn append(&self, _: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0);
        true
    }

    fn inputs(&self) -> Option<Vec<Index>> {
        None
    }
}

/// Lets names stand for what a handshake negotiates.
pub fn untold(variables: &mut Variables) {
    for (name, source) in variables.names.iter().zip(&mut variables.sources) {
        if NEGOTIATED.contains(&&**name) {
            *source = Source::Computed(Box::new(Untold(format!("${{{name}}}").into_bytes())), None);
        }
    }
}

/// Says how hands are shaken, and gives the client what comes of it: whether it may choose HTTP/2. None where nothing follows.
pub fn shake_hands(config: &Config, client: &Client, target: &Target, page: &mut Page<'_>) -> Option<bool> {
    let listener = &config.listeners[client.listener];
    let hosts = &listener.hosts;
    let asked = target.name.as_deref();
    let lower = asked.unwrap_or_default().to_ascii_lowercase();
    let known = hosts.named(lower.as_bytes()).filter(|_| asked.is_some());
    let server = &config.servers[known.map_or(hosts.default, |(server, _)| server)];
    let because = match asked {
        Some(_) => why(hosts, lower.as_bytes(), &listener.address),
        None => format!("the default one of {}, since no name is asked for", listener.address),
    };
    let name = String::from_utf8_lossy(&server.name);
    page.step("tls", &format!("asks for \"{name}\": {because}"), server.plan.span);
    let shaken = preview::shake_hands(config, hosts, asked, &target.certificate, target.http2);
    let Some(shaken) = shaken else {
        page.in_force("", server.plan.span, &["ssl_reject_handshake"]);
        page.step("answer", "none: the handshake is refused (unrecognized_name)", None);
        return None;
    };
    let shakes = &config.servers[shaken.by];
    if !std::ptr::eq(shakes, server) {
        let name = String::from_utf8_lossy(&shakes.name);
        page.step("", &format!("    has no certificate: \"{name}\" shakes hands"), shakes.plan.span);
    }
    page.in_force("", shakes.plan.span, &["ssl_certificate", "ssl_verify_client", "ssl_ocsp"]);
    if let Some(shown) = shaken.tls.outcome.get().and_then(|outcome| outcome.certificate.as_ref()) {
        let verdict = match shown.verdict {
            Ok(()) => "is trusted".to_owned(),
            Err(refusal) => format!("is not trusted: ({}:{refusal})", refusal.number()),
        };
        page.more(&format!("the client's certificate {verdict}"));
    }
    let spoken = match (shaken.offers_http2, target.http2) {
        (true, true) => "the client chooses HTTP/2",
        (true, false) => "the client may choose HTTP/2, which this one does not",
        (false, _) => "HTTP/1.1 is spoken",
    };
    page.more(spoken);
    let _ = client.tls.set(shaken.tls.into());
    Some(shaken.offers_http2)
}

/// Why a request is refused before it is looked at.
pub fn why_refused(ex: &Exchange<'_>, status: u16) -> String {
    match status {
        497 => "speaks TLS on this port, and the request is plain HTTP".to_owned(),
        496 => "wants a certificate, and the client shows none".to_owned(),
        495 => "does not trust the client's certificate".to_owned(),
        _ => {
            let name = ex.visit.client.tls.get().and_then(|tls| tls.server_name.as_deref());
            format!("verifies clients, and the handshake was for \"{}\"", name.unwrap_or_default())
        }
    }
}
