//! Fields that tell an upstream who is asking: set from the auth service's answer, or from a token, in one location, left
//! as the client sent them in another.

use std::collections::HashMap;

use conf::Node;

use super::site::Site;
use super::values::{Definitions, variables};
use super::{Found, is_done, tokens};
use crate::request_fields::IDENTITY;

pub fn check(site: &Site<'_>, definitions: &Definitions, found: &mut Found) {
    let told = told_of_identity(site, definitions);
    if told.is_empty() {
        return;
    }
    let mut asked: Vec<usize> = site.auth_locations().into_iter().map(|(location, _)| location).collect();
    // What asks for keys is no client's request.
    asked.extend(tokens::own_locations(site));
    for location in site.locations().filter(|location| !asked.contains(location)) {
        let Some(pass) = site.own(location, "proxy_pass").next() else { continue };
        let fields = site.upstream(location).and_then(|upstream| told.get(&upstream));
        let mut forged: Vec<(&String, &&Node)> =
            fields.into_iter().flatten().filter(|(field, _)| passes(site, location, field)).collect();
        forged.sort_by_key(|(field, _)| *field);
        for (field, set) in forged {
            let shown = set_name(set, field);
            let place = site.place(set.span, pass.span);
            let of_token = behind(set.bytes(1), definitions).any(|name| definitions.is_of_token(&name));
            let whose = if of_token { "a token's" } else { "the auth service's" };
            let sentence = format!(
                "\"{shown}\" passes from the client to the upstream in {}, which believes it to be {whose} as \
                 {place} sets it: anyone can claim to be anybody",
                site.name(location)
            );
            let here = format!(
                "write `proxy_set_header {shown} \"\";` here, beside a copy of the proxy_set_header lines that are inherited now"
            );
            let remedy = match is_done("auth_identity_headers") {
                true => format!(
                    "write `auth_identity_headers {shown};` in the http block, which removes it everywhere first; or {here}"
                ),
                false => here,
            };
            found.add(pass.span, sentence, remedy);
        }
    }
}

/// The fields that are set from the auth service's answers and from tokens, in lower case, by upstream, each with the
/// place of one.
fn told_of_identity<'t>(
    site: &Site<'t>,
    definitions: &Definitions,
) -> HashMap<String, HashMap<String, &'t Node>> {
    let mut told: HashMap<String, HashMap<String, &'t Node>> = HashMap::new();
    for location in site.locations() {
        let Some(upstream) = site.upstream(location) else { continue };
        let fields = told.entry(upstream).or_default();
        for line in site.in_force(location, &["proxy_set_header"]) {
            let says_who =
                |name: String| definitions.of_auth.contains(&name) || definitions.is_of_token(&name);
            if behind(line.bytes(1), definitions).any(says_who) {
                fields.entry(lower(line.bytes(0))).or_insert(line);
            }
        }
        for line in site.in_force(location, &["auth_request_copy_headers"]) {
            for word in line.args.iter().filter(|word| *word.text != *b"off") {
                fields.entry(lower(&word.text)).or_insert(line);
            }
        }
        if let Some(line) = asks_in_place(site, location) {
            for name in IDENTITY {
                fields.entry(name.to_ascii_lowercase()).or_insert(line);
            }
        }
    }
    told.retain(|_, fields| !fields.is_empty());
    told
}

/// The `auth` line in force, where it is on.
fn asks_in_place<'t>(site: &Site<'t>, location: usize) -> Option<&'t Node> {
    site.in_force(location, &["auth"]).into_iter().find(|line| line.bytes(0) != b"off")
}

/// The variables that a value is made of, through any number of steps.
fn behind<'d>(value: &[u8], definitions: &'d Definitions) -> impl Iterator<Item = String> + use<'d> {
    variables(value).into_iter().flat_map(|name| definitions.behind_all(&name))
}

/// Whether a field reaches the upstream as the client sent it.
fn passes(site: &Site<'_>, location: usize, field: &str) -> bool {
    let removed = ["auth_identity_headers", "auth_request_copy_headers"].iter().any(|name| {
        site.in_force(location, &[name])
            .iter()
            .flat_map(|node| &node.args)
            .any(|word| lower(&word.text) == field)
    });
    let removed = removed
        || (asks_in_place(site, location).is_some()
            && IDENTITY.iter().any(|name| name.eq_ignore_ascii_case(field)));
    let lines = site.in_force(location, &["proxy_set_header"]);
    match lines.iter().find(|line| lower(line.bytes(0)) == field) {
        _ if removed => false,
        Some(line) => variables(line.bytes(1)) == [format!("http_{}", field.replace('-', "_"))],
        None => site.is_on(location, "proxy_pass_request_headers", true),
    }
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

/// The field as the configuration writes it.
fn set_name(line: &Node, field: &str) -> String {
    let written = line.args.iter().find(|word| lower(&word.text) == field);
    let known =
        || IDENTITY.iter().find(|name| name.eq_ignore_ascii_case(field)).map(|name| (*name).to_owned());
    written.map(|word| word.lossy().into_owned()).or_else(known).unwrap_or_else(|| field.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::warnings::told_of_server;

    const ASKS: &str = "location = /auth { internal; proxy_pass http://app; }\n\
        location /a { auth_request /auth; auth_request_set $user $upstream_http_x_user;\n\
        proxy_set_header X-User $user; proxy_pass http://app; }\n";

    #[test]
    fn a_field_that_the_client_sets_elsewhere_is_told() {
        for other in [
            "location /b { proxy_pass http://app; }",
            "location /b { proxy_set_header X-Other 1; proxy_pass http://app:80/x; }",
            "location /b { proxy_set_header X-User $http_x_user; proxy_pass http://app; }",
        ] {
            let told = told_of_server(&format!("{ASKS}{other}"));
            assert_eq!(told.len(), 1, "{other}");
            assert!(
                told[0]
                    .starts_with("4: \"X-User\" passes from the client to the upstream in location \"/b\""),
                "{told:?}"
            );
            assert!(told[0].contains("as line 3 sets it"), "{told:?}");
        }
    }

    #[test]
    fn a_field_that_is_copied_is_told_and_off_is_none() {
        let told = |copied: &str| {
            told_of_server(&format!(
                "location = /auth {{ internal; proxy_pass http://app; }}\n\
                 location /a {{ auth_request /auth; auth_request_copy_headers {copied}; proxy_pass http://app; }}\n\
                 location /b {{ proxy_pass http://app; }}"
            ))
        };
        let of_field = told("X-User");
        assert_eq!(of_field.len(), 1, "{of_field:?}");
        assert!(of_field[0].starts_with("3: \"X-User\" passes from the client"), "{of_field:?}");
        assert_eq!(told("off"), [""; 0]);
    }

    #[test]
    fn who_is_known_in_place_is_told_by_fields_that_others_must_not_send() {
        let told = |other: &str| {
            told_of_server(&format!("location /a {{ auth main; proxy_pass http://app; }}\n{other}"))
        };
        let passed = told("location /b { proxy_pass http://app; }");
        assert_eq!(passed.len(), 5, "{passed:?}");
        assert!(passed[0].starts_with("2: \"X-User-Email\" passes from the client"), "{passed:?}");
        for other in [
            "location /b { auth main; proxy_pass http://app; }",
            "location /b { proxy_pass http://other; }",
            "auth_identity_headers X-User-ID X-User-Name X-User-Email X-User-Scope X-User-Groups;\n\
             location /b { proxy_pass http://app; }",
        ] {
            assert_eq!(told(other), [""; 0], "{other}");
        }
    }

    #[test]
    fn a_claim_that_the_client_sets_elsewhere_is_told() {
        for claim in ["$jwt_claim_sub", "$user", "$mapped"] {
            let text = format!(
                "http {{ auth_jwt_claim_set $user sub; map $jwt_claim_sub $mapped {{ default $jwt_claim_sub; }} server {{\n\
                 location /a {{ auth_jwt x; proxy_set_header X-User {claim}; proxy_pass http://app; }}\n\
                 location /b {{ proxy_pass http://app; }} }} }}"
            );
            let told = crate::warnings::told(&text);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("3: \"X-User\" passes from the client"), "{told:?}");
            assert!(told[0].contains("believes it to be a token's as line 2 sets it"), "{told:?}");
        }
    }

    #[test]
    fn a_field_that_is_replaced_or_goes_to_another_upstream_is_not() {
        for other in [
            "location /b { proxy_pass http://other; }",
            "location = /keys { internal; proxy_pass http://app; } auth_jwt_key_request /keys;",
            "location /b { proxy_set_header x-user \"\"; proxy_pass http://app; }",
            "location /b { proxy_set_header X-User nobody; proxy_pass http://app; }",
            "location /b { proxy_pass_request_headers off; proxy_pass http://app; }",
            "location /b { auth_identity_headers X-User; proxy_pass http://app; }",
        ] {
            assert_eq!(told_of_server(&format!("{ASKS}{other}")), [""; 0], "{other}");
        }
    }
}
