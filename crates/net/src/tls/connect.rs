//! TLS with servers: what a handshake begins with, and sessions to be taken up again.

use super::verify::{schemes, verify_handshake};
use super::words;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, ProtocolVersion, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use std::sync::{Arc, OnceLock};

/// How many servers' sessions are kept, each with up to eight tickets.
const SERVERS: usize = 256;

/// Settings for handshakes with these versions and cipher suites of TLS 1.2. Whatever certificate a server shows is
/// taken, if it holds its key: whether it is trusted is for [`super::verify::Trust`] to say when the handshake is over, also where a
/// session was taken up again. Without [`Sessions::keep`] none is.
pub fn settings(
    versions: &[&'static SupportedProtocolVersion],
    tls12: &[SupportedCipherSuite],
) -> Result<ClientConfig, Error> {
    let provider = words::provider(&words::TLS13_SUITES, tls12, words::groups("auto").chosen);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(shown())
        .with_client_cert_resolver(nobody());
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Shows servers that ask for it who we are.
pub fn show(config: &mut ClientConfig, certified: Arc<CertifiedKey>) {
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
}

/// A name for a handshake in which the server is told none.
pub fn nameless() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

// Sessions are taken up again only where verifier and certificate are the same objects: so there is one of each, also over reloads.

fn shown() -> Arc<dyn ServerCertVerifier> {
    static SHOWN: OnceLock<Arc<Shown>> = OnceLock::new();
    SHOWN.get_or_init(|| Arc::new(Shown)).clone()
}

fn nobody() -> Arc<dyn ResolvesClientCert> {
    static NOBODY: OnceLock<Arc<Nobody>> = OnceLock::new();
    NOBODY.get_or_init(|| Arc::new(Nobody)).clone()
}

/// Takes every certificate whose key the server holds.
#[derive(Debug)]
struct Shown;

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, certificate, signed, ProtocolVersion::TLSv1_2)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_handshake(message, certificate, signed, ProtocolVersion::TLSv1_3)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// Has no certificate to show.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Sessions of servers, of as many as fit: they hold secrets, and go with the process.
#[derive(Debug)]
pub struct Sessions(Arc<ClientSessionMemoryCache>);

impl Default for Sessions {
    fn default() -> Self {
        Sessions(Arc::new(ClientSessionMemoryCache::new(SERVERS * 8)))
    }
}

impl Sessions {
    /// Lets a connection take up a session that was begun under the same key, and keeps what the server gives it for the next. The
    /// key stands for all that has to be the same: the server's address, its name, who we are, and the settings.
    pub fn keep(&self, key: &[u8; 32], config: &mut ClientConfig) {
        // rustls keeps sessions by the name of the server. Two labels, since one takes 63 digits.
        let (high, low) = key.split_at(16);
        let number = |half: &[u8]| half.iter().fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
        let name = format!("{:032x}.{:032x}", number(high), number(low));
        if let Ok(name) = DnsName::try_from(name) {
            let kept = Kept { sessions: self.0.clone(), server: ServerName::DnsName(name) };
            config.resumption = Resumption::store(Arc::new(kept));
        }
    }
}

/// The sessions of one server.
#[derive(Debug)]
struct Kept {
    sessions: Arc<ClientSessionMemoryCache>,
    server: ServerName<'static>,
}

impl ClientSessionStore for Kept {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(self.server.clone(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(&self.server)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(self.server.clone(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(&self.server)
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.sessions.remove_tls12_session(&self.server);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(self.server.clone(), ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(&self.server)
    }
}
