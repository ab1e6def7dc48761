//! `listen` and `server_name`: which sockets there are, and which server answers for which name on each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use conf::{Diagnostic, Word};
use net::Address;
use net::listen::Options;

use super::Compiler;
use crate::config::{Hosts, Listener, Names, Server};
use crate::module::Scope;
use crate::modules::core::{ListenSpec, Listens as Written, ServerSettings};
use crate::modules::upstream::Target;
use crate::regex::Pattern;

/// The sockets of all servers, as they are read.
#[derive(Default)]
pub struct Listens {
    sockets: Vec<Socket>,
}

struct Socket {
    address: Address,
    options: Options,
    /// Whether an earlier directive gave socket options.
    tuned: bool,
    /// Whether it asks for a socket of its own even beside a wildcard.
    bind: bool,
    proxy_protocol: bool,
    ssl: bool,
    http2: bool,
    default: Option<usize>,
    servers: Vec<(usize, Vec<Word>)>,
}

/// One `listen` directive, read.
struct Listen {
    addresses: Vec<Address>,
    options: Options,
    tuned: bool,
    bind: bool,
    default: bool,
    proxy_protocol: bool,
    ssl: bool,
    http2: bool,
}

impl Listens {
    /// Adds what a server listens on.
    pub fn add_server(
        &mut self,
        server: usize,
        scope: &mut Scope,
        cx: &mut Compiler,
    ) -> Result<(), Diagnostic> {
        let mut specs = std::mem::take(&mut scope.get_mut::<Written>().specs);
        let names = scope.get_mut::<ServerSettings>().names.clone().unwrap_or_default();
        if specs.is_empty() {
            let port = if cx.paths.as_root { 80 } else { 8000 };
            let address = Address::Inet((Ipv4Addr::UNSPECIFIED, port).into());
            let listen = Listen {
                addresses: vec![address],
                options: Options::default(),
                tuned: false,
                bind: false,
                default: false,
                proxy_protocol: false,
                ssl: false,
                http2: false,
            };
            return self.add(server, &names, listen, None);
        }
        for spec in specs.drain(..) {
            let listen = read(&spec, cx);
            let Some(listen) = cx.forgive(listen)? else { continue };
            let added = self.add(server, &names, listen, Some(&spec));
            cx.forgive(added)?;
        }
        Ok(())
    }

    /// Whether a server listens somewhere where HTTP/2 is offered (`listen ... http2`).
    pub fn offer_http2(&self, server: usize) -> bool {
        let listens = |socket: &Socket| socket.servers.iter().any(|(at, _)| *at == server);
        self.sockets.iter().any(|socket| socket.http2 && listens(socket))
    }

    fn add(
        &mut self,
        server: usize,
        names: &[Word],
        listen: Listen,
        spec: Option<&ListenSpec>,
    ) -> Result<(), Diagnostic> {
        for address in listen.addresses {
            let Some(socket) = self.sockets.iter_mut().find(|s| s.address == address) else {
                self.sockets.push(Socket {
                    address,
                    options: listen.options.clone(),
                    tuned: listen.tuned,
                    bind: listen.bind,
                    proxy_protocol: listen.proxy_protocol,
                    ssl: listen.ssl,
                    http2: listen.http2,
                    default: listen.default.then_some(server),
                    servers: vec![(server, names.to_vec())],
                });
                continue;
            };
            let complain = |text: String| match spec {
                Some(spec) => Diagnostic::at(spec.node.span, text),
                None => Diagnostic::nowhere(text),
            };
            if socket.servers.iter().any(|(known, _)| *known == server) {
                return Err(complain(format!("a duplicate listen {address}")));
            }
            if listen.tuned {
                if socket.tuned && socket.options != listen.options {
                    return Err(complain(format!("duplicate listen options for {address}")));
                }
                socket.options = listen.options.clone();
                socket.tuned = true;
            }
            socket.bind |= listen.bind;
            socket.proxy_protocol |= listen.proxy_protocol;
            socket.ssl |= listen.ssl;
            socket.http2 |= listen.http2;
            if listen.default {
                if socket.default.is_some() {
                    return Err(complain(format!("a duplicate default server for {address}")));
                }
                socket.default = Some(server);
            }
            socket.servers.push((server, names.to_vec()));
        }
        Ok(())
    }

    /// Makes the listeners: an address that a wildcard socket covers shares it, unless it asks for its own.
    pub fn finish(self, built: &[Server], cx: &mut Compiler) -> Result<Vec<Listener>, Diagnostic> {
        let mut listeners: Vec<Listener> = Vec::new();
        let (wild, specific): (Vec<Socket>, Vec<Socket>) =
            self.sockets.into_iter().partition(|s| is_wildcard(&s.address));
        for socket in wild.into_iter().chain(specific) {
            let hosts = hosts(&socket, cx)?;
            if hosts.ssl {
                let certified = certified(&socket, &hosts, built);
                cx.forgive(certified)?;
            }
            let cover = listeners.iter_mut().find(|l| !socket.bind && covers(&l.address, &socket.address));
            match (cover, &socket.address) {
                (Some(cover), Address::Inet(address)) => {
                    cover.specific.insert(address.ip(), hosts);
                }
                _ => listeners.push(Listener {
                    address: socket.address,
                    options: socket.options,
                    proxy_protocol: socket.proxy_protocol,
                    http2: socket.http2,
                    hosts,
                    specific: HashMap::new(),
                }),
            }
        }
        Ok(listeners)
    }
}

fn is_wildcard(address: &Address) -> bool {
    matches!(address, Address::Inet(a) if a.ip().is_unspecified())
}

fn covers(wildcard: &Address, address: &Address) -> bool {
    match (wildcard, address) {
        (Address::Inet(w), Address::Inet(a)) => {
            w.ip().is_unspecified() && w.port() == a.port() && w.is_ipv4() == a.is_ipv4() && w != a
        }
        _ => false,
    }
}

fn read(spec: &ListenSpec, cx: &mut Compiler) -> Result<Listen, Diagnostic> {
    let node = &spec.node;
    let word = node.word(0)?;
    let mut listen = Listen {
        addresses: addresses(word, cx)?,
        options: Options::default(),
        tuned: false,
        bind: false,
        default: false,
        proxy_protocol: false,
        ssl: false,
        http2: false,
    };
    for word in &node.args[1..] {
        parameter(&mut listen, word, cx)?;
    }
    Ok(listen)
}

fn parameter(listen: &mut Listen, word: &Word, cx: &mut Compiler) -> Result<(), Diagnostic> {
    let text = word.lossy();
    let invalid = |what: &str| Diagnostic::at(word.span, format!("invalid {what} \"{text}\""));
    let (name, value) = text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value)));
    let size = |value: Option<&str>| value.and_then(|v| conf::value::size(v.as_bytes()));
    let mut tuned = true;
    match (name, value) {
        ("default_server" | "default", None) => {
            listen.default = true;
            tuned = false;
        }
        ("bind", None) => {}
        ("backlog", Some(value)) => {
            listen.options.backlog =
                value.parse().ok().filter(|n| *n > 0).ok_or_else(|| invalid("backlog"))?;
        }
        ("rcvbuf", value) => {
            listen.options.rcvbuf = Some(size(value).ok_or_else(|| invalid("rcvbuf"))? as usize);
        }
        ("sndbuf", value) => {
            listen.options.sndbuf = Some(size(value).ok_or_else(|| invalid("sndbuf"))? as usize);
        }
        ("deferred", None) => listen.options.deferred = true,
        ("reuseport", None) => listen.options.reuseport = true,
        ("multipath", None) => listen.options.multipath = true,
        ("fastopen", Some(value)) => {
            listen.options.fastopen = Some(value.parse().map_err(|_| invalid("fastopen"))?);
        }
        ("ipv6only", Some("on")) => listen.options.ipv6only = true,
        ("ipv6only", Some("off")) => listen.options.ipv6only = false,
        ("ipv6only", _) => {
            return Err(Diagnostic::at(word.span, format!("invalid ipv6only flags \"{text}\"")));
        }
        ("so_keepalive", Some(value)) => {
            listen.options.keepalive = Some(keepalive(value).ok_or_else(|| {
                Diagnostic::at(word.span, format!("invalid so_keepalive value: \"{value}\""))
            })?);
        }
        ("proxy_protocol", None) => {
            listen.proxy_protocol = true;
            tuned = false;
        }
        ("ssl", None) => {
            listen.ssl = true;
            tuned = false;
        }
        ("http2", None) => {
            let sentence =
                "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead";
            cx.warn(Diagnostic::at(word.span, sentence).warning());
            listen.http2 = true;
            tuned = false;
        }
        ("quic", None) => {
            let sentence = format!("the \"{name}\" parameter of \"listen\" is not built yet in this version");
            return Err(
                Diagnostic::at(word.span, sentence).instead("listen without it, behind what ends TLS")
            );
        }
        ("setfib" | "accept_filter", Some(_)) => {
            return Err(Diagnostic::at(
                word.span,
                format!("{name} is not supported on this platform, ignored"),
            ));
        }
        _ => return Err(invalid("parameter")),
    }
    listen.tuned |= tuned;
    listen.bind |= tuned;
    Ok(())
}

fn keepalive(value: &str) -> Option<net::Keepalive> {
    let keepalive = |on| net::Keepalive { on, idle: None, interval: None, count: None };
    match value {
        "on" => return Some(keepalive(true)),
        "off" => return Some(keepalive(false)),
        _ => {}
    }
    let mut parts = value.split(':');
    let mut seconds = || match parts.next() {
        None | Some("") => Some(None),
        Some(text) => conf::value::sec(text.as_bytes()).map(|s| Some(s as u32)),
    };
    let (idle, interval) = (seconds()?, seconds()?);
    let count = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(text.parse().ok()?),
    };
    if idle.is_none() && interval.is_none() && count.is_none() {
        return None;
    }
    Some(net::Keepalive { on: true, idle, interval, count })
}

fn addresses(word: &Word, cx: &Compiler) -> Result<Vec<Address>, Diagnostic> {
    let text = word.lossy();
    let complain =
        |what: &str| Diagnostic::at(word.span, format!("{what} in \"{text}\" of the \"listen\" directive"));
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(complain("no path in the unix domain socket"));
        }
        let _ = cx;
        return Ok(vec![Address::Unix(path.into())]);
    }
    // A port, a range of ports, `*`, or an address with either.
    let (host, ports) = match text.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, port),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && !text.is_empty() => ("*", &*text),
        _ => (&*text, "80"),
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (first, last),
        None => (ports, ports),
    };
    let port = |digits: &str| digits.parse::<u16>().ok().filter(|p| *p > 0);
    let (Some(first), Some(last)) = (port(first), port(last)) else { return Err(complain("invalid port")) };
    if first > last {
        return Err(complain("invalid port range"));
    }
    let ips: Vec<IpAddr> = match host {
        "*" => vec![Ipv4Addr::UNSPECIFIED.into()],
        "" => return Err(complain("no host")),
        _ => match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inside) => {
                vec![inside.parse::<Ipv6Addr>().map_err(|_| complain("invalid IPv6 address"))?.into()]
            }
            None => {
                let target = Target { host: host.to_owned(), port: Some(first), uri: Vec::new() };
                let found = target.addresses(first).map_err(|_| complain("host not found"))?;
                found
                    .into_iter()
                    .filter_map(|a| if let Address::Inet(a) = a { Some(a.ip()) } else { None })
                    .collect()
            }
        },
    };
    let mut addresses = Vec::new();
    for port in first..=last {
        addresses.extend(ips.iter().map(|ip| Address::Inet(SocketAddr::new(*ip, port))));
    }
    addresses.dedup();
    Ok(addresses)
}

/// Whether every client that speaks TLS at an address gets a certificate, or is refused on purpose: its default server
/// answers, and where that refuses, each other one for itself.
fn certified(socket: &Socket, hosts: &Hosts, built: &[Server]) -> Result<(), Diagnostic> {
    let others = socket.servers.iter().map(|(server, _)| *server);
    for server in std::iter::once(hosts.default).chain(others) {
        // One that was wrong is missing where the configuration is only looked at.
        let Some(found) = built.get(server) else { return Ok(()) };
        match &found.tls {
            Some(tls) if tls.config.is_some() && server == hosts.default => return Ok(()),
            Some(tls) if tls.config.is_some() || tls.rejects => {}
            _ => {
                let sentence = "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive";
                let complaint = match found.plan.span {
                    Some(span) => Diagnostic::at(span, sentence),
                    None => Diagnostic::nowhere(sentence),
                };
                return Err(complaint.instead("name its files: ssl_certificate and ssl_certificate_key"));
            }
        }
    }
    Ok(())
}

/// Who answers for which name on a socket.
fn hosts(socket: &Socket, cx: &mut Compiler) -> Result<Hosts, Diagnostic> {
    let first = socket.servers.first().map_or(0, |(server, _)| *server);
    let mut hosts = Hosts { ssl: socket.ssl, default: socket.default.unwrap_or(first), ..Hosts::default() };
    for (server, names) in &socket.servers {
        if names.is_empty() {
            add(&mut hosts.exact, Vec::new(), *server, None, socket, cx);
        }
        for word in names {
            let text = word.text.to_ascii_lowercase();
            if let Some(pattern) = word.text.strip_prefix(b"~") {
                if pattern.is_empty() {
                    return Err(Diagnostic::at(
                        word.span,
                        format!("empty regex in server name \"{}\"", word.lossy()),
                    ));
                }
                let caseless = true;
                let pattern = Pattern::compile(pattern, caseless, word, &mut cx.variables)?;
                hosts.patterns.push((pattern, *server));
            } else if text.starts_with(b".") {
                add(&mut hosts.exact, text[1..].to_vec(), *server, Some(word), socket, cx);
                add(&mut hosts.leading, text, *server, Some(word), socket, cx);
            } else if let Some(suffix) = text.strip_prefix(b"*")
                && suffix.starts_with(b".")
                && !suffix.contains(&b'*')
            {
                add(&mut hosts.leading, suffix.to_vec(), *server, Some(word), socket, cx);
            } else if let Some(prefix) = text.strip_suffix(b"*")
                && prefix.ends_with(b".")
                && !prefix.contains(&b'*')
            {
                add(&mut hosts.trailing, prefix.to_vec(), *server, Some(word), socket, cx);
            } else if text.contains(&b'*') {
                let sentence =
                    format!("invalid server name or wildcard \"{}\" on {}", word.lossy(), socket.address);
                return Err(Diagnostic::at(word.span, sentence));
            } else {
                add(&mut hosts.exact, text, *server, Some(word), socket, cx);
            }
        }
    }
    Ok(hosts)
}

fn add(
    names: &mut Names,
    name: Vec<u8>,
    server: usize,
    word: Option<&Word>,
    socket: &Socket,
    cx: &mut Compiler,
) {
    match names.get(&name) {
        Some(known) if *known != server => {
            let text = word.map(|w| w.lossy().into_owned()).unwrap_or_default();
            let sentence = format!("conflicting server name \"{text}\" on {}, ignored", socket.address);
            cx.warn(match word {
                Some(word) => Diagnostic::at(word.span, sentence).warning(),
                None => Diagnostic::nowhere(sentence).warning(),
            });
        }
        Some(_) => {}
        None => {
            names.insert(name, server);
        }
    }
}
