//! The request that is explained, as the command line has it.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use wire::h1::{Limits, RequestHead, RequestParser};
use wire::h2::Pseudo;

use crate::log::system_error;
use crate::program::flags::Request;

/// A request as it would come in.
pub struct Target {
    /// Whether it comes over TLS; a path alone leaves that to the listener.
    pub tls: Option<bool>,
    /// The port, where the URL says it.
    pub port: Option<u16>,
    /// The name that a client asks for in its handshake: a host that is no address.
    pub name: Option<String>,
    /// The certificate that the client shows, with those between it and its authority.
    pub certificate: Vec<CertificateDer<'static>>,
    /// Whether it is one of HTTP/2.
    pub http2: bool,
    method: String,
    host: String,
    path: String,
    fields: Vec<(String, String)>,
}

impl Target {
    /// Reads URL and options.
    pub fn of(request: &Request) -> Result<Target, String> {
        let url = request.url.as_deref().unwrap_or_default();
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            None if url.starts_with('/') => (None, url),
            _ => return Err(format!("\"{url}\" is no URL of a request: https://HOST/PATH, or a path")),
        };
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut host = if authority.is_empty() { "localhost" } else { authority }.to_owned();
        let mut fields = Vec::new();
        for field in &request.fields {
            let Some((name, value)) = field.split_once(':').filter(|_| !field.contains(['\r', '\n'])) else {
                return Err(format!("\"{field}\" is no field: -H 'Name: value'"));
            };
            match name.eq_ignore_ascii_case("host") {
                true => host = value.trim().to_owned(),
                false => fields.push((name.to_owned(), value.trim().to_owned())),
            }
        }
        let asked = if authority.is_empty() { &*host } else { authority };
        let parsed = wire::host::host(asked.as_bytes()).map_err(|_| format!("\"{asked}\" is no host"))?;
        let name = String::from_utf8_lossy(parsed.name).into_owned();
        Ok(Target {
            tls,
            port: (tls.is_some() && parsed.port > 0).then_some(parsed.port),
            // An address is no name (RFC 6066, 3).
            name: Some(name).filter(|name| !name.starts_with('[') && name.parse::<IpAddr>().is_err()),
            certificate: request.certificate.as_deref().map(certificate).transpose()?.unwrap_or_default(),
            http2: request.http2,
            method: request.method.clone().unwrap_or_else(|| "GET".to_owned()),
            host,
            path,
            fields,
        })
    }

    /// Its method and URL.
    pub fn line(&self, scheme: &str) -> String {
        format!("{} {scheme}://{}{}", self.method, self.host, self.path)
    }

    /// Makes a head of it, as if it had been read.
    pub fn read(
        &self,
        scheme: &str,
        limits: &Limits,
        head: &mut RequestHead,
        bytes: &mut Vec<u8>,
    ) -> Result<(), String> {
        let refused = |status: u16, error: &dyn std::fmt::Display| {
            Err(format!("it would be refused with {status}: {error}"))
        };
        if self.http2 {
            let pseudo = Pseudo {
                method: Some(self.method.as_bytes()),
                scheme: Some(scheme.as_bytes()),
                authority: Some(self.host.as_bytes()),
                path: Some(self.path.as_bytes()),
            };
            // Clients write names in lower case (RFC 9113, 8.2).
            let fields: Vec<_> =
                self.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            let ends = fields.iter().all(|(name, _)| name != "content-length");
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            return match wire::h2::request(&pseudo, fields, ends, limits, head, bytes) {
                Ok(()) => Ok(()),
                Err(error) => refused(error.status(), &error),
            };
        }
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        *bytes = text.into_bytes();
        match RequestParser::default().parse(bytes, limits, head) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the request has no end".to_owned()),
            Err(error) => refused(error.status(), &error),
        }
    }
}

fn certificate(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("cannot load certificate \"{path}\": {why}");
    let text = std::fs::read(path).map_err(|error| cannot(&system_error(&error)))?;
    net::tls::files::certificates(&text).map_err(|error| cannot(&error))
}
