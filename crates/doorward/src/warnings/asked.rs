//! The location that a question of `auth_request` leads to: whether it is the one that was meant, and what is written
//! there without effect.

use conf::Node;

use super::Found;
use super::site::{Kind, Question, Site};
use super::values::Definitions;
use crate::compile::LocationKind;

pub fn check(site: &Site<'_>, _: &Definitions, found: &mut Found) {
    for question in &site.questions {
        leads_elsewhere(site, question, found);
    }
    for (location, questions) in site.auth_locations() {
        without_effect(site, location, found);
        open_to_clients(site, location, &questions, found);
        shown_nothing(site, location, &questions, found);
    }
}

/// Questions that no auth location answers.
fn leads_elsewhere(site: &Site<'_>, question: &Question<'_>, found: &mut Found) {
    let directive = question.directive;
    let path = String::from_utf8_lossy(question.path);
    if !question.path.starts_with(b"/") {
        let sentence = format!(
            "\"auth_request\" asks a path of this server, and \"{path}\" is none: every request is answered with 500"
        );
        let remedy = "ask `auth_request /auth;`, and let `location = /auth { internal; proxy_pass ...; }` pass the question on";
        return found.add(directive.span, sentence, remedy);
    }
    // The location that is meant may stand in another part.
    if site.is_part() {
        return;
    }
    let remedy = format!("write `location = {path} {{ internal; proxy_pass ...; }}` in this server");
    let Some(location) = question.answers else {
        let sentence = format!(
            "no location takes \"{path}\", which \"auth_request\" asks: a file is looked for, and without one every \
             request is answered with 500"
        );
        return found.add(directive.span, sentence, remedy);
    };
    let place = site.place(site.blocks[location].span, directive.span);
    let name = site.name(location);
    if let Some(meant) = meant_instead(site, question, location) {
        let meant = &site.blocks[meant];
        let sentence = format!(
            "\"{path}\", which \"auth_request\" asks, is taken by the pattern of {name} on {place}, not by the location \
             on {}",
            site.place(meant.span, directive.span)
        );
        return found.add(directive.span, sentence, format!("write that one `location = {path} {{ ... }}`"));
    }
    if site.asks_itself(question) {
        let sentence = format!(
            "\"auth_request\" asks \"{path}\", which {name} on {place} takes itself: what it protects answers the \
             question, unchecked, and any 2xx from there lets everybody in"
        );
        found.add(directive.span, sentence, remedy);
    }
}

/// The location with the path for its name, where a pattern takes the path from it.
fn meant_instead(site: &Site<'_>, question: &Question<'_>, location: usize) -> Option<usize> {
    let is_pattern = |how: LocationKind| matches!(how, LocationKind::Regex | LocationKind::CaselessRegex);
    if !matches!(site.blocks[location].kind, Kind::Location(how, _) if is_pattern(how)) {
        return None;
    }
    let server = site.server_of(location);
    site.locations().find(|at| {
        site.server_of(*at) == server
            && matches!(&site.blocks[*at].kind, Kind::Location(how, name) if !is_pattern(*how) && **name == *question.path)
    })
}

/// Directives of an auth location that a subrequest does not come past.
fn without_effect(site: &Site<'_>, location: usize, found: &mut Found) {
    let name = site.name(location);
    if let Some(node) = site.own(location, "auth_request").find(|node| node.bytes(0) != b"off") {
        found.add(
            node.span,
            format!("\"auth_request\" has no effect in {name}, which is itself asked by auth_request: subrequests are not checked"),
            "write it, too, in the location that asks",
        );
    }
    if let Some(node) = site.own(location, "auth_request_set").next() {
        found.add(
            node.span,
            format!("\"auth_request_set\" has no effect in {name}, which auth_request asks: the variable stays empty"),
            "write it in the location that asks, beside its auth_request",
        );
    }
    let logs = |node: &&Node| node.bytes(0) != b"off";
    if let Some(node) = site.own(location, "access_log").find(logs)
        && !site.is_on(location, "log_subrequest", false)
    {
        found.add(
            node.span,
            format!("\"access_log\" writes nothing about the questions that {name} answers: subrequests are not logged"),
            "add `log_subrequest on;` there, or log $auth_status and $auth_time with the request itself",
        );
    }
}

/// Bodies that are to be shown, in a location that passes none on.
fn shown_nothing(site: &Site<'_>, location: usize, questions: &[&Question<'_>], found: &mut Found) {
    if site.is_on(location, "proxy_pass_request_body", true) {
        return;
    }
    for asker in questions.iter().map(|question| question.asker) {
        for line in site.in_force(asker, &["auth_request_body"]).iter().filter(|line| line.bytes(0) != b"off")
        {
            let name = site.name(location);
            let sentence = format!(
                "\"auth_request_body\" shows the auth service nothing: {name} has `proxy_pass_request_body off`"
            );
            found.add(
                line.span,
                sentence,
                "leave that line out there: without auth_request_body a question has no body anyway",
            );
        }
    }
}

/// Auth locations that clients may ask, too.
fn open_to_clients(site: &Site<'_>, location: usize, questions: &[&Question<'_>], found: &mut Found) {
    let Kind::Location(how, name) = &site.blocks[location].kind else { return };
    // A wider location is meant for clients, too (logins, callbacks).
    let is_its_own = matches!(how, LocationKind::Exact | LocationKind::Prefix | LocationKind::FinalPrefix)
        && questions.iter().any(|question| question.path == &**name);
    let is_closed = site.own(location, "internal").next().is_some()
        || site.own(location, "deny").any(|node| node.bytes(0) == b"all");
    let Some(upstream) = site.upstream(location) else { return };
    if !is_its_own || is_closed || is_public(site, location, name, &upstream) {
        return;
    }
    found.add(
        site.blocks[location].span,
        format!(
            "clients can ask {} themselves, and so try credentials and read what the auth service answers",
            site.name(location)
        ),
        "add `internal;` to it: auth_request still reaches it, clients get 404",
    );
}

/// Whether the service is passed to clients below a shorter path anyway.
fn is_public(site: &Site<'_>, location: usize, name: &[u8], upstream: &str) -> bool {
    site.locations().any(|other| {
        other != location
            && site.server_of(other) == site.server_of(location)
            && matches!(&site.blocks[other].kind, Kind::Location(_, prefix) if name.starts_with(prefix))
            && !site.is_late(other)
            && site.upstream(other).as_deref() == Some(upstream)
    })
}

#[cfg(test)]
mod tests {
    use crate::warnings::told_of_server;

    fn starts(text: &str, with: &[&str]) {
        let told = told_of_server(text);
        assert_eq!(told.len(), with.len(), "{text}: {told:#?}");
        for (line, start) in told.iter().zip(with) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn questions_that_lead_elsewhere_are_told() {
        starts(
            "location / {\nauth_request /auth; }",
            &["2: \"auth_request\" asks \"/auth\", which location \"/\" on line 1 takes itself"],
        );
        starts("location /api {\nauth_request /auth; }", &["2: no location takes \"/auth\""]);
        starts("location /api {\nauth_request http://auth; }", &["2: \"auth_request\" asks a path"]);
        starts(
            "location /api {\nauth_request /api/auth; }",
            &["2: \"auth_request\" asks \"/api/auth\", which location \"/api\""],
        );
        starts(
            "location /auth { internal; }\nlocation ~ ^/a {\nauth_request /auth; }",
            &[
                "3: \"/auth\", which \"auth_request\" asks, is taken by the pattern of location \"^/a\" on line 2, not by the location on line 1",
            ],
        );
    }

    #[test]
    fn questions_that_lead_to_their_location_are_not() {
        for text in [
            "auth_request /auth; location / { } location = /auth { internal; }",
            "auth_request /auth; location / { } location /auth { internal; }",
            "location ^~ /auth { internal; } location ~ ^/a { auth_request /auth?x; }",
            "location ~ ^/auth { internal; } location / { auth_request /auth; }",
            "location / { auth_request $where; }",
            "location / { auth_request off; }",
        ] {
            starts(text, &[]);
        }
    }

    #[test]
    fn what_has_no_effect_in_an_auth_location_is_told() {
        starts(
            "location = /auth { internal;\nauth_request /two;\nauth_request_set $a $upstream_http_a;\naccess_log auth.log; }\n\
             location = /two { internal; } location / { auth_request /auth; }",
            &[
                "2: \"auth_request\" has no effect in location \"/auth\"",
                "3: \"auth_request_set\"",
                "4: \"access_log\"",
            ],
        );
        starts(
            "auth_request /auth; auth_request_set $a $upstream_http_a; access_log all.log; location / { }\n\
             location = /auth { internal; auth_request off; } location /x { auth_request_set $b $upstream_http_b; access_log x.log; }",
            &[],
        );
        starts(
            "location = /auth { internal; log_subrequest on; access_log a.log; } location / { auth_request /auth; }",
            &[],
        );
    }

    #[test]
    fn a_body_that_is_shown_to_nobody_is_told() {
        let asked = "location = /auth { internal; proxy_pass_request_body off; proxy_pass http://a; }";
        starts(
            &format!("location / {{ auth_request /auth;\nauth_request_body 1k; }} {asked}"),
            &["2: \"auth_request_body\" shows the auth service nothing: location \"/auth\""],
        );
        starts(&format!("location / {{ auth_request /auth; auth_request_body off; }} {asked}"), &[]);
        starts(
            "location / { auth_request /auth; auth_request_body 1k; } location = /auth { internal; proxy_pass http://a; }",
            &[],
        );
    }

    #[test]
    fn an_auth_location_that_clients_can_ask_is_told() {
        let asks = "location / { auth_request /auth; }\n";
        starts(
            &format!("{asks}location = /auth {{ proxy_pass http://a; }}"),
            &["2: clients can ask location \"/auth\""],
        );
        for closed in [
            "location = /auth { internal; proxy_pass http://a; }",
            "location = /auth { allow 127.0.0.1; deny all; proxy_pass http://a; }",
            "location = /auth { return 200; }",
        ] {
            starts(&format!("{asks}{closed}"), &[]);
        }
        starts("location / { auth_request /sso/auth; } location /sso { proxy_pass http://a; }", &[]);
        starts(
            "location / { auth_request /sso/auth; } location = /sso/auth { proxy_pass http://a; } location /sso/ { proxy_pass http://a; }",
            &[],
        );
    }
}
