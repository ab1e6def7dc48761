//! What a handshake would come to, of which nobody sends a byte (`--explain`).

use net::tls::signatures::Signatures;
use rustls::pki_types::CertificateDer;

use super::Tls;
use super::accept::settings;
use super::facts::Outcome;
use crate::config::{Config, Hosts};

/// Variables that only a handshake gives their values.
pub const NEGOTIATED: &[&str] = &[
    "ssl_protocol",
    "ssl_cipher",
    "ssl_ciphers",
    "ssl_curve",
    "ssl_curves",
    "ssl_sigalg",
    "ssl_sigalgs",
    "ssl_client_sigalg",
    "ssl_session_id",
    "ssl_session_reused",
];

/// A handshake that was not refused.
pub struct Shaken {
    /// What the client's connection then knows of it.
    pub tls: Tls,
    /// The server whose settings it has.
    pub by: usize,
    /// Whether the client may choose HTTP/2.
    pub offers_http2: bool,
}

/// Shakes hands with a client that asks for a name, shows these certificates and wants HTTP/2 or not. None where that is
/// refused for the name (`ssl_reject_handshake`).
pub fn shake_hands(
    config: &Config,
    hosts: &Hosts,
    name: Option<&str>,
    shown: &[CertificateDer<'_>],
    http2: bool,
) -> Option<Shaken> {
    let tls = Tls::asked(name, hosts);
    let (by, server, settings) = settings(config, hosts, tls.server)?;
    let outcome = Outcome {
        version: None,
        suite: None,
        group: None,
        resumed: false,
        alpn: Some(if http2 { b"h2"[..].into() } else { b"http/1.1"[..].into() }),
        certificate: server.verify.as_ref().and_then(|verify| verify.judge(shown)),
        signatures: Signatures::default(),
        session: None,
    };
    let _ = tls.outcome.set(outcome);
    Some(Shaken { tls, by, offers_http2: settings.alpn_protocols.iter().any(|name| name == b"h2") })
}
