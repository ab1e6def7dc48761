//! Answers that let people in, from somebody whose name nobody asked for; and names that no certificate has.

use super::Found;
use super::site::{Kind, Site};
use super::tokens;
use super::values::Definitions;

pub fn check(site: &Site<'_>, _: &Definitions, found: &mut Found) {
    nobody_looks(site, found);
    named_as_the_group(site, found);
}

fn nobody_looks(site: &Site<'_>, found: &mut Found) {
    let questions = site.auth_locations().into_iter().map(|(location, _)| (location, "the auth service"));
    let own = tokens::own_locations(site).into_iter().map(|location| (location, "for keys or about tokens"));
    for (location, whom) in questions.chain(own) {
        let mut passes = site.own(location, "proxy_pass");
        let Some(pass) = passes.find(|pass| pass.bytes(0).to_ascii_lowercase().starts_with(b"https://"))
        else {
            continue;
        };
        if site.is_on(location, "proxy_ssl_verify", false) {
            continue;
        }
        let sentence = format!(
            "{} asks {whom} over TLS without verifying its certificate: whoever can put a server in between answers, and lets \
             in whom he likes",
            site.name(location)
        );
        let remedy = "add `proxy_ssl_verify on;` and `proxy_ssl_trusted_certificate FILE;`, and where the URL does not name the \
                      host of the certificate `proxy_ssl_name HOST;`";
        found.add(pass.span, sentence, remedy);
    }
}

/// Certificates that are looked through for the name of a group.
fn named_as_the_group(site: &Site<'_>, found: &mut Found) {
    let http = site.blocks.iter().filter(|block| block.kind == Kind::Http);
    let groups: Vec<&[u8]> = http
        .flat_map(|block| block.nodes)
        .filter(|node| node.name.text == b"upstream")
        .map(|node| node.bytes(0))
        // What looks like the name of a host may be meant as one.
        .filter(|name| !name.contains(&b'.'))
        .collect();
    for location in site.locations() {
        let Some(pass) = site.own(location, "proxy_pass").next() else { continue };
        let url = pass.bytes(0).to_ascii_lowercase();
        let Some(rest) = url.strip_prefix(b"https://") else { continue };
        let name = rest.split(|byte| matches!(byte, b'/' | b'?')).next().unwrap_or_default();
        let is_group = groups.iter().any(|group| group.eq_ignore_ascii_case(name));
        if is_group
            && site.is_on(location, "proxy_ssl_verify", false)
            && site.value(location, "proxy_ssl_name").is_none()
        {
            let group = String::from_utf8_lossy(name);
            let sentence = format!(
                "\"proxy_ssl_verify\" looks for \"{group}\" in the certificates of its servers, the name of the group: without \
                 it there every request is answered with 502"
            );
            found.add(
                pass.span,
                sentence,
                "write the name that is in the certificates: `proxy_ssl_name HOST;`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::warnings::{told, told_of_server};

    #[test]
    fn an_auth_service_that_anybody_can_be_is_told() {
        let of = |location: &str| {
            told_of_server(&format!(
                "location / {{ auth_request /auth; }}\nlocation = /auth {{ internal; {location} }}"
            ))
        };
        let told = of("proxy_pass https://auth.test;");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("2: location \"/auth\" asks the auth service over TLS"), "{told:?}");
        assert_eq!(of("proxy_pass HTTPS://auth.test; proxy_ssl_verify off;").len(), 1);
        assert_eq!(of("proxy_pass https://auth.test; proxy_ssl_verify on;"), [""; 0]);
        assert_eq!(of("proxy_pass http://auth.test;"), [""; 0]);
        assert_eq!(told_of_server("location / { proxy_pass https://app.test; }"), [""; 0]);
        assert_eq!(
            told_of_server(
                "proxy_ssl_verify on; location / { auth_request /auth; } location = /auth { internal; proxy_pass https://a; }"
            ),
            [""; 0]
        );
    }

    #[test]
    fn so_is_an_issuer() {
        let told = told_of_server(
            "auth_jwt x; auth_jwt_key_cache 1m; auth_jwt_key_request /keys;\n\
             location = /keys { internal; proxy_pass https://issuer.test/jwks; }",
        );
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("2: location \"/keys\" asks for keys or about tokens over TLS"),
            "{told:?}"
        );
    }

    #[test]
    fn a_group_whose_name_no_certificate_has_is_told() {
        let of = |location: &str| {
            told(&format!(
                "http {{ upstream App {{ server a; }} upstream app.test {{ server a; }} proxy_ssl_verify on;\n\
                 server {{ location / {{ {location} }} }} }}"
            ))
        };
        let told = of("proxy_pass https://app/x;");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("2: \"proxy_ssl_verify\" looks for \"app\""), "{told:?}");
        for right in [
            "proxy_pass https://app; proxy_ssl_name app.test;",
            "proxy_pass https://app; proxy_ssl_verify off;",
            "proxy_pass https://app.test;",
            "proxy_pass https://apps;",
            "proxy_pass http://app;",
        ] {
            assert_eq!(of(right), [""; 0], "{right}");
        }
    }
}
