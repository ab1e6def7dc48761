//! The request that is explained, as the command line has it.

use crate::program::flags::Request;

/// A request as it would come in.
pub struct Target {
    /// The port, where a URL with a host says it or leaves it to http.
    pub port: Option<u16>,
    /// All of its head.
    pub bytes: Vec<u8>,
    /// Its line, for the reader.
    pub line: String,
}

impl Target {
    /// Reads URL and options.
    pub fn of(request: &Request) -> Result<Target, String> {
        let url = request.url.as_deref().unwrap_or_default();
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err("https is not served yet: explain the http:// URL".to_owned()),
            Some(_) => return Err(format!("\"{url}\" is no URL of a request: http://HOST/PATH, or a path")),
            None if url.starts_with('/') => url,
            None => return Err(format!("\"{url}\" is no URL of a request: http://HOST/PATH, or a path")),
        };
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let parsed = match authority {
            "" => None,
            text => Some(wire::host::host(text.as_bytes()).map_err(|_| format!("\"{text}\" is no host"))?),
        };
        let mut host = if authority.is_empty() { "localhost" } else { authority }.to_owned();
        let method = request.method.as_deref().unwrap_or("GET");
        let mut fields = String::new();
        for field in &request.fields {
            let Some((name, value)) = field.split_once(':').filter(|_| !field.contains(['\r', '\n'])) else {
                return Err(format!("\"{field}\" is no field: -H 'Name: value'"));
            };
            if name.eq_ignore_ascii_case("host") {
                host = value.trim().to_owned();
                continue;
            }
            fields.push_str(&format!("{name}: {}\r\n", value.trim()));
        }
        let bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").into_bytes();
        let port = match parsed {
            Some(parsed) if parsed.port > 0 => Some(parsed.port),
            Some(_) => Some(80),
            None => None,
        };
        Ok(Target { line: format!("{method} http://{host}{path}"), port, bytes })
    }
}
