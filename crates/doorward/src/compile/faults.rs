//! Looks a configuration over without making it: what is wrong is noted, and the rest is looked at all the same.

use std::sync::Arc;

use conf::{Contexts, Diagnostic, Disk, Node, Shape, Tree, Word};

use super::{Compiler, DIRECTIVES, Paths, server};
use crate::directives::Verdict;
use crate::log::Logs;
use crate::module::Scope;
use crate::modules::core;

/// All that there is to say about a configuration, in the order of its lines. A part of one is looked at as what it can
/// be part of.
pub fn look(tree: &mut Tree, paths: Paths) -> Vec<Diagnostic> {
    let mut compiler = Compiler::new(paths, Box::new(Disk), Arc::default(), Logs::unopened());
    compiler.faults = Some(Vec::new());
    let part_of = part_of(&tree.nodes);
    let around: &[&str] = match part_of {
        Contexts::HTTP => &["http"],
        Contexts::SERVER => &["server", "http"],
        Contexts::LOCATION => &["location", "server", "http"],
        Contexts::UPSTREAM => &["upstream", "http"],
        Contexts::AUTH_SERVICE => &["auth_service", "http"],
        _ => &[],
    };
    for name in around {
        tree.nodes = vec![block(name, std::mem::take(&mut tree.nodes))];
    }
    compiler.look(tree, around.is_empty());
    let mut said = compiler.faults.take().unwrap_or_default();
    if let Some(outer) = around.first() {
        let sentence =
            format!("this is looked at as a part of {outer}, and what stands around it is not known");
        said.push(Diagnostic::nowhere(sentence).note());
    }
    said.append(&mut compiler.warnings);
    said.extend(crate::warnings::find(tree));
    said.sort_by_key(|what| what.span.map(|span| (span.file, span.start)));
    said.dedup();
    said
}

/// Which block the directives make most sense in: the outermost where most of them may stand.
fn part_of(nodes: &[Node]) -> Contexts {
    let places = [
        Contexts::MAIN,
        Contexts::HTTP,
        Contexts::SERVER,
        Contexts::LOCATION,
        Contexts::UPSTREAM,
        Contexts::AUTH_SERVICE,
    ];
    let fits = |place: &Contexts| {
        let may_stand = |node: &&Node| {
            let rows = DIRECTIVES.named(std::str::from_utf8(&node.name.text).unwrap_or_default());
            rows.iter().any(|row| {
                row.contexts.contains(*place) && node.block.is_some() == (row.shape != Shape::Simple)
            })
        };
        nodes.iter().filter(may_stand).count()
    };
    places.into_iter().rev().max_by_key(fits).unwrap_or(Contexts::MAIN)
}

fn block(name: &str, nodes: Vec<Node>) -> Node {
    let word = |text: &str| Word { text: text.into(), span: Default::default(), quoted: false };
    let args = match name {
        "location" => vec![word("/")],
        "upstream" | "auth_service" => vec![word("part")],
        _ => Vec::new(),
    };
    Node { name: word(name), args, block: Some(nodes), span: Default::default(), end: Default::default() }
}

impl Compiler {
    fn look(&mut self, tree: &Tree, is_whole: bool) {
        // With faults to note, nothing ends early.
        let mut main = Scope::default();
        let _ = self.block(&tree.nodes, Contexts::MAIN, &mut main);
        if is_whole && !self.has_events {
            let _ = self.forgive::<()>(Err(super::no_events()));
        }
        let process = core::Main::settle(&mut main, &self.paths);
        let _ = self.forgive(process);
        let mut http = self.http.take().unwrap_or_default();
        http.inherit(&main);
        let servers = server::finish(self, &http);
        let _ = self.forgive(servers);
        let missing = self.upstreams.faults().into_iter().chain(self.variables.unknown());
        self.faults.get_or_insert_default().extend(missing);
    }

    /// Whether the configuration is only looked at, perhaps on another machine than its own.
    pub fn only_looks(&self) -> bool {
        self.faults.is_some()
    }

    /// What came out, or nothing where it went wrong and the rest is to be looked at.
    pub(super) fn forgive<T>(&mut self, result: Result<T, Diagnostic>) -> Result<Option<T>, Diagnostic> {
        match (result, &mut self.faults) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(fault), Some(faults)) => {
                faults.push(fault);
                Ok(None)
            }
            (Err(fault), None) => Err(fault),
        }
    }

    /// As [`Compiler::forgive`], of a directive. What it would have defined is not missed elsewhere.
    pub(super) fn note(&mut self, node: &Node, fault: Diagnostic) -> Result<(), Diagnostic> {
        self.forgive::<()>(Err(fault))?;
        for word in &node.args {
            if let Some(name) = word.text.strip_prefix(b"$").and_then(|name| std::str::from_utf8(name).ok()) {
                // A module's own variable needs no definition.
                let _ = self.variables.stored(name, Some(word.span));
            }
        }
        Ok(())
    }

    /// Says that a directive has no effect, where all that can be said is asked for.
    pub(super) fn remark(&mut self, node: &Node, verdict: Verdict) {
        if let (Some(faults), Verdict::NoEffect(because)) = (&mut self.faults, verdict) {
            faults.push(node.complaint(&format!("has no effect here: {because}")).note());
        }
    }
}
