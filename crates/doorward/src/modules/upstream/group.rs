//! The `upstream` block: servers, their weights, and how connections to them are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use conf::Arg::{Many, Number, Optional, Text, Time};
use conf::{Contexts, Diagnostic, Node, Span, once};
use net::Address;

use super::balance::State;
use super::least_time::Until;
use super::method::{Method, Ring};
use super::resolving::{Known, Remembered, Resolving};
use super::server::{ServerLine, look_up};
use super::sticky::{self, Sticky};
use super::url::{Scheme, Target};
use crate::compile::Compiler;
use crate::directives;
use crate::metrics::{Metrics, PeerCounts};
use crate::module::{Directive, Scope, Settings};
use crate::modules::resolver::{Resolver, ResolverSettings};
use crate::variables::Template;
use crate::zone::Zones;

/// A group of servers that requests are spread over.
pub struct Upstream {
    /// The name that `proxy_pass` uses.
    pub name: Arc<str>,
    /// Its place in the configuration, for the workers' pools.
    pub index: usize,
    /// The servers: first those that are asked, then the backups.
    pub peers: Vec<Peer>,
    /// Where the backups start.
    pub backups: usize,
    /// How one of them is chosen.
    pub method: Method,
    /// How connections are kept.
    pub keep_alive: KeepAlive,
    /// What is known of the servers; shared by the workers.
    pub state: Mutex<State>,
    /// How sessions stay with their servers.
    pub sticky: Option<Arc<Sticky>>,
    /// Where the servers are, when that changes; this group itself has none then.
    pub resolving: Option<Arc<Resolving>>,
    /// A number that no server has had yet.
    pub(super) next_id: usize,
}

/// What stays of a group when its servers change.
pub struct Frame {
    /// Its name.
    pub(super) name: Arc<str>,
    index: usize,
    method: Option<MethodLine>,
    sticky: Option<Arc<Sticky>>,
    keep_alive: KeepAlive,
}

/// One address of a server of a group.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Tells it from the others of its group, also from those before it when they change.
    pub id: usize,
    /// As the `server` directive wrote it.
    pub server: String,
    /// Where it is.
    pub address: Address,
    /// As logs and `$upstream_addr` name it.
    pub name: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// Failures within `fail_timeout` that take it out; 0 for never.
    pub max_fails: u32,
    /// Milliseconds.
    pub fail_timeout: u64,
    /// Most connections at once; 0 for any number.
    pub max_conns: u32,
    /// Never asked.
    pub down: bool,
    /// Asked by the sessions that it has: it is `down` for others.
    pub draining: bool,
    /// What it is called in sessions (`sticky`).
    pub sid: Box<[u8]>,
    /// What is counted of it, where something shows it.
    pub counts: Option<Arc<PeerCounts>>,
}

/// How connections to a group are kept.
#[derive(Clone, Debug)]
pub struct KeepAlive {
    /// Idle connections per worker; 0 keeps none.
    pub connections: usize,
    /// Whether a connection serves only the location that opened it.
    pub local: bool,
    /// Requests on one connection.
    pub requests: u64,
    /// Longest life of a connection in milliseconds.
    pub time: u64,
    /// Longest idle time in milliseconds.
    pub timeout: u64,
}

/// An `upstream` block as written.
#[derive(Default)]
pub struct Block {
    method: Option<MethodLine>,
    sticky: Option<Arc<Sticky>>,
    servers: Vec<ServerLine>,
    keep_alive: Option<(usize, bool)>,
    requests: Option<u64>,
    time: Option<u64>,
    timeout: Option<u64>,
}

/// A balancing method as written.
#[derive(Clone)]
enum MethodLine {
    LeastConn,
    LeastTime(Until, bool),
    IpHash,
    Hash(Template, bool),
    Random(bool),
}

impl Settings for Block {
    fn inherit(&mut self, _: &Self) {}
}

/// The groups of a configuration while it is compiled: blocks, and those that `proxy_pass` implies.
#[derive(Default)]
pub struct Groups {
    groups: Vec<Group>,
    by_name: HashMap<String, usize>,
}

struct Group {
    name: String,
    block: Option<Scope>,
    implied: Option<(Target, Scheme)>,
    span: Span,
}

/// Servers and settings of groups in the `http` block.
#[derive(Default)]
pub struct Outside;

impl Settings for Outside {
    fn inherit(&mut self, _: &Self) {}
}

pub(super) const DIRECTIVES: &[Directive] = directives! { Outside;
    /// Names a group of servers.
    "upstream": Block in [HTTP] (Text("name")) = "" => |_, cx, n| {
        let name = n.str(0)?.to_ascii_lowercase();
        let mut scope = Scope::default();
        cx.block(n.block.as_deref().unwrap_or_default(), Contexts::UPSTREAM, &mut scope)?;
        cx.upstreams.add_block(name, scope, n)
    };
};

pub(super) const SERVERS: &[Directive] = directives! { Block;
    /// One server of the group; a name with several addresses is several servers. Names are looked up once, when the
    /// configuration is read; with `resolve` while the group serves, and again whenever the answer's time is over, by the
    /// `resolver` of the group or of the http block: until an address is found, requests are answered with 502. With
    /// `service=NAME` (and `resolve`) the servers of that service are looked up (RFC 2782), with their ports, weights and
    /// priorities: those that have not the best priority are backups.
    "server" in [UPSTREAM] (Text("address"), Optional(&Many(&Text("parameter")))) = "" => |c, _, n| {
        let method = &c.method;
        let may_be_backup =
            !matches!(method, Some(MethodLine::IpHash | MethodLine::Hash(..) | MethodLine::Random(_)));
        c.servers.push(ServerLine::read(n, may_be_backup)?);
        Ok(())
    };
    /// Chooses by the client's address: clients of one network stay with one server.
    "ip_hash" in [UPSTREAM] () = "" => |c, cx, n| method(c, cx, n, MethodLine::IpHash);
    /// Chooses the server with the fewest connections for its weight.
    "least_conn" in [UPSTREAM] () = "" => |c, cx, n| method(c, cx, n, MethodLine::LeastConn);
    /// Chooses the server that is likely to be done first, by its number of connections, its weight, and how long its answers
    /// took lately: until their `header`, or until their `last_byte`. With `inflight` the requests that are not answered
    /// yet count as well.
    "least_time" in [UPSTREAM] (Text("header | last_byte"), Optional(&Text("inflight"))) = "" => |c, cx, n| {
        let until = n.choice(0, &[("header", Until::Header), ("last_byte", Until::LastByte)])?;
        let inflight = only(n, 1, "inflight")?;
        method(c, cx, n, MethodLine::LeastTime(until, inflight))
    };
    /// Chooses by a key; `consistent` lets few keys move when servers come and go.
    "hash" in [UPSTREAM] (Text("key"), Optional(&Text("consistent"))) = "" => |c, cx, n| {
        let key = Template::compile(n.word(0)?, &mut cx.variables)?;
        let consistent = only(n, 1, "consistent")?;
        method(c, cx, n, MethodLine::Hash(key, consistent))
    };
    /// Chooses by chance; with `two`, the one of two that has fewer connections.
    "random" in [UPSTREAM] (Optional(&Text("two")), Optional(&Text("least_conn"))) = "" => |c, cx, n| {
        let two = only(n, 0, "two")?;
        only(n, 1, "least_conn")?;
        method(c, cx, n, MethodLine::Random(two))
    };
    /// Keeps sessions with the server that they began with, as long as it can be asked. `cookie NAME [expires=time|max]
    /// [domain=...] [httponly] [secure] [samesite=...] [path=...]` tells clients the server's name in a cookie; `route
    /// $variable ...` finds in requests the name that `route=` of a `server` gives; `learn create=$variable lookup=$variable
    /// zone=name:size [timeout=10m] [header]` remembers which server answered a session that the servers themselves
    /// began, with `header` before the whole answer has come. A server
    /// with `drain` gets no new sessions.
    "sticky" in [UPSTREAM] (Text("method"), Many(&Text("parameter"))) = "" => |c, cx, n| {
        if c.sticky.is_some() {
            return Err(n.duplicate());
        }
        c.sticky = Some(Arc::new(Sticky::compile(n, cx)?));
        Ok(())
    };
    /// Idle connections to keep per worker; `local` keeps those of a location for itself.
    "keepalive" in [UPSTREAM] (Number, Optional(&Text("local"))) = "32 local" => |c, _, n| {
        let local = match n.args.get(1) {
            None => false,
            Some(word) if word.text == b"local" => true,
            Some(word) => {
                let text = String::from_utf8_lossy(&word.text);
                return Err(Diagnostic::at(word.span, format!("invalid parameter \"{text}\"")));
            }
        };
        once(&mut c.keep_alive, (n.number(0)? as usize, local), n)
    };
    /// Most requests on one connection.
    "keepalive_requests" in [UPSTREAM] (Number) = "1000" => |c, _, n| once(&mut c.requests, n.number(0)? as u64, n);
    /// Longest life of a connection.
    "keepalive_time" in [UPSTREAM] (Time) = "1h" => |c, _, n| once(&mut c.time, n.msec(0)?, n);
    /// Longest time that a connection is kept idle.
    "keepalive_timeout" in [UPSTREAM] (Time) = "60s" => |c, _, n| once(&mut c.timeout, n.msec(0)?, n);
};

fn method(block: &mut Block, cx: &mut Compiler, node: &Node, method: MethodLine) -> Result<(), Diagnostic> {
    if block.method.replace(method).is_some() {
        cx.warn(Diagnostic::at(node.span, "load balancing method redefined"));
    }
    Ok(())
}

/// Whether there is an argument at `at`; it can only be `word`.
fn only(node: &Node, at: usize, word: &str) -> Result<bool, Diagnostic> {
    match node.args.get(at) {
        None => Ok(false),
        Some(found) if found.text == word.as_bytes() => Ok(true),
        Some(found) => Err(Diagnostic::at(found.span, format!("invalid parameter \"{}\"", found.lossy()))),
    }
}

impl Groups {
    fn add_block(&mut self, name: String, scope: Scope, node: &Node) -> Result<(), Diagnostic> {
        if let Some(&at) = self.by_name.get(&name) {
            if self.groups[at].block.is_some() {
                return Err(Diagnostic::at(node.span, format!("duplicate upstream \"{name}\"")));
            }
            // It was used before it was written.
            self.groups[at].block = Some(scope);
            self.groups[at].span = node.span;
            return Ok(());
        }
        self.by_name.insert(name.clone(), self.groups.len());
        self.groups.push(Group { name, block: Some(scope), implied: None, span: node.span });
        Ok(())
    }

    /// The number of the group that a URL names, or of one that has just its host.
    pub fn of_target(&mut self, target: &Target, scheme: Scheme, span: Span) -> usize {
        let name = match target.port {
            None => target.host.to_ascii_lowercase(),
            Some(port) => format!("{}:{port}", target.host.to_ascii_lowercase()),
        };
        // The same host over another scheme has another default port.
        let key = if target.port.is_none() && scheme == Scheme::Https {
            format!("{name}:443")
        } else {
            name.clone()
        };
        if let Some(&at) = self.by_name.get(&name).or_else(|| self.by_name.get(&key)) {
            return at;
        }
        self.by_name.insert(key, self.groups.len());
        self.groups.push(Group { name, block: None, implied: Some((target.clone(), scheme)), span });
        self.groups.len() - 1
    }

    /// Whether a group is written as an `upstream` block, as far as the file was read.
    pub fn is_block(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.block.is_some())
    }

    /// All that keeps the groups from being made, where [`Groups::finish`] would stop at the first.
    pub fn faults(&mut self) -> Vec<Diagnostic> {
        self.groups.iter_mut().flat_map(Group::faults).collect()
    }

    /// Looks up every server and makes the groups; their servers are counted in `metrics`. Names that are looked up
    /// later are asked of `resolver`, unless the group names its own; so are those that are not found now, which is told.
    pub fn finish(
        self,
        metrics: Option<&Metrics>,
        resolver: &ResolverSettings,
        zones: &Zones,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Vec<Arc<Upstream>>, Diagnostic> {
        let groups = self.groups.into_iter().enumerate();
        let group = |(index, group): (usize, Group)| {
            group.finish(index, metrics, resolver, zones, warnings).map(Arc::new)
        };
        groups.map(group).collect()
    }
}

impl Group {
    fn faults(&mut self) -> Vec<Diagnostic> {
        match (&mut self.block, &self.implied) {
            (Some(scope), _) => {
                let servers = &scope.get_mut::<Block>().servers;
                let servers = servers.iter().filter(|line| !line.is_named());
                servers.filter_map(|line| look_up(&line.target, 80, line.span).err()).collect()
            }
            (None, Some((target, scheme))) => {
                look_up(target, scheme.port(), self.span).err().into_iter().collect()
            }
            (None, None) => Vec::new(),
        }
    }

    fn finish(
        self,
        index: usize,
        metrics: Option<&Metrics>,
        resolver: &ResolverSettings,
        zones: &Zones,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Upstream, Diagnostic> {
        let mut peers = Vec::new();
        let mut backups = Vec::new();
        let (mut line, mut sticky) = (None, None);
        let mut keep_alive =
            KeepAlive { connections: 32, local: true, requests: 1000, time: 3_600_000, timeout: 60_000 };
        if let Some(mut scope) = self.block {
            let block = std::mem::take(scope.get_mut::<Block>());
            if let Some((connections, local)) = block.keep_alive {
                keep_alive = KeepAlive { connections, local, ..keep_alive };
            }
            keep_alive.requests = block.requests.unwrap_or(keep_alive.requests);
            keep_alive.time = block.time.unwrap_or(keep_alive.time);
            keep_alive.timeout = block.timeout.unwrap_or(keep_alive.timeout);
            let own = scope.get_mut::<ResolverSettings>();
            own.inherit(resolver);
            let resolver = own.settle();
            let mut servers = block.servers;
            if resolver.servers.is_some() {
                warnings.extend(servers.iter_mut().filter_map(|line| line.look_up_later_if_missing(80)));
            }
            if servers.iter().any(ServerLine::is_named) {
                let frame = Frame {
                    name: self.name.into(),
                    index,
                    method: block.method,
                    sticky: block.sticky,
                    keep_alive,
                };
                return frame.resolving(servers, &resolver, self.span, zones, metrics);
            }
            for line in &servers {
                let into = if line.backup { &mut backups } else { &mut peers };
                let addresses = look_up(&line.target, 80, line.span)?;
                into.extend(addresses.into_iter().map(|address| line.peer(address)));
            }
            if peers.is_empty() {
                return Err(Diagnostic::at(self.span, "no servers are inside upstream"));
            }
            line = block.method;
            sticky = block.sticky;
        } else if let Some((target, scheme)) = &self.implied {
            let mut line = ServerLine::of(target.clone(), target.authority(*scheme), self.span);
            let resolver = resolver.settle();
            if resolver.servers.is_some()
                && let Some(warning) = line.look_up_later_if_missing(scheme.port())
            {
                warnings.push(warning);
                let frame = Frame { name: self.name.into(), index, method: None, sticky: None, keep_alive };
                return frame.resolving(vec![line], &resolver, self.span, zones, metrics);
            }
            peers.extend(
                look_up(target, scheme.port(), self.span)?.into_iter().map(|address| line.peer(address)),
            );
        }
        if let Some(metrics) = metrics {
            for peer in peers.iter_mut().chain(&mut backups) {
                peer.counts = Some(Arc::new(PeerCounts::new(metrics, &self.name, &peer.name)));
            }
        }
        for (id, peer) in peers.iter_mut().chain(&mut backups).enumerate() {
            peer.id = id;
        }
        let frame = Frame { name: self.name.into(), index, method: line, sticky, keep_alive };
        Ok(frame.with(peers, backups, None))
    }
}

impl Frame {
    /// The group with these servers; those that were in `before` keep their record.
    pub(super) fn with(
        &self,
        mut peers: Vec<Peer>,
        backups: Vec<Peer>,
        before: Option<&Upstream>,
    ) -> Upstream {
        let method = match &self.method {
            None => Method::RoundRobin,
            Some(MethodLine::LeastConn) => Method::LeastConn,
            Some(MethodLine::LeastTime(until, inflight)) => {
                Method::LeastTime { until: *until, inflight: *inflight }
            }
            Some(MethodLine::IpHash) => Method::IpHash,
            Some(MethodLine::Hash(key, false)) => Method::Hash(key.clone()),
            Some(MethodLine::Hash(key, true)) => Method::Consistent(key.clone(), Ring::new(&peers)),
            Some(MethodLine::Random(two)) => Method::Random { two: *two },
        };
        let first_backup = peers.len();
        peers.extend(backups);
        if self.sticky.is_some() {
            for peer in peers.iter_mut().filter(|peer| peer.sid.is_empty()) {
                peer.sid = sticky::name_of(&peer.name);
            }
        }
        let mut state = State::new(&peers);
        if let Some(before) = before {
            state.take_over(&peers, before);
        }
        Upstream {
            name: self.name.clone(),
            index: self.index,
            peers,
            backups: first_backup,
            method,
            keep_alive: self.keep_alive.clone(),
            state: Mutex::new(state),
            sticky: self.sticky.clone(),
            resolving: None,
            next_id: 0,
        }
    }

    /// The group with servers whose addresses are looked up while it serves.
    fn resolving(
        self,
        lines: Vec<ServerLine>,
        resolver: &Resolver,
        span: Span,
        zones: &Zones,
        metrics: Option<&Metrics>,
    ) -> Result<Upstream, Diagnostic> {
        let Some(names) = resolver.servers else {
            let text =
                format!("no resolver defined to resolve names at run time in upstream \"{}\"", self.name);
            return Err(
                Diagnostic::at(span, text).instead("write `resolver ADDRESS;` there or in the http block")
            );
        };
        let mut servers = Vec::new();
        for mut line in lines {
            if let Some(metrics) = metrics {
                line.count(metrics, &self.name);
            }
            let known = if line.is_named() {
                let service = line.service.as_deref().unwrap_or_default();
                let zone = format!("upstream {} name {} {service}", self.name, line.target.host);
                Known::Named(zones.get_or_make(&zone, Remembered::default))
            } else {
                Known::Fixed(look_up(&line.target, 80, line.span)?)
            };
            servers.push((line, known));
        }
        let mut upstream = self.with(Vec::new(), Vec::new(), None);
        upstream.resolving = Some(Arc::new(Resolving::new(self, servers, names, resolver.timeout)));
        Ok(upstream)
    }
}

impl Upstream {
    /// A group of addresses that a request named, which keeps no connections.
    pub fn of_addresses(addresses: Vec<Address>) -> Upstream {
        let peer = |(id, address): (usize, Address)| Peer {
            id,
            server: address.to_string(),
            name: address.to_string().into(),
            address,
            weight: 1,
            max_fails: 1,
            fail_timeout: 10_000,
            max_conns: 0,
            down: false,
            draining: false,
            sid: Box::default(),
            counts: None,
        };
        let peers: Vec<Peer> = addresses.into_iter().enumerate().map(peer).collect();
        let keep_alive = KeepAlive { connections: 0, local: true, requests: 0, time: 0, timeout: 0 };
        let state = Mutex::new(State::new(&peers));
        let (name, backups) = (String::new(), peers.len());
        let method = Method::RoundRobin;
        Upstream {
            name: name.into(),
            index: usize::MAX,
            peers,
            backups,
            method,
            keep_alive,
            state,
            sticky: None,
            resolving: None,
            next_id: 0,
        }
    }
}

/// What a group with one server is made of.
#[cfg(test)]
pub(super) fn of_test(server: &str) -> (Frame, ServerLine) {
    let keep_alive = KeepAlive { connections: 0, local: true, requests: 0, time: 0, timeout: 0 };
    let frame = Frame { name: "test".into(), index: 0, method: None, sticky: None, keep_alive };
    let target = Target::parse(server.as_bytes(), false).expect("an address");
    (frame, ServerLine::of(target, server.to_owned(), Span::default()))
}
