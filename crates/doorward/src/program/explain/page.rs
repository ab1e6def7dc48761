//! The lines of an explanation, each with its place in the configuration.

use conf::{Node, Span, Tree};

use crate::compile::LocationKind;
use crate::plan::Plan;
use crate::warnings::site::{Kind, Site};

/// What is said so far.
pub struct Page<'t> {
    tree: &'t Tree,
    site: Site<'t>,
    lines: Vec<(String, String)>,
}

/// How far the steps' names reach.
const NAMES: usize = 10;

impl<'t> Page<'t> {
    /// An empty page about a configuration.
    pub fn of(tree: &'t Tree) -> Page<'t> {
        Page { tree, site: Site::of(tree), lines: Vec::new() }
    }

    /// Adds a line.
    pub fn say(&mut self, text: &str) {
        self.lines.push((text.to_owned(), String::new()));
    }

    /// Adds a step: its name, what happens, and where that is written.
    pub fn step(&mut self, name: &str, text: &str, span: Option<Span>) {
        let place = span.filter(|span| span.line > 0).map(|span| self.tree.sources.place(span));
        self.lines.push((format!("{name:NAMES$}{text}"), place.unwrap_or_default()));
    }

    /// Adds more about the last step.
    pub fn more(&mut self, text: &str) {
        self.lines.push((format!("{:NAMES$}    {text}", ""), String::new()));
    }

    /// Adds the directives of these names that are in force in a block; how many those were.
    pub fn in_force(&mut self, name: &str, block: Option<Span>, directives: &[&str]) -> usize {
        let nodes = self.directives(block, directives);
        for (at, node) in nodes.iter().enumerate() {
            self.step(if at == 0 { name } else { "" }, &written(node), Some(node.span));
        }
        nodes.len()
    }

    /// The directives of these names that are in force in a block, in their order.
    pub fn directives(&self, block: Option<Span>, names: &[&str]) -> Vec<&'t Node> {
        let at = self.site.blocks.iter().position(|known| Some(known.span) == block);
        at.map(|at| self.site.in_force(at, names)).unwrap_or_default()
    }

    /// The directive of that name that stands in a block itself.
    pub fn own(&self, block: Option<Span>, name: &str) -> Option<&'t Node> {
        let block = self.site.blocks.iter().find(|known| Some(known.span) == block)?;
        block.nodes.iter().find(|node| *node.name.text == *name.as_bytes())
    }

    /// A location as it is written, without the word.
    pub fn location(&self, plan: &Plan) -> String {
        let kind =
            self.site.blocks.iter().find(|known| Some(known.span) == plan.span).map(|known| &known.kind);
        let name = String::from_utf8_lossy(&plan.core.name);
        match kind {
            Some(Kind::Location(LocationKind::Exact, _)) => format!("= {name}"),
            Some(Kind::Location(LocationKind::FinalPrefix, _)) => format!("^~ {name}"),
            Some(Kind::Location(LocationKind::Regex, pattern)) => {
                format!("~ {}", String::from_utf8_lossy(pattern))
            }
            Some(Kind::Location(LocationKind::CaselessRegex, pattern)) => {
                format!("~* {}", String::from_utf8_lossy(pattern))
            }
            _ => name.into_owned(),
        }
    }

    /// All of it: places to the right, where they are easy to find.
    pub fn text(&self) -> String {
        let width =
            self.lines.iter().filter(|(_, place)| !place.is_empty()).map(|(text, _)| text.chars().count());
        let width = width.max().unwrap_or(0).min(100);
        let mut out = String::new();
        for (text, place) in &self.lines {
            out.push_str(text);
            if !place.is_empty() {
                let gap = width.saturating_sub(text.chars().count()) + 2;
                out.push_str(&" ".repeat(gap));
                out.push_str(place);
            }
            out.push('\n');
        }
        out
    }
}

/// A directive as it is written, on one line.
pub fn written(node: &Node) -> String {
    let mut text = node.name.lossy().into_owned();
    for word in &node.args {
        text.push(' ');
        let shown = word.lossy();
        match shown.is_empty() || shown.contains(char::is_whitespace) {
            true => text.push_str(&format!("\"{shown}\"")),
            false => text.push_str(&shown),
        }
    }
    text
}
