//! Answers of an auth service that `proxy_cache` keeps: who else gets them, and for how long.

use std::collections::{BTreeMap, HashSet};

use conf::Node;

use super::Found;
use super::site::{Question, Site};
use super::values::{Definitions, variables};

/// Fields that clients send keys in, beside `Authorization` and `Cookie`; looked at where the configuration names them.
const KEY_FIELDS: &[&str] = &["X-API-Key", "X-Auth-Token", "X-Access-Token"];

pub fn check(site: &Site<'_>, definitions: &Definitions, found: &mut Found) {
    for (location, questions) in site.auth_locations() {
        let Some(cache) = site.value(location, "proxy_cache").filter(|node| node.bytes(0) != b"off") else {
            continue;
        };
        if site.own(location, "proxy_pass").next().is_some() {
            shared_answers(site, definitions, location, &questions, cache, found);
            old_answers(site, location, found);
        }
    }
}

/// Answers that a request gets although the service would answer it otherwise.
fn shared_answers(
    site: &Site<'_>,
    definitions: &Definitions,
    location: usize,
    questions: &[&Question<'_>],
    cache: &Node,
    found: &mut Found,
) {
    let needs = seen_by_service(site, definitions, location, questions, cache);
    let key = site.value(location, "proxy_cache_key");
    let known = known_to_key(site, definitions, location, key);
    let lacks: Vec<(&String, &String)> = needs
        .iter()
        .filter(|(need, _)| !is_known(&need.1, &known, definitions))
        .map(|(need, why)| (&need.1, why))
        .collect();
    if lacks.is_empty() {
        return;
    }
    let list: Vec<String> = lacks.iter().map(|(variable, why)| format!("${variable} ({why})")).collect();
    let of = if key.is_some() { "its proxy_cache_key" } else { "the default key" };
    let sentence = format!(
        "{} keeps answers of the auth service, and {of} lacks {}: one client gets what was answered to another",
        site.name(location),
        list.join(", ")
    );
    // What clients choose freely comes last: no value may reach into the next one.
    let safe: Vec<String> = needs.keys().map(|(_, variable)| format!("${variable}")).collect();
    let remedy = format!(
        "write `proxy_cache_key \"{}\";` there; or better, beside auth_request, `auth_request_cache zone=auth:1m;` in place \
         of proxy_cache: its key is all that the service sees",
        safe.join(" ")
    );
    found.add(key.unwrap_or(cache).span, sentence, remedy);
}

/// Variables that tell questions apart, in the order in which a key holds them: what has no spaces in it comes first.
type Needs = BTreeMap<(Rank, String), String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Method,
    Host,
    Target,
    Question,
    Credential,
}

/// What the service sees of a request, each with the reason.
fn seen_by_service(
    site: &Site<'_>,
    definitions: &Definitions,
    location: usize,
    questions: &[&Question<'_>],
    cache: &Node,
) -> Needs {
    let mut needs = Needs::new();
    let set = site.in_force(location, &["proxy_set_header"]);
    let passes = |field: &str| {
        site.is_on(location, "proxy_pass_request_headers", true)
            && !set.iter().any(|line| line.bytes(0).eq_ignore_ascii_case(field.as_bytes()))
    };
    let used = |field: &&&str| {
        definitions.fields.contains(&field.to_ascii_lowercase()) || definitions.is_read(&variable_of(field))
    };
    for field in
        ["Authorization", "Cookie"].iter().chain(KEY_FIELDS.iter().filter(used)).filter(|field| passes(field))
    {
        needs.insert((Rank::Credential, variable_of(field)), format!("{field} reaches the service"));
    }
    for line in &set {
        for variable in variables(line.bytes(1)) {
            if let Some(rank) = rank(&variable, definitions) {
                needs.insert((rank, variable), format!("{} tells the service", line.args[0].lossy()));
            }
        }
    }
    for variable in site.own(location, "proxy_pass").flat_map(|node| variables(node.bytes(0))) {
        if let Some(rank) = rank(&variable, definitions) {
            needs.insert((rank, variable), "the URL tells the service".to_owned());
        }
    }
    let several = |part: fn(&Question<'_>) -> Vec<u8>| {
        questions.iter().map(|question| part(question)).collect::<HashSet<_>>().len() > 1
    };
    if several(|question| question.path.to_vec()) {
        needs.insert((Rank::Question, "uri".to_owned()), "several questions lead here".to_owned());
    }
    if several(|question| question.args.to_vec()) {
        needs.insert((Rank::Question, "args".to_owned()), "several questions lead here".to_owned());
    }
    if let Some(other) = sharer(site, location, cache) {
        let place = site.place(site.blocks[other].span, cache.span);
        needs.insert(
            (Rank::Question, "uri".to_owned()),
            format!("{} on {place} has the same zone and key", site.name(other)),
        );
    }
    needs
}

/// Another location that keeps its answers under the same keys in the same zone.
fn sharer(site: &Site<'_>, location: usize, cache: &Node) -> Option<usize> {
    let key = site.value(location, "proxy_cache_key")?;
    site.locations().find(|other| {
        *other != location
            && site.own(*other, "proxy_pass").next().is_some()
            && site.value(*other, "proxy_cache").is_some_and(|zone| zone.bytes(0) == cache.bytes(0))
            && site.value(*other, "proxy_cache_key").is_some_and(|theirs| theirs.bytes(0) == key.bytes(0))
    })
}

/// How a variable tells clients or their requests apart; `None` where it tells nothing that an auth service decides by.
fn rank(variable: &str, definitions: &Definitions) -> Option<Rank> {
    let ranks = definitions.behind_all(variable).into_iter().filter_map(|name| match &*name {
        "request_method" => Some(Rank::Method),
        "host" | "http_host" => Some(Rank::Host),
        "request_uri" | "request" => Some(Rank::Target),
        "http_authorization" | "http_cookie" | "remote_user" => Some(Rank::Credential),
        name if name.starts_with("cookie_") || name.starts_with("ssl_client_") => Some(Rank::Credential),
        name if KEY_FIELDS.iter().any(|field| variable_of(field) == name) => Some(Rank::Credential),
        _ => None,
    });
    ranks.max()
}

fn variable_of(field: &str) -> String {
    format!("http_{}", field.to_ascii_lowercase().replace('-', "_"))
}

/// The variables by which answers are kept apart.
fn known_to_key(
    site: &Site<'_>,
    definitions: &Definitions,
    location: usize,
    key: Option<&Node>,
) -> HashSet<String> {
    // nginx's own key is the URL that the question goes to.
    let mut known: HashSet<String> = match key {
        Some(key) => variables(key.bytes(0)).into_iter().collect(),
        None => site
            .own(location, "proxy_pass")
            .flat_map(|node| variables(node.bytes(0)))
            .chain(own_url())
            .collect(),
    };
    let tested = |name: &str| -> HashSet<String> {
        let values = site.in_force(location, &[name]).into_iter().flat_map(|node| &node.args);
        values.flat_map(|word| variables(&word.text)).collect()
    };
    // Who has one of these never gets a kept answer, and leaves none.
    known.extend(tested("proxy_cache_bypass").intersection(&tested("proxy_no_cache")).cloned());
    known.iter().flat_map(|name| definitions.behind_all(name)).collect()
}

fn own_url() -> impl Iterator<Item = String> {
    ["uri", "args"].into_iter().map(str::to_owned)
}

/// Whether a key with the variables `known` tells apart what `need` does.
fn is_known(need: &str, known: &HashSet<String>, definitions: &Definitions) -> bool {
    let has = |name: &str| known.contains(name);
    let directly = has(need)
        || match need {
            "request_uri" | "request_method" => has("request"),
            "request" => has("request_uri") && has("request_method"),
            "host" => has("http_host"),
            "http_host" => has("host"),
            "remote_user" => has("http_authorization"),
            "uri" => ["document_uri", "proxy_host"].into_iter().any(has),
            "args" => has("query_string"),
            _ if need.starts_with("cookie_") => has("http_cookie"),
            _ if need.starts_with("ssl_client_") => known.iter().any(|name| {
                name.starts_with("ssl_client_") && (name.ends_with("cert") || name.ends_with("print"))
            }),
            _ => false,
        };
    let made_of = definitions.behind_all(need);
    directly
        || made_of.len() > 1
            && made_of
                .iter()
                .filter(|name| *name != need && rank(name, definitions).is_some())
                .all(|name| is_known(name, known, &Definitions::default()))
}

/// Kept answers that outlive a refusal.
fn old_answers(site: &Site<'_>, location: usize, found: &mut Found) {
    let Some(node) = site.value(location, "proxy_cache_use_stale") else { return };
    let when: Vec<&str> =
        (0..node.args.len()).filter_map(|at| node.str(at).ok()).filter(|word| *word != "off").collect();
    let name = site.name(location);
    let refusals: Vec<&str> =
        when.iter().copied().filter(|word| matches!(*word, "http_403" | "http_404" | "http_429")).collect();
    let failures: Vec<&str> =
        when.iter().copied().filter(|word| *word != "updating" && !refusals.contains(word)).collect();
    let remedy = "write `proxy_cache_use_stale off;` there, or `auth_request_cache zone=auth:1m grace=30s;` in place of \
                  proxy_cache, which says how long at most";
    if !refusals.is_empty() {
        let sentence = format!(
            "\"proxy_cache_use_stale {}\" in {name} answers with an old permission where the auth service refuses: who was \
             let in once stays in",
            refusals.join(" ")
        );
        found.add(node.span, sentence, remedy);
    } else if !failures.is_empty() {
        let sentence = format!(
            "\"proxy_cache_use_stale\" in {name} goes on letting in whoever was let in before, while the auth service fails \
             ({}): also those whose permission has been taken away since",
            failures.join(" ")
        );
        found.add(node.span, sentence, remedy);
    } else if when.contains(&"updating") {
        let sentence = if site.is_on(location, "proxy_cache_background_update", false) {
            format!(
                "\"proxy_cache_use_stale updating\" in {name} lets in by an old permission while the service is asked in the \
                 background; a refusal that is not stored (proxy_cache_valid) never takes effect"
            )
        } else {
            format!(
                "\"proxy_cache_use_stale updating\" in {name} lets in by an old permission as long as another request waits \
                 for the service"
            )
        };
        found.add(node.span, sentence, remedy);
    }
}

#[cfg(test)]
mod tests {
    use crate::warnings::told;

    fn told_of(auth: &str, more: &str) -> Vec<String> {
        told(&format!(
            "http {{ server {{ location = /auth {{ internal; proxy_pass http://auth; proxy_cache z; {auth} }}\n\
             location / {{ auth_request /auth; proxy_pass http://app; }} {more} }} }}"
        ))
    }

    #[test]
    fn a_key_without_what_the_service_sees_is_told() {
        for (auth, lacks) in [
            (
                "",
                "the default key lacks $http_authorization (Authorization reaches the service), $http_cookie (Cookie reaches the service):",
            ),
            ("proxy_cache_key $http_authorization;", "lacks $http_cookie (Cookie reaches the service):"),
            (
                "proxy_cache_key \"$http_authorization $cookie_session\";",
                "lacks $http_cookie (Cookie reaches",
            ),
            ("proxy_cache_key \"$remote_user $http_cookie\";", "lacks $http_authorization ("),
            (
                "proxy_set_header X-Original-URI $request_uri; proxy_cache_key \"$uri $http_authorization $http_cookie\";",
                "lacks $request_uri (X-Original-URI tells the service)",
            ),
            (
                "proxy_set_header X-Method $request_method; proxy_set_header X-Forwarded-Host $host; proxy_cache_key \"$http_authorization $http_cookie\";",
                "lacks $request_method (X-Method tells the service), $host (X-Forwarded-Host tells",
            ),
            (
                "proxy_set_header Cookie s=$cookie_s; proxy_cache_key $http_authorization;",
                "lacks $cookie_s (Cookie tells",
            ),
        ] {
            let told = told_of(auth, "");
            assert_eq!(told.len(), 1, "{auth}: {told:?}");
            assert!(told[0].contains(lacks), "{auth}: {told:?}");
        }
        let used = told_of(
            "proxy_cache_key \"$http_authorization $http_cookie\";",
            "location /k { if ($http_x_api_key) { return 403; } }",
        );
        assert!(used[0].contains("lacks $http_x_api_key"), "{used:?}");
    }

    #[test]
    fn questions_that_share_a_key_are_told() {
        let key = "proxy_cache_key \"$http_authorization $http_cookie\";";
        let several = told_of(key, "location /x { auth_request /auth?admin; }");
        assert!(several[0].contains("lacks $args (several questions lead here)"), "{several:?}");
        let shared =
            told_of(key, &format!("location = /b {{ internal; proxy_pass http://b; proxy_cache z; {key} }}"));
        assert!(
            shared[0].contains("lacks $uri (location \"/b\" on line 2 has the same zone and key)"),
            "{shared:?}"
        );
    }

    #[test]
    fn a_key_with_all_that_the_service_sees_is_not() {
        for auth in [
            "proxy_cache off;",
            "proxy_cache_key \"$http_authorization $http_cookie\";",
            "proxy_set_header Cookie \"\"; proxy_cache_key $http_authorization;",
            "proxy_pass_request_headers off; proxy_set_header Authorization $http_authorization; proxy_cache_key $http_authorization;",
            "proxy_set_header X-Original-URI $request_uri; proxy_cache_key \"$request $http_authorization $http_cookie\";",
            "proxy_cache_key $http_authorization; proxy_cache_bypass $http_cookie; proxy_no_cache $http_cookie;",
            "set $both \"$http_authorization $http_cookie\"; proxy_cache_key $both;",
            "proxy_set_header X-Real-IP $remote_addr; proxy_cache_key \"$http_authorization $http_cookie\";",
        ] {
            assert_eq!(told_of(auth, ""), [""; 0], "{auth}");
        }
    }

    #[test]
    fn the_remedy_keeps_what_has_spaces_last() {
        let text = "http { server { location = /auth { internal; proxy_pass http://auth; proxy_cache z; \
                    proxy_set_header X-Original-URI $request_uri; proxy_set_header X-Original-Method $request_method; }\n\
                    location / { auth_request /auth; } } }";
        let tree = conf::parse_text("t", text.as_bytes()).unwrap();
        let remedy = crate::warnings::find(&tree)[0].remedy.clone().unwrap();
        let line = "`proxy_cache_key \"$request_method $request_uri $http_authorization $http_cookie\";`";
        assert!(remedy.contains(line), "{remedy}");
    }

    #[test]
    fn old_permissions_are_told() {
        let key = "proxy_cache_key \"$http_authorization $http_cookie\";";
        for (stale, says) in [
            (
                "proxy_cache_use_stale error timeout updating http_500;",
                "while the auth service fails (error timeout http_500)",
            ),
            (
                "proxy_cache_use_stale error http_403;",
                "\"proxy_cache_use_stale http_403\" in location \"/auth\" answers with an old",
            ),
            ("proxy_cache_use_stale updating;", "as long as another request waits"),
            ("proxy_cache_use_stale updating; proxy_cache_background_update on;", "never takes effect"),
        ] {
            let told = told_of(&format!("{key} {stale}"), "");
            assert_eq!(told.len(), 1, "{stale}: {told:?}");
            assert!(told[0].contains(says), "{told:?}");
        }
        assert_eq!(told_of(&format!("{key} proxy_cache_use_stale off;"), ""), [""; 0]);
        assert_eq!(told_of("proxy_cache off; proxy_cache_use_stale error;", ""), [""; 0]);
    }
}
