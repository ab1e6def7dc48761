//! One request on its way through a plan: what it asks, where it is, and what it will be answered.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use net::Address;
use wire::Name;
use wire::h1::{Method, RequestHead};

use crate::client::Client;
use crate::config::{Config, Server};
use crate::fields::{Fields, Joined};
use crate::log::Level;
use crate::modules::limits::Held;
use crate::modules::otel;
use crate::modules::upstream::Attempts;
use crate::plan::{LimitStatus, Plan};
use crate::request_body::RequestBody;
use crate::variables::{Computed, Index, Source, Value};
use crate::worker::{Service, Worker};

/// How deep subrequests may nest (nginx's NGX_HTTP_MAX_SUBREQUESTS).
pub const MAX_SUBREQUESTS: u8 = 50;

/// How many variables may be evaluated one inside the other (nginx's ngx_http_variable_depth).
const MAX_VARIABLE_DEPTH: u8 = 100;

/// How often a request may change its location (nginx's NGX_HTTP_MAX_URI_CHANGES).
pub const MAX_URI_CHANGES: u8 = 10;

/// What a request of a client and all its subrequests share.
pub struct Visit<'c> {
    /// The thread that serves it.
    pub worker: &'c Worker,
    /// The configuration as this worker has it in force.
    pub service: &'c Rc<Service>,
    /// The configuration that it began with.
    pub config: &'c Config,
    /// The connection it came on.
    pub client: &'c Client,
    /// The server chosen by address and name.
    pub server: &'c Server,
    /// The head as parsed; its ranges point into `bytes`.
    pub head: &'c RequestHead,
    /// The bytes of the head as received.
    pub bytes: &'c [u8],
    /// The name that the client asked for, in lower case and without port (nginx's `$host` but for an empty one).
    pub host: Vec<u8>,
    /// The client's body.
    pub body: RefCell<RequestBody>,
    /// Remembered values of variables.
    pub slots: RefCell<Vec<Value>>,
    /// When its first byte was read, in milliseconds of [`net::clock::now`].
    pub started: u64,
    /// The client's address as realip may have changed it, with the port.
    pub realip: RefCell<Option<Address>>,
    /// Bytes written to the client, head and all.
    pub bytes_sent: Cell<u64>,
    /// The same without the head.
    pub body_bytes_sent: Cell<u64>,
    /// Whether the connection may serve another request.
    pub keep_alive: Cell<bool>,
    /// Whether what the client still sends is read before the connection is closed.
    pub linger: Cell<bool>,
    /// How limits were applied, for their variables, and so that they are applied once.
    pub limits: Cell<LimitStatus>,
    /// Its places among the connections that `limit_conn` counts, until it has been answered.
    pub held: RefCell<Vec<Held>>,
    /// What became of its authentication.
    pub auth: RefCell<crate::modules::auth_outcome::Outcome>,
    /// The client's identifier (`userid`).
    pub userid: RefCell<crate::modules::userid::State>,
    /// Bytes of the body before and after it was compressed (`$gzip_ratio`).
    pub gzipped: Cell<(u64, u64)>,
    /// Whether the client let a timeout pass.
    pub timed_out: Cell<bool>,
    /// Whether the response was written whole (`$request_completion`).
    pub complete: Cell<bool>,
    /// The trace that it is part of, where one is asked for.
    pub trace: OnceCell<Box<otel::Trace>>,
    /// Subrequests made so far.
    pub subrequests: Cell<u8>,
    /// Variables being evaluated one inside the other.
    pub variable_depth: Cell<u8>,
}

impl<'c> Visit<'c> {
    /// A request whose head was read, at its server.
    #[expect(clippy::too_many_arguments, reason = "they are what there is of a request when it begins")]
    pub fn new(
        worker: &'c Worker,
        service: &'c Rc<Service>,
        client: &'c Client,
        server: &'c Server,
        head: &'c RequestHead,
        bytes: &'c [u8],
        host: Vec<u8>,
        started: u64,
    ) -> Visit<'c> {
        Visit {
            worker,
            service,
            config: &service.config,
            client,
            server,
            head,
            bytes,
            host,
            body: RefCell::new(RequestBody {
                decoder: head.body(),
                expects_continue: head.expect_continue,
                ..RequestBody::default()
            }),
            slots: RefCell::default(),
            started,
            realip: RefCell::default(),
            bytes_sent: Cell::new(0),
            body_bytes_sent: Cell::new(0),
            keep_alive: Cell::new(head.keep_alive()),
            linger: Cell::new(true),
            limits: Cell::default(),
            held: RefCell::default(),
            auth: RefCell::default(),
            userid: RefCell::default(),
            gzipped: Cell::default(),
            timed_out: Cell::new(false),
            complete: Cell::new(false),
            trace: OnceCell::new(),
            subrequests: Cell::new(0),
            variable_depth: Cell::new(0),
        }
    }
}

/// A request or subrequest on its way. It borrows the configuration and owns what changes.
pub struct Exchange<'c> {
    /// What it shares with its main request.
    pub visit: &'c Visit<'c>,
    /// The server chosen by address and name.
    pub server: &'c Server,
    /// The location it is in.
    pub plan: &'c Plan,
    /// 0 for a client's request, deeper for subrequests.
    pub depth: u8,
    /// Of a subrequest whose request is traced: its part of the trace.
    pub part: Option<Box<otel::Part>>,
    /// Whether it is a question to an auth service, or part of one.
    pub is_question: bool,
    /// Of a subrequest: the body that goes with it, such as what an auth service is shown of the client's
    /// (`auth_request_body`).
    pub shown_body: Option<ShownBody>,
    /// The method, which internal redirects may change to GET.
    pub method: Method,
    /// The normalised path.
    pub uri: Vec<u8>,
    /// What follows `?`.
    pub args: Vec<u8>,
    /// Whether `uri` is still the client's own, so that the target can be passed on as it was sent.
    pub as_sent: bool,
    /// Whether it was redirected internally or is a subrequest (`internal` lets it in).
    pub internal: bool,
    /// Whether an error page is being made, so that no other is.
    pub error_page: bool,
    /// The status that replaces the response's own, 0 for none (`error_page` sets it).
    pub forced_status: u16,
    /// How often the location changed.
    pub uri_changes: u8,
    /// Captures of the last regular expression that matched.
    pub captures: Captures,
    /// The head of the response so far.
    pub response: Head,
    /// What was tried at upstreams.
    pub upstream: Attempts,
    /// How a cache served it.
    pub cache: crate::modules::cache::State<'c>,
    /// The rate that the body may be sent at, when something set it (`limit_rate`, `X-Accel-Limit-Rate`).
    pub limit_rate: Option<u64>,
    /// Whether the location's prefix is still that of the path (`rewrite ... break` changes the path under it).
    pub valid_location: bool,
    /// Whether `try_files` chose a file below the `alias` of a pattern.
    pub add_uri_to_alias: bool,
}

/// The body of a subrequest.
pub struct ShownBody {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Of a client's body, whether that has more; `None` for a body of the gateway's own.
    pub partial: Option<bool>,
}

/// The head of a response.
#[derive(Default)]
pub struct Head {
    /// The status; 0 while there is none.
    pub status: u16,
    /// The upstream's own status and reason, where they are passed on.
    pub status_line: wire::Range,
    /// The fields, in order.
    pub fields: Fields,
    /// The length of the body where it is known.
    pub content_length: Option<u64>,
    /// When the resource changed, in seconds since 1970.
    pub last_modified: Option<i64>,
    /// Whether ranges of it may be asked for.
    pub allow_ranges: bool,
    /// Whether the client's conditions are not for this server to judge: an upstream's answer that is not cached.
    pub disable_not_modified: bool,
    /// Whether only one range of it may be asked for at a time.
    pub single_range: bool,
    /// Whether the body may not be buffered (`X-Accel-Buffering: no`, `proxy_buffering off`).
    pub unbuffered: bool,
    /// Whether `add_trailer` has something to say behind the body, which then is sent in chunks.
    pub adds_trailers: bool,
    /// Whether there is no `Date`, since the upstream's is passed on and it sent none.
    pub no_date: bool,
    /// The same for `Server`.
    pub no_server: bool,
}

/// What a regular expression captured.
#[derive(Clone, Default)]
pub struct Captures {
    subject: Vec<u8>,
    groups: Vec<Option<(usize, usize)>>,
}

impl Captures {
    /// Remembers the groups of a match in `subject`; group 0 is the whole match.
    pub fn set(&mut self, subject: &[u8], groups: impl Iterator<Item = Option<(usize, usize)>>) {
        self.subject.clear();
        self.subject.extend_from_slice(subject);
        self.groups.clear();
        self.groups.extend(groups);
    }

    /// The text of group `n`.
    pub fn get(&self, n: u8) -> Option<&[u8]> {
        let (start, end) = (*self.groups.get(n as usize)?)?;
        self.subject.get(start..end)
    }

    /// Appends the text of group `n`.
    pub fn append(&self, n: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(self.get(n).unwrap_or_default());
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        otel::give_up(self);
        if self.visit.config.measures {
            self.upstream.count(self.visit.config);
            self.cache.count(self.visit.config);
        }
        // The largest piece of memory of a request: the head of an upstream's answer was read into it.
        self.visit.worker.buffers.put(std::mem::take(&mut self.response.fields.bytes));
    }
}

impl<'c> Exchange<'c> {
    /// A client's request at the door: no location chosen yet.
    pub fn new(visit: &'c Visit<'c>, server: &'c Server) -> Self {
        Exchange {
            visit,
            server,
            plan: &server.plan,
            depth: 0,
            part: None,
            is_question: false,
            shown_body: None,
            method: visit.head.method,
            uri: Vec::new(),
            args: Vec::new(),
            as_sent: true,
            internal: false,
            error_page: false,
            forced_status: 0,
            uri_changes: 0,
            captures: Captures::default(),
            response: Head::default(),
            upstream: Attempts::default(),
            cache: Default::default(),
            limit_rate: None,
            valid_location: true,
            add_uri_to_alias: false,
        }
    }

    /// A request that this one makes on its own behalf (nginx's subrequest): GET, without the body.
    pub fn child(&self, uri: Vec<u8>, args: Vec<u8>) -> Self {
        let mut child = Exchange::new(self.visit, self.server);
        child.depth = self.depth + 1;
        child.method = Method::Get;
        child.uri = uri;
        child.args = args;
        child.as_sent = false;
        child.internal = true;
        child.is_question = self.is_question;
        child.cache.updates.clone_from(&self.cache.updates);
        child
    }

    /// A subrequest that asks whether this request may pass.
    pub fn question(&self, uri: Vec<u8>, args: Vec<u8>) -> Self {
        let mut child = self.child(uri, args);
        child.is_question = true;
        child
    }

    /// Whether a client asked for it, rather than this server itself.
    pub fn is_main(&self) -> bool {
        self.depth == 0
    }

    /// Appends the value of a variable; false where it has none.
    pub fn variable(&self, index: Index, out: &mut Vec<u8>) -> bool {
        match &self.visit.config.variables.sources[index.0 as usize] {
            Source::Fresh(get) => get(self, out),
            Source::Family(get, suffix) => get(self, suffix, out),
            Source::Once(get, slot) => self.remembered(*slot, out, |out| get(self, out)),
            Source::Computed(how, Some(slot)) => {
                self.remembered(*slot, out, |out| self.compute(index, &**how, out))
            }
            Source::Computed(how, None) => self.compute(index, &**how, out),
            Source::Stored(slot) => {
                let slots = self.visit.slots.borrow();
                let Some(value) = slots.get(*slot as usize).filter(|v| v.known) else {
                    drop(slots);
                    if !self.plan.rewrite.warn {
                        return false;
                    }
                    let name = &self.visit.config.variables.names[index.0 as usize];
                    self.log(Level::Warn, format_args!("using uninitialized \"{name}\" variable"));
                    return false;
                };
                out.extend_from_slice(&value.bytes);
                value.found
            }
        }
    }

    /// Evaluates a variable that a directive made, which may lead to others, and by mistake back to itself.
    fn compute(&self, index: Index, how: &dyn Computed, out: &mut Vec<u8>) -> bool {
        let depth = &self.visit.variable_depth;
        if depth.get() >= MAX_VARIABLE_DEPTH {
            let name = &self.visit.config.variables.names[index.0 as usize];
            self.log(Level::Error, format_args!("cycle while evaluating variable \"{name}\""));
            return false;
        }
        depth.set(depth.get() + 1);
        let found = how.append(self, out);
        depth.set(depth.get() - 1);
        found
    }

    fn remembered(&self, slot: u32, out: &mut Vec<u8>, compute: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        if let Some(value) = self.visit.slots.borrow().get(slot as usize).filter(|v| v.known) {
            out.extend_from_slice(&value.bytes);
            return value.found;
        }
        let start = out.len();
        let found = compute(out);
        self.store_slot(slot, found, &out[start..]);
        found
    }

    /// Gives a stored variable its value.
    pub fn store(&self, index: Index, bytes: &[u8]) {
        if let Source::Stored(slot) | Source::Computed(_, Some(slot)) =
            &self.visit.config.variables.sources[index.0 as usize]
        {
            self.store_slot(*slot, true, bytes);
        }
    }

    /// Gives a stored variable the values of several fields, joined as nginx joins them.
    pub fn store_joined(&self, index: Index, joined: &Joined) {
        self.store(index, &joined.bytes);
        if let Source::Stored(slot) = &self.visit.config.variables.sources[index.0 as usize]
            && let Some(value) = self.visit.slots.borrow_mut().get_mut(*slot as usize)
        {
            value.cuts.clone_from(&joined.cuts);
        }
    }

    /// The values that a stored variable was joined of; none where it is one value.
    pub fn joined(&self, index: Index) -> Option<Joined> {
        let Source::Stored(slot) = &self.visit.config.variables.sources[index.0 as usize] else {
            return None;
        };
        let slots = self.visit.slots.borrow();
        let value = slots.get(*slot as usize).filter(|value| !value.cuts.is_empty())?;
        Some(Joined { bytes: value.bytes.clone(), cuts: value.cuts.clone() })
    }

    fn store_slot(&self, slot: u32, found: bool, bytes: &[u8]) {
        let mut slots = self.visit.slots.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(self.visit.config.variables.slots as usize, Value::default);
        }
        if let Some(value) = slots.get_mut(slot as usize) {
            value.known = true;
            value.found = found;
            value.cuts.clear();
            value.bytes.clear();
            value.bytes.extend_from_slice(bytes);
        }
    }

    /// The value of the first request field of that name.
    pub fn request_field(&self, name: Name) -> Option<&'c [u8]> {
        let visit = self.visit;
        visit.head.fields.iter().find(|f| f.id == name).map(|f| f.value.of(visit.bytes))
    }

    /// The values of every field of that name that the client sent.
    pub fn request_fields(&self, name: &[u8]) -> impl Iterator<Item = &'c [u8]> {
        let visit = self.visit;
        let same = move |f: &&wire::Field| f.name.of(visit.bytes).eq_ignore_ascii_case(name);
        visit.head.fields.iter().filter(same).map(|f| f.value.of(visit.bytes))
    }

    /// The status that the client is sent, as far as it is known; 0 for none.
    pub fn status(&self) -> u16 {
        if self.forced_status == 0 { self.response.status } else { self.forced_status }
    }

    /// The method as text.
    pub fn method_text(&self) -> &'c [u8] {
        if self.method == self.visit.head.method {
            self.visit.head.method_text.of(self.visit.bytes)
        } else {
            // Internal redirects and subrequests change it to GET, and to nothing else.
            b"GET"
        }
    }

    /// The client's address, after realip.
    pub fn with_remote<T>(&self, f: impl FnOnce(&Address) -> T) -> T {
        match &*self.visit.realip.borrow() {
            Some(address) => f(address),
            None => f(&self.visit.client.peer),
        }
    }

    /// Writes to the error log of the location, with the client and the request as nginx names them.
    #[cold]
    pub fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        self.plan.core.error_log.write_for(level, message, self);
    }
}
