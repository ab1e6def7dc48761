//! `ngx_http_auth_request_module`: asks another location whether a request may pass.

mod answer;
mod cache;
mod counts;
mod extensions;
mod page;
mod uri;

pub use cache::{Decision, Key, MODULE as CACHE, PURGE, Purge, Secret, Store};

use std::time::Instant;

use conf::Arg::Text;
use conf::Diagnostic;
use wire::Name;

pub use extensions::EXTENSIONS;
pub use page::Page;
pub use uri::Uri;

use answer::Answer;
use counts::Counts;
use extensions::Extensions;

use crate::directives;
use crate::exchange::Exchange;
use crate::fields::Joined;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::plan::{Access, Verdict};
use crate::run::{Stop, ask};
use crate::variables::{Index, Registry, Template};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_request_module",
    directives: directives! { AuthSettings;
        /// Lets a request pass when a subrequest to `uri` answers 2xx, and refuses it with the answer's status when
        /// that is 401 or 403; any other answer is an error (500). Unlike in nginx, a query may follow the path, both may
        /// contain variables, and there may be several lines: they are asked one after the other, all must let the request
        /// pass, and the first that does not says the status. With `satisfy any` they are one method. Of
        /// `auth_request_set` and `auth_request_copy_headers`, what a later answer says goes before, where it says
        /// anything.
        "auth_request" in [HTTP SERVER LOCATION] (Text("uri | off")) = "off" => |c, cx, n| {
            if n.bytes(0) == b"off" {
                return conf::once(&mut c.uris, Vec::new(), n);
            }
            let uri = Uri::compile(n.word(0)?, "auth_request", &mut cx.variables)?;
            match &mut c.uris {
                Some(uris) if uris.is_empty() => return Err(n.duplicate()),
                Some(uris) => uris.push(uri),
                None => c.uris = Some(vec![uri]),
            }
            Ok(())
        };
        /// Sets `$variable` to `value` when the subrequest has ended; `value` sees the answer's own variables, such as
        /// `$upstream_http_*`.
        "auth_request_set" in [HTTP SERVER LOCATION] (Text("$variable"), Text("value")) = "" => |c, cx, n| {
            let Some(name) = n.str(0)?.strip_prefix('$').filter(|name| !name.is_empty()) else {
                return Err(Diagnostic::at(n.word(0)?.span, format!("invalid variable name \"{}\"", n.str(0)?)));
            };
            let index = cx.variables.stored(name, Some(n.word(0)?.span))?;
            let write = Registry::write_of(name);
            let value = Template::compile(n.word(1)?, &mut cx.variables)?;
            let cookies = [&b"$upstream_http_set_cookie"[..], b"${upstream_http_set_cookie}"];
            let of_cookies = cookies.iter().any(|text| n.bytes(1).eq_ignore_ascii_case(text));
            c.set.get_or_insert_default().push(SetLine { index, write, value, of_cookies });
            Ok(())
        };
    },
    variables: &[],
    plan: |cx, scope, plan| {
        let AuthSettings { uris, set } = scope.get_mut::<AuthSettings>().clone();
        let uris = uris.unwrap_or_default();
        let mut questions = Vec::with_capacity(uris.len());
        for (at, uri) in uris.iter().enumerate() {
            let extensions = Extensions::of(scope);
            let shows_body = extensions.as_ref().is_some_and(|extensions| extensions.shows_body());
            let is_known = uris.len() == 1 && uri.fixed_path().is_some() && !shows_body;
            questions.push(Question {
                uri: uri.clone(),
                set: set.clone().unwrap_or_default(),
                is_first: at == 0,
                counts: Counts::of(cx, &uri.text),
                extensions,
                cache: cache::of_location(cx, scope, is_known)?,
            });
        }
        if !questions.is_empty() {
            plan.access.push(Access::Request(AuthRequest { questions: questions.into() }));
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct AuthSettings {
    /// None at all for `off`.
    uris: Option<Vec<Uri>>,
    set: Option<Vec<SetLine>>,
}

impl Settings for AuthSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.uris.is_none() {
            self.uris.clone_from(&outer.uris);
        }
        if self.set.is_none() {
            self.set.clone_from(&outer.set);
        }
    }
}

#[derive(Clone)]
struct SetLine {
    index: Index,
    write: Option<fn(&mut Exchange<'_>, &[u8])>,
    value: Template,
    /// Whether the value is that of all `Set-Cookie` fields, which must stay apart (RFC 6265, 3).
    of_cookies: bool,
}

impl SetLine {
    fn value(&self, answer: &Exchange<'_>) -> Joined {
        match self.of_cookies {
            true => answer.response.fields.joined_of_upstream(Name::SetCookie),
            false => Joined { bytes: self.value.eval(answer), cuts: Vec::new() },
        }
    }

    fn assign(&self, value: &Joined, ex: &mut Exchange<'_>) {
        match self.write {
            Some(write) => write(ex, &value.bytes),
            None => ex.store_joined(self.index, value),
        }
    }
}

/// What a location asks about every request.
pub struct AuthRequest {
    questions: Box<[Question]>,
}

impl AuthRequest {
    /// The questions, in their order.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Says whether the request may pass: when every question is answered so.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        for question in &self.questions {
            question.check(ex).await?;
        }
        Ok(Verdict::Allowed)
    }
}

/// One question.
pub struct Question {
    uri: Uri,
    set: Vec<SetLine>,
    /// Whether no other one is asked before.
    is_first: bool,
    counts: Option<Counts>,
    extensions: Option<Box<Extensions>>,
    cache: Option<Box<cache::Cache>>,
}

impl Question {
    /// Path and query of the subrequest.
    pub fn target(&self, ex: &Exchange<'_>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
        self.uri.of(ex)
    }

    /// How long its answer may take, where that is bounded as a whole (`auth_request_timeout`), in milliseconds.
    fn patience(&self) -> Option<u64> {
        self.extensions.as_ref().map(|extensions| extensions.timeout).filter(|ms| *ms > 0)
    }

    /// Gives the location's variables and copied fields the names of what they would be, for who only looks.
    pub fn pretend(&self, ex: &mut Exchange<'_>) {
        for line in &self.set {
            let bytes = line.value.text(&ex.visit.config.variables.names);
            line.assign(&Joined { bytes, cuts: Vec::new() }, ex);
        }
        if let Some(extensions) = &self.extensions {
            extensions.pretend(ex);
        }
    }

    /// Says whether the request may pass: asks, unless the answer is known.
    async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        match &self.cache {
            Some(cache) => cache.check(self, ex).await,
            None => self.put(ex, |_| ()).await?.0.judge(self, ex),
        }
    }

    /// Marks a request that nobody was found to judge (`auth_request_on_error allow`).
    fn let_pass_unchecked(&self, ex: &mut Exchange<'_>) {
        ex.log(Level::Error, format_args!("authentication skipped: the auth service does not answer"));
        ex.response.fields.add("X-Auth-Status", b"unchecked");
        if let Some(counts) = &self.counts {
            counts.passed_unchecked();
        }
    }

    /// Asks, and takes from the answer what the location needs of it, and what `more` does.
    async fn put<'c, T>(
        &self,
        ex: &mut Exchange<'c>,
        more: impl FnOnce(&Exchange<'c>) -> T,
    ) -> Result<(Answer, T), Stop> {
        let began = net::clock::now();
        let counted_from = self.counts.as_ref().map(|_| Instant::now());
        let (path, args) = self.uri.of(ex)?;
        let (child, body) = match &self.extensions {
            None => (ask(ex, path, args).await?, None),
            Some(extensions) => Box::pin(extensions.ask(ex, path, args)).await?,
        };
        let answer = Answer::take(self, &child, body, ex);
        let more = more(&child);
        drop(child);
        if let (Some(counts), Some(began)) = (&self.counts, counted_from) {
            counts.answered(answer.status, began);
        }
        let mut outcome = ex.visit.auth.borrow_mut();
        outcome.status = answer.status;
        outcome.time = Some(net::clock::now() - began);
        drop(outcome);
        Ok((answer, more))
    }
}
