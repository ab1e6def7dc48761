//! The way of a request through its plans, step by step as `run` takes it, with words in place of waiting.

use super::page::{Page, written};
use crate::exchange::{Exchange, MAX_URI_CHANGES};
use crate::modules::{ambiguous_path, preflight, rewrite};
use crate::plan::{Access, Content, Plan, Preaccess, Precontent, Verdict};
use crate::run::{Stop, locate};

/// What comes next.
enum Next<'c> {
    Server,
    Locate,
    Inside(&'c Plan),
    End,
}

/// Says what happens, from the server's rules on.
pub fn walk<'c>(ex: &mut Exchange<'c>, page: &mut Page<'_>) {
    let head = ex.visit.head;
    ex.uri = head.uri(ex.visit.bytes).to_vec();
    ex.args = head.query.map(|query| query.of(ex.visit.bytes).to_vec()).unwrap_or_default();
    if let Some(realip) = &ex.server.plan.realip {
        realip.apply(ex);
    }
    if ex.server.plan.identity.is_some() {
        page.in_force("removes", ex.server.plan.span, &["auth_identity_headers"]);
    }
    if ambiguous_path::is_refused(ex) {
        page.in_force("refuses", ex.server.plan.span, &["reject_ambiguous_path"]);
        return ends(ex, 400, page);
    }
    let mut next = Next::Server;
    for _ in 0..=MAX_URI_CHANGES {
        next = match next {
            Next::Server => {
                let server = ex.server;
                match rules(ex, &server.plan, page) {
                    Ok(()) | Err(Stop::Relocate) => Next::Locate,
                    Err(stop) => stopped(ex, stop, page),
                }
            }
            Next::Locate => match locate(ex) {
                Ok(plan) => Next::Inside(plan),
                Err(stop) => stopped(ex, stop, page),
            },
            Next::Inside(plan) => inside(ex, plan, page),
            Next::End => return,
        };
    }
    if !matches!(next, Next::End) {
        page.step("", "goes round in a circle: 500", None);
    }
}

/// Runs the rewrite rules of a block.
fn rules<'c>(ex: &mut Exchange<'c>, plan: &'c Plan, page: &mut Page<'_>) -> Result<(), Stop> {
    let before = (ex.uri.clone(), ex.args.clone());
    let result = rewrite::run(ex, &plan.rewrite);
    if before != (ex.uri.clone(), ex.args.clone()) {
        page.in_force("rewrite", plan.span, &["rewrite"]);
        page.more(&format!("the path is now {}", target(ex)));
    }
    result
}

fn target(ex: &Exchange<'_>) -> String {
    let mut text = String::from_utf8_lossy(&ex.uri).into_owned();
    if !ex.args.is_empty() {
        text.push('?');
        text.push_str(&String::from_utf8_lossy(&ex.args));
    }
    text
}

/// What a step that does not go on leads to.
fn stopped<'c>(ex: &mut Exchange<'c>, stop: Stop, page: &mut Page<'_>) -> Next<'c> {
    match stop {
        Stop::Status(status) => ends(ex, status, page),
        Stop::Done(_) => ends(ex, ex.status(), page),
        Stop::Relocate => {
            ex.uri_changes += 1;
            return Next::Locate;
        }
        Stop::Redirect => {
            page.more(&format!("goes on inside with {}", target(ex)));
            ex.uri_changes += 1;
            ex.internal = true;
            ex.as_sent = false;
            return Next::Server;
        }
        Stop::Named(name) => {
            let shown = String::from_utf8_lossy(&name);
            page.more(&format!("goes on in the location {shown}"));
            ex.uri_changes += 1;
            ex.internal = true;
            if let Some(plan) = ex.server.named.get(&name) {
                ex.plan = plan;
                return Next::Inside(plan);
            }
            page.more("which is not there: 500");
        }
        Stop::Gone | Stop::Lost(_) => page.step("answer", "none: the connection is closed", None),
    }
    Next::End
}

/// The answer is made here, or an error page is.
pub fn ends(ex: &Exchange<'_>, status: u16, page: &mut Page<'_>) {
    // nginx's own numbers are `error_page`'s; clients see 400.
    let sent = if matches!(status, 494..=497) { 400 } else { status };
    page.step("answer", &format!("{sent} {}", wire::status::reason(sent)), None);
    if let Some(location) = ex.response.fields.get(wire::Name::Location) {
        page.more(&format!("Location: {}", String::from_utf8_lossy(location)));
    }
    let code = status.to_string();
    let is_for = |node: &&conf::Node| node.args.iter().any(|word| word.text == code.as_bytes());
    let pages = page.directives(ex.plan.span, &["error_page"]);
    for node in pages.iter().filter(|node| is_for(node)) {
        page.step("", &format!("unless {}", written(node)), Some(node.span));
    }
}

fn inside<'c>(ex: &mut Exchange<'c>, plan: &'c Plan, page: &mut Page<'_>) -> Next<'c> {
    let is_server = std::ptr::eq(plan, &ex.server.plan);
    match is_server {
        true => page.step("location", "none takes the path", None),
        false => {
            let text = format!("{}  takes {}", page.location(plan), String::from_utf8_lossy(&ex.uri));
            page.step("location", &text, plan.span);
        }
    }
    if !is_server && let Err(stop) = rules(ex, plan, page) {
        let done = page.directives(plan.span, &["return"]);
        if let (Stop::Status(_) | Stop::Done(_), Some(node)) = (&stop, done.first()) {
            page.step("rewrite", &written(node), Some(node.span));
            page.more("runs before any access rule");
        }
        return stopped(ex, stop, page);
    }
    // `if` may have put its own settings in force; its lines are those of the block that it stands in.
    let (plan, block) = (ex.plan, plan.span);
    if let Some(realip) = &plan.realip {
        realip.apply(ex);
    }
    page.in_force("limits", block, &["limit_req", "limit_conn", "auth_limit"]);
    let requests = plan.preaccess.iter().flat_map(|limit| match limit {
        Preaccess::LimitReq(limit) => limit.counted_by(ex),
        Preaccess::LimitConn(limit) => limit.counted_by(ex),
    });
    let failures = plan.auth_limit.iter().flat_map(|limit| limit.counted_by(ex));
    for counted in requests.chain(failures) {
        page.more(&counted);
    }
    if let Some(status) = access(ex, plan, block, page) {
        ends(ex, status, page);
        return Next::End;
    }
    for step in &plan.precontent {
        page.in_force("files", block, &["try_files"]);
        let done = match step {
            Precontent::TryFiles(files) => files.run(ex),
        };
        if let Err(stop) = done {
            return stopped(ex, stop, page);
        }
    }
    content(ex, plan, block, page);
    Next::End
}

/// Lists the methods of the access phase; the status where one refuses without asking anybody.
fn access(ex: &mut Exchange<'_>, plan: &Plan, block: Option<conf::Span>, page: &mut Page<'_>) -> Option<u16> {
    if plan.access.is_empty() {
        page.step("access", "nobody is asked", None);
        return None;
    }
    let any = plan.core.satisfy_any;
    if page.in_force("access", block, &["satisfy"]) == 0 {
        page.step("access", "all of these must let it pass (satisfy all)", None);
    }
    let preflight = plan.skips_preflight && preflight::is_preflight(ex);
    let mut refused = None;
    for (at, method) in plan.access.iter().enumerate() {
        let number = format!("{:>8}.", at + 1);
        if preflight && method.checks_credentials() {
            page.in_force(&number, block, &["auth_skip_preflight"]);
            page.more("a CORS preflight needs no credentials");
            if any {
                return None;
            }
            continue;
        }
        match method {
            Access::Address(rules) => {
                page.in_force(&number, block, &["allow", "deny"]);
                let who = ex.with_remote(net::Address::ip_text);
                match rules.check(ex) {
                    Ok(Verdict::Allowed) => {
                        page.more(&format!("{who} may pass"));
                        if any {
                            page.more("and so nobody else is asked");
                            return None;
                        }
                    }
                    Ok(Verdict::Declined) => page.more(&format!("nothing is said of {who}")),
                    Err(_) => {
                        page.more(&format!("{who} may not"));
                        refused = Some(403);
                        if !any {
                            return refused;
                        }
                    }
                }
            }
            Access::Basic(_) => {
                page.in_force(&number, block, &["auth_basic", "auth_basic_user_file"]);
                let shown =
                    if ex.request_field(wire::Name::Authorization).is_some() { "are" } else { "are not" };
                page.more(&format!("asks for user and password, which {shown} there: otherwise 401"));
            }
            Access::Jwt(jwt) => {
                let names = [
                    "auth_jwt",
                    "auth_jwt_key_file",
                    "auth_jwt_key_request",
                    "auth_jwt_leeway",
                    "auth_jwt_require",
                ];
                page.in_force(&number, block, &names);
                page.more(&format!("asks for a token that one of these keys signed; {}", jwt.preview(ex)));
                for request in jwt.key_requests() {
                    let Ok(target) = request.target(ex) else { continue };
                    asks_itself(ex, target, "for keys", "no location answers with keys: 500", page);
                }
            }
            Access::Service(service) => {
                page.in_force(&number, block, &["auth"]);
                page.more(
                    "asks the service for the credentials that it takes: otherwise 401, or 403 by a rule",
                );
                if let Some(target) = service.asks_about_tokens(ex) {
                    let nowhere = "no location answers about tokens: 503";
                    asks_itself(ex, target, "about tokens that it does not know itself", nowhere, page);
                }
            }
            Access::Request(request) => {
                let lines = page.directives(block, &["auth_request"]);
                for (at, question) in request.questions().iter().enumerate() {
                    if let Some(line) = lines.get(at) {
                        page.step(if at == 0 { &number } else { "" }, &written(line), Some(line.span));
                    }
                    asks(ex, question, page);
                }
                page.in_force(
                    "",
                    block,
                    &["auth_request_cache", "auth_request_timeout", "auth_request_on_error"],
                );
            }
            Access::Require(_) => {
                page.in_force(&number, block, &["auth_require"]);
                page.more(
                    "refuses where a value is empty or 0, and who lacks a scope or group that is required",
                );
            }
        }
    }
    // With `any`, who has only addresses against it has nobody left to let it pass.
    refused.filter(|_| plan.access.len() == 1)
}

/// What the gateway asks a location in its own name.
fn asks_itself(
    ex: &Exchange<'_>,
    (path, args): (Vec<u8>, Vec<u8>),
    what: &str,
    nowhere: &str,
    page: &mut Page<'_>,
) {
    let mut child = ex.child(path, args);
    match locate(&mut child) {
        Ok(plan) => {
            page.step("", &format!("    asks location {} {what}", page.location(plan)), plan.span);
        }
        Err(_) => page.more(nowhere),
    }
}

/// What the auth service is asked.
fn asks(ex: &mut Exchange<'_>, question: &crate::modules::auth_request::Question, page: &mut Page<'_>) {
    let Ok((path, args)) = question.target(ex) else {
        return page.more("its path leads nowhere: 500");
    };
    let mut child = ex.question(path, args);
    match locate(&mut child) {
        Ok(plan) => {
            page.step("", &format!("    asks location {}", page.location(plan)), plan.span);
            let _ = rules(&mut child, plan, page);
            let plan = child.plan;
            passed_on(&child, plan, page);
        }
        Err(_) => page.more("no location answers: 500"),
    }
    question.pretend(ex);
}

fn content(ex: &Exchange<'_>, plan: &Plan, block: Option<conf::Span>, page: &mut Page<'_>) {
    // What makes the answer is not inherited: the plan says what it is, and the block has the line.
    let maker = match &plan.content {
        Content::Files(_) => "",
        Content::EmptyGif => "empty_gif",
        Content::StubStatus => "stub_status",
        Content::AuthService(_) => "auth_service",
        Content::Login(_) => "auth_login",
        Content::Logout(_) => "auth_logout",
        Content::AuthCachePurge(_) => "auth_cache_purge",
        Content::Prometheus => "prometheus",
        Content::Status => "status",
        Content::FastCgi(_) => "fastcgi_pass",
        Content::Proxy(_) => "proxy_pass",
        Content::Tunnel(_) => "tunnel_pass",
    };
    if maker.is_empty() {
        let file = crate::modules::static_files::map_to_path(ex, &ex.uri);
        page.step("answer", &format!("the file {}", String::from_utf8_lossy(&file)), None);
        page.in_force("", block, &["root", "alias", "index", "autoindex"]);
    } else {
        match page.own(block, maker) {
            Some(node) => page.step("answer", &written(node), Some(node.span)),
            // It stands in an `if` or `limit_except`.
            None => page.step("answer", maker, None),
        }
    }
    passed_on(ex, plan, page);
    page.in_force("errors", block, &["error_page"]);
    page.in_force("adds", block, &["add_header", "expires"]);
    page.in_force("log", block, &["access_log"]);
}

/// What an upstream is sent.
fn passed_on(ex: &Exchange<'_>, plan: &Plan, page: &mut Page<'_>) {
    let Content::Proxy(proxy) = &plan.content else { return };
    let (servers, head) = proxy.preview(ex);
    page.more(&format!("to {servers}"));
    for line in String::from_utf8_lossy(&head).lines().filter(|line| !line.is_empty()) {
        page.more(&format!("  {line}"));
    }
}
