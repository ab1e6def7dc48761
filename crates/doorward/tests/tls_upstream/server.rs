//! A service that is asked over TLS, and tells what it sees of its clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, HandshakeKind, ServerConfig, ServerConnection, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

use crate::certificates::Holder;
use crate::service;

/// Starts one that shows this certificate. To `GET` it answers with the number of the connection, how it was begun, the name
/// that it was told, and the certificate it was shown; to `POST` with the body; an upgrade becomes an echo.
pub fn listen(holder: &Holder, versions: &[&'static SupportedProtocolVersion]) -> u16 {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(holder.key.serialize_der());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody(provider)))
        .with_single_cert(vec![holder.certificate.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let connections = AtomicUsize::new(0);
    service::listen(move |socket| {
        let number = connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = ServerConnection::new(config.clone()).unwrap();
        // Whoever does not trust this server goes away.
        let _ = serve(number, StreamOwned::new(connection, socket));
    })
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

fn serve(number: usize, stream: Stream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut close, mut upgrade) = (String::new(), 0, false, false);
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        loop {
            let mut field = String::new();
            stream.read_line(&mut field)?;
            let field = field.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            close |= field == "connection: close";
            upgrade |= field == "upgrade: echo";
            if let Some(value) = field.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if upgrade {
            stream.get_mut().write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            )?;
            return echo(stream);
        }
        if !line.starts_with("POST") {
            body = told(number, &stream.get_ref().conn).into_bytes();
        }
        let end = if close { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{end}\r\n", body.len());
        stream.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
        if close {
            stream.get_mut().conn.send_close_notify();
            return stream.get_mut().flush();
        }
    }
}

fn echo(mut stream: BufReader<Stream>) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        stream.get_mut().write_all(line.as_bytes())?;
    }
}

fn told(number: usize, connection: &ServerConnection) -> String {
    let kind = match connection.handshake_kind() {
        Some(HandshakeKind::Resumed) => "resumed",
        _ => "full",
    };
    let name = connection.server_name().unwrap_or("-");
    let client = connection.peer_certificates().and_then(<[_]>::first).map_or("-".to_owned(), |der| {
        let text = String::from_utf8_lossy(der).into_owned();
        ["one.client", "two.client"].iter().find(|name| text.contains(**name)).unwrap_or(&"?").to_string()
    });
    format!("{number} {kind} {name} {client}")
}

/// Asks for a certificate, takes any, and does without.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
