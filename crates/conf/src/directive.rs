//! What a directive looks like: where it may stand, its arguments and its block, as data; and the search for it.

use std::collections::HashMap;
use std::fmt::{self, Display};

use crate::args::not_a_choice;
use crate::diagnostic::Diagnostic;
use crate::tree::{Node, Word};
use crate::value;

/// A set of blocks in which a directive may stand. One element of it says where a directive does stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contexts(u16);

impl Contexts {
    /// Outside any block.
    pub const MAIN: Self = Self(1);
    /// `events { }`
    pub const EVENTS: Self = Self(1 << 1);
    /// `http { }`
    pub const HTTP: Self = Self(1 << 2);
    /// `server { }` in `http`
    pub const SERVER: Self = Self(1 << 3);
    /// `location { }`
    pub const LOCATION: Self = Self(1 << 4);
    /// `if { }` in `server`
    pub const IF_IN_SERVER: Self = Self(1 << 5);
    /// `if { }` in `location`
    pub const IF_IN_LOCATION: Self = Self(1 << 6);
    /// `limit_except { }`
    pub const LIMIT_EXCEPT: Self = Self(1 << 7);
    /// `upstream { }`
    pub const UPSTREAM: Self = Self(1 << 8);
    /// `auth_service NAME { }`
    pub const AUTH_SERVICE: Self = Self(1 << 9);
    /// Everywhere.
    pub const ANY: Self = Self((1 << 10) - 1);

    const NAMES: [&str; 10] = [
        "main",
        "events",
        "http",
        "server",
        "location",
        "if in server",
        "if in location",
        "limit_except",
        "upstream",
        "auth_service",
    ];

    /// Both together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `at` is in the set.
    pub const fn contains(self, at: Self) -> bool {
        self.0 & at.0 != 0
    }
}

/// The names as nginx's manual gives them: `http, server, location`.
impl Display for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any");
        }
        let mut names = Self::NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        if let Some((_, name)) = names.next() {
            f.write_str(name)?;
        }
        names.try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// `on` or `off`
    Flag,
    /// Bytes, with `k` or `m`
    Size,
    /// Bytes, with `k`, `m` or `g`
    Offset,
    /// `30s`
    Time,
    /// A number without sign
    Number,
    /// Anything; the name is for the manual
    Text(&'static str),
    /// One of these words, in any case
    Choice(&'static [&'static str]),
    /// This word, or else that
    Or(&'static str, &'static Arg),
    /// None or one
    Optional(&'static Arg),
    /// One or more
    Many(&'static Arg),
    /// None or more
    AnyMany(&'static Arg),
}

impl Arg {
    /// The least and the greatest number of words it takes; `None` is no end.
    fn count(&self) -> (usize, Option<usize>) {
        match self {
            Self::Or(_, arg) => {
                let (min, max) = arg.count();
                (min.min(1), max)
            }
            Self::Optional(arg) => (0, arg.count().1),
            Self::Many(arg) => (arg.count().0, None),
            Self::AnyMany(_) => (0, None),
            _ => (1, Some(1)),
        }
    }

    fn check(&self, node: &Node, i: usize, word: &Word) -> Result<(), Diagnostic> {
        match self {
            Self::Flag => node.flag(i).map(drop),
            Self::Size => node.size(i).map(drop),
            Self::Offset => node.offset(i).map(drop),
            // Some times know years, some milliseconds; the reader of the value knows which.
            Self::Time if value::sec(&word.text).is_some() => Ok(()),
            Self::Time => node.msec(i).map(drop),
            Self::Number => node.number(i).map(drop),
            Self::Text(_) => Ok(()),
            Self::Choice(names) => {
                if names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(&word.text)) {
                    Ok(())
                } else {
                    Err(not_a_choice(word, names))
                }
            }
            Self::Or(literal, _) if literal.as_bytes() == word.text => Ok(()),
            Self::Or(_, arg) | Self::Optional(arg) | Self::Many(arg) | Self::AnyMany(arg) => {
                arg.check(node, i, word)
            }
        }
    }
}

impl Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("on | off"),
            Self::Size | Self::Offset => f.write_str("size"),
            Self::Time => f.write_str("time"),
            Self::Number => f.write_str("number"),
            Self::Text(name) => f.write_str(name),
            Self::Choice(names) => f.write_str(&names.join(" | ")),
            Self::Or(literal, arg) => write!(f, "{literal} | {arg}"),
            Self::Optional(arg) => write!(f, "[{arg}]"),
            Self::Many(arg) => write!(f, "{arg} ..."),
            Self::AnyMany(arg) => write!(f, "[{arg} ...]"),
        }
    }
}

/// What follows the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `;`
    Simple,
    /// A block of directives.
    Block,
    /// A block whose entries are data, not directives: `map`, `types`, `geo`.
    Free,
}

/// One row of the table of directives; `S` is what the program wants to keep with it, such as a function that sets it.
#[derive(Debug, Clone, Copy)]
pub struct Directive<S> {
    /// Its name. Two rows may share one if they stand in different blocks.
    pub name: &'static str,
    /// Where it may stand.
    pub contexts: Contexts,
    /// Its arguments in order.
    pub args: &'static [Arg],
    /// Its end.
    pub shape: Shape,
    /// Its value where it is not given, as one would write it; empty for none.
    pub default: &'static str,
    /// The manual's text.
    pub doc: &'static str,
    /// What the program keeps with it.
    pub set: S,
}

impl<S> Directive<S> {
    /// Whether `node`, which stands in `at`, is well formed, in nginx's order: place, end, number of arguments; then the
    /// arguments themselves.
    ///
    /// # Errors
    /// The first complaint.
    pub fn check(&self, node: &Node, at: Contexts) -> Result<(), Diagnostic> {
        if !self.contexts.contains(at) {
            return Err(not_here(node, self.contexts));
        }
        match (self.shape, &node.block) {
            (Shape::Simple, Some(_)) => {
                let message = format!("directive \"{}\" is not terminated by \";\"", self.name);
                return Err(Diagnostic::at(node.span, message));
            }
            (Shape::Block | Shape::Free, None) => {
                return Err(Diagnostic::at(
                    node.span,
                    format!("directive \"{}\" has no opening \"{{\"", self.name),
                ));
            }
            _ => {}
        }
        let (min, max) = self.count();
        if node.args.len() < min || max.is_some_and(|max| node.args.len() > max) {
            return Err(node.wrong_count().instead(format!("it is written {}", self.syntax())));
        }
        self.check_values(node)
    }

    /// The least and the greatest number of arguments; `None` is no end.
    pub fn count(&self) -> (usize, Option<usize>) {
        self.args.iter().map(Arg::count).fold((0, Some(0)), |(min, max), (least, most)| {
            (min + least, max.zip(most).map(|(max, most)| max + most))
        })
    }

    /// How it is written: `proxy_buffers number size;`
    pub fn syntax(&self) -> String {
        let mut text = self.name.to_owned();
        for arg in self.args {
            text.push(' ');
            text.push_str(&arg.to_string());
        }
        text.push_str(match self.shape {
            Shape::Simple => ";",
            Shape::Block | Shape::Free => " { ... }",
        });
        text
    }

    /// Gives each argument its word: first what must be there, then as many of the rest as there are words.
    fn check_values(&self, node: &Node) -> Result<(), Diagnostic> {
        let mut spare = node.args.len().saturating_sub(self.count().0);
        let mut words = node.args.iter().enumerate();
        for arg in self.args {
            let (least, most) = arg.count();
            let more = most.map_or(spare, |most| spare.min(most.saturating_sub(least)));
            spare -= more;
            for (i, word) in words.by_ref().take(least + more) {
                arg.check(node, i, word)?;
            }
        }
        Ok(())
    }
}

/// All rows, to be searched by name.
pub struct Table<'a, S> {
    rows: HashMap<&'static str, Vec<&'a Directive<S>>>,
}

impl<'a, S> Table<'a, S> {
    /// A table of these rows; where two rows of one name share a block, the first counts.
    pub fn new(rows: impl IntoIterator<Item = &'a Directive<S>>) -> Self {
        let mut table = HashMap::<_, Vec<_>>::new();
        for row in rows {
            table.entry(row.name).or_default().push(row);
        }
        Self { rows: table }
    }

    /// The row for `node`, which stands in `at`, once [`Directive::check`] has nothing to say against it.
    ///
    /// # Errors
    /// `unknown directive "x"`, `"x" directive is not allowed here`, and those of [`Directive::check`].
    pub fn find(&self, node: &Node, at: Contexts) -> Result<&'a Directive<S>, Diagnostic> {
        let rows = std::str::from_utf8(&node.name.text).ok().and_then(|name| self.rows.get(name));
        let Some(rows) = rows else { return Err(self.unknown(node, at)) };
        match rows.iter().find(|row| row.contexts.contains(at)) {
            Some(row) => row.check(node, at).map(|()| *row),
            None => Err(not_here(node, rows.iter().fold(Contexts(0), |all, row| all.or(row.contexts)))),
        }
    }

    /// The rows of this name.
    pub fn named(&self, name: &str) -> &[&'a Directive<S>] {
        self.rows.get(name).map_or(&[], Vec::as_slice)
    }

    fn unknown(&self, node: &Node, at: Contexts) -> Diagnostic {
        let name = node.name.lossy();
        let diagnostic = Diagnostic::at(node.name.span, format!("unknown directive \"{name}\""));
        let here = self.rows.values().flatten().filter(|row| row.contexts.contains(at)).map(|row| row.name);
        match closest(&name, here).or_else(|| closest(&name, self.rows.keys().copied())) {
            Some(meant) => diagnostic.instead(format!("did you mean \"{meant}\"?")),
            None => diagnostic,
        }
    }
}

fn not_here(node: &Node, contexts: Contexts) -> Diagnostic {
    Diagnostic::at(node.name.span, format!("\"{}\" directive is not allowed here", node.name.lossy()))
        .instead(format!("it may stand in: {contexts}"))
}

/// The candidate that a misspelt name most likely meant: at most a third of its letters (and at least one) wrong,
/// missing, too many or swapped. Of equals, the first in the alphabet.
pub fn closest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Names are short; what is not is no name, and its distance would take long to count.
    if name.len() > 64 {
        return None;
    }
    let most = (name.len() / 3).max(1);
    let distances = candidates.into_iter().filter(|candidate| candidate.len().abs_diff(name.len()) <= most);
    let best =
        distances.map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate)).min()?;
    (best.0 <= most).then_some(best.1)
}

/// How many letters must be changed, added, taken away or swapped with their neighbour (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn row(
        name: &'static str,
        contexts: Contexts,
        args: &'static [Arg],
        shape: Shape,
    ) -> Directive<()> {
        Directive { name, contexts, args, shape, default: "", doc: "", set: () }
    }

    const ROWS: &[Directive<()>] = &[
        row("gzip", Contexts::HTTP.or(Contexts::SERVER), &[Arg::Flag], Shape::Simple),
        row("server", Contexts::HTTP, &[], Shape::Block),
        row("server", Contexts::UPSTREAM, &[Arg::Many(&Arg::Text("address"))], Shape::Simple),
        row(
            "expires",
            Contexts::HTTP,
            &[Arg::Optional(&Arg::Text("modified")), Arg::Or("off", &Arg::Time)],
            Shape::Simple,
        ),
        row("buffers", Contexts::HTTP, &[Arg::Number, Arg::Size], Shape::Simple),
    ];

    fn verdict(text: &str, at: Contexts) -> String {
        let tree = crate::parse_text("t", text.as_bytes()).unwrap();
        match Table::new(ROWS).find(&tree.nodes[0], at) {
            Ok(row) => row.syntax(),
            Err(diagnostic) => match diagnostic.remedy {
                Some(remedy) => format!("{}: {remedy}", diagnostic.message),
                None => diagnostic.message,
            },
        }
    }

    #[test]
    fn finds_the_row_of_the_block() {
        assert_eq!(verdict("server {}", Contexts::HTTP), "server { ... }");
        assert_eq!(verdict("server a b;", Contexts::UPSTREAM), "server address ...;");
        assert_eq!(verdict("expires modified 1y;", Contexts::HTTP), "expires [modified] off | time;");
        assert_eq!(verdict("expires off;", Contexts::HTTP), "expires [modified] off | time;");
    }

    #[test]
    fn complaints_are_nginx_sentences() {
        assert_eq!(verdict("gzpi on;", Contexts::HTTP), "unknown directive \"gzpi\": did you mean \"gzip\"?");
        assert_eq!(verdict("wombat on;", Contexts::HTTP), "unknown directive \"wombat\"");
        let here = "\"gzip\" directive is not allowed here: it may stand in: http, server";
        assert_eq!(verdict("gzip on;", Contexts::LOCATION), here);
        assert_eq!(verdict("gzip on {}", Contexts::HTTP), "directive \"gzip\" is not terminated by \";\"");
        assert_eq!(verdict("server;", Contexts::HTTP), "directive \"server\" has no opening \"{\"");
        let count =
            "invalid number of arguments in \"buffers\" directive: it is written buffers number size;";
        assert_eq!(verdict("buffers 4;", Contexts::HTTP), count);
        assert!(verdict("buffers 4 x;", Contexts::HTTP).starts_with("\"buffers\" directive invalid value"));
        assert!(verdict("expires x;", Contexts::HTTP).starts_with("\"expires\" directive invalid value"));
    }
}
