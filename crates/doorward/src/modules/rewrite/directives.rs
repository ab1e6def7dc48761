//! How the rules are written.

use conf::Arg::{Flag, Many, Optional, Text};
use conf::{Contexts, Diagnostic, Node, Word};

use super::condition::Condition;
use super::{Rewrite, Step, Then};
use crate::compile::Compiler;
use crate::directives;
use crate::module::{Directive, Scope, Settings};
use crate::regex::Pattern;
use crate::variables::{Registry, Template};

/// The rules of a block as written.
#[derive(Default)]
pub struct RewriteSettings {
    /// In order; nothing inherits them.
    pub lines: Vec<Line>,
    /// `rewrite_log`.
    pub log: Option<bool>,
    /// `uninitialized_variable_warn`.
    pub warn: Option<bool>,
}

/// One rule as written.
pub enum Line {
    /// A rule that is ready.
    Step(Step),
    /// An `if`, whose block becomes a plan later.
    If {
        /// When it applies.
        condition: Condition,
        /// Its block.
        inner: Scope,
        /// Whether it stands in a location.
        in_location: bool,
    },
}

impl Settings for RewriteSettings {
    fn inherit(&mut self, outer: &Self) {
        self.log = self.log.or(outer.log);
        self.warn = self.warn.or(outer.warn);
    }
}

pub(super) const DIRECTIVES: &[Directive] = directives! { RewriteSettings;
    /// Sets a variable.
    "set" in [SERVER LOCATION IF_IN_SERVER IF_IN_LOCATION] (Text("$variable"), Text("value")) = "" => |c, cx, n| {
        let name = variable_name(n, 0)?.to_owned();
        let index = cx.variables.stored(&name, Some(n.span))?;
        let value = Template::compile(n.word(1)?, &mut cx.variables)?;
        c.lines.push(Line::Step(Step::Set { index, write: Registry::write_of(&name), value }));
        Ok(())
    };
    /// Ends the rules of this module.
    "break" in [SERVER LOCATION IF_IN_SERVER IF_IN_LOCATION] () = "" => |c, _, _| {
        c.lines.push(Line::Step(Step::Break));
        Ok(())
    };
    /// Answers with a status and a text, or redirects: `return code [text]`, `return code URL`, `return URL`.
    "return" in [SERVER LOCATION IF_IN_SERVER IF_IN_LOCATION] (Text("code | URL"), Optional(&Text("text | URL"))) = "" => |c, cx, n| {
        let step = return_step(cx, n)?;
        c.lines.push(Line::Step(step));
        Ok(())
    };
    /// Changes the path where it matches: `rewrite regex replacement [last | break | redirect | permanent]`.
    "rewrite" in [SERVER LOCATION IF_IN_SERVER IF_IN_LOCATION] (Text("regex"), Text("replacement"), Optional(&Text("flag"))) = "" => |c, cx, n| {
        let step = rewrite_step(cx, n)?;
        c.lines.push(Line::Step(Step::Rewrite(step)));
        Ok(())
    };
    /// Applies the rules, and in a location the settings, of its block when the condition holds.
    "if": Block in [SERVER LOCATION] (Many(&Text("(condition)"))) = "" => |c, cx, n| {
        let in_location = cx.context == Contexts::LOCATION;
        let condition = Condition::compile(n, cx)?;
        let mut inner = Scope::default();
        let context = if in_location { Contexts::IF_IN_LOCATION } else { Contexts::IF_IN_SERVER };
        cx.block(n.block.as_deref().unwrap_or_default(), context, &mut inner)?;
        c.lines.push(Line::If { condition, inner, in_location });
        Ok(())
    };
    /// Logs what the rules do, at level notice.
    "rewrite_log" in [HTTP SERVER LOCATION IF_IN_SERVER IF_IN_LOCATION] (Flag) = "off" => |c, _, n| conf::once(&mut c.log, n.flag(0)?, n);
    /// Warns of variables that are read before they have a value.
    "uninitialized_variable_warn" in [HTTP SERVER LOCATION IF_IN_SERVER IF_IN_LOCATION] (Flag) = "on" => |c, _, n| conf::once(&mut c.warn, n.flag(0)?, n);
};

/// The name of the variable that a word names.
pub fn variable_name(node: &Node, at: usize) -> Result<&str, Diagnostic> {
    let word = node.word(at)?;
    let name = node.str(at)?.strip_prefix('$').filter(|name| !name.is_empty());
    name.ok_or_else(|| Diagnostic::at(word.span, format!("invalid variable name \"{}\"", word.lossy())))
}

fn return_step(cx: &mut Compiler, node: &Node) -> Result<Step, Diagnostic> {
    let first = node.word(0)?;
    let status = str::from_utf8(&first.text).ok().and_then(|t| t.parse::<u16>().ok());
    let address = |word: &Word| {
        word.text.starts_with(b"http://")
            || word.text.starts_with(b"https://")
            || word.text.starts_with(b"$scheme")
    };
    match (status, node.args.get(1)) {
        (None, None) if address(first) => {
            Ok(Step::Return { status: 302, text: Some(Template::compile(first, &mut cx.variables)?) })
        }
        (Some(status), text) if status <= 999 => {
            let text = text.map(|word| Template::compile(word, &mut cx.variables)).transpose()?;
            Ok(Step::Return { status, text })
        }
        _ => Err(Diagnostic::at(first.span, format!("invalid return code \"{}\"", first.lossy()))),
    }
}

fn rewrite_step(cx: &mut Compiler, node: &Node) -> Result<Rewrite, Diagnostic> {
    let word = node.word(0)?;
    let pattern = Pattern::compile(&word.text, false, word, &mut cx.variables)?;
    let mut replacement = node.word(1)?.clone();
    let mut then = Then::Continue;
    if ["http://", "https://", "$scheme"].iter().any(|start| replacement.text.starts_with(start.as_bytes())) {
        then = Then::Redirect(302);
    }
    if let Some(flag) = node.args.get(2) {
        then = match &*flag.text {
            b"last" => Then::Last,
            b"break" => Then::Break,
            b"redirect" => Then::Redirect(302),
            b"permanent" => Then::Redirect(301),
            _ => return Err(Diagnostic::at(flag.span, format!("invalid parameter \"{}\"", flag.lossy()))),
        };
    }
    // A `?` at the end asks for the old query to be left out.
    let keep_args = !replacement.text.ends_with(b"?");
    if !keep_args {
        replacement.text.pop();
    }
    let replacement = Template::compile(&replacement, &mut cx.variables)?;
    Ok(Rewrite { pattern, replacement, keep_args, then })
}
