//! Tokens that others come to see, keys that are asked for too often or nowhere, and claims that are never found.

use conf::Node;

use super::Found;
use super::site::{Kind, Site};
use super::values::{Definitions, variables};

pub fn check(site: &Site<'_>, definitions: &Definitions, found: &mut Found) {
    for block in 0..site.blocks.len() {
        if matches!(site.blocks[block].kind, Kind::Http) {
            continue;
        }
        introspection(site, block, found);
        match site.value(block, "auth_jwt").filter(|line| line.bytes(0) != b"off") {
            Some(jwt) => {
                shown_to_others(jwt, definitions, found);
                keys_of_services(site, block, found);
            }
            None => required_of_nobody(site, block, found),
        }
    }
    for block in &site.blocks {
        capitals(block.nodes, found);
    }
}

/// Tokens in a query.
fn shown_to_others(jwt: &Node, definitions: &Definitions, found: &mut Found) {
    let Some(value) = jwt.bytes(1).strip_prefix(b"token=") else { return };
    let of_query = |name: &String| {
        name.starts_with("arg_") || matches!(&**name, "args" | "query_string" | "request_uri" | "request")
    };
    let made_of = variables(value).into_iter().flat_map(|name| definitions.behind_all(&name));
    if !made_of.into_iter().any(|name| of_query(&name)) {
        return;
    }
    let shown = String::from_utf8_lossy(value);
    let sentence = format!(
        "\"auth_jwt\" takes the token from the query ({shown}): it is written to access logs, kept in histories, and told \
         to others in Referer (RFC 6750, 2.3)"
    );
    found.add(
        jwt.span,
        sentence,
        "take it from Authorization (no token=), or from a cookie: token=$cookie_NAME",
    );
}

/// `auth_jwt_key_request` without a cache, or of a path that nobody answers.
fn keys_of_services(site: &Site<'_>, block: usize, found: &mut Found) {
    let lines = site.in_force(block, &["auth_jwt_key_file", "auth_jwt_key_request"]);
    let cache = site.value(block, "auth_jwt_key_cache").map_or(&b"0"[..], |line| line.bytes(0));
    for line in lines.iter().filter(|line| line.name.text == b"auth_jwt_key_request") {
        let path = line.bytes(0);
        if path.contains(&b'$') {
            continue;
        }
        if matches!(cache, b"0" | b"0s" | b"0ms") {
            let sentence = "\"auth_jwt_key_request\" asks for keys for each request with a token: \"auth_jwt_key_cache\" is \
                            not set";
            found.add(line.span, sentence.to_owned(), "add `auth_jwt_key_cache 10m;` beside it");
        }
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let (Some(server), false) = (site.server_of(block), site.is_part()) else { continue };
        let shown = String::from_utf8_lossy(path);
        if site.locate(server, path).is_none() {
            let sentence = format!(
                "no location takes \"{shown}\", which \"auth_jwt_key_request\" asks for keys: a file is looked for, and \
                 without one every request with a token is answered with 500"
            );
            let remedy = format!("write `location = {shown} {{ internal; proxy_pass ...; }}` in this server");
            found.add(line.span, sentence, remedy);
        }
    }
}

/// The locations that only the gateway itself asks, for keys or about tokens.
pub fn own_locations(site: &Site<'_>) -> Vec<usize> {
    let lines = (0..site.blocks.len()).flat_map(|block| {
        let in_services = site.own(block, "auth_service").flat_map(|node| node.block.iter().flatten());
        let about_tokens = in_services.filter(|node| node.name.text == b"auth_introspection");
        site.own(block, "auth_jwt_key_request").chain(about_tokens).map(move |line| (block, line))
    });
    let asked = lines.flat_map(|(block, line)| {
        let path = line.bytes(0).split(|byte| *byte == b'?').next().unwrap_or_default();
        // Around servers a line is in force in each.
        let servers = (0..site.blocks.len()).filter(move |at| {
            matches!(site.blocks[*at].kind, Kind::Server)
                && site.server_of(block).is_none_or(|own| own == *at)
        });
        servers.filter_map(move |server| site.locate(server, path))
    });
    asked.filter(|location| site.own(*location, "internal").next().is_some()).collect()
}

/// `auth_introspection` of a path that nobody answers, in a server that uses the service.
fn introspection(site: &Site<'_>, block: usize, found: &mut Found) {
    let (Some(server), false) = (site.server_of(block), site.is_part()) else { return };
    let named = site.own(block, "auth").chain(site.own(block, "auth_service"));
    for service in named.filter_map(|line| site.service(line.bytes(0))) {
        let lines = service.iter().filter(|node| node.name.text == b"auth_introspection");
        for line in lines.filter(|line| !line.bytes(0).contains(&b'$')) {
            let path = line.bytes(0).split(|byte| *byte == b'?').next().unwrap_or_default();
            if site.locate(server, path).is_none() {
                let shown = String::from_utf8_lossy(path);
                let sentence = format!(
                    "no location takes \"{shown}\", which \"auth_introspection\" asks about tokens, in a server that uses the \
                     service: every request with such a token is answered with 503"
                );
                let remedy =
                    format!("write `location = {shown} {{ internal; proxy_pass ...; }}` in that server");
                found.add(line.span, sentence, remedy);
            }
        }
    }
}

/// Requirements where no token is asked for.
fn required_of_nobody(site: &Site<'_>, block: usize, found: &mut Found) {
    for line in site.own(block, "auth_jwt_require") {
        let below = (0..site.blocks.len()).any(|at| {
            site.around(at).any(|outer| outer == block)
                && site.value(at, "auth_jwt").is_some_and(|jwt| jwt.bytes(0) != b"off")
        });
        if !below {
            found.add(
                line.span,
                "\"auth_jwt_require\" requires nothing here: there is no \"auth_jwt\"".to_owned(),
                "add `auth_jwt REALM;`, or require it of every request: auth_require",
            );
        }
    }
}

/// Claims whose name has capital letters: names of variables have none.
fn capitals(nodes: &[Node], found: &mut Found) {
    for node in nodes {
        for word in &node.args {
            for name in claims(&word.text).filter(|name| name.iter().any(u8::is_ascii_uppercase)) {
                let name = String::from_utf8_lossy(name);
                let small = name.to_ascii_lowercase();
                let sentence = format!(
                    "\"$jwt_claim_{name}\" is the claim \"{small}\", not \"{name}\": names of variables have no capital letters"
                );
                let remedy = format!("write `auth_jwt_claim_set ${small} {name};` in http, and use ${small}");
                found.add(word.span, sentence, remedy);
            }
        }
        // Blocks of a site are looked at by themselves; those of `map` and the like are none.
        let is_own = matches!(&*node.name.text, b"server" | b"location" | b"if" | b"limit_except");
        if !is_own {
            capitals(node.block.as_deref().unwrap_or_default(), found);
        }
    }
}

/// The names behind `$jwt_claim_` in a text, as they are written.
fn claims(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    const FAMILY: &[u8] = b"jwt_claim_";
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == b'$').map(|(at, _)| at + 1);
    starts.filter_map(move |at| {
        let rest = text.get(at..)?;
        let rest = rest.strip_prefix(b"{").unwrap_or(rest);
        let name = rest
            .get(FAMILY.len()..)
            .filter(|_| rest.get(..FAMILY.len()).is_some_and(|family| family.eq_ignore_ascii_case(FAMILY)))?;
        let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        name.get(..end.unwrap_or(name.len()))
    })
}

#[cfg(test)]
mod tests {
    use crate::warnings::{told, told_of_server};

    #[test]
    fn a_token_in_the_query_is_told() {
        for (token, is_told) in [
            ("$arg_token", true),
            ("$mapped", true),
            ("$set", true),
            ("$cookie_token", false),
            ("$http_x_token", false),
        ] {
            let text = format!(
                "http {{ map $args $mapped {{ ~x y; }}\nserver {{ set $set $arg_a;\nlocation / {{ auth_jwt x token={token}; }} }} }}"
            );
            let told = told(&text);
            assert_eq!(!told.is_empty(), is_told, "{token} {told:?}");
            assert!(
                told.iter().all(|line| line.starts_with("3: \"auth_jwt\" takes the token from the query"))
            );
        }
        assert_eq!(told_of_server("auth_jwt x;"), [""; 0]);
    }

    #[test]
    fn keys_that_are_asked_for_each_time_are_told() {
        let of = |server: &str| told_of_server(&format!("location = /keys {{ internal; }}\n{server}"));
        let each = "\"auth_jwt_key_request\" asks for keys for each request with a token";
        assert!(of("auth_jwt x; auth_jwt_key_request /keys;")[0].contains(each));
        assert!(of("auth_jwt x; auth_jwt_key_request /keys; auth_jwt_key_cache 0s;")[0].contains(each));
        assert_eq!(of("auth_jwt x; auth_jwt_key_request /keys; auth_jwt_key_cache 1m;"), [""; 0]);
        assert_eq!(of("auth_jwt_key_request /keys;"), [""; 0]);
        assert_eq!(of("auth_jwt x; auth_jwt_key_request /keys/$host;"), [""; 0]);
        let own = "location /a { auth_jwt_key_file k; } auth_jwt_key_cache 1m; auth_jwt x; auth_jwt_key_request /gone?a;";
        let told = of(own);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("2: no location takes \"/gone\""), "{told:?}");
    }

    #[test]
    fn a_location_that_asks_about_tokens_is_missed() {
        let of = |server: &str| {
            told(&format!("http {{ auth_service a {{ auth_introspection /ask?x; }} server {{ {server} }} }}"))
        };
        let missed = "no location takes \"/ask\", which \"auth_introspection\" asks about tokens";
        assert!(of("location /x { auth a; }")[0].contains(missed));
        assert!(of("location = /auth { internal; auth_service a; }")[0].contains(missed));
        assert_eq!(of("location /x { auth a; } location = /ask { internal; }"), [""; 0]);
        assert_eq!(of("location /x { auth b; }"), [""; 0]);
    }

    #[test]
    fn requirements_of_nobody_are_told() {
        let alone = "\"auth_jwt_require\" requires nothing here";
        assert!(told_of_server("auth_jwt_require $a;")[0].contains(alone));
        assert!(
            told_of_server("auth_jwt x; location / { auth_jwt off; auth_jwt_require $a; }")[0]
                .contains(alone)
        );
        assert_eq!(told_of_server("auth_jwt x; auth_jwt_require $a;"), [""; 0]);
        assert_eq!(told_of_server("auth_jwt_require $a; location / { auth_jwt x; }"), [""; 0]);
        assert_eq!(
            told_of_server("location / { auth_jwt_require $a; limit_except GET { auth_jwt x; } }"),
            [""; 0]
        );
    }

    #[test]
    fn capital_letters_of_claims_are_told() {
        let told = told(
            "http { map $jwt_claim_sub $b { default $JWT_CLAIM_userId; }\nserver { set $a a${jwt_claim_eMail}b$jwt_claim_x; } }",
        );
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("1: \"$jwt_claim_userId\" is the claim \"userid\", not \"userId\""),
            "{told:?}"
        );
        assert!(told[1].starts_with("2: \"$jwt_claim_eMail\" is the claim \"email\""), "{told:?}");
    }
}
