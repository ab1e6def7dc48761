//! What an auth service can see of a request, found in the plan of its location, and so what a key depends on.

use std::collections::HashSet;

use wire::Name;

use super::key::{Key, Mark, Secret, append_part, append_written};
use super::without::Without;
use super::{Cache, kind};
use crate::config::Server;
use crate::exchange::Exchange;
use crate::field_names::FieldNames;
use crate::modules::auth_request::Question;
use crate::modules::proxy::{Bind, Destination, Proxy};
use crate::modules::rewrite::{Program, Step};
use crate::plan::{Content, Plan};
use crate::variables::{Index, Source, Template, Variables};

/// Longest chain of variables that are followed.
const DEPTH: usize = 20;

/// Most credentials of a request that it can be purged by.
const MARKS: usize = 32;

/// Fields that are no credentials and decide nothing: of the connection, of the wanted form of the answer, of tracing.
/// What a service could decide by (User-Agent, Referer, Origin, Sec-Fetch-Site) is not among them.
const IMMATERIAL: [&str; 12] = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Cache-Control",
    "Pragma",
    "Range",
    "Priority",
    "DNT",
    "Upgrade-Insecure-Requests",
    "X-Request-ID",
    "traceparent",
    "tracestate",
];

/// Beginnings of such names.
const IMMATERIAL_STARTS: [&[u8]; 6] =
    [b"Content-", b"If-", b"Sec-Fetch-Mode", b"Sec-Fetch-Dest", b"Sec-Fetch-User", b"Sec-CH-"];

/// What of a request makes its key.
pub struct View {
    secret: Secret,
    sight: Sight,
    /// Whether some value of the answer is of one request only, so that nothing can be stored.
    unstable: bool,
}

enum Sight {
    /// The operator's own key, beside what values of the answer depend on.
    Own(Template, Vec<Index>),
    /// What the location passes on.
    Known(Known),
    /// It cannot be told what the service sees: every part of the request counts.
    All,
}

struct Known {
    without: Without,
    /// The client's fields, where they are passed on.
    fields: bool,
    /// Which of them are not.
    not_passed: FieldNames,
    /// Which of them do not count.
    immaterial: FieldNames,
    /// Whether the cookies count one by one: some of them are taken out.
    cookies: bool,
    variables: Vec<Index>,
    /// Tells the plan of the location.
    plan: usize,
}

impl View {
    /// Finds what the service that `request` asks sees.
    pub fn of(server: &Server, variables: &Variables, request: &Question, cache: &Cache) -> View {
        let location = request.uri.fixed_path().and_then(|path| location(server, path));
        let mut trace = Trace::new(variables, &cache.without);
        let mut known = None;
        let mut question = description(server, variables, request, cache);
        if let Some((plan, proxy)) = location {
            known = trace.question(server, plan, proxy);
            describe_proxy(proxy, variables, &mut question);
        }
        trace.unknown = false;
        trace.answer(request, cache);
        let mut unstable = trace.unstable;
        let sight = match (&cache.key, known) {
            (Some(key), _) => {
                // The operator vouches for the question, and cannot for values that are taken from elsewhere.
                unstable |= trace.unknown;
                Sight::Own(key.clone(), trace.of_answer)
            }
            (None, Some(mut known)) if !trace.unknown => {
                trace.of_question.append(&mut trace.of_answer);
                known.variables = trace.of_question;
                Sight::Known(known)
            }
            _ => Sight::All,
        };
        View { secret: cache.store.secret.of_question(&question), sight, unstable }
    }

    /// The key of a request; none where no answer to it may be used for another.
    pub fn key(&self, ex: &Exchange<'_>) -> Option<Key> {
        if self.unstable {
            return None;
        }
        let mut material = ex.visit.worker.buffers.take(1);
        let there = self.append(ex, &mut material);
        let key = there.then(|| self.secret.key(&material));
        ex.visit.worker.buffers.put(material);
        key
    }

    /// Whether the key depends on a field of the request, or the service cannot see it.
    pub fn covers(&self, field: &[u8]) -> bool {
        match &self.sight {
            Sight::All => true,
            Sight::Own(..) => false,
            Sight::Known(known) => known.covers(field),
        }
    }

    /// Whether a question went the way that the key was made for, and not on to some other location.
    pub fn saw(&self, child: &Exchange<'_>) -> bool {
        match &self.sight {
            Sight::Known(known) => {
                child.uri_changes == 0 && std::ptr::from_ref(child.plan).addr() == known.plan
            }
            Sight::Own(..) | Sight::All => true,
        }
    }

    /// What a decision about this request can be purged by, hashed.
    pub fn marks(&self, ex: &Exchange<'_>, secret: &Secret) -> Box<[Mark]> {
        if let Sight::Own(key, _) = &self.sight {
            return Box::new([secret.mark(&key.eval(ex))]);
        }
        let visit = ex.visit;
        let mut marks = Vec::new();
        for field in &visit.head.fields {
            let value = field.value.of(visit.bytes);
            match field.id {
                Name::Authorization => {
                    marks.push(secret.mark(value));
                    if let Some(at) = value.iter().position(|byte| *byte == b' ') {
                        marks.push(secret.mark(value.get(at..).unwrap_or_default().trim_ascii()));
                    }
                }
                Name::Cookie => {
                    marks.extend(cookies(value).map(|(_, value)| secret.mark(value)));
                }
                Name::Other => marks.push(secret.mark(value)),
                _ => {}
            }
        }
        marks.truncate(MARKS);
        marks.into()
    }

    /// Appends everything that the key depends on; false where the operator's key is empty.
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
        match &self.sight {
            Sight::Own(key, variables) => {
                append_written(out, |out| key.append(ex, out));
                let empty = out.len() == 4;
                append_variables(ex, variables, out);
                !empty
            }
            Sight::Known(known) => {
                known.append(ex, out);
                true
            }
            Sight::All => {
                append_all(ex, out);
                true
            }
        }
    }
}

impl Known {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) {
        let visit = ex.visit;
        let without = &self.without;
        if !without.method {
            append_part(visit.head.method_text.of(visit.bytes), out);
        }
        if !without.host {
            append_part(&visit.host, out);
        }
        if !(without.uri && without.query) {
            let target = visit.head.target.of(visit.bytes);
            let mut halves = target.splitn(2, |byte| *byte == b'?');
            let (path, query) = (halves.next().unwrap_or_default(), halves.next());
            if !without.uri {
                append_part(path, out);
            }
            if !without.query {
                // `/a?` is not `/a`.
                out.push(query.is_some().into());
                append_part(query.unwrap_or_default(), out);
            }
        }
        append_variables(ex, &self.variables, out);
        if !(self.fields || self.cookies) {
            return;
        }
        for field in &visit.head.fields {
            let name = field.name.of(visit.bytes);
            if field.id == Name::Cookie && self.cookies {
                self.append_cookies(field.value.of(visit.bytes), out);
                continue;
            }
            if !self.fields
                || self.not_passed.contains(field.id, name)
                || self.immaterial.contains(field.id, name)
                || (field.id == Name::Other && is_immaterial(name))
            {
                continue;
            }
            out.push(field.id as u8);
            if field.id == Name::Other {
                append_part(name, out);
            }
            append_part(field.value.of(visit.bytes), out);
        }
    }

    /// Appends the cookies that count, as one field.
    fn append_cookies(&self, value: &[u8], out: &mut Vec<u8>) {
        out.push(Name::Cookie as u8);
        append_written(out, |out| {
            for (name, value) in cookies(value).filter(|(name, _)| !self.without.hides_cookie(name)) {
                append_part(name, out);
                append_part(value, out);
            }
        });
    }

    fn covers(&self, field: &[u8]) -> bool {
        let id = Name::of(field);
        if self.not_passed.contains(id, field) || !self.fields {
            // It is set by the location, from what is in the key unless something is taken out.
            return self.without.text.is_empty();
        }
        !self.immaterial.contains(id, field)
            && !is_immaterial(field)
            && (id != Name::Cookie || self.without.cookies.is_empty())
    }
}

/// The name and value of each cookie; of what has no `=`, the name is empty.
fn cookies(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| *byte == b';').map(|cookie| {
        let cookie = cookie.trim_ascii();
        match cookie.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                let (name, value) = cookie.split_at(at);
                (name.trim_ascii_end(), value.get(1..).unwrap_or_default())
            }
            None => (&b""[..], cookie),
        }
    })
}

fn is_immaterial(name: &[u8]) -> bool {
    IMMATERIAL_STARTS.iter().any(|start| {
        name.split_at_checked(start.len()).is_some_and(|(front, _)| front.eq_ignore_ascii_case(start))
    })
}

fn append_variables(ex: &Exchange<'_>, variables: &[Index], out: &mut Vec<u8>) {
    for index in variables {
        append_written(out, |out| {
            ex.variable(*index, out);
        });
    }
}

/// Appends every part of a request that anything can depend on.
fn append_all(ex: &Exchange<'_>, out: &mut Vec<u8>) {
    let visit = ex.visit;
    append_part(visit.head.line.of(visit.bytes), out);
    append_part(&visit.host, out);
    append_part(ex.method_text(), out);
    append_part(&ex.uri, out);
    append_part(&ex.args, out);
    ex.with_remote(|address| append_part(address.ip_text().as_bytes(), out));
    append_part(visit.client.peer.ip_text().as_bytes(), out);
    append_written(out, |out| {
        if let Some(local) = visit.client.local() {
            out.extend_from_slice(local.to_string().as_bytes());
        }
    });
    append_written(out, |out| {
        if let Some(header) = visit.client.proxy.get() {
            out.extend_from_slice(format!("{header:?}").as_bytes());
        }
    });
    append_part(&visit.auth.borrow().user, out);
    append_written(out, |out| {
        let slots = visit.slots.borrow();
        for source in &visit.config.variables.sources {
            if let Source::Stored(slot) = source
                && let Some(value) = slots.get(*slot as usize).filter(|value| value.known)
            {
                out.extend_from_slice(&slot.to_le_bytes());
                append_part(&value.bytes, out);
            }
        }
    });
    for field in &visit.head.fields {
        append_part(field.name.of(visit.bytes), out);
        append_part(field.value.of(visit.bytes), out);
    }
}

/// The location that answers, where every request is answered there and passed on in one way.
fn location<'s>(server: &'s Server, uri: &[u8]) -> Option<(&'s Plan, &'s Proxy)> {
    let plan = server.plan.locations.find_fixed(uri)?;
    let Content::Proxy(proxy) = &plan.content else { return None };
    let unclear = plan.limit_except.is_some()
        || plan.realip.is_some()
        || !plan.precontent.is_empty()
        || !matches!(proxy.values.bind, Bind::Off);
    (!unclear).then_some((plan, proxy))
}

/// Follows templates to the variables that they depend on in the end.
struct Trace<'v> {
    variables: &'v Variables,
    without: &'v Without,
    /// Stored variables that were given their values by lines already followed.
    assigned: HashSet<Index>,
    of_question: Vec<Index>,
    of_answer: Vec<Index>,
    unknown: bool,
    unstable: bool,
    /// Whether the lines of the answer are being followed.
    answering: bool,
    /// Whether `$http_cookie` is among them while some cookies are taken out.
    cookies: bool,
}

impl<'v> Trace<'v> {
    fn new(variables: &'v Variables, without: &'v Without) -> Trace<'v> {
        Trace {
            variables,
            without,
            assigned: HashSet::new(),
            of_question: Vec::new(),
            of_answer: Vec::new(),
            unknown: false,
            unstable: false,
            answering: false,
            cookies: false,
        }
    }

    /// Follows what goes to the service; none where that cannot be told.
    fn question(&mut self, server: &Server, plan: &Plan, proxy: &Proxy) -> Option<Known> {
        // The rules of the server run for the question as well.
        self.program(&server.plan.rewrite);
        self.program(&plan.rewrite);
        if let Destination::Variable(url) = &proxy.destination {
            self.template(url);
        }
        for value in [&proxy.values.method, &proxy.values.body].into_iter().flatten() {
            self.template(value);
        }
        let request = &proxy.request;
        for (name, value) in request.set_in_subrequest() {
            if !self.without.hides_field(name) && !is_of_one_request(name) {
                self.template(value);
            }
        }
        let mut immaterial = self.without.fields.clone();
        for name in IMMATERIAL {
            immaterial.insert(name.as_bytes());
        }
        for id in Name::ALL.iter().filter(|id| is_immaterial(id.as_str().as_bytes())) {
            immaterial.insert_known(*id);
        }
        let fields = proxy.values.pass_request_headers;
        let not_passed = request.left_out().clone();
        let passes_cookies = fields && !not_passed.contains(Name::Cookie, b"Cookie");
        let counted = !self.without.hides_field(b"Cookie");
        let cookies = counted && !self.without.cookies.is_empty() && (passes_cookies || self.cookies);
        let without = self.without.clone();
        (!self.unknown).then_some(Known {
            without,
            fields,
            not_passed,
            immaterial,
            cookies,
            variables: Vec::new(),
            plan: std::ptr::from_ref(plan).addr(),
        })
    }

    /// Rules that only give variables their values; with others, it depends on the request what is asked where.
    fn program(&mut self, program: &Program) {
        for step in &program.steps {
            match step {
                Step::Set { index, write: None, value } => {
                    self.template(value);
                    self.assigned.insert(*index);
                }
                _ => self.unknown = true,
            }
        }
    }

    /// Follows the values that are taken from the answer.
    fn answer(&mut self, request: &Question, cache: &Cache) {
        self.answering = true;
        self.assigned.clear();
        for line in &request.set {
            self.template(&line.value);
            self.assigned.insert(line.index);
        }
        if let Some(user) = &cache.user {
            self.template(user);
        }
    }

    fn template(&mut self, template: &Template) {
        for index in template.variables() {
            self.variable(index, 0);
        }
    }

    fn variable(&mut self, index: Index, depth: usize) {
        let at = index.0 as usize;
        let (Some(source), Some(name)) = (self.variables.sources.get(at), self.variables.names.get(at))
        else {
            self.unknown = true;
            return;
        };
        match source {
            Source::Stored(_) if self.assigned.contains(&index) => {}
            Source::Stored(_) => self.depend(index),
            Source::Computed(how, _) => match how.inputs().filter(|_| depth < DEPTH) {
                Some(inputs) => inputs.into_iter().for_each(|input| self.variable(input, depth + 1)),
                None => self.unknown = true,
            },
            Source::Fresh(_) | Source::Once(..) | Source::Family(..) => match kind::of(name) {
                kind::Kind::Location | kind::Kind::Answer => {}
                kind::Kind::OneRequest => self.unstable |= self.answering,
                kind::Kind::Request
                    if !self.answering && &**name == "http_cookie" && !self.without.cookies.is_empty() =>
                {
                    self.cookies = true;
                }
                // What the parts of the key hold, or the operator took out, is no variable more.
                kind::Kind::Request if !self.answering && self.is_part(name) => {}
                kind::Kind::Request => self.depend(index),
                kind::Kind::Unknown => self.unknown = true,
            },
        }
    }

    fn is_part(&self, name: &str) -> bool {
        matches!(name, "request_method" | "host" | "request_uri") || self.without.hides(name)
    }

    fn depend(&mut self, index: Index) {
        let list = if self.answering { &mut self.of_answer } else { &mut self.of_question };
        if !list.contains(&index) {
            list.push(index);
        }
    }
}

/// Whether a field that the location sets names the request and nothing else.
fn is_of_one_request(name: &[u8]) -> bool {
    [&b"X-Request-ID"[..], b"traceparent", b"tracestate"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The question in words: what is asked where, and what is kept of the answer. Requests of one key agree in it, also over
/// a reload that changes it.
fn description(server: &Server, variables: &Variables, request: &Question, cache: &Cache) -> Vec<u8> {
    let mut out = Vec::new();
    append_part(&server.name, &mut out);
    append_part(&request.uri.text, &mut out);
    for line in &request.set {
        let name = variables.names.get(line.index.0 as usize).map_or("", |name| &**name);
        append_part(name.as_bytes(), &mut out);
        append_part(&line.value.text(&variables.names), &mut out);
    }
    if let Some(extensions) = &request.extensions {
        append_part(&extensions.description(), &mut out);
    }
    append_part(&cache.without.text, &mut out);
    for template in [&cache.key, &cache.user] {
        append_part(&template.as_ref().map(|text| text.text(&variables.names)).unwrap_or_default(), &mut out);
    }
    out
}

fn describe_proxy(proxy: &Proxy, variables: &Variables, out: &mut Vec<u8>) {
    match &proxy.destination {
        Destination::Fixed(fixed) => append_part(&fixed.url, out),
        Destination::Variable(url) => append_part(&url.text(&variables.names), out),
    }
    for value in [&proxy.values.method, &proxy.values.body].into_iter().flatten() {
        append_part(&value.text(&variables.names), out);
    }
    for (name, value) in proxy.request.set_in_subrequest() {
        append_part(name, out);
        append_part(&value.text(&variables.names), out);
    }
}
