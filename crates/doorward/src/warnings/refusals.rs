//! Error pages of an auth location: those that make a permission of a refusal.

use conf::Node;

use super::Found;
use super::site::{Kind, Site};
use super::values::Definitions;
use crate::compile::LocationKind;

pub fn check(site: &Site<'_>, _: &Definitions, found: &mut Found) {
    for (location, _) in site.auth_locations() {
        let name = site.name(location);
        for page in site.in_force(location, &["error_page"]) {
            let Some(page) = Page::read(page) else { continue };
            let codes: Vec<String> = page
                .codes
                .iter()
                .filter(|code| comes_up(site, location, **code))
                .map(u16::to_string)
                .collect();
            if codes.is_empty() {
                continue;
            }
            let Some(answers) = page.lets_in(site, location) else { continue };
            let sentence = format!(
                "\"error_page\" makes {answers} of {} in {name}, which auth_request asks: who was not allowed is let in",
                codes.join(" ")
            );
            let remedy = "leave the status as it is there (`error_page CODE URI;` without `=`), and put pages for clients in \
                          the location that asks";
            found.add(page.node.span, sentence, remedy);
        }
    }
}

/// One `error_page`.
struct Page<'t> {
    node: &'t Node,
    codes: Vec<u16>,
    /// `=code`; 0 for `=`.
    response: Option<u16>,
    target: &'t [u8],
}

impl<'t> Page<'t> {
    fn read(node: &'t Node) -> Option<Page<'t>> {
        let (target, rest) = node.args.split_last()?;
        let (codes, response) = match rest.split_last() {
            Some((last, codes)) if last.text.starts_with(b"=") => {
                (codes, Some(last.text.get(1..).unwrap_or_default()))
            }
            _ => (rest, None),
        };
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        let codes = codes.iter().filter_map(|word| number(&word.text)).collect();
        let response = response.map(|text| number(text).unwrap_or(0));
        Some(Page { node, codes, response, target: &target.text })
    }

    /// What is answered instead, where that is or may be a permission.
    fn lets_in(&self, site: &Site<'_>, location: usize) -> Option<String> {
        // An address leads to a redirect, and without `=` the status stays: neither lets anybody in.
        let response = self.response?;
        let target = match self.target.first() {
            Some(b'@') => site.server_of(location).and_then(|server| named(site, server, self.target)),
            Some(b'/') => {
                let path = self.target.split(|byte| *byte == b'?').next().unwrap_or_default();
                site.server_of(location).and_then(|server| site.locate(server, path))
            }
            _ => return None,
        };
        match response {
            200..300 => Some(response.to_string()),
            0 => match target.map(|target| (target, own_answer(site, target))) {
                Some((_, Some(status @ 200..300))) => Some(status.to_string()),
                Some((_, Some(_))) => None,
                Some((target, None)) => Some(format!("what {} answers", site.name(target))),
                None => Some("what the page answers".to_owned()),
            },
            _ => None,
        }
    }
}

fn named(site: &Site<'_>, server: usize, name: &[u8]) -> Option<usize> {
    site.locations().find(|at| {
        site.blocks[*at].outer == Some(server)
            && matches!(&site.blocks[*at].kind, Kind::Location(LocationKind::Named, known) if **known == *name)
    })
}

/// The status that a location always answers by itself.
fn own_answer(site: &Site<'_>, location: usize) -> Option<u16> {
    let node = site.own(location, "return").next()?;
    Some(node.str(0).ok()?.parse().unwrap_or(302))
}

/// Whether a status meets the error pages of an auth location: an upstream's own answer does so only when it is
/// intercepted.
fn comes_up(site: &Site<'_>, location: usize, code: u16) -> bool {
    let passes = ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"]
        .iter()
        .find(|name| site.own(location, name).next().is_some());
    let Some(pass) = passes else { return true };
    let intercepts = format!("{}_intercept_errors", pass.trim_end_matches("_pass"));
    site.is_on(location, &intercepts, false)
        || matches!(code, 400 | 413 | 500 | 502 | 503 | 504)
        || returns(site.blocks[location].nodes, code)
}

fn returns(nodes: &[Node], code: u16) -> bool {
    nodes.iter().any(|node| {
        node.name.text == b"return" && node.bytes(0) == code.to_string().as_bytes()
            || node.name.text == b"if" && returns(node.block.as_deref().unwrap_or_default(), code)
    })
}

#[cfg(test)]
mod tests {
    use crate::warnings::told_of_server;

    fn told(auth: &str, server: &str) -> Vec<String> {
        told_of_server(&format!(
            "{server}\nlocation = /auth {{ internal;\n{auth} }} location /api {{ auth_request /auth; proxy_pass http://app; }}\n\
             location = /ok {{ return 204; }} location @ok {{ return 200; }} location @app {{ proxy_pass http://app; }} \
             location @login {{ return 302 /login; }}"
        ))
    }

    #[test]
    fn a_page_that_makes_a_permission_of_a_refusal_is_told() {
        let pass = "proxy_pass http://auth;";
        let cut = "proxy_pass http://auth; proxy_intercept_errors on;";
        for (auth, server, start) in [
            (
                format!("{cut} error_page 401 403 =200 /x;"),
                "",
                "3: \"error_page\" makes 200 of 401 403 in location \"/auth\"",
            ),
            (format!("{cut} error_page 401 = /ok;"), "", "3: \"error_page\" makes 204 of 401"),
            (format!("{cut} error_page 401 = @ok;"), "", "3: \"error_page\" makes 200 of 401"),
            (
                format!("{cut} error_page 401 = @app;"),
                "",
                "3: \"error_page\" makes what location \"@app\" answers of 401",
            ),
            (format!("{pass} error_page 401 502 504 =200 /x;"), "", "3: \"error_page\" makes 200 of 502 504"),
            (pass.to_owned(), "error_page 500 502 =200 /x;", "1: \"error_page\" makes 200 of 500 502"),
            ("error_page 401 =200 /x; return 401;".to_owned(), "", "3: \"error_page\" makes 200 of 401"),
        ] {
            let told = told(&auth, server);
            assert_eq!(told.len(), 1, "{auth}: {told:?}");
            assert!(told[0].starts_with(start), "{told:?}");
        }
    }

    #[test]
    fn a_page_that_leaves_a_refusal_a_refusal_is_not() {
        let cut = "proxy_pass http://auth; proxy_intercept_errors on;";
        for auth in [
            "proxy_pass http://auth; error_page 401 =200 /x;".to_owned(),
            format!("{cut} error_page 401 /ok;"),
            format!("{cut} error_page 401 = @login;"),
            format!("{cut} error_page 401 =302 https://login/;"),
            format!("{cut} error_page 401 =403 /x;"),
        ] {
            assert_eq!(told(&auth, "error_page 502 =200 /x;").len(), 0, "{auth}");
        }
        let asks = "location = /auth { internal; proxy_pass http://auth; } location / { auth_request /auth; error_page 401 =200 /login; }";
        assert_eq!(told_of_server(asks), [""; 0]);
    }
}
