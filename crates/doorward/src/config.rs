//! The compiled configuration: immutable, shared by all workers, replaced as a whole by a reload.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use net::Address;

use crate::log::ErrorLog;
use crate::modules::{core, http2, upstream};
use crate::plan::Plan;
use crate::regex::Pattern;
use crate::variables::Variables;

/// Everything that a configuration file says, ready to serve.
pub struct Config {
    /// What the main context says about the process.
    pub main: core::Main,
    /// Where what belongs to no request is logged.
    pub error_log: ErrorLog,
    /// Every variable by number.
    pub variables: Variables,
    /// The server blocks in order.
    pub servers: Vec<Server>,
    /// The sockets to listen on and what answers there.
    pub listeners: Vec<Listener>,
    /// The groups of upstream servers.
    pub upstreams: Vec<Arc<upstream::Upstream>>,
    /// Log files by path, each open once.
    pub logs: HashMap<PathBuf, Arc<crate::log::LogFile>>,
    /// Whether something is logged to the standard error output.
    pub keeps_stderr: bool,
    /// Folders that are made at the start.
    pub folders: Vec<PathBuf>,
    /// DNS servers, as `resolver` directives name them.
    pub resolvers: Vec<net::names::Servers>,
    /// Auth services that are built in.
    pub auth_services: Vec<Arc<crate::modules::auth_service::Service>>,
    /// Where spans are sent, and what all of them say.
    pub otel: crate::modules::otel::Export,
    /// Caches, with the bounds of each.
    pub caches: Vec<crate::modules::cache::CachePath>,
    /// What there is to read of what it is made of.
    pub readings: Vec<crate::metrics::Reading>,
    /// Who is banned, by zone.
    pub bans: Vec<crate::modules::status::Bans>,
    /// What of a handshake some variable shows.
    pub tls_wanted: crate::modules::ssl::Wanted,
    /// Whether some location shows metrics.
    pub measures: bool,
    /// Whether some location has stored answers updated in the background.
    pub background_updates: bool,
    /// The first log file that could not be opened.
    pub log_failure: Option<String>,
    /// State that goes on through reloads.
    pub zones: Arc<crate::zone::Zones>,
    /// Counts reloads.
    pub generation: u64,
}

/// One `server` block.
pub struct Server {
    /// The first name (`$server_name`).
    pub name: Vec<u8>,
    /// Its settings that no location changes.
    pub core: core::ServerCore,
    /// What it says of HTTP/2.
    pub http2: http2::ServerValues,
    /// The limits of a request's head, made from the settings once.
    pub limits: wire::h1::Limits,
    /// What applies outside of every location; its rewrite rules run first, its locations are the server's.
    pub plan: Plan,
    /// Named locations.
    pub named: HashMap<Vec<u8>, Plan>,
    /// What is counted of its requests, where something shows it.
    pub counts: Option<Box<crate::metrics::ServerCounts>>,
    /// How it speaks TLS, where it does.
    pub tls: Option<Box<crate::modules::ssl::ServerTls>>,
    /// Whether it opens tunnels somewhere (`tunnel_pass`): other servers refuse CONNECT at the door.
    pub allow_connect: bool,
}

/// One address with the servers that share it.
pub struct Listener {
    /// Where it listens.
    pub address: Address,
    /// How the socket is made.
    pub options: net::listen::Options,
    /// Whether connections start with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether it offers HTTP/2 whatever its servers say (`listen ... http2`).
    pub http2: bool,
    /// Its servers by name.
    pub hosts: Hosts,
    /// On a wildcard address: the servers of addresses that share its socket.
    pub specific: HashMap<std::net::IpAddr, Hosts>,
}

/// Servers by a form of their name.
pub type Names = foldhash::HashMap<Vec<u8>, usize>;

/// The servers of an address by name (nginx's documentation, "Server names").
#[derive(Default)]
pub struct Hosts {
    /// Whether TLS is spoken there.
    pub ssl: bool,
    /// The server for names that no other has.
    pub default: usize,
    /// Names without wildcards.
    pub exact: Names,
    /// `*.example.com` as `.example.com`; whether the bare name is meant too is in `exact`.
    pub leading: Names,
    /// `www.example.*` as `www.example.`.
    pub trailing: Names,
    /// Patterns in the order written.
    pub patterns: Vec<(Pattern, usize)>,
}

impl Config {
    /// The group that a URL made of variables names.
    pub fn find_upstream(&self, target: &upstream::Target) -> Option<usize> {
        let host = target.host.to_ascii_lowercase();
        self.upstreams.iter().position(|u| match target.port {
            None => *u.name == *host,
            Some(port) => {
                u.name.strip_prefix(&*host).and_then(|rest| rest.strip_prefix(':')) == Some(&port.to_string())
            }
        })
    }
}

impl Listener {
    /// The servers for the address that a connection reached.
    pub fn hosts_at(&self, local: Option<&Address>) -> &Hosts {
        match local {
            Some(Address::Inet(address)) => self.specific.get(&address.ip()).unwrap_or(&self.hosts),
            _ => &self.hosts,
        }
    }
}

impl Hosts {
    /// The server for a name in lower case, and the pattern that found it, whose captures are then to be taken.
    pub fn find(&self, name: &[u8]) -> (usize, Option<&Pattern>) {
        self.named(name).unwrap_or((self.default, None))
    }

    /// The same, where some server has the name.
    pub fn named(&self, name: &[u8]) -> Option<(usize, Option<&Pattern>)> {
        if name.is_empty() {
            return self.exact.get(name).map(|server| (*server, None));
        }
        if let Some(&server) = self.exact.get(name) {
            return Some((server, None));
        }
        if !self.leading.is_empty() {
            // From the first dot on the suffixes get shorter: the longest that is known wins.
            let dots = name.iter().enumerate().filter(|(at, b)| **b == b'.' && *at > 0).map(|(at, _)| at);
            for at in dots {
                if let Some(&server) = self.leading.get(&name[at..]) {
                    return Some((server, None));
                }
            }
        }
        if !self.trailing.is_empty() {
            let dots =
                name.iter().enumerate().rev().filter(|(at, b)| **b == b'.' && *at > 0).map(|(at, _)| at);
            for at in dots {
                if let Some(&server) = self.trailing.get(&name[..=at]) {
                    return Some((server, None));
                }
            }
        }
        let found = self.patterns.iter().find(|(pattern, _)| pattern.is_match(name));
        found.map(|(pattern, server)| (*server, Some(pattern)))
    }
}
