//! `ngx_http_referer_module`: whether a request comes from a page that may link here (`$invalid_referer`).

use std::sync::Arc;

use conf::Arg::{Many, Text};
use conf::{Diagnostic, Word};
use wire::Name;

use crate::compile::Compiler;
use crate::directives;
use crate::hostnames::{Hostnames, Refused};
use crate::module::{Module, Scope, Settings};
use crate::modules::core::ServerSettings;
use crate::plan::Plan;
use crate::regex::Pattern;
use crate::variables::Row;

/// Longest host in a `Referer` that is looked at.
const LONGEST_HOST: usize = 256;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_referer_module",
    directives: directives! { RefererSettings;
        /// Pages that may link here; `$invalid_referer` is `1` for others. `none` is a request without the field, `blocked` one
        /// whose field was cut off by a proxy, `server_names` the server's own names; else a name, `*.name`, `name.*`, each also
        /// with the start of a path, or `~` and a pattern for what follows `http://`.
        "valid_referers" in [SERVER LOCATION] (Many(&Text("none | blocked | server_names | string"))) = "" => |c, _, n| {
            c.words.get_or_insert_default().extend(n.args.iter().cloned());
            Ok(())
        };
    },
    variables: &[Row::fresh("invalid_referer", |ex, out| {
        if ex.plan.referers.as_ref().is_some_and(|valid| !valid.allow(ex.request_field(Name::Referer))) {
            out.push(b'1');
        }
        true
    })
    .writable(|_, _| {})],
    plan,
};

#[derive(Clone, Default)]
struct RefererSettings {
    words: Option<Vec<Word>>,
}

impl Settings for RefererSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.words.is_none() {
            self.words.clone_from(&outer.words);
        }
    }
}

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let Some(words) = scope.get_mut::<RefererSettings>().words.clone() else { return Ok(()) };
    // Only now are the names known that stand below.
    let names = scope.get_mut::<ServerSettings>().names.clone().unwrap_or_default();
    plan.referers = Some(Arc::new(Referers::compile(&words, &names, cx)?));
    Ok(())
}

/// Pages that may link here.
#[derive(Default)]
pub struct Referers {
    /// Hosts, with what the path has to start with.
    hosts: Hostnames<Box<[u8]>>,
    /// Patterns of the server's names, for the host alone.
    host_patterns: Vec<Pattern>,
    /// For all that follows the scheme.
    patterns: Vec<Pattern>,
    none: bool,
    blocked: bool,
}

impl Referers {
    fn compile(words: &[Word], names: &[Word], cx: &mut Compiler) -> Result<Referers, Diagnostic> {
        let mut valid = Referers::default();
        for word in words {
            match &*word.text {
                b"" => return Err(Diagnostic::at(word.span, "invalid referer \"\"")),
                b"none" => valid.none = true,
                b"blocked" => valid.blocked = true,
                b"server_names" => valid.add_names(names, cx)?,
                b"~" => return Err(Diagnostic::at(word.span, "empty regex in \"~\"")),
                [b'~', pattern @ ..] => {
                    valid.patterns.push(Pattern::compile(pattern, true, word, &mut cx.variables)?);
                }
                text => {
                    let slash = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
                    valid.add(word, &text[..slash], &text[slash..])?;
                }
            }
        }
        if (valid.none || valid.blocked) && valid.hosts.is_empty() {
            let sentence = "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" \
                            directive without any valid referer";
            return Err(Diagnostic::nowhere(sentence));
        }
        Ok(valid)
    }

    fn add_names(&mut self, names: &[Word], cx: &mut Compiler) -> Result<(), Diagnostic> {
        for word in names {
            match word.text.strip_prefix(b"~") {
                Some(pattern) => {
                    self.host_patterns.push(Pattern::compile(pattern, true, word, &mut cx.variables)?);
                }
                None => self.add(word, &word.text, b"")?,
            }
        }
        Ok(())
    }

    fn add(&mut self, word: &Word, host: &[u8], path: &[u8]) -> Result<(), Diagnostic> {
        self.hosts.add(host, path.into()).map_err(|refused| {
            let what = match refused {
                Refused::Invalid => "invalid hostname or wildcard",
                Refused::Conflicting => "conflicting parameter",
            };
            Diagnostic::at(word.span, format!("{what} \"{}\"", String::from_utf8_lossy(host)))
        })
    }

    /// Whether a request with this `Referer` may come here.
    fn allow(&self, referer: Option<&[u8]>) -> bool {
        if self.hosts.is_empty() && self.host_patterns.is_empty() && self.patterns.is_empty() {
            return true;
        }
        let Some(referer) = referer else { return self.none };
        let Some(rest) = without_scheme(referer) else { return self.blocked };
        let end = rest.iter().position(|b| matches!(b, b'/' | b':')).unwrap_or(rest.len());
        let (host, behind) = rest.split_at(end);
        if host.len() > LONGEST_HOST {
            return false;
        }
        let host = host.to_ascii_lowercase();
        if let Some(start) = self.hosts.get(&host) {
            let path = behind.iter().position(|b| *b == b'/').unwrap_or(behind.len());
            return behind[path..].starts_with(start);
        }
        self.host_patterns.iter().any(|pattern| pattern.is_match(&host))
            || self.patterns.iter().any(|pattern| pattern.is_match(rest))
    }
}

/// What follows `http://` or `https://`; a field too short for any host does not count.
fn without_scheme(referer: &[u8]) -> Option<&[u8]> {
    if referer.len() < "http://i.ru".len() {
        return None;
    }
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = referer.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}
