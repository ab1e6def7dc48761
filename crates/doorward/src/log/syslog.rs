//! Messages to a syslog server, over UDP or a socket of the machine (RFC 3164).

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::Level;
use crate::random::hostname;

/// A server that messages are sent to.
pub struct Syslog {
    server: Server,
    facility: u8,
    severity: u8,
    tag: String,
    with_host: bool,
    /// Connected with the first message, and anew after a failure.
    socket: Mutex<Option<Socket>>,
}

enum Server {
    Inet(SocketAddr),
    Unix(PathBuf),
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// The facilities by their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// The severities by their numbers.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

/// The port of a server that names none.
const PORT: u16 = 514;

/// The longest tag (RFC 3164, 4.1.3).
const TAG: usize = 32;

/// The longest message of an error log.
const MESSAGE: usize = 2048;

impl Syslog {
    /// Reads what follows `syslog:`; an error is nginx's sentence.
    pub fn read(text: &str) -> Result<Syslog, String> {
        let (mut server, mut facility, mut severity, mut tag) = (None, None, None, None);
        let mut with_host = true;
        let number = |names: &[&str], name: &str| names.iter().position(|n| *n == name).map(|at| at as u8);
        for parameter in text.split(',') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let twice = match name {
                "server" => server.replace(server_of(value)?).is_some(),
                "facility" => {
                    let known = number(&FACILITIES, value);
                    let known = known.ok_or_else(|| format!("unknown syslog facility \"{value}\""))?;
                    facility.replace(known).is_some()
                }
                "severity" => {
                    let known = number(&SEVERITIES, value);
                    let known = known.ok_or_else(|| format!("unknown syslog severity \"{value}\""))?;
                    severity.replace(known).is_some()
                }
                "tag" => {
                    if value.len() > TAG {
                        return Err("syslog tag length exceeds 32".to_owned());
                    }
                    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                        return Err(
                            "syslog \"tag\" only allows alphanumeric characters and underscore".to_owned()
                        );
                    }
                    tag.replace(value.to_owned()).is_some()
                }
                "nohostname" if parameter == name => {
                    with_host = false;
                    false
                }
                _ => return Err(format!("unknown syslog parameter \"{parameter}\"")),
            };
            if twice {
                return Err(format!("duplicate syslog \"{name}\""));
            }
        }
        Ok(Syslog {
            server: server.ok_or_else(|| "no syslog server specified".to_owned())?,
            facility: facility.unwrap_or(23),
            severity: severity.unwrap_or(6),
            // nginx's, since people filter by it.
            tag: tag.unwrap_or_else(|| "nginx".to_owned()),
            with_host,
            socket: Mutex::new(None),
        })
    }

    /// Sends a line of an access log.
    pub fn send(&self, line: &[u8]) -> io::Result<()> {
        self.send_as(self.severity, line)
    }

    /// Sends a line of an error log. What cannot be sent is lost: there is nobody left to tell.
    pub fn send_error(&self, level: Level, line: &[u8]) {
        let _ = self.send_as(level as u8, line.get(..MESSAGE).unwrap_or(line));
    }

    fn send_as(&self, severity: u8, line: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(line.len() + 96);
        self.append_head(severity, net::clock::wall().0, &mut message);
        message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = match socket.take() {
            Some(connected) => connected,
            None => self.server.connect()?,
        };
        let sent = match &connected {
            Socket::Udp(udp) => udp.send(&message),
            Socket::Unix(unix) => unix.send(&message),
        };
        // After a failure the next message tries with a new socket.
        sent.map(|_| *socket = Some(connected))
    }

    fn append_head(&self, severity: u8, unix: u64, out: &mut Vec<u8>) {
        let mut time = String::new();
        crate::time::syslog(unix, &mut time);
        let priority = u16::from(self.facility) * 8 + u16::from(severity);
        out.extend_from_slice(format!("<{priority}>{time} ").as_bytes());
        if self.with_host {
            out.extend_from_slice(&hostname().to_ascii_lowercase());
            out.push(b' ');
        }
        out.extend_from_slice(self.tag.as_bytes());
        out.extend_from_slice(b": ");
    }
}

fn server_of(text: &str) -> Result<Server, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(format!("no path in the unix domain socket in syslog server \"{text}\""));
        }
        return Ok(Server::Unix(path.into()));
    }
    let invalid = |what: &str| format!("{what} in syslog server \"{text}\"");
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of a bare IPv6 address is inside its brackets.
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(|| invalid("invalid port"))?)
        }
        _ => (text, PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(invalid("no host"));
    }
    let found = (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.map(Server::Inet).ok_or_else(|| invalid("host not found"))
}

impl Server {
    fn connect(&self) -> io::Result<Socket> {
        match self {
            Server::Inet(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(address)?;
                Ok(Socket::Udp(socket))
            }
            Server::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Socket::Unix(socket))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_nginx_reads_them() {
        let head = |text: &str| {
            let mut out = Vec::new();
            Syslog::read(text).map(|syslog| syslog.append_head(syslog.severity, 0, &mut out))?;
            Ok::<_, String>(String::from_utf8(out).unwrap())
        };
        let plain = head("severity=alert,server=127.0.0.1:9,nohostname,tag=a_1,facility=user").unwrap();
        assert!(plain.starts_with("<9>") && plain.ends_with(" a_1: "), "{plain}");
        assert!(head("server=[::1],nohostname").unwrap().starts_with("<190>"));
        for (text, sentence) in [
            ("tag=x", "no syslog server specified"),
            ("server=127.0.0.1,server=127.0.0.1", "duplicate syslog \"server\""),
            ("server=127.0.0.1:0", "invalid port in syslog server \"127.0.0.1:0\""),
            ("server=127.0.0.1,facility=x", "unknown syslog facility \"x\""),
            ("server=127.0.0.1,tag=a-b", "syslog \"tag\" only allows alphanumeric characters and underscore"),
            ("server=127.0.0.1,x", "unknown syslog parameter \"x\""),
        ] {
            assert_eq!(head(text), Err(sentence.to_owned()), "{text}");
        }
    }
}
