//! Traps that a configuration can walk into although nginx accepts it: looked for once, when it is read.
//!
//! Every check reads the tree of directives alone, so that it works as well for a file that does not compile here. What
//! each of them says was seen happening on nginx. docs/warnings.md lists them.

mod asked;
mod cached;
mod certificates;
mod early_data;
mod identity;
mod login;
mod order;
mod refusals;
mod required;
pub mod site;
mod tokens;
mod unchecked;
mod unverified;
mod values;

use conf::{Diagnostic, Span, Tree};

use site::Site;
use values::Definitions;

use crate::modules;

/// The checks, in the order of the page that lists them.
const CHECKS: &[fn(&Site<'_>, &Definitions, &mut Found)] = &[
    order::check,
    asked::check,
    identity::check,
    cached::check,
    refusals::check,
    unchecked::check,
    unverified::check,
    tokens::check,
    required::check,
    login::check,
    certificates::check,
    early_data::check,
];

/// All warnings about a configuration, in the order of its lines.
pub fn find(tree: &Tree) -> Vec<Diagnostic> {
    let site = Site::of(tree);
    let definitions = Definitions::of(tree);
    let mut found = Found::default();
    for check in CHECKS {
        check(&site, &definitions, &mut found);
    }
    found.warnings.sort_by_key(|warning| warning.span.map(|span| (span.file, span.start)));
    found.warnings
}

/// Whether Doorward does a directive, so that a remedy may name it.
fn is_done(name: &str) -> bool {
    modules::directives().any(|row| row.name == name)
}

/// What was found.
#[derive(Default)]
struct Found {
    warnings: Vec<Diagnostic>,
}

impl Found {
    /// Adds a warning, once: a file that is included several times is read several times.
    fn add(&mut self, span: Span, message: String, remedy: impl Into<String>) {
        let warning = Diagnostic::at(span, message).warning().instead(remedy);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// What the checks of one text say, for tests: `line: message`.
#[cfg(test)]
fn told(text: &str) -> Vec<String> {
    let tree = conf::parse_text("t", text.as_bytes()).unwrap();
    find(&tree).iter().map(|w| format!("{}: {}", w.span.unwrap().line, w.message)).collect()
}

/// As [`told`], of what stands in one server.
#[cfg(test)]
fn told_of_server(text: &str) -> Vec<String> {
    told(&format!("http {{ server {{ {text} }} }}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHED: &str = include_str!("../../tests/guide/cached.conf");
    const SEVERAL: &str = include_str!("../../tests/guide/multi-service.conf");
    const USER: &str = include_str!("../../tests/guide/user-context.conf");
    const LOG: &str = include_str!("../../tests/guide/auth-log.conf");

    #[test]
    fn the_guides_configurations_get_the_warnings_that_they_deserve() {
        assert_eq!(told(SEVERAL), [""; 0]);
        let cached = told(CACHED);
        assert_eq!(
            cached,
            [
                "4: clients can ask location \"/auth\" themselves, and so try credentials and read what the auth service \
                 answers",
                "7: location \"/auth\" keeps answers of the auth service, and its proxy_cache_key lacks $http_cookie (Cookie \
                 reaches the service): one client gets what was answered to another",
                "9: \"proxy_cache_use_stale\" in location \"/auth\" goes on letting in whoever was let in before, while the \
                 auth service fails (error timeout http_500 http_502 http_503 http_504): also those whose permission has \
                 been taken away since",
            ]
        );
        assert_eq!(
            told_of_server(USER),
            [
                "2: no location takes \"/auth\", which \"auth_request\" asks: a file is looked for, and without one every \
                 request is answered with 500"
            ]
        );
        assert_eq!(told_of_server(LOG), [""; 0]);
        assert_eq!(
            told_of_server(&format!("{USER}{LOG}")),
            [
                "9: clients can ask location \"/auth\" themselves, and so try credentials and read what the auth service \
                 answers",
                "11: \"access_log\" writes nothing about the questions that location \"/auth\" answers: subrequests are not \
                 logged",
            ]
        );
    }

    #[test]
    fn a_file_that_is_included_twice_is_warned_about_once() {
        use std::collections::BTreeMap;
        use std::path::{Path, PathBuf};
        let mut files = BTreeMap::from([
            (PathBuf::from("/t"), b"http { server { include a; } server { include a; } }".to_vec()),
            (PathBuf::from("/a"), b"location /a { deny all; return 200 x; }".to_vec()),
        ]);
        let tree = conf::load(Path::new("/t"), &mut files).unwrap();
        assert_eq!(find(&tree).len(), 1);
    }
}
