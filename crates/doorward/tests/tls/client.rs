//! A client that speaks TLS, apart from what it is asked of: rustls over a blocking socket, which trusts everybody.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::authority::Pair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

/// An open connection.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What a client brings. Clones share their sessions.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    verifier: Arc<Trusting>,
}

impl Client {
    /// One that takes both versions.
    pub fn new() -> Client {
        Client::with(rustls::ALL_VERSIONS, aws_lc_rs::default_provider(), None)
    }

    /// One with a certificate.
    pub fn known_as(pair: &Pair) -> Client {
        let (chain, key) = pair.der();
        Client::with(rustls::ALL_VERSIONS, aws_lc_rs::default_provider(), Some((chain, key)))
    }

    /// One of these versions, with this cryptography.
    pub fn with(
        versions: &[&'static SupportedProtocolVersion],
        provider: CryptoProvider,
        known_as: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Client {
        let verifier = Arc::new(Trusting::default());
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let config = match known_as {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        Client { config: Arc::new(config), verifier }
    }

    /// The same, offering these protocols (ALPN), best first.
    pub fn offering(&self, protocols: &[&str]) -> Client {
        let mut config = (*self.config).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Client { config: Arc::new(config), verifier: self.verifier.clone() }
    }

    /// The same, with the right to early data.
    pub fn in_a_hurry(&self) -> Client {
        let mut config = (*self.config).clone();
        config.enable_early_data = true;
        Client { config: Arc::new(config), verifier: self.verifier.clone() }
    }

    /// The beginning of a handshake with early data, which nobody has sent yet; none where there is no ticket for it.
    pub fn begin(&self, name: &str, data: &[u8]) -> Option<ClientConnection> {
        let server = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(self.config.clone(), server).unwrap();
        connection.early_data()?.write_all(data).unwrap();
        Some(connection)
    }

    /// What the last certificate came with about its revocation.
    pub fn stapled(&self) -> Vec<u8> {
        self.verifier.stapled.lock().unwrap().clone()
    }

    /// Connects and shakes hands.
    pub fn connect(&self, port: u16, name: &str) -> std::io::Result<Connection> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        self.over(socket, name)
    }

    /// The same over a socket.
    pub fn over(&self, mut socket: TcpStream, name: &str) -> std::io::Result<Connection> {
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(self.config.clone(), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }

    /// Asks `name` for a path on a connection of its own: the answer, or why there is none.
    pub fn get(&self, port: u16, name: &str, path: &str) -> Result<String, String> {
        let mut connection = self.connect(port, name).map_err(|error| error.to_string())?;
        ask(&mut connection, name, path)
    }
}

/// Asks on a connection, which is closed behind the answer.
pub fn ask(connection: &mut Connection, host: &str, path: &str) -> Result<String, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    Ok(answer)
}

/// The body of an answer.
pub fn body(answer: &Result<String, String>) -> &str {
    answer.as_ref().map_or("", |answer| answer.split_once("\r\n\r\n").map_or("", |(_, body)| body))
}

#[derive(Debug, Default)]
struct Trusting {
    stapled: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        stapled: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.stapled.lock().unwrap() = stapled.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
