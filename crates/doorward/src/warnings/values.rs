//! Which variables a value reads, and what the variables of a configuration are made of.

use std::collections::{HashMap, HashSet};

use conf::{Node, Piece, Tree};

/// Where variables come from that the configuration defines.
#[derive(Default)]
pub struct Definitions {
    /// Those that `auth_request_set` gives a value.
    pub of_auth: HashSet<String>,
    /// Those that `auth_jwt_claim_set` gives a value.
    of_tokens: HashSet<String>,
    /// Those that `set` gives a value, with the variables in it.
    set: HashMap<String, HashSet<String>>,
    /// Those that `map` and the like compute, with the variables they are made of.
    computed: HashMap<String, HashSet<String>>,
    /// Every variable that is read anywhere.
    read: HashSet<String>,
    /// Every field that `proxy_set_header` names, in lower case.
    pub fields: HashSet<String>,
}

impl Definitions {
    /// Reads a tree.
    pub fn of(tree: &Tree) -> Definitions {
        let mut definitions = Definitions::default();
        definitions.read(&tree.nodes);
        definitions
    }

    fn read(&mut self, nodes: &[Node]) {
        for node in nodes {
            let (first, second) = (node.bytes(0), node.bytes(1));
            match &*node.name.text {
                b"auth_request_set" => self.of_auth.extend(name(first)),
                b"auth_jwt_claim_set" => self.of_tokens.extend(name(first)),
                b"set" => {
                    if let Some(name) = name(first) {
                        self.set.entry(name).or_default().extend(variables(second));
                    }
                }
                b"map" | b"split_clients" | b"geo" if node.block.is_some() => {
                    let target = node.args.last().map_or(&b""[..], |word| &word.text);
                    let entries = node.block.iter().flatten();
                    let values = entries.filter_map(|entry| entry.args.last()).map(|word| &*word.text);
                    let source = if node.args.len() > 1 { first } else { b"" };
                    let made_of = values.chain([source]).flat_map(variables).collect::<Vec<_>>();
                    self.read.extend(made_of.iter().cloned());
                    if let Some(name) = name(target) {
                        self.computed.entry(name).or_default().extend(made_of);
                    }
                    continue;
                }
                b"proxy_set_header" => {
                    self.fields.insert(String::from_utf8_lossy(first).to_ascii_lowercase());
                }
                _ => {}
            }
            self.read.extend(node.args.iter().flat_map(|word| variables(&word.text)));
            self.read(node.block.as_deref().unwrap_or_default());
        }
    }

    /// Whether the variable is what a token says (`auth_jwt`).
    pub fn is_of_token(&self, name: &str) -> bool {
        name.starts_with("jwt_claim_") || name == "jwt_payload" || self.of_tokens.contains(name)
    }

    /// Whether `set` gives the variable a value somewhere.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// Whether the variable is read somewhere.
    pub fn is_read(&self, name: &str) -> bool {
        self.read.contains(name)
    }

    /// A variable with all that `map` and the like make it of, through any number of steps.
    pub fn behind_maps(&self, name: &str) -> HashSet<String> {
        self.behind(name, false)
    }

    /// A variable with all that `map` and `set` make it of, through any number of steps.
    pub fn behind_all(&self, name: &str) -> HashSet<String> {
        self.behind(name, true)
    }

    fn behind(&self, name: &str, also_set: bool) -> HashSet<String> {
        let mut known = HashSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            if known.contains(&name) {
                continue;
            }
            let set = self.set.get(&name).filter(|_| also_set);
            open.extend(self.computed.get(&name).into_iter().chain(set).flatten().cloned());
            known.insert(name);
        }
        known
    }
}

/// The variables that a value reads, in lower case.
pub fn variables(text: &[u8]) -> Vec<String> {
    let pieces = conf::template::split(text, conf::Span::default()).unwrap_or_default();
    let names = pieces.into_iter().filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Literal(_) | Piece::Capture(_) => None,
    });
    names.collect()
}

/// The name of a variable that is to be set.
pub fn name(text: &[u8]) -> Option<String> {
    let name = text.strip_prefix(b"$").filter(|name| !name.is_empty())?;
    Some(String::from_utf8_lossy(name).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_made_of_what_its_definitions_read() {
        let text = "http { map \"$a:$b\" $c { default $d; x y; } server { set $e \"$c\"; set $f $f; } }";
        let definitions = Definitions::of(&conf::parse_text("t", text.as_bytes()).unwrap());
        let sorted = |names: HashSet<String>| {
            let mut names: Vec<_> = names.into_iter().collect();
            names.sort();
            names
        };
        assert_eq!(sorted(definitions.behind_all("e")), ["a", "b", "c", "d", "e"]);
        assert_eq!(sorted(definitions.behind_maps("e")), ["e"]);
        assert_eq!(sorted(definitions.behind_all("f")), ["f"]);
    }
}
