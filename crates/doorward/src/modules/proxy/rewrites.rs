//! What `proxy_redirect` and `proxy_cookie_*` change in the fields of answers: `Location`, `Refresh`, `Set-Cookie`.

use std::sync::Arc;

use conf::Arg::{Optional, Text};
use conf::{Diagnostic, Node, Word};
use wire::Name;

use super::ProxyLists;
use super::pass::Destination;
use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::Directive;
use crate::regex::Pattern;
use crate::variables::Template;

/// The rules as written; `Some` and empty is `off`.
#[derive(Clone, Default)]
pub struct Lines {
    redirects: Option<Vec<RedirectLine>>,
    cookie_domains: Option<Vec<Rewrite>>,
    cookie_paths: Option<Vec<Rewrite>>,
    cookie_flags: Option<Vec<FlagsLine>>,
}

#[derive(Clone)]
enum RedirectLine {
    Default,
    Rewrite(Rewrite),
}

/// One rule: what is replaced by what.
#[derive(Clone)]
struct Rewrite {
    pattern: Subject,
    replacement: Template,
}

#[derive(Clone)]
enum Subject {
    Text(Template),
    Pattern(Arc<Pattern>),
}

#[derive(Clone)]
struct FlagsLine {
    cookie: Subject,
    flags: Vec<Template>,
}

/// The rules of a location, ready to run.
#[derive(Default)]
pub struct Rewrites {
    redirects: Vec<Rewrite>,
    cookies: Option<Box<CookieRewrites>>,
}

struct CookieRewrites {
    domains: Vec<Rewrite>,
    paths: Vec<Rewrite>,
    flags: Vec<FlagsLine>,
}

pub(super) const DIRECTIVES: &[Directive] = directives! { ProxyLists;
    /// Changes the start of `Location` and `Refresh`, or what a pattern matches: `default`, `off`, or text and replacement.
    "proxy_redirect" in [HTTP SERVER LOCATION] (Text("redirect | default | off"), Optional(&Text("replacement"))) = "default" => redirect;
    /// Changes the domain of cookies.
    "proxy_cookie_domain" in [HTTP SERVER LOCATION] (Text("domain | off"), Optional(&Text("replacement"))) = "off" => |c, cx, n| {
        let strip = |word: &Word| match word.text.strip_prefix(b".") {
            Some(rest) => Word { text: rest.to_vec(), ..word.clone() },
            None => word.clone(),
        };
        add(&mut c.rewrites.cookie_domains, n, |from, to| {
            let pattern = match from.text.strip_prefix(b"~") {
                Some(text) => Subject::Pattern(Arc::new(Pattern::compile(text, true, from, &mut cx.variables)?)),
                None => Subject::Text(Template::compile(&strip(from), &mut cx.variables)?),
            };
            Ok(Rewrite { pattern, replacement: Template::compile(&strip(to), &mut cx.variables)? })
        })
    };
    /// Changes the path of cookies.
    "proxy_cookie_path" in [HTTP SERVER LOCATION] (Text("path | off"), Optional(&Text("replacement"))) = "off" => |c, cx, n| {
        add(&mut c.rewrites.cookie_paths, n, |from, to| rewrite(from, to, cx))
    };
    /// Sets or takes away flags of cookies: `secure`, `httponly`, `samesite=strict|lax|none`, and each with `no` in front.
    "proxy_cookie_flags" in [HTTP SERVER LOCATION] (Text("cookie | off"), Optional(&Text("flag")), Optional(&Text("flag")), Optional(&Text("flag"))) = "off" => flags;
};

fn redirect(lists: &mut ProxyLists, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    if node.args.len() == 1 && node.bytes(0) == b"default" {
        match lists.pass {
            Some(Destination::Fixed(_)) => {}
            Some(Destination::Variable(_)) => {
                let sentence =
                    "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables";
                return Err(Diagnostic::at(node.span, sentence));
            }
            None => {
                let sentence =
                    "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive";
                return Err(Diagnostic::at(node.span, sentence));
            }
        }
        let lines = lists.rewrites.redirects.get_or_insert_default();
        lines.push(RedirectLine::Default);
        return Ok(());
    }
    add(&mut lists.rewrites.redirects, node, |from, to| rewrite(from, to, cx).map(RedirectLine::Rewrite))
}

fn flags(lists: &mut ProxyLists, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    add(&mut lists.rewrites.cookie_flags, node, |cookie, _| {
        let flags = node.args.iter().skip(1).map(|word| Template::compile(word, &mut cx.variables));
        let flags = flags.collect::<Result<_, _>>()?;
        let cookie = match cookie.text.strip_prefix(b"~") {
            Some(text) => {
                Subject::Pattern(Arc::new(Pattern::compile(text, true, cookie, &mut cx.variables)?))
            }
            None => Subject::Text(Template::compile(cookie, &mut cx.variables)?),
        };
        Ok(FlagsLine { cookie, flags })
    })
}

/// Adds a rule to a list, or turns the list off.
fn add<T>(
    list: &mut Option<Vec<T>>,
    node: &Node,
    make: impl FnOnce(&Word, &Word) -> Result<T, Diagnostic>,
) -> Result<(), Diagnostic> {
    let first = node.word(0)?;
    if list.as_ref().is_some_and(Vec::is_empty) {
        return Err(node.duplicate());
    }
    let Some(second) = node.args.get(1) else {
        if first.text != b"off" {
            return Err(Diagnostic::at(first.span, format!("invalid parameter \"{}\"", first.lossy())));
        }
        if list.is_some() {
            return Err(node.duplicate());
        }
        *list = Some(Vec::new());
        return Ok(());
    };
    let rule = make(first, second)?;
    list.get_or_insert_default().push(rule);
    Ok(())
}

fn rewrite(from: &Word, to: &Word, cx: &mut Compiler) -> Result<Rewrite, Diagnostic> {
    let pattern = match (from.text.strip_prefix(b"~*"), from.text.strip_prefix(b"~")) {
        (Some(text), _) => Subject::Pattern(Arc::new(Pattern::compile(text, true, from, &mut cx.variables)?)),
        (_, Some(text)) => {
            Subject::Pattern(Arc::new(Pattern::compile(text, false, from, &mut cx.variables)?))
        }
        _ => Subject::Text(Template::compile(from, &mut cx.variables)?),
    };
    Ok(Rewrite { pattern, replacement: Template::compile(to, &mut cx.variables)? })
}

impl Lines {
    /// Takes over what the enclosing block says and this one does not.
    pub(super) fn inherit(&mut self, outer: &Lines) {
        if self.redirects.is_none() {
            self.redirects.clone_from(&outer.redirects);
        }
        if self.cookie_domains.is_none() {
            self.cookie_domains.clone_from(&outer.cookie_domains);
        }
        if self.cookie_paths.is_none() {
            self.cookie_paths.clone_from(&outer.cookie_paths);
        }
        if self.cookie_flags.is_none() {
            self.cookie_flags.clone_from(&outer.cookie_flags);
        }
    }

    /// The rules of a location called `location` that passes requests to `destination`.
    pub(super) fn settle(&self, destination: &Destination, location: &[u8]) -> Rewrites {
        let default = || match destination {
            Destination::Variable(_) => None,
            Destination::Fixed(fixed) => Some(if fixed.uri.is_empty() {
                let mut pattern = fixed.url.clone();
                pattern.push(b'/');
                Rewrite::literal(&pattern, b"/")
            } else {
                Rewrite::literal(&fixed.url, location)
            }),
        };
        let redirects = match &self.redirects {
            None => default().into_iter().collect(),
            Some(lines) => lines
                .iter()
                .filter_map(|line| match line {
                    RedirectLine::Default => default(),
                    RedirectLine::Rewrite(rewrite) => Some(rewrite.clone()),
                })
                .collect(),
        };
        let cookies = CookieRewrites {
            domains: self.cookie_domains.clone().unwrap_or_default(),
            paths: self.cookie_paths.clone().unwrap_or_default(),
            flags: self.cookie_flags.clone().unwrap_or_default(),
        };
        let any = !(cookies.domains.is_empty() && cookies.paths.is_empty() && cookies.flags.is_empty());
        Rewrites { redirects, cookies: any.then(|| Box::new(cookies)) }
    }
}

impl Rewrites {
    /// Changes the fields of an answer that was just taken.
    pub(super) fn apply(&self, ex: &mut Exchange<'_>) {
        if !self.redirects.is_empty() {
            self.redirect(ex, Name::Location);
            self.redirect(ex, Name::Refresh);
        }
        let Some(cookies) = &self.cookies else { return };
        let mut at = 0;
        while let Some(row) = ex.response.fields.rows().get(at) {
            if row.visible && row.upstream && row.field.id == Name::SetCookie {
                let value = ex.response.fields.parts(row).2.to_vec();
                if let Some(changed) = cookies.rewrite(ex, &value) {
                    ex.response.fields.replace(at, &changed);
                    at += 1;
                }
            }
            at += 1;
        }
    }

    fn redirect(&self, ex: &mut Exchange<'_>, name: Name) {
        let fields = &ex.response.fields;
        let Some(at) = fields.position(name, |row| row.upstream && row.visible) else { return };
        let value = fields.parts(&fields.rows()[at]).2.to_vec();
        let start = if name == Name::Refresh {
            let url = value.windows(4).position(|w| w.eq_ignore_ascii_case(b"url="));
            let Some(url) = url else { return };
            url + 4
        } else {
            0
        };
        if let Some(changed) = first_match(&self.redirects, ex, &value, start) {
            ex.response.fields.replace(at, &changed);
            if let Some(row) = ex.response.fields.rows_mut().get_mut(at + 1) {
                // A path in it is this server's now, and may become an absolute URL.
                row.own = true;
            }
        }
    }
}

impl Rewrite {
    fn literal(from: &[u8], to: &[u8]) -> Rewrite {
        Rewrite { pattern: Subject::Text(Template::literal(from)), replacement: Template::literal(to) }
    }
}

/// The value with what the first rule that matches behind `start` makes of it.
fn first_match(rules: &[Rewrite], ex: &mut Exchange<'_>, value: &[u8], start: usize) -> Option<Vec<u8>> {
    let (kept, subject) = value.split_at_checked(start)?;
    for rule in rules {
        let matched = match &rule.pattern {
            Subject::Text(text) => {
                let text = text.eval(ex);
                subject.starts_with(&text).then_some(text.len())
            }
            Subject::Pattern(pattern) => pattern.matches(ex, Some(subject)).then_some(subject.len()),
        };
        if let Some(length) = matched {
            let mut changed = kept.to_vec();
            rule.replacement.append(ex, &mut changed);
            changed.extend_from_slice(subject.get(length..).unwrap_or_default());
            return Some(changed);
        }
    }
    None
}

/// A name and, behind `=`, a value; a part of a `Set-Cookie`.
struct Attribute {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl CookieRewrites {
    /// The changed cookie; `None` where no rule applies.
    fn rewrite(&self, ex: &mut Exchange<'_>, cookie: &[u8]) -> Option<Vec<u8>> {
        let mut attributes: Vec<Attribute> = cookie.split(|b| *b == b';').map(Attribute::parse).collect();
        let first = attributes.first().filter(|a| a.value.is_some())?;
        let name = first.name.clone();
        let mut changed = false;
        for attribute in attributes.iter_mut().skip(1) {
            let Some(value) = &mut attribute.value else { continue };
            let new = if attribute.name.eq_ignore_ascii_case(b"domain") {
                domain(&self.domains, ex, value)
            } else if attribute.name.eq_ignore_ascii_case(b"path") {
                first_match(&self.paths, ex, value, 0)
            } else {
                None
            };
            if let Some(new) = new {
                *value = new;
                changed = true;
            }
        }
        let line = self.flags.iter().find(|line| match &line.cookie {
            Subject::Text(text) => text.eval(ex).eq_ignore_ascii_case(&name),
            Subject::Pattern(pattern) => pattern.matches(ex, Some(&name)),
        });
        if let Some(line) = line {
            let flags: Vec<Flag> = line.flags.iter().filter_map(|flag| Flag::of(&flag.eval(ex))).collect();
            changed |= !flags.is_empty();
            set_flags(&mut attributes, &flags);
        }
        changed.then(|| joined(&attributes))
    }
}

/// A domain is matched as a whole, without the dot that may be in front of it.
fn domain(rules: &[Rewrite], ex: &mut Exchange<'_>, value: &[u8]) -> Option<Vec<u8>> {
    for rule in rules {
        let (kept, matched) = match &rule.pattern {
            Subject::Text(text) => {
                let kept = usize::from(value.starts_with(b"."));
                let name = value.get(kept..).unwrap_or_default();
                (kept, text.eval(ex).eq_ignore_ascii_case(name))
            }
            Subject::Pattern(pattern) => (0, pattern.matches(ex, Some(value))),
        };
        if matched {
            let mut changed = value.get(..kept).unwrap_or_default().to_vec();
            rule.replacement.append(ex, &mut changed);
            return Some(changed);
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Secure(bool),
    HttpOnly(bool),
    SameSite(Option<&'static str>),
}

impl Flag {
    /// A flag as `proxy_cookie_flags` calls it.
    fn of(word: &[u8]) -> Option<Flag> {
        const WORDS: [(&str, Flag); 8] = [
            ("secure", Flag::Secure(true)),
            ("nosecure", Flag::Secure(false)),
            ("httponly", Flag::HttpOnly(true)),
            ("nohttponly", Flag::HttpOnly(false)),
            ("samesite=strict", Flag::SameSite(Some("Strict"))),
            ("samesite=lax", Flag::SameSite(Some("Lax"))),
            ("samesite=none", Flag::SameSite(Some("None"))),
            ("nosamesite", Flag::SameSite(None)),
        ];
        WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, flag)| *flag)
    }

    fn attribute(self) -> (&'static str, Option<&'static str>, bool) {
        match self {
            Flag::Secure(on) => ("Secure", None, on),
            Flag::HttpOnly(on) => ("HttpOnly", None, on),
            Flag::SameSite(value) => ("SameSite", value, value.is_some()),
        }
    }
}

fn set_flags(attributes: &mut Vec<Attribute>, flags: &[Flag]) {
    let mut missing = Vec::new();
    for flag in flags {
        let (name, value, on) = flag.attribute();
        let mut at = 1;
        let mut found = false;
        while let Some(attribute) = attributes.get_mut(at) {
            if !attribute.name.eq_ignore_ascii_case(name.as_bytes()) {
                at += 1;
            } else if on {
                found = true;
                let same = attribute.value.as_deref().unwrap_or_default();
                if let Some(value) = value
                    && !same.eq_ignore_ascii_case(value.as_bytes())
                {
                    *attribute =
                        Attribute { name: name.as_bytes().to_vec(), value: Some(value.as_bytes().to_vec()) };
                }
                at += 1;
            } else {
                attributes.remove(at);
            }
        }
        if on && !found {
            missing.push(Attribute {
                name: name.as_bytes().to_vec(),
                value: value.map(|v| v.as_bytes().to_vec()),
            });
        }
    }
    attributes.append(&mut missing);
}

impl Attribute {
    fn parse(text: &[u8]) -> Attribute {
        let (name, value) = match text.iter().position(|b| *b == b'=') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        Attribute { name: name.trim_ascii().to_vec(), value: value.map(|v| v.trim_ascii().to_vec()) }
    }
}

fn joined(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(&attribute.name);
        if let Some(value) = &attribute.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_flags(cookie: &str, flags: &[&str]) -> String {
        let mut attributes: Vec<Attribute> =
            cookie.as_bytes().split(|b| *b == b';').map(Attribute::parse).collect();
        let flags: Vec<Flag> = flags.iter().filter_map(|f| Flag::of(f.as_bytes())).collect();
        set_flags(&mut attributes, &flags);
        String::from_utf8(joined(&attributes)).expect("text stays text")
    }

    #[test]
    fn flags_are_set_once_changed_and_taken_away() {
        let all = ["secure", "HttpOnly", "samesite=lax"];
        assert_eq!(with_flags("a=b=c;path=/", &all), "a=b=c; path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(with_flags("a=1; secure; samesite=NONE", &all), "a=1; secure; SameSite=Lax; HttpOnly");
        assert_eq!(with_flags("a=1;Secure;x;SameSite=Lax", &["nosecure", "nosamesite"]), "a=1; x");
        // The cookie's own name is no flag.
        assert_eq!(with_flags("secure=1", &["nosecure"]), "secure=1");
    }
}
