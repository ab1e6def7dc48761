//! Where a socket listens or connects to: an IP address with a port, or a unix socket's path.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One end of a stream socket. `Display` writes it as nginx does: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IPv4 or IPv6 with a port.
    Inet(SocketAddr),
    /// A path in the file system; empty for a client without a name of its own, shown as `unix:`.
    Unix(PathBuf),
}

/// All stream addresses of a name, asked from the system's resolver. Blocks: for configuration time only.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "host not found"));
    }
    Ok(found)
}

impl Address {
    /// The address as `accept`, `getsockname` or `getpeername` told it; `None` for families other than IP and unix.
    pub(crate) fn from_socket2(told: &socket2::SockAddr) -> Option<Address> {
        if let Some(inet) = told.as_socket() {
            return Some(Address::Inet(inet));
        }
        if !told.is_unix() {
            return None;
        }
        let path = match (told.as_pathname(), told.as_abstract_namespace()) {
            (Some(path), _) => path.to_path_buf(),
            // nginx has no name for these either; the leading NUL keeps the address usable.
            (None, Some(name)) => Path::new(OsStr::from_bytes(&[b"\0", name].concat())).to_path_buf(),
            (None, None) => PathBuf::new(),
        };
        Some(Address::Unix(path))
    }

    /// Appends the address without its port, as `$remote_addr` shows it: `127.0.0.1`, `::1`, `unix:`.
    pub fn append_ip(&self, out: &mut Vec<u8>) {
        match self {
            // In every line of a log, and in fields of most requests that are passed on.
            Address::Inet(SocketAddr::V4(inet)) => append_v4(inet.ip().octets(), out),
            // Writing to memory does not fail.
            Address::Inet(SocketAddr::V6(inet)) => drop(write!(out, "{}", inet.ip())),
            Address::Unix(_) => out.extend_from_slice(b"unix:"),
        }
    }

    /// The same as a text of its own.
    pub fn ip_text(&self) -> String {
        let mut text = Vec::new();
        self.append_ip(&mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The port, if the address has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Address::Inet(inet) => Some(inet.port()),
            Address::Unix(_) => None,
        }
    }
}

fn append_v4(octets: [u8; 4], out: &mut Vec<u8>) {
    for (at, octet) in octets.into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

impl From<SocketAddr> for Address {
    fn from(inet: SocketAddr) -> Self {
        Address::Inet(inet)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(inet) => inet.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_in_nginx() {
        let text = |address: Address| address.to_string();
        assert_eq!(text(Address::Inet("127.0.0.1:80".parse().unwrap())), "127.0.0.1:80");
        assert_eq!(text(Address::Inet("[::1]:8080".parse().unwrap())), "[::1]:8080");
        assert_eq!(text(Address::Unix("/run/a.sock".into())), "unix:/run/a.sock");
        assert_eq!(text(Address::Unix(PathBuf::new())), "unix:");
    }

    #[test]
    fn addresses_without_their_ports_are_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            let ip = std::net::Ipv4Addr::new(octet, 255 - octet, 10, octet);
            assert_eq!(Address::Inet((ip, 80).into()).ip_text(), ip.to_string());
        }
        let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        assert_eq!(Address::Inet(v6).ip_text(), "2001:db8::1");
        assert_eq!(Address::Unix("/run/a.sock".into()).ip_text(), "unix:");
    }

    #[test]
    fn literal_addresses_resolve_once_and_brackets_are_allowed() {
        assert_eq!(resolve("127.0.0.1", 81).unwrap(), ["127.0.0.1:81".parse().unwrap()]);
        assert_eq!(resolve("[::1]", 82).unwrap(), ["[::1]:82".parse().unwrap()]);
        assert!(resolve("", 80).is_err());
    }
}
