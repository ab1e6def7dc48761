//! What is known of a client's TLS: what it asks for, and what the handshake came to, for as long as the connection lasts.

use std::cell::OnceCell;

use net::tls::signatures::Signatures;
use net::tls::words as openssl;
use rustls::crypto::SupportedKxGroup;
use rustls::server::ClientHello;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme};

use super::verify::{ClientCertificate, Verify};
use crate::config::Hosts;
use crate::variables::Variables;

/// TLS of a client's connection.
pub struct Tls {
    /// The server that the client asked for; where it named none that is there, the one that answers then.
    pub server: usize,
    /// The name that led to it, in lower case.
    pub negotiated: Option<Box<str>>,
    /// The name as it was sent.
    pub server_name: Option<Box<str>>,
    /// What the client offered, where a variable shows it.
    pub offer: Option<Box<Offer>>,
    /// What the handshake came to, as soon as it has ended.
    pub outcome: OnceCell<Outcome>,
}

/// What a handshake came to.
pub struct Outcome {
    /// The version.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub suite: Option<CipherSuite>,
    /// The group of the key exchange; none where a session of TLS 1.2 was taken up.
    pub group: Option<NamedGroup>,
    /// Whether an earlier session was taken up.
    pub resumed: bool,
    /// The protocol that is spoken over it, where client and server agreed on one.
    pub alpn: Option<Box<[u8]>>,
    /// The client's certificate, where it was asked for one and has one.
    pub certificate: Option<ClientCertificate>,
    /// What was signed with, where a variable shows it.
    pub signatures: Signatures,
    /// The session's number, where a variable shows it.
    pub session: Option<Box<[u8; 32]>>,
}

/// What a client offers in its first message.
pub struct Offer {
    /// Cipher suites.
    pub suites: Vec<CipherSuite>,
    /// Groups for key exchange.
    pub groups: Vec<NamedGroup>,
    /// Signatures that it can check.
    pub signatures: Vec<SignatureScheme>,
}

impl Offer {
    /// Takes it from the message.
    pub fn of(hello: &ClientHello<'_>) -> Offer {
        Offer {
            suites: hello.cipher_suites().to_vec(),
            groups: hello.named_groups().unwrap_or_default().to_vec(),
            signatures: hello.signature_schemes().to_vec(),
        }
    }
}

/// What is worth to be noted, since some variable of the configuration shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// What clients offer.
    pub offer: bool,
    /// Numbers of sessions.
    pub session: bool,
    /// What was signed with.
    pub signatures: bool,
}

impl Wanted {
    /// What the variables of a configuration ask for.
    pub fn of(variables: &Variables) -> Wanted {
        let is_used = |name: &str| variables.names.iter().any(|used| **used == *name);
        Wanted {
            offer: ["ssl_ciphers", "ssl_curves", "ssl_sigalgs"].into_iter().any(is_used),
            session: is_used("ssl_session_id"),
            signatures: is_used("ssl_sigalg") || is_used("ssl_client_sigalg"),
        }
    }
}

impl Tls {
    /// What a client asks for by the name that it sends.
    pub fn asked(name: Option<&str>, hosts: &Hosts) -> Tls {
        let mut tls = Tls {
            server: hosts.default,
            negotiated: None,
            server_name: name.map(Into::into),
            offer: None,
            outcome: OnceCell::new(),
        };
        if let Some(name) = name {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            if let Some((at, _)) = hosts.named(name.as_bytes()) {
                (tls.server, tls.negotiated) = (at, Some(name.into()));
            }
        }
        tls
    }

    /// The protocol over it that client and server have agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.outcome.get()?.alpn.as_deref()
    }
}

impl Outcome {
    /// What a finished handshake says of itself.
    pub fn of(
        connection: &rustls::Connection,
        verify: Option<&Verify>,
        signatures: Signatures,
        session: Option<Box<[u8; 32]>>,
    ) -> Outcome {
        Outcome {
            version: connection.protocol_version(),
            suite: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: connection.negotiated_key_exchange_group().map(SupportedKxGroup::name),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: connection.alpn_protocol().map(Into::into),
            certificate: verify
                .and_then(|verify| verify.judge(connection.peer_certificates().unwrap_or_default())),
            signatures,
            session,
        }
    }

    /// `$ssl_protocol`.
    pub fn protocol(&self) -> &'static str {
        self.version.map_or("", openssl::protocol_name)
    }
}
