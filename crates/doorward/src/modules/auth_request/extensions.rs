//! What Doorward's own directives add to `auth_request`: how a location asks, and what becomes of the answer.

use std::rc::Rc;
use std::sync::Arc;

use conf::Arg::{Flag, Many, Optional, Text, Time};
use conf::{Diagnostic, Node, once};

use super::page;
use crate::body::Body;
use crate::exchange::{Exchange, Head, ShownBody};
use crate::field_names::AlikeNames;
use crate::log::Level;
use crate::module::{Module, Scope};
use crate::modules::identity;
use crate::request_fields::Copied;
use crate::run::{Stop, log_subrequest, subrequest};
use crate::{directives, settings};

settings! {
    /// What a location adds to nginx's way of asking.
    ExtensionSettings => Extensions {
        /// Statuses beside 401 and 403 that the client gets as the service answered them.
        pass_status: Arc<[u16]> = Arc::default();
        /// The longest body of a refusal that the client gets, 0 for none; unset, a passed status has its body, and
        /// 401 and 403 have not.
        pass_body: Option<u64> = None;
        /// Whether the client gets the service's cookies.
        set_cookie: bool = false;
        /// The longest time from the question to the decision, in milliseconds, 0 for what the location asked has.
        timeout: u64 = 0;
        /// How much of the client's body the service is shown.
        body: Option<Shown> = None;
        /// What becomes of requests while the service does not answer.
        on_error: OnError = OnError::Status(500);
        /// Fields of the answer that those behind the gateway get in place of the client's.
        copy_headers: Arc<AlikeNames> = Arc::default();
    }
}

/// The module's tables.
pub static EXTENSIONS: Module = Module {
    name: "ngx_http_auth_request_module",
    directives: directives! { ExtensionSettings;
        /// Passes answers of the auth service with these statuses to the client: status, fields (`Location`,
        /// `Retry-After`, `Set-Cookie` ...) and body, in place of an error (500). An `error_page` of the location for the
        /// status goes before. 401 and 403 are passed always; 304, 408, 444 and 494 to 499 cannot be. A list replaces
        /// that of the enclosing block, `off` takes it back. Doorward's own directive.
        "auth_request_pass_status" in [HTTP SERVER LOCATION] (Many(&Text("status | off"))) = "off" => |c, _, n| {
            once(&mut c.pass_status, statuses(n)?, n)
        };
        /// Passes the body of a 401 or 403 of the auth service to the client, with its `Content-Type`,
        /// `Content-Encoding` and `Content-Language`, in place of the error page. A body of more than `size` (`on`:
        /// 64k) is not passed, and an `error_page` of the location for the status goes before. Bodies of
        /// `auth_request_pass_status` obey it too: they are passed unless it is `off`. Doorward's own directive.
        "auth_request_pass_body" in [HTTP SERVER LOCATION] (Text("on | off | size")) = "off" => |c, _, n| {
            let most = match n.bytes(0) {
                b"on" => page::MOST,
                b"off" => 0,
                _ => n.size(0)?,
            };
            once(&mut c.pass_body, Some(most), n)
        };
        /// Passes the `Set-Cookie` fields of the auth service's answer to the client, each as a field of its own,
        /// whether the request is allowed or refused. Doorward's own directive.
        "auth_request_set_cookie" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| {
            once(&mut c.set_cookie, n.flag(0)?, n)
        };
        /// The longest time from the question to the decision, retries and all. What is not decided by then is not let
        /// pass: the service counts as one that does not answer (`auth_request_on_error`), and `$auth_status` is 504.
        /// Without it, the timeouts of the location that is asked bound each step, 60s by default. Doorward's own directive.
        "auth_request_timeout" in [HTTP SERVER LOCATION] (Time) = "0" => |c, _, n| {
            once(&mut c.timeout, n.msec(0)?, n)
        };
        /// Shows the client's body to the auth service, which gets it with the client's `Content-Type` and its length. The
        /// body is read first, as with `proxy_request_buffering on`, and still goes to the upstream afterwards. One of more
        /// than `size` is refused with 413, or, with `partial`, the first `size` bytes of it are shown; the field
        /// `X-Auth-Partial-Body` says which (`true`, `false`). The location that is asked passes the request on by
        /// `proxy_pass`, with `proxy_method POST;` where the service wants no GET with a body. Doorward's own directive.
        "auth_request_body" in [HTTP SERVER LOCATION] (Text("size | off"), Optional(&Text("partial"))) = "off" => |c, _, n| {
            let partial = match n.args.get(1) {
                None => false,
                Some(word) if word.text == b"partial" => true,
                Some(word) => {
                    return Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()))
                        .instead("behind the size only `partial` can stand"));
                }
            };
            let shown = match n.bytes(0) {
                b"off" => None,
                _ => Some(Shown { most: n.size(0)?, partial }),
            };
            once(&mut c.body, shown, n)
        };
        /// What becomes of requests while the auth service fails, that is, answers nothing or 5xx: `deny` refuses them with
        /// 500, `status=` with another status from 500 to 599. `allow` lets them pass unchecked, but only while the service
        /// cannot be connected to or a time is over: an answer that is an error still refuses, since clients could provoke
        /// it. Who is let pass so is marked: the response has `X-Auth-Status: unchecked`, and there are a line in the error
        /// log and a metric. Doorward's own directive.
        "auth_request_on_error" in [HTTP SERVER LOCATION] (Text("deny | status=5xx | allow")) = "deny" => |c, _, n| {
            let on_error = OnError::of(n.bytes(0)).ok_or_else(|| {
                let word = n.args.first().map(conf::Word::lossy).unwrap_or_default();
                Diagnostic::at(n.span, format!("invalid value \"{word}\" in \"auth_request_on_error\" directive"))
                    .instead("it must be deny, allow, or a status from status=500 to status=599")
            })?;
            once(&mut c.on_error, on_error, n)
        };
        /// Copies these fields of the auth service's answer, when it lets a request pass, into the request that an upstream
        /// or a FastCGI server gets, and into `$http_*`; a field with several values is copied with all of them. What the
        /// client sent under these names, also with `_` for `-`, is left out in every location where the directive is in
        /// force; the auth service itself sees it. `proxy_set_header` and `fastcgi_param` of the same name go before. Unlike
        /// `proxy_set_header`, it is inherited as one list whatever else stands in a location; `off` takes it back.
        /// Doorward's own directive.
        "auth_request_copy_headers" in [HTTP SERVER LOCATION] (Many(&Text("field | off"))) = "off" => |c, _, n| {
            let names = if n.args.len() == 1 && n.bytes(0) == b"off" { AlikeNames::default() } else { identity::names(n)? };
            once(&mut c.copy_headers, Arc::new(names), n)
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        let names = scope.get_mut::<ExtensionSettings>().settle().copy_headers;
        if !names.is_empty() {
            plan.hide_from_client(names);
        }
        Ok(())
    },
};

fn statuses(node: &Node) -> Result<Arc<[u16]>, Diagnostic> {
    if node.args.len() == 1 && node.bytes(0) == b"off" {
        return Ok(Arc::default());
    }
    let status = |word: &conf::Word| {
        let number = str::from_utf8(&word.text).ok().and_then(|text| text.parse().ok());
        number.filter(|status| page::may_pass(*status)).ok_or_else(|| {
            Diagnostic::at(word.span, format!("invalid status \"{}\"", word.lossy()))
                .instead("from 300 to 599, but not 304, 401, 403, 408, 444 and 494 to 499")
        })
    };
    node.args.iter().map(status).collect()
}

impl Extensions {
    /// The extensions of a location, where there are any.
    pub(super) fn of(scope: &mut Scope) -> Option<Box<Extensions>> {
        let settled = scope.get_mut::<ExtensionSettings>().settle();
        let is_used = !settled.pass_status.is_empty()
            || settled.pass_body.is_some_and(|most| most > 0)
            || settled.set_cookie
            || settled.timeout > 0
            || settled.body.is_some()
            || settled.on_error != OnError::Status(500)
            || !settled.copy_headers.is_empty();
        is_used.then(|| Box::new(settled))
    }

    /// Copies fields that nobody has answered: each says what it would be.
    pub(super) fn pretend(&self, ex: &Exchange<'_>) {
        let named = |name: &[u8]| (name.into(), b"(as the auth service answers it)".to_vec());
        let fields = self.copy_headers.iter().map(named).collect();
        ex.visit.auth.borrow_mut().copied =
            Some(Rc::new(Copied { names: self.copy_headers.clone(), fields }));
    }

    /// Whether the service is shown the client's body.
    pub(super) fn shows_body(&self) -> bool {
        self.body.is_some()
    }

    /// What they are, in words: answers taken otherwise cannot stand for each other.
    pub(super) fn description(&self) -> Vec<u8> {
        // How long is waited, and what is done without an answer, makes no difference to one.
        let Extensions { pass_status, pass_body, set_cookie, copy_headers, timeout: _, on_error: _, body: _ } =
            self;
        format!("{pass_status:?} {pass_body:?} {set_cookie} {copy_headers:?}").into_bytes()
    }

    /// Asks, and reads the body where the client may get it.
    pub(super) async fn ask<'c>(
        &self,
        ex: &mut Exchange<'c>,
        path: Vec<u8>,
        args: Vec<u8>,
    ) -> Result<(Box<Exchange<'c>>, Option<Vec<u8>>), Stop> {
        let mut child = Box::new(ex.question(path, args));
        if let Some(shown) = &self.body {
            child.shown_body = Some(shown.of(ex).await?);
        }
        let body = match self.timeout {
            0 => self.ask_unbounded(ex, &mut child).await?,
            ms => {
                let made = ex.visit.subrequests.get();
                let client = ex.visit.client;
                let asked = client.waiting(ms, false, self.ask_unbounded(ex, &mut child)).await;
                match asked {
                    Ok(body) => body?,
                    Err(_) => {
                        ex.visit.subrequests.set(made);
                        out_of_time(&mut child, ms);
                        None
                    }
                }
            }
        };
        log_subrequest(&child);
        Ok((child, body))
    }

    async fn ask_unbounded(
        &self,
        ex: &mut Exchange<'_>,
        child: &mut Exchange<'_>,
    ) -> Result<Option<Vec<u8>>, Stop> {
        let body = subrequest(ex, child).await?;
        Ok(self.take_body(child, body).await)
    }

    async fn take_body(&self, child: &mut Exchange<'_>, body: Body) -> Option<Vec<u8>> {
        match self.passes_body(child) {
            0 => {
                body.discard(child).await;
                None
            }
            most => page::read(child, body, most).await,
        }
    }

    /// The longest body of this answer that the client gets, 0 for none.
    fn passes_body(&self, child: &Exchange<'_>) -> u64 {
        match child.response.status {
            // What this server says itself has this server's pages.
            _ if child.forced_status != 0 => 0,
            401 | 403 => self.pass_body.unwrap_or(0),
            status if self.pass_status.contains(&status) => self.pass_body.unwrap_or(page::MOST),
            _ => 0,
        }
    }
}

/// What becomes of requests while the auth service does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// They are refused with this status.
    Status(u16),
    /// They pass.
    Allow,
}

impl OnError {
    fn of(text: &[u8]) -> Option<OnError> {
        match text {
            b"deny" => Some(OnError::Status(500)),
            b"allow" => Some(OnError::Allow),
            text => {
                let status = str::from_utf8(text.strip_prefix(b"status=")?).ok()?.parse().ok()?;
                matches!(status, 500..=599).then_some(OnError::Status(status))
            }
        }
    }
}

/// Ends a question that was cut off.
fn out_of_time(child: &mut Exchange<'_>, ms: u64) {
    const STATUS: u16 = 504;
    child
        .log(Level::Error, format_args!("auth service did not answer within {ms} ms (auth_request_timeout)"));
    if let Some(attempt) = child.upstream.current().filter(|attempt| attempt.response_time.is_none()) {
        attempt.status = STATUS;
        attempt.response_time = Some(net::clock::now() - attempt.started);
    }
    child.response = Head { status: STATUS, ..Head::default() };
    child.forced_status = STATUS;
}

/// How much of a body is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// In bytes.
    most: u64,
    /// Whether the beginning of a longer one is shown.
    partial: bool,
}

impl Shown {
    /// What of a request's body is shown, now that all of it is read.
    async fn of(&self, ex: &Exchange<'_>) -> Result<ShownBody, Stop> {
        let visit = ex.visit;
        let too_large = |length: u64| !self.partial && length > self.most;
        // What says its length itself need not come first.
        if !too_large(visit.head.content_length.unwrap_or(0)) {
            visit.keep_body(ex.plan).await?;
            let body = visit.body.borrow();
            let length = body.kept.len();
            if !too_large(length) {
                let most = usize::try_from(self.most).unwrap_or(usize::MAX);
                let bytes = body.kept.piece(0, most).map_err(|_| Stop::Status(500))?;
                return Ok(ShownBody { bytes, partial: Some(length > self.most) });
            }
        }
        ex.log(
            Level::Error,
            format_args!("client sent a body too large for the auth service (auth_request_body)"),
        );
        Err(Stop::Status(413))
    }
}
