//! The blocks of a configuration with what is in force in each, and which location a question of `auth_request` leads to.

use std::collections::HashMap;

use conf::{Node, Span, Tree, Word};

use crate::compile::LocationKind;
use crate::modules::core::matching;
use crate::regex::Pattern;
use crate::variables::Registry;

/// The `http` block with everything inside.
pub struct Site<'t> {
    /// Every block, outer ones before inner ones.
    pub blocks: Vec<Block<'t>>,
    /// Every question that a location or server asks.
    pub questions: Vec<Question<'t>>,
    tree: &'t Tree,
}

/// One block.
pub struct Block<'t> {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub span: Span,
    /// The block around it.
    pub outer: Option<usize>,
    /// What stands in it.
    pub nodes: &'t [Node],
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `http`
    Http,
    /// `server`
    Server,
    /// `location`, with how it matches, and its name.
    Location(LocationKind, Vec<u8>),
    /// `if` or `limit_except`.
    Inside,
}

/// One `auth_request` in force in one block.
pub struct Question<'t> {
    /// The block that asks.
    pub asker: usize,
    /// The directive.
    pub directive: &'t Node,
    /// The path that is asked for.
    pub path: &'t [u8],
    /// Its query.
    pub args: &'t [u8],
    /// The location that answers; `None` where no location takes the path.
    pub answers: Option<usize>,
}

impl<'t> Site<'t> {
    /// Reads a tree.
    pub fn of(tree: &'t Tree) -> Site<'t> {
        let mut site = Site { blocks: Vec::new(), questions: Vec::new(), tree };
        for node in tree.nodes.iter().filter(|node| node.name.text == b"http") {
            site.add(Kind::Http, node, None);
        }
        site.ask();
        site
    }

    fn add(&mut self, kind: Kind, node: &'t Node, outer: Option<usize>) {
        let nodes = node.block.as_deref().unwrap_or_default();
        let at = self.blocks.len();
        self.blocks.push(Block { kind, span: node.span, outer, nodes });
        for inner in nodes {
            let kind = match (&*inner.name.text, &self.blocks[at].kind) {
                (b"server", Kind::Http) => Kind::Server,
                (b"location", Kind::Server | Kind::Location(..)) => match matching(inner) {
                    Ok((how, name)) => Kind::Location(how, name),
                    Err(_) => continue,
                },
                (b"if" | b"limit_except", Kind::Server | Kind::Location(..)) => Kind::Inside,
                _ => continue,
            };
            self.add(kind, inner, Some(at));
        }
    }

    /// Finds every question and who answers it.
    fn ask(&mut self) {
        let mut known: HashMap<(usize, &'t [u8]), Option<usize>> = HashMap::new();
        for asker in 0..self.blocks.len() {
            if !matches!(self.blocks[asker].kind, Kind::Server | Kind::Location(..)) {
                continue;
            }
            for directive in self.in_force(asker, &["auth_request"]) {
                let uri = directive.bytes(0);
                // Where variables lead is not known here.
                if uri == b"off" || uri.contains(&b'$') {
                    continue;
                }
                let cut = uri.iter().position(|byte| *byte == b'?');
                let (path, args) = uri.split_at(cut.unwrap_or(uri.len()));
                let Some(server) = self.server_of(asker) else { continue };
                let answers = *known.entry((server, path)).or_insert_with(|| self.locate(server, path));
                let args = args.get(1..).unwrap_or_default();
                self.questions.push(Question { asker, directive, path, args, answers });
            }
        }
    }

    /// Whether only a part of a server is known: the block around it was not written.
    pub fn is_part(&self) -> bool {
        self.blocks.iter().any(|block| block.kind == Kind::Server && block.span == Span::default())
    }

    /// What stands in the `auth_service` of a name.
    pub fn service(&self, name: &[u8]) -> Option<&'t [Node]> {
        let http = self.blocks.iter().filter(|block| block.kind == Kind::Http);
        let mut nodes = http.flat_map(|block| block.nodes);
        nodes.find(|node| node.name.text == b"auth_service" && node.bytes(0) == name)?.block.as_deref()
    }

    /// Every location.
    pub fn locations(&self) -> impl Iterator<Item = usize> {
        (0..self.blocks.len()).filter(|at| matches!(self.blocks[*at].kind, Kind::Location(..)))
    }

    /// The directives of that name that stand in a block itself.
    pub fn own<'a>(&'a self, block: usize, name: &'a str) -> impl Iterator<Item = &'t Node> + 'a {
        self.blocks[block].nodes.iter().filter(move |node| node.name.text == name.as_bytes())
    }

    /// The directives of these names in the innermost block around that has one of them: what is in force where an
    /// own directive takes the place of all inherited ones.
    pub fn in_force(&self, block: usize, names: &[&str]) -> Vec<&'t Node> {
        let of_names = |node: &&Node| names.iter().any(|name| node.name.text == name.as_bytes());
        self.around(block)
            .map(|at| self.blocks[at].nodes.iter().filter(of_names).collect::<Vec<_>>())
            .find(|nodes| !nodes.is_empty())
            .unwrap_or_default()
    }

    /// The last such directive in force.
    pub fn value(&self, block: usize, name: &str) -> Option<&'t Node> {
        self.in_force(block, &[name]).pop()
    }

    /// Whether a flag is in force.
    pub fn is_on(&self, block: usize, name: &str, default: bool) -> bool {
        self.value(block, name).map_or(default, |node| node.bytes(0).eq_ignore_ascii_case(b"on"))
    }

    /// Whether clients speak TLS at the address of a `listen`: one line of several servers is enough for all that share it.
    pub fn speaks_tls(&self, listen: &Node) -> bool {
        let speaks = |word: &Word| matches!(&*word.text, b"ssl" | b"quic");
        let mut lines = (0..self.blocks.len()).flat_map(|other| self.own(other, "listen"));
        lines.any(|other| other.bytes(0) == listen.bytes(0) && other.args.iter().any(speaks))
    }

    /// A block, then those around it.
    pub fn around(&self, block: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(block), |at| self.blocks[*at].outer)
    }

    /// The server that a block belongs to.
    pub fn server_of(&self, block: usize) -> Option<usize> {
        self.around(block).find(|at| self.blocks[*at].kind == Kind::Server)
    }

    /// The locations that answer questions, each with the questions that lead there.
    pub fn auth_locations(&self) -> Vec<(usize, Vec<&Question<'t>>)> {
        let mut found: Vec<(usize, Vec<&Question<'t>>)> = Vec::new();
        for question in self.questions.iter().filter(|question| !self.asks_itself(question)) {
            let Some(location) = question.answers else { continue };
            match found.iter_mut().find(|(known, _)| *known == location) {
                Some((_, questions)) => questions.push(question),
                None => found.push((location, vec![question])),
            }
        }
        found
    }

    /// Whether the location that is to be protected answers its own question, as no other location takes the path.
    pub fn asks_itself(&self, question: &Question<'t>) -> bool {
        let Some(location) = question.answers else { return false };
        let Kind::Location(how, name) = &self.blocks[location].kind else { return false };
        let asks = self
            .in_force(location, &["auth_request"])
            .iter()
            .any(|node| std::ptr::eq(*node, question.directive) || node.args == question.directive.args);
        // An auth location of its own has the path for its name, and inherits the question only.
        let is_catch_all = match how {
            LocationKind::Regex | LocationKind::CaselessRegex => true,
            _ => {
                &**name != question.path
                    && (&**name == b"/" || self.own(location, "auth_request").next().is_some())
            }
        };
        asks && is_catch_all
    }

    /// Whether requests come to a location only after something else has happened to them: a refusal, a subrequest.
    pub fn is_late(&self, block: usize) -> bool {
        let Kind::Location(how, name) = &self.blocks[block].kind else { return false };
        *how == LocationKind::Named
            || self.own(block, "internal").next().is_some()
            || self.blocks.iter().flat_map(|b| b.nodes).any(|node| {
                node.name.text == b"error_page" && node.args.last().is_some_and(|target| target.text == *name)
            })
    }

    /// The location of a path (nginx's documentation of `location`: exact, longest prefix, regular expressions).
    pub fn locate(&self, outer: usize, path: &[u8]) -> Option<usize> {
        self.search(outer, path).map(|(location, _)| location)
    }

    /// Also whether the search is over: regular expressions outside come before a prefix inside.
    fn search(&self, outer: usize, path: &[u8]) -> Option<(usize, bool)> {
        let inner = self.locations().filter(|at| self.blocks[*at].outer == Some(outer));
        let (mut best, mut patterns): (Option<(usize, usize, bool)>, Vec<usize>) = (None, Vec::new());
        for at in inner {
            let Kind::Location(how, name) = &self.blocks[at].kind else { continue };
            match how {
                LocationKind::Exact if &**name == path => return Some((at, true)),
                LocationKind::Prefix | LocationKind::FinalPrefix
                    if path.starts_with(name) && best.is_none_or(|(length, ..)| length < name.len()) =>
                {
                    best = Some((name.len(), at, *how == LocationKind::FinalPrefix));
                }
                LocationKind::Regex | LocationKind::CaselessRegex => patterns.push(at),
                _ => {}
            }
        }
        let mut result = None;
        let mut is_final = false;
        if let Some((_, at, final_)) = best {
            is_final = final_;
            result = match self.search(at, path) {
                Some((inner, true)) => return Some((inner, true)),
                Some(inner) => Some(inner),
                None => Some((at, false)),
            };
        }
        if !is_final && let Some(at) = patterns.into_iter().find(|at| self.matches(*at, path)) {
            return Some((self.search(at, path).map_or(at, |(inner, _)| inner), true));
        }
        result
    }

    fn matches(&self, location: usize, path: &[u8]) -> bool {
        let Kind::Location(how, name) = &self.blocks[location].kind else { return false };
        let word = Word { text: name.clone(), span: self.blocks[location].span, quoted: false };
        let caseless = *how == LocationKind::CaselessRegex;
        Pattern::compile(name, caseless, &word, &mut Registry::default())
            .is_ok_and(|pattern| pattern.is_match(path))
    }

    /// The name of a block for messages: `location "/auth"`.
    pub fn name(&self, block: usize) -> String {
        match &self.blocks[block].kind {
            Kind::Http => "http".to_owned(),
            Kind::Server => "the server".to_owned(),
            Kind::Inside => "the block".to_owned(),
            Kind::Location(_, name) => format!("location \"{}\"", String::from_utf8_lossy(name)),
        }
    }

    /// A place as seen from another: `line 12`, or `FILE:12`.
    pub fn place(&self, of: Span, seen_from: Span) -> String {
        if of.file == seen_from.file { format!("line {}", of.line) } else { self.tree.sources.place(of) }
    }

    /// The server or group that a location's `proxy_pass` names: host and port, in lower case.
    pub fn upstream(&self, block: usize) -> Option<String> {
        let node = self.own(block, "proxy_pass").next()?;
        let url = self.with_constants(block, node.bytes(0)).to_ascii_lowercase();
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = if rest.starts_with("unix:") { rest } else { &rest[..end] };
        let default = if scheme == "https" { ":443" } else { ":80" };
        Some(authority.strip_suffix(default).unwrap_or(authority).to_owned())
    }

    /// A text with the variables replaced that `set` gives a constant around.
    fn with_constants(&self, block: usize, text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for set in self.around(block).flat_map(|at| self.own(at, "set").collect::<Vec<_>>()) {
            let (Ok(name), Ok(value)) = (set.str(0), set.str(1)) else { continue };
            if !value.contains('$') {
                let name = name.trim_start_matches('$');
                text = text.replace(&format!("${{{name}}}"), value);
                text = replace_variable(&text, name, value);
            }
        }
        text
    }
}

/// Replaces `$name` where the name does not go on.
fn replace_variable(text: &str, name: &str, value: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    let wanted = format!("${name}");
    while let Some(at) = rest.find(&wanted) {
        let (before, after) = (&rest[..at], &rest[at + wanted.len()..]);
        out.push_str(before);
        let goes_on = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        out.push_str(if goes_on { &wanted } else { value });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_where_a_request_would_go() {
        let text = "http { server { location / {} location /auth {} location ^~ /fixed {} location = /one {} \
                    location ~ ^/auth/x {} location /nest { location ~ y {} location /nest/in {} } location ~ nest/in/r {} } }";
        let tree = conf::parse_text("t", text.as_bytes()).unwrap();
        let site = Site::of(&tree);
        let at = |path: &str| site.name(site.locate(1, path.as_bytes()).unwrap());
        assert_eq!(at("/auth"), "location \"/auth\"");
        assert_eq!(at("/auth/x"), "location \"^/auth/x\"");
        assert_eq!(at("/fixed/auth/x"), "location \"/fixed\"");
        assert_eq!(at("/one"), "location \"/one\"");
        assert_eq!(at("/other"), "location \"/\"");
        assert_eq!(at("/nest/in/y"), "location \"y\"");
        assert_eq!(at("/nest/in/z"), "location \"/nest/in\"");
        assert_eq!(at("/nest/in/r"), "location \"nest/in/r\"");
    }

    #[test]
    fn upstreams_are_told_apart_by_host_and_port() {
        let text = "http { server { set $app app; location /a { proxy_pass http://$app:80/x; } \
                    location /b { set $apps other; proxy_pass http://$apps; } location /c { proxy_pass http://App; } } }";
        let tree = conf::parse_text("t", text.as_bytes()).unwrap();
        let site = Site::of(&tree);
        let of: Vec<_> = site.locations().filter_map(|at| site.upstream(at)).collect();
        assert_eq!(of, ["app", "other", "app"]);
    }
}
