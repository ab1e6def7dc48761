//! `ngx_http_auth_request_module`: asks another location whether a request may pass.

mod answer;
mod cache;
mod counts;
mod extensions;
mod page;

pub use cache::{Decision, Key, MODULE as CACHE, PURGE, Purge, Store};

use std::time::Instant;

use conf::Arg::Text;
use conf::Diagnostic;
use wire::Name;

pub use extensions::EXTENSIONS;
pub use page::Page;

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
        /// that is 401 or 403; any other answer is an error (500).
        "auth_request" in [HTTP SERVER LOCATION] (Text("uri | off")) = "off" => |c, _, n| {
            let uri = (n.bytes(0) != b"off").then(|| n.bytes(0).to_vec());
            conf::once(&mut c.uri, uri, n)
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
        let extensions = Extensions::of(scope);
        let settings = scope.get_mut::<AuthSettings>();
        if let Some(Some(uri)) = &settings.uri {
            let set = settings.set.clone().unwrap_or_default();
            let counts = Counts::of(cx, uri);
            let uri = uri.clone();
            let cache = cache::of_location(cx, scope)?;
            plan.access.push(Access::Request(AuthRequest { uri, set, counts, extensions, cache }));
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct AuthSettings {
    uri: Option<Option<Vec<u8>>>,
    set: Option<Vec<SetLine>>,
}

impl Settings for AuthSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.uri.is_none() {
            self.uri.clone_from(&outer.uri);
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

/// The question that a location asks of every request.
pub struct AuthRequest {
    uri: Vec<u8>,
    set: Vec<SetLine>,
    counts: Option<Counts>,
    extensions: Option<Box<Extensions>>,
    cache: Option<Box<cache::Cache>>,
}

impl AuthRequest {
    /// Says whether the request may pass: asks, unless the answer is known.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
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
        let (child, body) = match &self.extensions {
            None => (ask(ex, &self.uri).await?, None),
            Some(extensions) => Box::pin(extensions.ask(ex, &self.uri)).await?,
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
