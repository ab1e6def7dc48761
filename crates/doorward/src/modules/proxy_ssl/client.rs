//! Handshakes with servers, and what is asked of their certificates when they are over.

use std::net::IpAddr;
use std::sync::Arc;

use net::tls::connect::{self, Sessions};
use net::tls::verify::{Purpose, Refusal, Trust, matches_name};
use rustls::client::ClientConnection;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, Connection};

use super::certificate::{Certificate, Files};
use crate::exchange::Exchange;
use crate::variables::Template;

/// TLS with the servers of a location.
pub struct Client {
    config: Arc<ClientConfig>,
    /// All that the settings say, but for what requests tell.
    digest: [u8; 32],
    trust: Option<(Arc<Trust>, usize)>,
    server_name: bool,
    name: Option<Template>,
    certificate: Certificate,
    sessions: Option<Arc<Sessions>>,
    /// Where it is the same in every request.
    fixed: Option<Arc<Peer>>,
}

/// What [`Client`] is made of.
pub(super) struct Settings<'s> {
    pub config: Arc<ClientConfig>,
    pub digest: [u8; 32],
    pub trust: Option<(Arc<Trust>, usize)>,
    pub server_name: bool,
    pub name: Option<Template>,
    pub certificate: Certificate,
    pub sessions: Option<Arc<Sessions>>,
    pub authority: Option<&'s [u8]>,
}

/// Who is talked to by whom.
#[derive(Debug)]
pub struct Peer {
    /// The server's name, without a port; empty where nobody asks for it.
    name: Vec<u8>,
    files: Option<Files>,
    identity: [u8; 32],
}

/// Why a server is not the one that was meant.
pub enum Unverified {
    /// Its certificate is not trusted.
    Chain(Refusal),
    /// It is another's certificate.
    Name,
}

impl Client {
    pub(super) fn new(settings: Settings<'_>) -> Client {
        let Settings { config, digest, trust, server_name, name, certificate, sessions, authority } =
            settings;
        let mut client =
            Client { config, digest, trust, server_name, name, certificate, sessions, fixed: None };
        let name = match &client.name {
            Some(name) => name.as_literal(),
            None => authority,
        };
        client.fixed = match (&client.certificate, name) {
            (Certificate::Variable(_), _) => None,
            (_, Some(name)) => Some(Arc::new(client.name_peer(name, None))),
            (_, None) if !client.asks_name() => Some(Arc::new(client.name_peer(b"", None))),
            (_, None) => None,
        };
        client
    }

    /// Who is to be talked to in this request, at a URL with this authority.
    pub fn peer(&self, ex: &Exchange<'_>, authority: &[u8]) -> Arc<Peer> {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let files = match &self.certificate {
            Certificate::Variable(variable) => variable.files(ex),
            Certificate::Nothing | Certificate::Fixed(_) => None,
        };
        Arc::new(match &self.name {
            Some(name) if self.asks_name() => self.name_peer(&name.eval(ex), files),
            _ => self.name_peer(authority, files),
        })
    }

    /// Whether the name of the server is of any use.
    fn asks_name(&self) -> bool {
        self.server_name || self.trust.is_some()
    }

    fn name_peer(&self, name: &[u8], files: Option<Files>) -> Peer {
        let name = if self.asks_name() { without_port(name) } else { b"" };
        let mut digest = blake3::Hasher::new();
        digest.update(&self.digest).update(&(name.len() as u64).to_be_bytes()).update(name);
        if let Some(files) = &files {
            digest.update(&(files.certificate.len() as u64).to_be_bytes());
            digest.update(&files.certificate).update(&files.key);
        }
        Peer { name: name.to_vec(), files, identity: *digest.finalize().as_bytes() }
    }

    /// What a handshake with a server of a group begins with. What cannot be is said in nginx's words.
    pub fn begin(&self, peer: &Peer, group: &str, address: &net::Address) -> Result<Connection, String> {
        let mut config = ClientConfig::clone(&self.config);
        if let (Some(files), Certificate::Variable(variable)) = (&peer.files, &self.certificate) {
            connect::show(&mut config, Arc::new(variable.source.load(&files.certificate, &files.key)?));
        }
        if let Some(sessions) = &self.sessions {
            let mut key = blake3::Hasher::new();
            key.update(&peer.identity).update(&(group.len() as u64).to_be_bytes());
            key.update(group.as_bytes()).update(address.to_string().as_bytes());
            sessions.keep(key.finalize().as_bytes(), &mut config);
        }
        let connection = ClientConnection::new(Arc::new(config), self.told_name(peer)?);
        connection.map(Connection::from).map_err(|error| format!("SSL_new() failed (SSL: {error})"))
    }

    /// The name that the server is told: addresses are not (RFC 6066, section 3).
    fn told_name(&self, peer: &Peer) -> Result<ServerName<'static>, String> {
        let name = String::from_utf8_lossy(&peer.name);
        let is_address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
        if !self.server_name || name.is_empty() || is_address {
            return Ok(connect::nameless());
        }
        ServerName::try_from(name.as_ref())
            .map(|name| name.to_owned())
            .map_err(|_| format!("SSL_set_tlsext_host_name(\"{name}\") failed: it is no name of a host"))
    }

    /// Whether the server at the other end of a connection is the one that was meant, where that is asked.
    pub fn verify(&self, peer: &Peer, connection: Option<&Connection>) -> Result<(), Unverified> {
        let Some((trust, depth)) = &self.trust else { return Ok(()) };
        let shown = connection.and_then(|connection| connection.peer_certificates()).unwrap_or_default();
        trust.verify(shown, *depth, Purpose::Server, UnixTime::now()).map_err(Unverified::Chain)?;
        match shown.first() {
            Some(certificate) if matches_name(certificate, &peer.name) => Ok(()),
            _ => Err(Unverified::Name),
        }
    }
}

impl Peer {
    /// Tells connections apart: none may serve a request that means another server, shows another certificate, or asks more.
    pub fn identity(&self) -> [u8; 32] {
        self.identity
    }

    /// The name as logs show it.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// `host:port` without the port; an address of IPv6 is in brackets.
fn without_port(name: &[u8]) -> &[u8] {
    let from = match name {
        [b'[', ..] => name.iter().position(|byte| *byte == b']').unwrap_or(0),
        _ => 0,
    };
    let colon = name.iter().skip(from).position(|byte| *byte == b':');
    colon.and_then(|colon| name.get(..from + colon)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_no_part_of_names() {
        for (name, host) in [
            ("a.test", "a.test"),
            ("a.test:443", "a.test"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1", "["),
            ("", ""),
        ] {
            assert_eq!(without_port(name.as_bytes()), host.as_bytes(), "{name}");
        }
    }
}
