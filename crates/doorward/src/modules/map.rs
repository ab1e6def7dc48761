//! `ngx_http_map_module`: a variable whose value depends on another text.

use conf::Arg::Text;
use conf::{Diagnostic, Node, Word};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::hostnames::{Hostnames, Refused};
use crate::module::Module;
use crate::modules::rewrite::variable_name;
use crate::regex::Pattern;
use crate::variables::{Computed, Index, Template};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_map_module",
    directives: directives! { ();
        /// Makes `$variable`: each line of the block is a text, or `~` and a pattern, and the value that it leads to; `default`
        /// is for all others. Texts are compared in any case. `hostnames` allows `*.name`, `name.*` and `.name`; `volatile`
        /// evaluates at each use; a backslash before a text takes its meaning away.
        "map": Free in [HTTP] (Text("string"), Text("$variable")) = "" => |_, cx, n| {
            let name = variable_name(n, 1)?.to_owned();
            let map = Map::compile(n, cx)?;
            cx.variables.computed(&name, Some(n.word(1)?.span), Box::new(map)).map(drop)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

struct Map {
    /// What is looked up.
    subject: Template,
    names: Hostnames<usize>,
    patterns: Vec<(Pattern, usize)>,
    values: Vec<Template>,
    default: Option<usize>,
    hostnames: bool,
    volatile: bool,
}

impl Map {
    fn compile(node: &Node, cx: &mut Compiler) -> Result<Map, Diagnostic> {
        let mut map = Map {
            subject: Template::compile(node.word(0)?, &mut cx.variables)?,
            names: Hostnames::default(),
            patterns: Vec::new(),
            values: Vec::new(),
            default: None,
            hostnames: false,
            volatile: false,
        };
        for line in node.block.as_deref().unwrap_or_default() {
            map.line(line, cx)?;
        }
        Ok(map)
    }

    fn line(&mut self, line: &Node, cx: &mut Compiler) -> Result<(), Diagnostic> {
        if line.block.is_some() {
            return Err(Diagnostic::at(line.span, "unexpected \"{\""));
        }
        let [value] = &*line.args else {
            match (&*line.name.text, line.args.is_empty()) {
                (b"hostnames", true) => self.hostnames = true,
                (b"volatile", true) => self.volatile = true,
                _ => return Err(Diagnostic::at(line.span, "invalid number of the map parameters")),
            }
            return Ok(());
        };
        let at = self.values.len();
        self.values.push(Template::compile(value, &mut cx.variables)?);
        match &*line.name.text {
            b"default" => {
                if self.default.replace(at).is_some() {
                    return Err(Diagnostic::at(line.span, "duplicate default map parameter"));
                }
                Ok(())
            }
            [b'~', pattern @ ..] => {
                let (caseless, pattern) = match pattern.strip_prefix(b"*") {
                    Some(pattern) => (true, pattern),
                    None => (false, pattern),
                };
                let pattern = Pattern::compile(pattern, caseless, &line.name, &mut cx.variables)?;
                self.patterns.push((pattern, at));
                Ok(())
            }
            [b'\\', text @ ..] => self.name(&line.name, text, at),
            text => self.name(&line.name, text, at),
        }
    }

    fn name(&mut self, word: &Word, text: &[u8], at: usize) -> Result<(), Diagnostic> {
        let added = match self.hostnames {
            true => self.names.add(text, at),
            false => self.names.add_exact(text, at),
        };
        let text = String::from_utf8_lossy(text);
        added.map_err(|refused| {
            let sentence = match refused {
                Refused::Invalid => format!("invalid hostname or wildcard \"{text}\""),
                Refused::Conflicting => format!("conflicting parameter \"{text}\""),
            };
            Diagnostic::at(word.span, sentence)
        })
    }

    fn value(&self, at: Option<usize>) -> Option<&Template> {
        self.values.get(at.or(self.default)?)
    }
}

impl Computed for Map {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
        let mut subject = self.subject.eval(ex);
        if self.hostnames && subject.ends_with(b".") {
            subject.pop();
        }
        let mut found = None;
        if !self.names.is_empty() {
            found = self.names.get(&subject.to_ascii_lowercase()).copied();
        }
        if found.is_none() && !subject.is_empty() {
            for (pattern, at) in &self.patterns {
                if let Some(captures) = pattern.captures(ex, &subject) {
                    // `$1` of the value is this pattern's; those of a rewrite under way stay as they are.
                    if let Some(value) = self.value(Some(*at)) {
                        value.append_captured(ex, &captures, out);
                    }
                    return true;
                }
            }
        }
        if let Some(value) = self.value(found) {
            value.append(ex, out);
        }
        true
    }

    fn inputs(&self) -> Option<Vec<Index>> {
        Some(self.subject.variables().chain(self.values.iter().flat_map(Template::variables)).collect())
    }

    fn volatile(&self) -> bool {
        self.volatile
    }
}
