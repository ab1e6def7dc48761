//! `doorward help`: the operator's manual, made from the tables of directives.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use conf::{Contexts, Directive};

use super::say::say;
use crate::directives::{self, Verdict};
use crate::modules;

/// `help NAME` and `help --all`.
pub fn show(name: Option<&str>) -> ExitCode {
    let text = match name {
        None => all(),
        Some(name) => match of_directive(name) {
            Some(text) => text,
            None => {
                say!("doorward: nobody knows a directive \"{name}\"");
                return ExitCode::FAILURE;
            }
        },
    };
    // A reader that closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What there is to say of one directive; `None` when nobody knows it.
pub fn of_directive(name: &str) -> Option<String> {
    let mut text = String::new();
    for module in modules::MODULES {
        for row in module.directives.iter().filter(|row| row.name == name) {
            built(row, module.name, &mut text);
        }
    }
    for row in directives::rows().filter(|row| row.name == name) {
        not_built(row, &mut text);
    }
    (!text.is_empty()).then_some(text)
}

/// Every directive: docs/directives.md.
pub fn all() -> String {
    let mut text = String::from(
        "# Directives\n\nMade by `doorward help --all` from the program's own tables; a test fails when this page is stale.\n\n\
         The first part is what Doorward does. The second part is what it knows of nginx and NGINX Plus and accepts without \
         effect, or refuses, each with the reason.\n\n# Done\n\n",
    );
    let mut rows: Vec<_> =
        modules::MODULES.iter().flat_map(|m| m.directives.iter().map(move |d| (d, m.name))).collect();
    rows.sort_by_key(|(row, _)| row.name);
    for (row, module) in rows {
        built(row, module, &mut text);
    }
    text.push_str("# Accepted without effect, or refused\n\n| directive | context | what becomes of it |\n|---|---|---|\n");
    let mut rows: Vec<_> = directives::rows().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let _ = writeln!(text, "| `{}` | {} | {} |", row.name, row.contexts, verdict(&row.set));
    }
    text
}

fn built(row: &Directive<Verdict>, module: &str, out: &mut String) {
    let default = if row.default.is_empty() { "none".to_owned() } else { format!("`{}`", row.default) };
    let _ = write!(
        out,
        "## {}\n\n`{}`\n\nDefault: {default}. Context: {}. Module: {module}.\n\n{}\n",
        row.name,
        row.syntax(),
        contexts(row.contexts),
        paragraphs(row.doc)
    );
}

fn not_built(row: &Directive<Verdict>, out: &mut String) {
    let _ = write!(out, "## {}\n\nContext: {}. {}\n\n", row.name, contexts(row.contexts), verdict(&row.set));
}

fn contexts(contexts: Contexts) -> String {
    contexts.to_string()
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Built(_) => String::new(),
        Verdict::NoEffect(because) => format!("accepted without effect: {because}"),
        Verdict::Refused { because, instead } => format!("refused: {because}. Instead: {instead}"),
    }
}

/// Doc comments have a space before each line, and a line feed behind it.
fn paragraphs(doc: &str) -> String {
    doc.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim());
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_directives_is_as_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/directives.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == all(),
            "docs/directives.md is stale: write it anew with `doorward help --all > docs/directives.md`"
        );
    }

    #[test]
    fn a_directive_says_what_it_is_for_and_one_that_is_not_built_says_why() {
        assert!(of_directive("auth_request").unwrap().contains("Lets a request pass"));
        assert!(of_directive("perl").unwrap().contains("Doorward runs no Perl"));
        assert_eq!(of_directive("no_such_directive"), None);
    }
}
