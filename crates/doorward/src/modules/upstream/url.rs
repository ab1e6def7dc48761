//! `http://host:port/path` as directives write it (nginx's ngx_parse_url).

use std::path::PathBuf;

use net::Address;

/// How the upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP, port 80.
    Http,
    /// HTTP over TLS, port 443.
    Https,
}

impl Scheme {
    /// The port where none is written.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// As URLs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// Splits a URL into its scheme and the rest.
    pub fn split(url: &[u8]) -> Option<(Scheme, &[u8])> {
        for scheme in [Scheme::Http, Scheme::Https] {
            let name = scheme.as_str().as_bytes();
            if let Some((head, rest)) = url.split_at_checked(name.len())
                && head.eq_ignore_ascii_case(name)
                && let Some(rest) = rest.strip_prefix(b"://")
            {
                return Some((scheme, rest));
            }
        }
        None
    }
}

/// What stands behind the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name, address in brackets where it is IPv6, or `unix:/path`.
    pub host: String,
    /// The port, where one is written.
    pub port: Option<u16>,
    /// Path and query; empty where there is none.
    pub uri: Vec<u8>,
}

/// Why a URL cannot be used, in nginx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing where a host should be.
    #[error("no host")]
    NoHost,
    /// Not a number from 1 to 65535.
    #[error("invalid port")]
    Port,
    /// Not an address, or not readable text.
    #[error("invalid host")]
    Host,
    /// `unix:` and nothing behind it.
    #[error("no path in the unix domain socket")]
    NoPath,
}

impl Target {
    /// Reads what stands behind the scheme; `with_uri` splits a path off.
    pub fn parse(text: &[u8], with_uri: bool) -> Result<Target, UrlError> {
        let text = str::from_utf8(text).map_err(|_| UrlError::Host)?;
        if let Some(path) = text.strip_prefix("unix:") {
            let (path, uri) = match path.split_once(':') {
                Some((path, uri)) if with_uri => (path, uri),
                _ => (path, ""),
            };
            if path.is_empty() {
                return Err(UrlError::NoPath);
            }
            return Ok(Target { host: format!("unix:{path}"), port: None, uri: uri.into() });
        }
        let end = if with_uri { text.find(['/', '?', '#']).unwrap_or(text.len()) } else { text.len() };
        let (authority, uri) = text.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']').ok_or(UrlError::Host)?;
                inside.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
                let port = if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or(UrlError::Host)?)
                };
                (&authority[..inside.len() + 2], port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(UrlError::NoHost);
        }
        let port = match port {
            None => None,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(UrlError::Port),
            },
        };
        Ok(Target { host: host.to_owned(), port, uri: uri.into() })
    }

    /// Host and port as written: the default `Host` field of a proxied request.
    pub fn authority(&self, scheme: Scheme) -> String {
        match self.port {
            Some(port) if port != scheme.port() => format!("{}:{port}", self.host),
            _ if self.host.starts_with("unix:") => "localhost".to_owned(),
            _ => self.host.clone(),
        }
    }

    /// Whether it is no socket of this machine's files, and names no port either.
    pub fn lacks_port(&self) -> bool {
        self.port.is_none() && !self.host.starts_with("unix:")
    }

    /// The addresses; a name is looked up, which waits.
    pub fn addresses(&self, default_port: u16) -> std::io::Result<Vec<Address>> {
        if let Some(path) = self.host.strip_prefix("unix:") {
            return Ok(vec![Address::Unix(PathBuf::from(path))]);
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = net::address::resolve(host, self.port.unwrap_or(default_port))?;
        Ok(found.into_iter().map(Address::Inet).collect())
    }

    /// The address, where it is written as one and needs no look-up.
    pub fn literal(&self, default_port: u16) -> Option<Address> {
        if let Some(path) = self.host.strip_prefix("unix:") {
            return Some(Address::Unix(PathBuf::from(path)));
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let ip: std::net::IpAddr = host.parse().ok()?;
        Some(Address::Inet((ip, self.port.unwrap_or(default_port)).into()))
    }
}
