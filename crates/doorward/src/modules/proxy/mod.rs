//! `ngx_http_proxy_module`: passes requests to other servers and their answers back.

mod attempt;
mod bind;
mod body;
mod cached;
mod connect;
mod early_hints;
mod pass;
mod request;
mod response;
mod rewrites;
mod run;
mod tunnel;

pub use bind::{Bind, connect_options};
pub use body::{Lease, UpstreamBody, hand_out};
pub use pass::{Destination, Fixed, Group};
pub use response::hidden;
pub use tunnel::Tunnel;

use conf::Arg::{Choice, Flag, Many, Number, Optional, Size, Text, Time};
use conf::{Contexts, Diagnostic, Span, once};

use crate::field_names::FieldNames;
use crate::module::{Module, Scope, Settings};
use crate::modules::cache::{Cache, PlaceSettings};
use crate::modules::store::{OWNER_ONLY, Store};
use crate::plan::{Content, Plan};
use crate::read_ahead::Limits;
use crate::variables::Template;
use crate::{directives, settings};

use crate::compile::{Compiler, LocationKind};
use crate::modules::core::Children;
use crate::modules::proxy_ssl::{self, Client};
use crate::modules::resolver::{Resolver, ResolverSettings};
use crate::modules::upstream::Scheme;

settings! {
    /// How requests are passed on.
    ProxySettings => ProxyValues {
        /// To connect, in milliseconds.
        connect_timeout: u64 = 60_000;
        /// Between two writes of a request.
        send_timeout: u64 = 60_000;
        /// Between two reads of an answer.
        read_timeout: u64 = 60_000;
        /// For the head of an answer.
        buffer_size: u64 = 4096;
        /// For its body: number and size.
        buffers: (u64, u64) = (8, 4096);
        /// Whether an answer is read faster than the client takes it.
        buffering: bool = true;
        /// Whether a request's body is read before it is passed on.
        request_buffering: bool = true;
        /// Most of an answer that waits in a file for a slow client; 0 for none.
        max_temp_file_size: u64 = 1 << 30;
        /// Whether statuses from 300 on get this server's error pages.
        intercept_errors: bool = false;
        /// Whether an answer is waited for when the client has gone.
        ignore_client_abort: bool = false;
        /// Whether the client's fields are passed on.
        pass_request_headers: bool = true;
        /// Whether the client's body is passed on.
        pass_request_body: bool = true;
        /// Whether requests are HTTP/1.1.
        http_11: bool = true;
        /// The method instead of the client's.
        method: Option<Template> = None;
        /// The body instead of the client's.
        body: Option<Template> = None;
        /// Which failures lead to another server.
        next_upstream: NextUpstream = NextUpstream::default();
        /// How many servers are tried; 0 for all.
        next_upstream_tries: u64 = 0;
        /// How long others are tried, in milliseconds; 0 for any time.
        next_upstream_timeout: u64 = 0;
        /// Whether TCP keepalive is on for connections to servers.
        socket_keepalive: bool = false;
        /// Bytes per second of an answer; 0 or none for no limit.
        limit_rate: Option<Template> = None;
        /// Where connections come from.
        bind: Bind = Bind::Off;
        /// The receive buffer of connections; 0 leaves it to the system.
        socket_rcvbuf: u64 = 0;
        /// The send buffer of connections; 0 leaves it to the system.
        socket_sndbuf: u64 = 0;
        /// Whether trailers are passed on.
        pass_trailers: bool = false;
        /// Whether ranges are served of answers that do not offer them.
        force_ranges: bool = false;
        /// Fields of answers that have no effect here.
        ignore_headers: Vec<Vec<u8>> = Vec::new();
    }
}

/// Which failures of a server lead to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextUpstream {
    /// The connection failed.
    pub error: bool,
    /// It took too long.
    pub timeout: bool,
    /// The answer was no HTTP.
    pub invalid_header: bool,
    /// POST, LOCK and PATCH are repeated too.
    pub non_idempotent: bool,
    /// Statuses that count as failures.
    pub statuses: Vec<u16>,
}

impl Default for NextUpstream {
    fn default() -> Self {
        NextUpstream {
            error: true,
            timeout: true,
            invalid_header: false,
            non_idempotent: false,
            statuses: Vec::new(),
        }
    }
}

/// What the settings macro does not fit: lists that replace an outer list as a whole, and the destination.
#[derive(Clone, Default)]
struct ProxyLists {
    pass: Option<Destination>,
    /// Where it is written.
    pass_span: Span,
    set_header: Vec<(Vec<u8>, Template)>,
    hide_header: Option<Vec<Vec<u8>>>,
    pass_header: Option<Vec<Vec<u8>>>,
    rewrites: rewrites::Lines,
}

impl Settings for ProxyLists {
    fn inherit(&mut self, outer: &Self) {
        if self.set_header.is_empty() {
            self.set_header.clone_from(&outer.set_header);
        }
        if self.hide_header.is_none() {
            self.hide_header.clone_from(&outer.hide_header);
        }
        if self.pass_header.is_none() {
            self.pass_header.clone_from(&outer.pass_header);
        }
        self.rewrites.inherit(&outer.rewrites);
    }

    fn inherit_inside(&mut self, location: &Self) {
        if self.pass.is_none() {
            self.pass.clone_from(&location.pass);
            self.pass_span = location.pass_span;
        }
        self.inherit(location);
    }
}

/// `proxy_pass` of a location, ready to run.
pub struct Proxy {
    /// Settings with their defaults.
    pub values: ProxyValues,
    /// Where requests go.
    pub destination: Destination,
    /// TLS with the servers, where a URL may ask for it.
    pub tls: Option<Box<Client>>,
    /// The fields of the request.
    pub request: request::Fields,
    /// Where answers are stored.
    pub cache: Option<Box<Cache>>,
    /// The files that answers become.
    pub store: Option<Box<Store>>,
    /// Fields of the answer that the client does not see.
    pub hidden: FieldNames,
    /// Changes to the fields of the answer.
    pub rewrites: rewrites::Rewrites,
    /// The prefix that a path in `proxy_pass` takes the place of.
    pub location: Vec<u8>,
    /// Where names are looked up.
    pub resolver: Resolver,
    /// How far an answer is read ahead of its client.
    pub ahead: Limits,
    /// Tells the idle connections of this location from others'.
    pub location_key: usize,
}

impl Proxy {
    /// What another protocol shares with this one: how the fields of answers are taken.
    pub fn for_answers(values: ProxyValues, hidden: FieldNames) -> Proxy {
        Proxy {
            destination: Destination::Variable(Template::default()),
            tls: None,
            request: request::Fields::new(&[]),
            values,
            cache: None,
            store: None,
            hidden,
            rewrites: rewrites::Rewrites::default(),
            location: Vec::new(),
            resolver: ResolverSettings::default().settle(),
            ahead: Limits { memory: 32 << 10, file: 0, folder: 0 },
            location_key: 0,
        }
    }
}

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { ProxySettings;
        /// Longest wait for a connection.
        "proxy_connect_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.connect_timeout, n.msec(0)?, n);
        /// Longest wait between two writes of a request.
        "proxy_send_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.send_timeout, n.msec(0)?, n);
        /// Longest wait between two reads of an answer.
        "proxy_read_timeout" in [HTTP SERVER LOCATION] (Time) = "60s" => |c, _, n| once(&mut c.read_timeout, n.msec(0)?, n);
        /// The buffer for the head of an answer; a larger head is an error (502).
        "proxy_buffer_size" in [HTTP SERVER LOCATION] (Size) = "4k|8k" => |c, _, n| once(&mut c.buffer_size, n.size(0)?, n);
        /// Number and size of the buffers for an answer.
        "proxy_buffers" in [HTTP SERVER LOCATION] (Number, Size) = "8 4k|8k" => |c, _, n| once(&mut c.buffers, n.bufs(0)?, n);
        /// Reads answers faster than the client takes them.
        "proxy_buffering" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.buffering, n.flag(0)?, n);
        /// Reads a request's body before passing it on.
        "proxy_request_buffering" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.request_buffering, n.flag(0)?, n);
        /// Most of an answer that is kept in a file for a slow client.
        "proxy_max_temp_file_size" in [HTTP SERVER LOCATION] (Size) = "1024m" => |c, _, n| once(&mut c.max_temp_file_size, n.size(0)?, n);
        /// Gives statuses from 300 on this server's error pages.
        "proxy_intercept_errors" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.intercept_errors, n.flag(0)?, n);
        /// Keeps waiting for an answer when the client has gone.
        "proxy_ignore_client_abort" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.ignore_client_abort, n.flag(0)?, n);
        /// Passes the client's fields on.
        "proxy_pass_request_headers" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.pass_request_headers, n.flag(0)?, n);
        /// Passes the client's body on.
        "proxy_pass_request_body" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.pass_request_body, n.flag(0)?, n);
        /// The version of HTTP for requests.
        "proxy_http_version" in [HTTP SERVER LOCATION] (Choice(&["1.0", "1.1"])) = "1.1" => |c, _, n| {
            let version = n.choice(0, &[("1.0", false), ("1.1", true)])?;
            once(&mut c.http_11, version, n)
        };
        /// The method instead of the client's.
        "proxy_method" in [HTTP SERVER LOCATION] (Text("method")) = "" => |c, cx, n| {
            let method = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.method, Some(method), n)
        };
        /// The body instead of the client's.
        "proxy_set_body" in [HTTP SERVER LOCATION] (Text("value")) = "" => |c, cx, n| {
            let body = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.body, Some(body), n)
        };
        /// Which failures lead to the next server of the group.
        "proxy_next_upstream" in [HTTP SERVER LOCATION] (Many(&Text("failure"))) = "error timeout" => |c, _, n| {
            let next = next_upstream(n)?;
            once(&mut c.next_upstream, next, n)
        };
        /// How many servers are tried; 0 for all.
        "proxy_next_upstream_tries" in [HTTP SERVER LOCATION] (Number) = "0" => |c, _, n| once(&mut c.next_upstream_tries, n.number(0)? as u64, n);
        /// How long others are tried; 0 for any time.
        "proxy_next_upstream_timeout" in [HTTP SERVER LOCATION] (Time) = "0" => |c, _, n| once(&mut c.next_upstream_timeout, n.msec(0)?, n);
        /// TCP keepalive on connections to servers.
        "proxy_socket_keepalive" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.socket_keepalive, n.flag(0)?, n);
        /// Limits the rate at which an answer is read.
        "proxy_limit_rate" in [HTTP SERVER LOCATION] (Text("rate")) = "0" => |c, cx, n| {
            let rate = Template::compile(n.word(0)?, &mut cx.variables)?;
            let unlimited = rate.as_literal().is_some() && n.size(0)? == 0;
            once(&mut c.limit_rate, (!unlimited).then_some(rate), n)
        };
        /// The local address that connections to servers come from; `transparent` allows other machines' addresses.
        "proxy_bind" in [HTTP SERVER LOCATION] (Text("address | off"), Optional(&Text("transparent"))) = "" => |c, cx, n| {
            let bind = Bind::compile(n, cx)?;
            once(&mut c.bind, bind, n)
        };
        /// The receive buffer of connections to servers; 0 leaves it to the system.
        "proxy_socket_rcvbuf" in [HTTP SERVER LOCATION] (Size) = "0" => |c, _, n| once(&mut c.socket_rcvbuf, n.size(0)?, n);
        /// The send buffer of connections to servers; 0 leaves it to the system.
        "proxy_socket_sndbuf" in [HTTP SERVER LOCATION] (Size) = "0" => |c, _, n| once(&mut c.socket_sndbuf, n.size(0)?, n);
        /// Passes trailers on.
        "proxy_pass_trailers" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.pass_trailers, n.flag(0)?, n);
        /// Serves ranges of answers that do not offer them.
        "proxy_force_ranges" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.force_ranges, n.flag(0)?, n);
        /// Fields of answers that have no effect here: `X-Accel-*`, `Expires`, `Cache-Control`, `Set-Cookie`, `Vary`.
        "proxy_ignore_headers" in [HTTP SERVER LOCATION] (Many(&Text("field"))) = "" => |c, _, n| {
            let names = n.args.iter().map(|w| w.text.to_ascii_lowercase());
            c.ignore_headers.get_or_insert_default().extend(names);
            Ok(())
        };
    },
    variables: request::VARIABLES,
    plan,
};

/// The directives that are lists.
pub static LISTS: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { ProxyLists;
        /// Passes requests on to a server or a group; a path takes the place of the location's own.
        "proxy_pass" in [LOCATION IF_IN_LOCATION LIMIT_EXCEPT] (Text("URL")) = "" => |c, cx, n| {
            if c.pass.is_some() {
                return Err(n.duplicate());
            }
            let destination = Destination::compile(n, cx)?;
            if cx.context != Contexts::LOCATION
                && let Destination::Fixed(fixed) = &destination
                && !fixed.uri.is_empty()
            {
                return Err(Diagnostic::at(n.span, NO_URI_PART));
            }
            c.pass = Some(destination);
            c.pass_span = n.span;
            Ok(())
        };
        /// A field of the request to the server; an empty value leaves it out.
        "proxy_set_header" in [HTTP SERVER LOCATION] (Text("field"), Text("value")) = "Host $proxy_host" => |c, cx, n| {
            let value = Template::compile(n.word(1)?, &mut cx.variables)?;
            c.set_header.push((n.bytes(0).to_vec(), value));
            Ok(())
        };
        /// A field of answers that the client does not see.
        "proxy_hide_header" in [HTTP SERVER LOCATION] (Text("field")) = "" => |c, _, n| {
            c.hide_header.get_or_insert_default().push(n.bytes(0).to_vec());
            Ok(())
        };
        /// A field of answers that the client sees although it is hidden by default.
        "proxy_pass_header" in [HTTP SERVER LOCATION] (Text("field")) = "" => |c, _, n| {
            c.pass_header.get_or_insert_default().push(n.bytes(0).to_vec());
            Ok(())
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// The directives that change fields of answers.
pub static REWRITES: Module = Module {
    name: "ngx_http_proxy_module",
    directives: rewrites::DIRECTIVES,
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// Settings that are accepted for what they say of nginx's buffers and files, which are arranged otherwise here.
pub static BUFFERS: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { ProxyBuffers;
        /// Folder of temporary files.
        "proxy_temp_path" in [HTTP SERVER LOCATION] (Text("path"), Optional(&Number), Optional(&Number), Optional(&Number)) = "proxy_temp" => |c, cx, n| {
            let folder = cx.needs_folder(cx.paths.in_prefix(n.bytes(0)));
            once(&mut c.temp_folder, folder, n)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

#[derive(Default)]
struct ProxyBuffers {
    temp_folder: Option<usize>,
}

impl Settings for ProxyBuffers {
    fn inherit(&mut self, outer: &Self) {
        self.temp_folder = self.temp_folder.or(outer.temp_folder);
    }
}

const NO_URI_PART: &str = "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside \
                           named location, or inside \"if\" statement, or inside \"limit_except\" block";

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let lists = scope.get_mut::<ProxyLists>().clone();
    let Some(destination) = lists.pass else { return Ok(()) };
    let values = scope.get_mut::<ProxySettings>().settle();
    let children = scope.get_mut::<Children>();
    let bare = children.pattern || children.kind == Some(LocationKind::Named);
    let location = if bare { Vec::new() } else { plan.core.name.clone() };
    if bare
        && let Destination::Fixed(fixed) = &destination
        && !fixed.uri.is_empty()
    {
        return Err(Diagnostic::at(fixed.span, NO_URI_PART));
    }
    let tls = match &destination {
        Destination::Fixed(fixed) if fixed.scheme == Scheme::Http => None,
        Destination::Fixed(fixed) => Some(proxy_ssl::settle(scope, cx, fixed.span, Some(&fixed.authority))?),
        Destination::Variable(_) => Some(proxy_ssl::settle(scope, cx, lists.pass_span, None)?),
    };
    let request = request::Fields::new(&lists.set_header);
    let cache = Cache::settle(cx, scope, &values.ignore_headers)?.map(Box::new);
    let store = store(cx, scope).map(Box::new);
    let hidden = hidden(
        lists.hide_header.as_deref().unwrap_or_default(),
        lists.pass_header.as_deref().unwrap_or_default(),
    );
    let rewrites = lists.rewrites.settle(&destination, &location);
    let ahead = ahead(cx, scope, &values);
    let resolver = scope.get_mut::<ResolverSettings>().settle();
    cx.locations_with_upstreams += 1;
    let location_key = cx.locations_with_upstreams;
    let proxy = Proxy {
        values,
        destination,
        tls: tls.map(Box::new),
        request,
        cache,
        store,
        hidden,
        rewrites,
        location,
        resolver,
        ahead,
        location_key,
    };
    plan.content = Content::Proxy(Box::new(proxy));
    Ok(())
}

/// How far answers may be ahead of their clients.
fn ahead(cx: &mut Compiler, scope: &mut Scope, values: &ProxyValues) -> Limits {
    let (number, size) = values.buffers;
    let memory = usize::try_from(number.saturating_mul(size)).unwrap_or(usize::MAX);
    let folder = if values.buffering && values.max_temp_file_size > 0 { temp_folder(cx, scope) } else { 0 };
    Limits { memory, file: values.max_temp_file_size, folder }
}

fn temp_folder(cx: &mut Compiler, scope: &mut Scope) -> usize {
    let chosen = scope.get_mut::<ProxyBuffers>().temp_folder;
    chosen.unwrap_or_else(|| cx.needs_folder(cx.paths.in_prefix(b"proxy_temp")))
}

fn store(cx: &mut Compiler, scope: &mut Scope) -> Option<Store> {
    let places = scope.get_mut::<PlaceSettings>();
    let (place, access) = (places.store.clone().flatten()?, places.access.unwrap_or(OWNER_ONLY));
    Some(Store { place, access, folder: temp_folder(cx, scope) })
}

/// Reads the words of `proxy_next_upstream` and its like.
pub fn next_upstream(node: &conf::Node) -> Result<NextUpstream, Diagnostic> {
    let mut next = NextUpstream { error: false, timeout: false, ..NextUpstream::default() };
    for word in &node.args {
        match &*word.text {
            b"error" => next.error = true,
            b"timeout" => next.timeout = true,
            b"invalid_header" => next.invalid_header = true,
            b"non_idempotent" => next.non_idempotent = true,
            b"updating" => {}
            b"off" => next = NextUpstream { error: false, timeout: false, ..NextUpstream::default() },
            text => {
                let status =
                    text.strip_prefix(b"http_").and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
                match status.filter(|s| matches!(s, 403 | 404 | 429 | 500 | 502 | 503 | 504)) {
                    Some(status) => next.statuses.push(status),
                    None => {
                        return Err(Diagnostic::at(word.span, format!("invalid value \"{}\"", word.lossy())));
                    }
                }
            }
        }
    }
    Ok(next)
}
