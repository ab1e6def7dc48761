//! Scopes and groups that are required where nobody is known, or of nobody.

use super::Found;
use super::site::{Kind, Site};
use super::values::Definitions;

pub fn check(site: &Site<'_>, _: &Definitions, found: &mut Found) {
    for block in (0..site.blocks.len()).filter(|at| !matches!(site.blocks[*at].kind, Kind::Http)) {
        let of_identity =
            |word: &conf::Word| word.text.starts_with(b"scope=") || word.text.starts_with(b"group=");
        for line in site.own(block, "auth_require").filter(|line| line.args.iter().any(of_identity)) {
            let is_inside = |at: &usize| site.around(*at).any(|outer| outer == block);
            if !(0..site.blocks.len()).filter(is_inside).any(|at| knows_somebody(site, at)) {
                found.add(
                    line.span,
                    "\"auth_require\" requires a scope or group here, where nobody is known: every request is refused"
                        .to_owned(),
                    "add `auth NAME;` or `auth_jwt REALM;`; of what `auth_request` answers, require a variable",
                );
            } else if site.value(block, "satisfy").is_some_and(|satisfy| satisfy.bytes(0) == b"any") {
                found.add(
                    line.span,
                    "\"auth_require\" requires a scope or group of nobody here: with `satisfy any`, who is known passes \
                     without it"
                        .to_owned(),
                    "take `satisfy any` out, or require it by an `auth_rule` of the service or by auth_jwt_require",
                );
            }
        }
    }
}

fn knows_somebody(site: &Site<'_>, block: usize) -> bool {
    ["auth", "auth_jwt"]
        .iter()
        .any(|name| site.value(block, name).is_some_and(|line| line.bytes(0) != b"off"))
}

#[cfg(test)]
mod tests {
    use crate::warnings::told_of_server;

    #[test]
    fn a_scope_of_nobody_is_told() {
        let nobody = "where nobody is known";
        for (server, said) in [
            ("auth_require scope=a;", Some(nobody)),
            ("auth main; location / { auth off; auth_require group=a; }", Some(nobody)),
            ("auth_request /auth; location = /auth { internal; } auth_require $x group=a;", Some(nobody)),
            ("auth_jwt x; auth_require scope=a;", None),
            ("auth_require scope=a; location / { auth main; }", None),
            ("location / { auth_require scope=a; limit_except GET { auth main; } }", None),
            ("auth_require $x;", None),
            ("satisfy any; auth main; auth_require $x;", None),
            ("satisfy any; auth main; auth_require scope=a;", Some("of nobody here: with `satisfy any`")),
        ] {
            let told = told_of_server(server);
            match said {
                None => assert_eq!(told, [""; 0], "{server}"),
                Some(said) => assert!(told.iter().any(|line| line.contains(said)), "{server}: {told:?}"),
            }
        }
    }
}
