//! The rewrite phase comes before the access phase: what answers there is never checked, and reads nothing that a check
//! gives.

use std::collections::HashSet;

use conf::Node;

use super::site::{Kind, Site};
use super::values::{Definitions, name, variables};
use super::{Found, is_done};
use crate::compile::LocationKind;

/// Directives of the access phase; those of a row take each other's place.
const CHECKS: &[&[&str]] =
    &[&["auth_request"], &["auth_basic"], &["auth_jwt"], &["auth_require"], &["allow", "deny"]];

pub fn check(site: &Site<'_>, definitions: &Definitions, found: &mut Found) {
    for block in 0..site.blocks.len() {
        if matches!(site.blocks[block].kind, Kind::Server | Kind::Location(..)) {
            answered_before(site, block, found);
            read_before(site, definitions, block, found);
        }
    }
}

/// `return` and redirects that always come before a check in force.
fn answered_before(site: &Site<'_>, block: usize, found: &mut Found) {
    let Some((answer, shows)) = always_answers(site, block) else { return };
    for names in CHECKS {
        let lines = site.in_force(block, names);
        let Some(check) = lines.iter().find(|line| restricts(line)) else { continue };
        let own =
            lines.iter().any(|line| site.blocks[block].nodes.iter().any(|node| std::ptr::eq(node, *line)));
        let (checks, answers) = (check.name.lossy(), answer.name.lossy());
        let remedy = format!(
            "let what is to be protected be reached after the check: `try_files \"\" @answer;` here, and the \
             \"{answers}\" in `location @answer {{ ... }}`"
        );
        if own {
            let place = site.place(answer.span, check.span);
            let sentence = format!(
                "\"{checks}\" protects nothing here: \"{answers}\" on {place} answers every request before it is asked"
            );
            found.add(check.span, sentence, remedy);
        } else if shows && !site.is_late(block) {
            let place = site.place(check.span, answer.span);
            let sentence = format!(
                "\"{answers}\" answers every request before \"{checks}\" of {place} is asked, which protects nothing here"
            );
            let off = if names.contains(&"deny") { "allow all".to_owned() } else { format!("{checks} off") };
            found.add(
                answer.span,
                sentence,
                format!("if everybody may see this, say so with `{off};` here; if not, {remedy}"),
            );
        }
    }
}

/// Whether a directive of the access phase keeps anybody out.
fn restricts(line: &Node) -> bool {
    line.name.text != b"allow" && line.bytes(0) != b"off"
}

/// The rule that answers whatever comes in, and whether it shows something: an error page or a redirect does not.
fn always_answers<'t>(site: &Site<'t>, block: usize) -> Option<(&'t Node, bool)> {
    for node in site.blocks[block].nodes {
        match &*node.name.text {
            b"return" => {
                let status = node.str(0).ok().and_then(|word| word.parse::<u16>().ok());
                return match status {
                    Some(400..) => None,
                    Some(300..) => Some((node, false)),
                    Some(_) => Some((node, true)),
                    // An address alone is a redirect.
                    None => Some((node, false)),
                };
            }
            b"rewrite" if redirects(node) && matches_all(site, block, node.bytes(0)) => {
                return Some((node, false));
            }
            b"break" => return None,
            b"rewrite" if ends_rules(node) => return None,
            b"if" if leads_elsewhere(node) => return None,
            _ => {}
        }
    }
    None
}

fn redirects(rewrite: &Node) -> bool {
    let target = rewrite.bytes(1);
    matches!(rewrite.bytes(2), b"redirect" | b"permanent")
        || [&b"http://"[..], b"https://", b"$scheme"].iter().any(|start| target.starts_with(start))
}

fn ends_rules(rewrite: &Node) -> bool {
    matches!(rewrite.bytes(2), b"last" | b"break")
}

/// Whether some rule in an `if` ends the rules, so that what follows does not always run.
fn leads_elsewhere(node: &Node) -> bool {
    node.block.iter().flatten().any(|inner| match &*inner.name.text {
        b"break" => true,
        b"rewrite" => ends_rules(inner),
        _ => leads_elsewhere(inner),
    })
}

/// Whether a pattern matches every path that comes to a location, as far as that is plain to see.
fn matches_all(site: &Site<'_>, block: usize, pattern: &[u8]) -> bool {
    let pattern = pattern.strip_suffix(b"$").unwrap_or(pattern);
    if pattern == b"^/" {
        return true;
    }
    let start = pattern.strip_suffix(b"(.*)").or_else(|| pattern.strip_suffix(b".*"));
    let open = pattern.len() == start.map_or(0, <[u8]>::len) || start.is_some() || pattern == b"^";
    match start.unwrap_or(pattern) {
        b"" | b"^" => open,
        b"^/" | b"/" => start.is_some(),
        rest => match &site.blocks[block].kind {
            Kind::Location(LocationKind::Prefix | LocationKind::FinalPrefix, name) => {
                start.is_some() && rest.strip_prefix(b"^").unwrap_or(rest) == name
            }
            Kind::Location(LocationKind::Exact, name) => rest.strip_prefix(b"^").unwrap_or(rest) == name,
            _ => false,
        },
    }
}

/// Rules that read what `auth_request_set` sets only later.
fn read_before(site: &Site<'_>, definitions: &Definitions, block: usize, found: &mut Found) {
    let asks = site.in_force(block, &["auth_request"]).iter().any(|node| restricts(node));
    if !asks || site.is_late(block) {
        return;
    }
    let lines = site.in_force(block, &["auth_request_set"]);
    let names: HashSet<String> = lines
        .iter()
        .filter_map(|line| name(line.bytes(0)))
        .filter(|name| !definitions.is_set(name))
        .collect();
    if !names.is_empty() {
        rules(definitions, site.blocks[block].nodes, &names, false, found);
    }
}

fn rules(
    definitions: &Definitions,
    nodes: &[Node],
    names: &HashSet<String>,
    inside: bool,
    found: &mut Found,
) {
    for node in nodes {
        let (values, remedy) = match &*node.name.text {
            b"if" if is_done("auth_require") => (
                &*node.args,
                "let the auth service refuse; or decide with `auth_require $value error=403;`, which runs after \
                 auth_request, and a value that a map makes of the variable",
            ),
            b"if" => (
                &*node.args,
                "let the auth service refuse: ask it at another path or with another query for this location",
            ),
            b"set" => (
                node.args.get(1..).unwrap_or_default(),
                "use the variable itself, or a map of it, in the directive that needs it (proxy_set_header, proxy_pass, \
                 add_header ...): those read it after auth_request",
            ),
            b"rewrite" => (
                node.args.get(1..2).unwrap_or_default(),
                "pass it in a field (proxy_set_header), or in the URL of proxy_pass, which read it after auth_request",
            ),
            b"return" if inside => (
                node.args.get(1..).unwrap_or_default(),
                "return it in a named location that `try_files \"\" @name;` leads to after auth_request",
            ),
            _ => continue,
        };
        for variable in values.iter().flat_map(|word| variables(&word.text)) {
            let behind = definitions.behind_maps(&variable);
            let Some(name) = names.iter().filter(|name| behind.contains(*name)).min() else { continue };
            let rule = node.name.lossy();
            let sentence = if *name == variable {
                format!(
                    "\"{rule}\" reads ${name} before auth_request_set gives it a value: here it is always empty"
                )
            } else {
                format!(
                    "\"{rule}\" reads ${variable}, which a map makes of ${name}, before auth_request_set gives that a \
                     value: it is made of nothing, and keeps this value afterwards"
                )
            };
            found.add(node.span, sentence, remedy);
        }
        if node.name.text == b"if" {
            rules(definitions, node.block.as_deref().unwrap_or_default(), names, true, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::warnings::{told, told_of_server};

    #[test]
    fn a_return_beside_a_check_is_told() {
        let told = told_of_server(
            "location /a {\nauth_request /auth;\nset $x 1; if ($y) { return 403; }\nreturn 200 x; }\nlocation = /auth { internal; }",
        );
        assert_eq!(
            told,
            [
                "2: \"auth_request\" protects nothing here: \"return\" on line 4 answers every request before it is asked"
            ]
        );
        for text in [
            "location /a { deny all; return 301 /b; }",
            "location /a { auth_basic x; rewrite ^ /b redirect; }",
            "location /a { auth_basic x; rewrite ^/a(.*)$ https://b$1; }",
            "deny all; return 200 x;",
        ] {
            assert_eq!(told_of_server(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_does_not_always_answer_or_shows_nothing_is_not() {
        for text in [
            "location /a { deny all; return 404; }",
            "location /a { auth_basic off; return 200 x; }",
            "location /a { allow all; return 200 x; }",
            "location /a { deny all; if ($x) { return 200 x; } }",
            "location /a { deny all; if ($x) { break; } return 200 x; }",
            "location /a { deny all; rewrite ^/a/b /c last; return 200 x; }",
            "location /a { deny all; rewrite ^/a/b /c redirect; }",
            "location /a { deny all; rewrite ^ /b last; }",
            "location /a { return 200 x; } location /b { deny all; }",
        ] {
            assert_eq!(told_of_server(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn an_inherited_check_counts_where_something_is_shown() {
        let text = "http { auth_basic x;\nserver { location /a {\nreturn 200 x; }\nlocation /b { return 301 /a; }\nlocation @c { return 200 x; } error_page 401 /d; location = /d { return 200 login; } } }";
        assert_eq!(
            told(text),
            [
                "3: \"return\" answers every request before \"auth_basic\" of line 1 is asked, which protects nothing here"
            ]
        );
    }

    #[test]
    fn rules_that_read_the_answer_too_early_are_told() {
        let text = "location = /auth { internal; }\nlocation /a { auth_request /auth; auth_request_set $role $upstream_http_x_role;\n\
                    if ($role = x) {\nreturn 200 $role; }\nset $copy $role;\nrewrite ^/a /b/$role break;\nproxy_set_header X-Role $role; }";
        let told = told_of_server(text);
        let lines: Vec<&str> = told.iter().filter_map(|line| line.split(" before").next()).collect();
        assert_eq!(
            lines,
            [
                "3: \"if\" reads $role",
                "4: \"return\" reads $role",
                "5: \"set\" reads $role",
                "6: \"rewrite\" reads $role"
            ]
        );
        let map = "http { map $role $ok { default 0; admin 1; } server { location = /auth { internal; }\n\
                   location /a { auth_request /auth; auth_request_set $role $upstream_http_x_role;\nif ($ok) { return 403; } } } }";
        assert!(crate::warnings::told(map)[0].starts_with("3: \"if\" reads $ok, which a map makes of $role"));
    }

    #[test]
    fn rules_that_read_other_values_or_run_later_are_not() {
        for text in [
            "location = /auth { internal; } location /a { auth_request /auth; auth_request_set $r $upstream_http_x; if ($arg_r) { return 403; } }",
            "location = /auth { internal; } location /a { set $r none; auth_request /auth; auth_request_set $r $upstream_http_x; if ($r = none) { return 403; } }",
            "location = /auth { internal; } auth_request /auth; auth_request_set $r $upstream_http_x; error_page 403 @e; location @e { if ($r) { return 403; } }",
        ] {
            assert_eq!(told_of_server(text), [""; 0], "{text}");
        }
    }
}
