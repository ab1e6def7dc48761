//! The path of a request, from its head to its response's head.

use crate::body::Body;
use crate::boxed::{boxed, boxed_future};
use crate::client::Interrupted;
use crate::error_pages;
use crate::exchange::{Exchange, Head, MAX_SUBREQUESTS, MAX_URI_CHANGES};
use crate::hashing;
use crate::locate::Found;
use crate::log::Level;
use crate::modules::limits::AuthLimit;
use crate::modules::upstream::Attempts;
use crate::modules::{
    access_log, ambiguous_path, auth_outcome, core, empty_gif, not_modified, otel, preflight, prometheus,
    range, rewrite, status, stub_status,
};
use crate::plan::{Access, Content, Filter, Plan, Preaccess, Precontent, Verdict};

/// Why a step does not go on to the next one.
#[derive(Debug)]
pub enum Stop {
    /// It ends with a status, for which there may be an error page.
    Status(u16),
    /// It ends with a body; the head is in the exchange.
    Done(Body),
    /// The path changed and a location is to be chosen anew (`rewrite ... last`).
    Relocate,
    /// An internal redirect: the path changed and the server's rewrite rules run again.
    Redirect,
    /// It goes on in a named location.
    Named(Vec<u8>),
    /// The client has gone: logged as 499.
    Gone,
    /// The connection is closed without a response, and the request is logged with this status.
    Lost(u16),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

/// Where a request stands.
enum At<'c> {
    Server,
    Locate,
    Inside(&'c Plan),
    Ended(u16),
}

/// Runs a request, or a subrequest, to its response. `None` closes the connection without one.
pub async fn run(ex: &mut Exchange<'_>) -> Option<Body> {
    let mut at = At::Server;
    if ex.is_main() {
        if let Some(realip) = &ex.server.plan.realip {
            realip.apply(ex);
        }
        if ambiguous_path::is_refused(ex) {
            at = At::Ended(400);
        }
    }
    drive(ex, at).await
}

/// Ends a request with a status before its path is known.
pub async fn refuse(ex: &mut Exchange<'_>, status: u16) -> Option<Body> {
    drive(ex, At::Ended(status)).await
}

/// Ends a request as a stop says that came before it was run.
pub async fn give_up(ex: &mut Exchange<'_>, stop: Stop) -> Option<Body> {
    match stop {
        Stop::Status(status) => refuse(ex, status).await,
        Stop::Lost(status) => lost(ex, status),
        _ => lost(ex, 499),
    }
}

async fn drive<'c>(ex: &mut Exchange<'c>, mut at: At<'c>) -> Option<Body> {
    loop {
        let stop = match at {
            At::Server => match rewrite::run(ex, &ex.server.plan.rewrite) {
                Ok(()) | Err(Stop::Relocate) => {
                    at = At::Locate;
                    continue;
                }
                Err(stop) => stop,
            },
            At::Locate => match locate(ex) {
                Ok(plan) => {
                    at = At::Inside(plan);
                    continue;
                }
                Err(stop) => stop,
            },
            At::Inside(plan) => inside(ex, plan).await,
            At::Ended(status) => Stop::Status(status),
        };
        let stop = match stop {
            Stop::Done(_) if ex.is_main() && !ex.visit.body_is_read() && !sound_body(ex).await => {
                error_pages::find(ex, 400)
            }
            Stop::Status(status @ (408 | 444 | 499)) | Stop::Lost(status) => return lost(ex, status),
            Stop::Gone => return lost(ex, 499),
            Stop::Status(status) => error_pages::find(ex, status),
            stop => stop,
        };
        at = match stop {
            Stop::Done(body) => match filter(ex, body) {
                Ok(body) => return Some(body),
                Err(status) => At::Ended(status),
            },
            Stop::Gone | Stop::Lost(_) => return None,
            Stop::Status(status) => At::Ended(status),
            Stop::Relocate => {
                if ex.uri_changes >= MAX_URI_CHANGES {
                    cycle(ex, "processing")
                } else {
                    ex.uri_changes += 1;
                    At::Locate
                }
            }
            Stop::Redirect => redirected(ex, "internally redirecting to"),
            Stop::Named(name) => named(ex, &name),
        };
    }
}

/// Whether what has arrived of a body that nobody wanted can be one: the next request is to be found behind it.
async fn sound_body(ex: &Exchange<'_>) -> bool {
    ex.visit.drop_body(ex.plan).await.is_ok()
}

/// Ends a request without a response.
#[cold]
fn lost(ex: &mut Exchange<'_>, status: u16) -> Option<Body> {
    if ex.is_main() && status == 444 {
        ex.visit.timed_out.set(true);
    }
    ex.response.status = status;
    None
}

/// Chooses the location, and what of it applies to this method.
pub fn locate<'c>(ex: &mut Exchange<'c>) -> Result<&'c Plan, Stop> {
    let server = ex.server;
    let plan = match server.plan.locations.find(ex) {
        Found::Location(plan) => plan,
        Found::Redirect(plan) => {
            ex.plan = plan;
            let mut target = Vec::new();
            wire::uri::escape(wire::uri::Escape::Uri, &plan.core.name, &mut target);
            if !ex.args.is_empty() {
                target.push(b'?');
                target.extend_from_slice(&ex.args);
            }
            ex.response.fields.set("Location", &target);
            return Err(Stop::Status(301));
        }
        Found::Nothing => &server.plan,
    };
    ex.plan = plan;
    if plan.core.internal && !ex.internal {
        return Err(Stop::Status(404));
    }
    let plan = apply_limit_except(ex, plan);
    if ex.is_main() && ex.visit.keep_alive.get() {
        limit_keep_alive(ex, plan);
    }
    let length = ex.visit.head.content_length.unwrap_or(0);
    if ex.is_main() && !core::body_allowed(plan, length) && !ex.visit.body_is_read() {
        ex.log(Level::Error, format_args!("client intended to send too large body: {length} bytes"));
        return Err(Stop::Status(413));
    }
    Ok(plan)
}

/// Whether the connection goes on after this request, as the location sees it.
fn limit_keep_alive(ex: &Exchange<'_>, plan: &Plan) {
    let (client, core) = (ex.visit.client, &plan.core);
    let unkept = core.keepalive_disable;
    let browser = || core::Browser::of_request(ex);
    if core.keepalive_timeout.timeout == 0
        || client.requests.get() >= core.keepalive_requests
        || net::clock::now() - client.opened > core.keepalive_time
        || (unkept.msie6 && ex.method == wire::h1::Method::Post && browser() == core::Browser::OldMsie)
        || (unkept.safari && browser() == core::Browser::Safari)
    {
        ex.visit.keep_alive.set(false);
    }
}

fn apply_limit_except<'c>(ex: &mut Exchange<'c>, plan: &'c Plan) -> &'c Plan {
    let plan = match &plan.limit_except {
        Some((methods, limited)) if !methods.allow(ex.method) => limited,
        _ => plan,
    };
    ex.plan = plan;
    plan
}

/// What a location does to a request.
async fn inside<'c>(ex: &mut Exchange<'c>, plan: &'c Plan) -> Stop {
    if let Some(otel) = &plan.otel
        && ex.is_main()
        && ex.uri_changes == 0
    {
        otel::decide(otel, ex);
    }
    // Where no location was found the server's own rules have run already.
    if !std::ptr::eq(plan, &ex.server.plan)
        && let Err(stop) = rewrite::run(ex, &plan.rewrite)
    {
        return stop;
    }
    // `if` may have put its own settings in force.
    let plan = ex.plan;
    if let Some(realip) = &plan.realip {
        realip.apply(ex);
    }
    for limit in &plan.preaccess {
        let passed = match limit {
            Preaccess::LimitReq(limit) => limit.check(ex).await,
            Preaccess::LimitConn(limit) => limit.check(ex),
        };
        if let Err(stop) = passed {
            return stop;
        }
    }
    if ex.is_main()
        && let Err(stop) = access(ex, plan).await
    {
        return stop;
    }
    for step in &plan.precontent {
        let done = match step {
            Precontent::TryFiles(files) => files.run(ex),
        };
        if let Err(stop) = done {
            return stop;
        }
    }
    match content(ex, plan).await {
        Ok(body) => Stop::Done(body),
        Err(stop) => stop,
    }
}

/// Who may pass (nginx's access phase, `satisfy`).
async fn access(ex: &mut Exchange<'_>, plan: &Plan) -> Result<(), Stop> {
    let mut refused = None;
    // Asked once before credentials are looked at, and once more when they were found right.
    let mut limit = None;
    let preflight = plan.skips_preflight && preflight::is_preflight(ex);
    for method in &plan.access {
        let skipped = preflight && method.checks_credentials();
        if limit.is_none() && plan.auth_limit.is_some() && method.checks_credentials() && !skipped {
            limit = plan.auth_limit.as_deref();
            check(limit, ex)?;
        }
        let verdict = match method {
            _ if skipped => Ok(Verdict::Allowed),
            Access::Address(rules) => rules.check(ex),
            Access::Basic(basic) => basic.check(ex).await,
            Access::Jwt(jwt) => jwt.check(ex).await,
            Access::Service(service) => service.check(ex).await,
            Access::Request(request) => request.check(ex).await,
            Access::Require(requirements) => requirements.check(ex),
        };
        match verdict {
            Ok(Verdict::Allowed) if plan.core.satisfy_any => {
                // What another method said against it does not count.
                ex.visit.auth.borrow_mut().reason = None;
                for challenge in [wire::Name::WwwAuthenticate, wire::Name::ProxyAuthenticate] {
                    ex.response.fields.hide_known(challenge);
                }
                auth_outcome::set_page(ex, None);
                ex.visit.auth.borrow_mut().login = None;
                return check(limit, ex);
            }
            Ok(_) => {}
            // With `any`, only a plain refusal leaves the others a say.
            Err(Stop::Status(status @ (401 | 403 | 407))) if plan.core.satisfy_any => {
                if !matches!(refused, Some(401 | 407)) {
                    refused = Some(status);
                }
            }
            Err(Stop::Status(status)) => return Err(refusal(ex, limit, status).await),
            Err(stop) => return Err(stop),
        }
    }
    match refused {
        None => check(limit, ex),
        Some(status) => {
            if status == 403 {
                ex.log(Level::Error, format_args!("access forbidden by rule"));
            }
            Err(refusal(ex, limit, status).await)
        }
    }
}

/// Refuses a request whose key has failed too often.
pub fn check(limit: Option<&AuthLimit>, ex: &mut Exchange<'_>) -> Result<(), Stop> {
    limit.map_or(Ok(()), |limit| limit.check(ex))
}

/// Refuses a request for its credentials: a failure is counted (`auth_limit`), and who may be guessing a password waits for the answer
/// (`auth_delay`).
pub async fn refusal(ex: &mut Exchange<'_>, limit: Option<&AuthLimit>, status: u16) -> Stop {
    if let Some(limit) = limit
        && matches!(status, 401 | 403 | 407)
        && auth_outcome::is_failure(ex)
        && let Err(stop) = limit.failed(ex)
    {
        return stop;
    }
    if status == 401
        && let Some(login) = ex.visit.auth.borrow_mut().login.take()
    {
        ex.response.fields.hide_known(wire::Name::WwwAuthenticate);
        ex.response.fields.add("Cache-Control", b"no-store");
        ex.response.fields.add_bytes(b"Location", &login);
        return Stop::Status(302);
    }
    hashing::come_again(ex);
    let delay = ex.plan.core.auth_delay;
    if matches!(status, 401 | 407) && delay > 0 {
        ex.log(Level::Info, format_args!("delaying unauthorized request"));
        let waiting = ex.visit.client.waiting(delay, true, std::future::pending::<()>());
        if let Err(Interrupted::ClientGone) = waiting.await {
            return Stop::Gone;
        }
    }
    Stop::Status(status)
}

async fn content(ex: &mut Exchange<'_>, plan: &Plan) -> Result<Body, Stop> {
    match &plan.content {
        Content::FastCgi(fastcgi) => fastcgi.run(ex).await,
        Content::Proxy(proxy) => proxy.run(ex).await,
        Content::Files(files) => files.run(ex),
        Content::Tunnel(tunnel) => Box::pin(tunnel.run(ex)).await,
        Content::EmptyGif => empty_gif::run(ex),
        Content::StubStatus => stub_status::run(ex),
        Content::AuthService(endpoint) => endpoint.run(ex).await,
        Content::Login(login) => Box::pin(login.run(ex)).await,
        Content::Logout(logout) => Box::pin(logout.run(ex)).await,
        Content::AuthCachePurge(purge) => purge.run(ex),
        Content::Prometheus => prometheus::run(ex),
        Content::Status => status::run(ex),
    }
}

/// Changes head and body, now that it is known whose they are; an error is a status to end with instead.
fn filter(ex: &mut Exchange<'_>, mut body: Body) -> Result<Body, u16> {
    if ex.forced_status != 0 {
        ex.response.status = ex.forced_status;
        ex.response.status_line = wire::Range::default();
    }
    if let Err(status) = not_modified::apply(ex) {
        ex.response = Head::default();
        return Err(status);
    }
    let plan = ex.plan;
    for filter in &plan.filters {
        match filter {
            Filter::Headers(headers) => headers.apply(ex),
            Filter::UserId(userid) => userid.apply(ex),
            Filter::Addition(addition) => body = addition.apply(ex, body),
            Filter::Charset(charset) => charset.apply(ex),
            Filter::Gzip(gzip) => body = gzip.apply(ex, body),
        }
    }
    range::apply(ex, body)
}

#[cold]
fn redirected<'c>(ex: &mut Exchange<'c>, doing: &str) -> At<'c> {
    if ex.uri_changes >= MAX_URI_CHANGES {
        return cycle(ex, doing);
    }
    ex.uri_changes += 1;
    ex.internal = true;
    ex.as_sent = false;
    ex.valid_location = true;
    ex.add_uri_to_alias = false;
    ex.plan = &ex.server.plan;
    At::Server
}

#[cold]
fn named<'c>(ex: &mut Exchange<'c>, name: &[u8]) -> At<'c> {
    let shown = String::from_utf8_lossy(name);
    if ex.uri_changes >= MAX_URI_CHANGES {
        ex.log(
            Level::Error,
            format_args!(
                "rewrite or internal redirection cycle while redirect to named location \"{shown}\""
            ),
        );
        return At::Ended(500);
    }
    ex.uri_changes += 1;
    if ex.uri.is_empty() {
        ex.log(Level::Error, format_args!("empty URI in redirect to named location \"{shown}\""));
        return At::Ended(500);
    }
    let server = ex.server;
    match server.named.get(name) {
        Some(plan) => {
            ex.internal = true;
            At::Inside(apply_limit_except(ex, plan))
        }
        None => {
            ex.log(Level::Error, format_args!("could not find named location \"{shown}\""));
            At::Ended(500)
        }
    }
}

#[cold]
fn cycle<'c>(ex: &mut Exchange<'c>, doing: &str) -> At<'c> {
    let uri = String::from_utf8_lossy(&ex.uri).into_owned();
    ex.log(Level::Error, format_args!("rewrite or internal redirection cycle while {doing} \"{uri}\""));
    // An error page for 500 would go round once more.
    ex.error_page = true;
    At::Ended(500)
}

/// Asks another location of the same server on this request's behalf, and waits for the head of its answer.
/// The body is dropped; a short one is read, so that the connection to the service is kept.
pub async fn ask<'c>(ex: &mut Exchange<'c>, uri: Vec<u8>, args: Vec<u8>) -> Result<Box<Exchange<'c>>, Stop> {
    let mut child = boxed(|| ex.question(uri, args));
    let body = subrequest(ex, &mut child).await?;
    body.discard(&mut child).await;
    log_subrequest(&child);
    Ok(child)
}

/// Asks another location of the same server for a part of this request's response: its body, whatever its status, with
/// what was tried at upstreams for it.
pub async fn include(ex: &mut Exchange<'_>, uri: &[u8]) -> Result<(Body, Attempts), Stop> {
    let mut child = boxed(|| ex.child(uri.to_vec(), Vec::new()));
    let body = subrequest(ex, &mut child).await?;
    log_subrequest(&child);
    Ok((body, std::mem::take(&mut child.upstream)))
}

/// Runs a request to another location of the same server to the head of its answer.
pub async fn subrequest(ex: &mut Exchange<'_>, child: &mut Exchange<'_>) -> Result<Body, Stop> {
    let made = ex.visit.subrequests.get();
    if ex.depth >= MAX_SUBREQUESTS || made >= MAX_SUBREQUESTS {
        let shown = String::from_utf8_lossy(&child.uri);
        ex.log(Level::Error, format_args!("subrequests cycle while processing \"{shown}\""));
        return Err(Stop::Status(500));
    }
    ex.visit.subrequests.set(made + 1);
    otel::begin(ex, child);
    let future: std::pin::Pin<Box<dyn Future<Output = Option<Body>> + '_>> = boxed_future(|| run(child));
    let answer = future.await;
    ex.visit.subrequests.set(made);
    answer.ok_or(Stop::Gone)
}

/// Writes a subrequest to the access log of its location, where that is wanted, and to the trace.
pub fn log_subrequest(child: &Exchange<'_>) {
    otel::end(child);
    if child.plan.core.log_subrequest {
        access_log::write(child);
    }
}
