//! `ngx_http_tunnel_module`: opens a connection for CONNECT, and lets bytes pass both ways (RFC 9110, 9.3.6).

use conf::Arg::{Flag, Many, Number, Optional, Size, Text, Time};
use conf::{Diagnostic, Node, Span, Word, once};
use net::Stream;
use net::pool::Pooled;
use wire::h1::Method;

use crate::body::Body;
use crate::client::Interrupted;
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::module::{Module, Scope, Settings};
use crate::modules::proxy::{Bind, Group, Lease, Tunnel, connect_options};
use crate::modules::resolver::{Resolver, ResolverSettings};
use crate::modules::upstream::{Scheme, Target, Tried};
use crate::plan::{Content, Plan};
use crate::run::Stop;
use crate::variables::Template;
use crate::{directives, settings};

/// Where a tunnel leads that names no address: to the host and port that the client asks for.
const ASKED_FOR: &str = "$host:$request_port";

const CONNECTING: &str = "connecting to upstream";

settings! {
    /// How tunnels are opened.
    TunnelSettings => TunnelValues {
        /// To connect, in milliseconds.
        connect_timeout: u64 = 60_000;
        /// The longest time that the server takes nothing.
        send_timeout: u64 = 60_000;
        /// The longest silence.
        read_timeout: u64 = 60_000;
        /// Which failures lead to another server.
        next_upstream: Next = Next { error: true, timeout: true };
        /// How many servers are tried; 0 for all.
        next_upstream_tries: u64 = 0;
        /// How long others are tried, in milliseconds; 0 for any time.
        next_upstream_timeout: u64 = 0;
        /// Where connections come from.
        bind: Bind = Bind::Off;
        /// Whether TCP keepalive is on for connections to servers.
        socket_keepalive: bool = false;
        /// The receive buffer of connections; 0 leaves it to the system.
        socket_rcvbuf: u64 = 0;
        /// The send buffer of connections; 0 leaves it to the system.
        socket_sndbuf: u64 = 0;
    }
}

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_tunnel_module",
    directives: directives! { TunnelSettings;
        /// Longest wait for a connection.
        "tunnel_connect_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.connect_timeout, n.msec(0)?, n);
        /// Longest time that the server takes nothing of what is sent.
        "tunnel_send_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.send_timeout, n.msec(0)?, n);
        /// Longest silence; then the tunnel is closed.
        "tunnel_read_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.read_timeout, n.msec(0)?, n);
        /// Which failures to connect lead to the next server: `error`, `timeout`, or none (`off`).
        "tunnel_next_upstream" in [HTTP SERVER LOCATION] (Many(&Text("error | timeout | off"))) = "error timeout" => |c, _, n| {
            let words = n.choices(&[("error", "error"), ("timeout", "timeout"), ("off", "off")])?;
            let leads = |failure| !words.contains(&"off") && words.contains(&failure);
            once(&mut c.next_upstream, Next { error: leads("error"), timeout: leads("timeout") }, n)
        };
        /// How many servers are tried; 0 for all.
        "tunnel_next_upstream_tries" in [HTTP SERVER LOCATION] (Number) = "0" => |c, _, n| once(&mut c.next_upstream_tries, n.number(0)? as u64, n);
        /// How long others are tried; 0 for any time.
        "tunnel_next_upstream_timeout" in [HTTP SERVER LOCATION] (Time) = "0" => |c, _, n| once(&mut c.next_upstream_timeout, n.msec(0)?, n);
        /// The local address that connections come from; `transparent` allows other machines' addresses.
        "tunnel_bind" in [HTTP SERVER LOCATION] (Text("address | off"), Optional(&Text("transparent"))) = "" => |c, cx, n| {
            let bind = Bind::compile(n, cx)?;
            once(&mut c.bind, bind, n)
        };
        /// TCP keepalive on connections to servers.
        "tunnel_socket_keepalive" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.socket_keepalive, n.flag(0)?, n);
        /// The receive buffer of connections to servers; 0 leaves it to the system.
        "tunnel_socket_rcvbuf" in [HTTP SERVER LOCATION] (Size) = "0" => |c, _, n| once(&mut c.socket_rcvbuf, n.size(0)?, n);
        /// The send buffer of connections to servers; 0 leaves it to the system.
        "tunnel_socket_sndbuf" in [HTTP SERVER LOCATION] (Size) = "0" => |c, _, n| once(&mut c.socket_sndbuf, n.size(0)?, n);
    },
    variables: &[],
    plan,
};

/// The directive that opens tunnels.
pub static PASS: Module = Module {
    name: "ngx_http_tunnel_module",
    directives: directives! { PassSettings;
        /// Answers CONNECT with a tunnel to the address, or to the host and port that the client asks for. Who may open
        /// one, and to where, is up to the access directives beside it: without them it is an open proxy.
        "tunnel_pass" in [SERVER LOCATION IF_IN_LOCATION] (Optional(&Text("address"))) = "" => |c, cx, n| {
            let pass = Pass::compile(n, cx)?;
            once(&mut c.pass, pass, n)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// Which failures to connect lead to another server.
#[derive(Clone, Copy)]
pub struct Next {
    error: bool,
    timeout: bool,
}

/// Where a block's tunnels lead. A location does not get them from its server: it is not opened by mistake.
#[derive(Clone, Default)]
struct PassSettings {
    pass: Option<Pass>,
}

impl Settings for PassSettings {
    fn inherit(&mut self, _: &Self) {}
    fn inherit_inside(&mut self, location: &Self) {
        if self.pass.is_none() {
            self.pass.clone_from(&location.pass);
        }
    }
}

/// Where tunnels lead.
#[derive(Clone)]
enum Pass {
    /// To this group or server, and where that is written.
    Fixed(Target, usize, Span),
    /// To what variables say.
    Variable(Template),
}

impl Pass {
    fn compile(node: &Node, cx: &mut Compiler) -> Result<Pass, Diagnostic> {
        let asked_for = Word { text: ASKED_FOR.into(), span: node.span, quoted: false };
        let word = node.args.first().unwrap_or(&asked_for);
        if word.text.contains(&b'$') {
            return Ok(Pass::Variable(Template::compile(word, &mut cx.variables)?));
        }
        let target = Target::parse(&word.text, false).map_err(|error| {
            Diagnostic::at(word.span, format!("{error} in upstream \"{}\"", word.lossy()))
        })?;
        let group = cx.upstreams.of_target(&target, Scheme::Http, word.span);
        Ok(Pass::Fixed(target, group, word.span))
    }
}

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let Some(pass) = scope.get_mut::<PassSettings>().pass.clone() else { return Ok(()) };
    if let Pass::Fixed(target, group, span) = &pass
        && target.lacks_port()
        && !cx.upstreams.is_block(*group)
    {
        return Err(Diagnostic::at(*span, format!("no port in upstream \"{}\"", target.host)));
    }
    let values = scope.get_mut::<TunnelSettings>().settle();
    let resolver = scope.get_mut::<ResolverSettings>().settle();
    cx.allow_connect = true;
    plan.content = Content::Tunnel(Box::new(TunnelPass { values, pass, resolver }));
    Ok(())
}

/// `tunnel_pass` of a location, ready to run.
pub struct TunnelPass {
    values: TunnelValues,
    pass: Pass,
    resolver: Resolver,
}

/// Why a server could not be connected to.
#[derive(Clone, Copy, PartialEq)]
enum Failed {
    Error,
    Timeout,
    ClientGone,
}

impl TunnelPass {
    /// Connects to a server; what follows the head is then between the client and it.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        if ex.method != Method::Connect {
            return Err(Stop::Status(405));
        }
        let group = self.group(ex).await?.now(ex.visit.config);
        let (connection, lease) = self.connect_to_any(ex, &group).await?;
        ex.response.status = 200;
        ex.visit.keep_alive.set(false);
        let (read_timeout, send_timeout) = (self.values.read_timeout, self.values.send_timeout);
        Ok(Body::Tunnel(Box::new(Tunnel::new(connection, lease, Vec::new(), read_timeout, send_timeout))))
    }

    async fn group(&self, ex: &Exchange<'_>) -> Result<Group, Stop> {
        let template = match &self.pass {
            Pass::Fixed(_, group, _) => return Ok(Group::Listed(*group)),
            Pass::Variable(template) => template,
        };
        let address = template.eval(ex);
        let shown = String::from_utf8_lossy(&address);
        let target = Target::parse(&address, false).map_err(|error| {
            ex.log(Level::Info, format_args!("{error} in upstream \"{shown}\""));
            Stop::Status(500)
        })?;
        if target.lacks_port() && ex.visit.config.find_upstream(&target).is_none() {
            ex.log(Level::Error, format_args!("no port in upstream \"{}\"", target.host));
            return Err(Stop::Status(500));
        }
        Group::named(ex, &target, 0, &self.resolver).await
    }

    async fn connect_to_any(&self, ex: &mut Exchange<'_>, group: &Group) -> Result<(Pooled, Lease), Stop> {
        let visit = ex.visit;
        let upstream = group.upstream(visit.config);
        let began = net::clock::now();
        let mut tried = Tried::new(upstream, ex);
        let mut tries = upstream.tries();
        if self.values.next_upstream_tries > 0 {
            tries = tries.min(usize::try_from(self.values.next_upstream_tries).unwrap_or(usize::MAX));
        }
        loop {
            let Some(choice) = upstream.choose(&mut tried, net::clock::now()) else {
                ex.upstream.begin(&upstream.name);
                ex.log(Level::Error, format_args!("no live upstreams while {CONNECTING}"));
                return Err(give_up(ex, 502));
            };
            let peer = &upstream.peers[choice.index];
            ex.upstream.begin_at(upstream, choice.index);
            ex.upstream.in_use(Some(peer.name.to_string()));
            tries = tries.saturating_sub(1);
            let mut lease = Lease::new(visit.service, group, choice);
            let failed = match self.connect(ex, &peer.address).await {
                Ok(connection) => return Ok((connection, lease)),
                Err(failed) => failed,
            };
            if failed == Failed::ClientGone {
                give_up(ex, 0);
                return Err(Stop::Gone);
            }
            lease.failed();
            let status = if failed == Failed::Timeout { 504 } else { 502 };
            if tries == 0 || !self.may_try_another(failed, began) {
                return Err(give_up(ex, status));
            }
            end_attempt(ex, status);
        }
    }

    async fn connect(&self, ex: &mut Exchange<'_>, address: &net::Address) -> Result<Pooled, Failed> {
        let values = &self.values;
        let buffers = (values.socket_rcvbuf, values.socket_sndbuf);
        let options = connect_options(ex, &values.bind, values.socket_keepalive, buffers);
        let connecting = Stream::connect(address, &options);
        match ex.visit.client.waiting(values.connect_timeout, true, connecting).await {
            Ok(Ok(stream)) => {
                if let Some(attempt) = ex.upstream.current() {
                    let time = net::clock::now() - attempt.started;
                    (attempt.connect_time, attempt.header_time) = (Some(time), Some(time));
                }
                Ok(Pooled::new(stream))
            }
            Ok(Err(error)) => {
                let error = system_error(&error);
                ex.log(Level::Error, format_args!("connect() failed {error} while {CONNECTING}"));
                Err(Failed::Error)
            }
            Err(Interrupted::Elapsed) => {
                let text = "upstream timed out (110: Connection timed out)";
                ex.log(Level::Error, format_args!("{text} while {CONNECTING}"));
                Err(Failed::Timeout)
            }
            Err(Interrupted::ClientGone) => {
                let text = "client prematurely closed connection, so upstream connection is closed too";
                ex.log(Level::Info, format_args!("{text} while {CONNECTING}"));
                Err(Failed::ClientGone)
            }
        }
    }

    fn may_try_another(&self, failed: Failed, began: u64) -> bool {
        let wanted = match failed {
            Failed::Error => self.values.next_upstream.error,
            Failed::Timeout => self.values.next_upstream.timeout,
            Failed::ClientGone => false,
        };
        let limit = self.values.next_upstream_timeout;
        wanted && (limit == 0 || net::clock::now() - began < limit)
    }
}

fn give_up(ex: &mut Exchange<'_>, status: u16) -> Stop {
    end_attempt(ex, status);
    ex.upstream.in_use(None);
    ex.upstream.next_handler();
    Stop::Status(status)
}

fn end_attempt(ex: &mut Exchange<'_>, status: u16) {
    if let Some(attempt) = ex.upstream.current() {
        attempt.status = status;
        attempt.response_time = Some(net::clock::now() - attempt.started);
    }
}
