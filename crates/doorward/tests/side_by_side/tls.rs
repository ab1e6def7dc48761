//! The client's side of TLS, and certificates for the servers that it asks.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::request::proxy_header;

/// TLS over a connection. It begins with the first bytes that are sent in it, behind a header of the PROXY protocol.
pub(crate) struct Tls {
    connection: ClientConnection,
    /// What was sent and may yet be the beginning of such a header; `None` once TLS has begun.
    before: Option<Vec<u8>>,
}

impl Tls {
    /// For a server of this name, which may show any certificate.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let config = match CONFIG.get() {
            Some(config) => config,
            None => {
                let provider = Arc::new(aws_lc_rs::default_provider());
                let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
                    .with_safe_default_protocol_versions()
                    .map_err(io::Error::other)?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                    .with_no_client_auth();
                CONFIG.get_or_init(|| Arc::new(config))
            }
        };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self { connection, before: Some(Vec::new()) })
    }

    pub(crate) fn send<S: Read + Write>(&mut self, socket: &mut S, bytes: &[u8]) -> io::Result<()> {
        let Some(before) = &mut self.before else { return self.write(socket, bytes) };
        before.extend(bytes);
        let Some(length) = proxy_header(before) else { return Ok(()) };
        socket.write_all(before.get(..length).unwrap_or_default())?;
        let inside = before.split_off(length);
        before.clear();
        if inside.is_empty() {
            return Ok(());
        }
        self.begin(socket)?;
        self.write(socket, &inside)
    }

    fn write<S: Read + Write>(&mut self, socket: &mut S, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.connection.writer().write(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush(socket)?;
        }
        Ok(())
    }

    fn begin<S: Read + Write>(&mut self, socket: &mut S) -> io::Result<()> {
        self.before = None;
        while self.connection.is_handshaking() {
            self.connection.complete_io(socket)?;
        }
        Ok(())
    }

    fn flush<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(socket)?;
        }
        Ok(())
    }

    /// Reads what there is inside; 0 is the end, whether it was announced or not.
    pub(crate) fn read<S: Read + Write>(&mut self, socket: &mut S, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.connection.read_tls(socket)?;
            let taken = self.connection.process_new_packets();
            // Who has closed may have answered before.
            let _ = self.flush(socket);
            taken.map_err(io::Error::other)?;
        }
    }
}

/// Trusts everybody: what a case is about is the server's side.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate for `localhost` and its key, as PEM.
pub(crate) fn certificate() -> io::Result<&'static (String, String)> {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    if let Some(made) = MADE.get() {
        return Ok(made);
    }
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    Ok(MADE.get_or_init(|| (made.cert.pem(), made.signing_key.serialize_pem())))
}
