//! `auth_rule`: what a service requires of requests, by path, method and host.

use auth::identity::{Identity, Lack, Required};
use conf::{Diagnostic, Node};

use super::asked::Asked;

/// One line.
pub struct Rule {
    path: Vec<u8>,
    methods: Vec<Vec<u8>>,
    hosts: Vec<Vec<u8>>,
    required: Required,
    deny: bool,
}

/// What a rule has against somebody.
pub enum Objection<'r> {
    /// Nobody may pass.
    Denied,
    /// Something is required that is not there.
    Lacking(Lack<'r>),
}

impl Rule {
    /// Reads a line.
    pub fn read(node: &Node) -> Result<Rule, Diagnostic> {
        let path = node.bytes(0).to_vec();
        if !path.starts_with(b"/") {
            let word = node.word(0)?;
            return Err(Diagnostic::at(word.span, format!("invalid path \"{}\"", word.lossy()))
                .instead("it starts with \"/\", and stands for all that is below it"));
        }
        let mut rule =
            Rule { path, methods: Vec::new(), hosts: Vec::new(), required: Required::default(), deny: false };
        for (at, word) in node.args.iter().enumerate().skip(1) {
            let text = node.str(at)?;
            match text.split_once('=') {
                Some((_, "")) => return Err(super::block::invalid(word)),
                Some(("method", name)) => rule.methods.push(name.as_bytes().to_vec()),
                Some(("host", name)) => rule.hosts.push(name.to_ascii_lowercase().into_bytes()),
                Some(("scope" | "group", _)) if rule.required.add(text) => {}
                None if text == "deny" => rule.deny = true,
                _ => return Err(super::block::invalid(word)),
            }
        }
        if rule.deny && !rule.required.is_empty() {
            return Err(Diagnostic::at(node.span, "what is denied to all requires nothing")
                .instead("leave out `deny`, or `scope=` and `group=`"));
        }
        Ok(rule)
    }

    /// Whether the line is about that request.
    pub fn fits(&self, asked: &Asked<'_>) -> bool {
        let below = asked.path.strip_prefix(self.path.as_slice());
        let path =
            below.is_some_and(|rest| rest.is_empty() || self.path.ends_with(b"/") || rest.starts_with(b"/"));
        let method = |name: &Vec<u8>| **name == *asked.method;
        let host = |name: &Vec<u8>| name.eq_ignore_ascii_case(&asked.host);
        path && (self.methods.is_empty() || self.methods.iter().any(method))
            && (self.hosts.is_empty() || self.hosts.iter().any(host))
    }

    /// What it has against somebody.
    pub fn objection(&self, identity: &Identity) -> Option<Objection<'_>> {
        if self.deny {
            return Some(Objection::Denied);
        }
        self.required.lack_of(identity).map(Objection::Lacking)
    }
}
