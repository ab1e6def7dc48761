//! Names of hosts with wildcards, as `map` and `valid_referers` list them, found in nginx's order.

use std::collections::HashMap;

/// Values by name: `example.com`, `*.example.com`, `.example.com` (both of them), `www.example.*`.
#[derive(Clone, Debug)]
pub struct Hostnames<V> {
    exact: HashMap<Box<[u8]>, V>,
    /// `*.example.com` as `.example.com`.
    leading: HashMap<Box<[u8]>, V>,
    /// `www.example.*` as `www.example.`.
    trailing: HashMap<Box<[u8]>, V>,
}

/// Why a name was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no name, and no wildcard that can be looked up.
    Invalid,
    /// It is there already.
    Conflicting,
}

impl<V> Default for Hostnames<V> {
    fn default() -> Self {
        Hostnames { exact: HashMap::new(), leading: HashMap::new(), trailing: HashMap::new() }
    }
}

impl<V: Clone> Hostnames<V> {
    /// Adds a text that is compared as a whole, in any case.
    pub fn add_exact(&mut self, name: &[u8], value: V) -> Result<(), Refused> {
        insert(&mut self.exact, &name.to_ascii_lowercase(), value)
    }

    /// Adds a name or wildcard, in any case.
    pub fn add(&mut self, name: &[u8], value: V) -> Result<(), Refused> {
        let name = name.to_ascii_lowercase();
        let stars = name.iter().filter(|b| **b == b'*').count();
        if stars > 1 || name.contains(&0) || name.windows(2).any(|pair| pair == b"..") {
            return Err(Refused::Invalid);
        }
        match &*name {
            [b'.', bare @ ..] if !bare.is_empty() && stars == 0 => {
                insert(&mut self.exact, bare, value.clone())?;
                insert(&mut self.leading, &name, value)
            }
            [b'*', suffix @ ..] if suffix.len() > 1 && suffix.starts_with(b".") => {
                insert(&mut self.leading, suffix, value)
            }
            [prefix @ .., b'*'] if prefix.len() > 1 && prefix.ends_with(b".") => {
                insert(&mut self.trailing, prefix, value)
            }
            _ if stars > 0 => Err(Refused::Invalid),
            _ => insert(&mut self.exact, &name, value),
        }
    }

    /// The value of a name in lower case: of the name itself, else of the longest wildcard in front, else of the longest
    /// behind.
    pub fn get(&self, name: &[u8]) -> Option<&V> {
        if let Some(value) = self.exact.get(name) {
            return Some(value);
        }
        let dots = || name.iter().enumerate().filter(|(at, b)| **b == b'.' && *at > 0).map(|(at, _)| at);
        let leading = || dots().find_map(|at| self.leading.get(name.get(at..)?));
        let trailing = || dots().rev().find_map(|at| self.trailing.get(name.get(..=at)?));
        let mut found = None;
        if !self.leading.is_empty() {
            found = leading();
        }
        if found.is_none() && !self.trailing.is_empty() {
            found = trailing();
        }
        found
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.leading.is_empty() && self.trailing.is_empty()
    }
}

fn insert<V>(names: &mut HashMap<Box<[u8]>, V>, name: &[u8], value: V) -> Result<(), Refused> {
    if names.contains_key(name) {
        return Err(Refused::Conflicting);
    }
    names.insert(name.into(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_special_name_wins() {
        let mut names = Hostnames::default();
        for name in [
            "Example.com",
            "*.example.com",
            ".dot.example.com",
            "*.b.example.com",
            "example.*",
            "example.co.*",
        ] {
            names.add(name.as_bytes(), name).unwrap();
        }
        for (name, found) in [
            ("example.com", Some("Example.com")),
            ("a.example.com", Some("*.example.com")),
            ("a.b.example.com", Some("*.b.example.com")),
            ("b.example.com", Some("*.example.com")),
            ("dot.example.com", Some(".dot.example.com")),
            ("a.dot.example.com", Some(".dot.example.com")),
            ("example.org", Some("example.*")),
            ("example.co.uk", Some("example.co.*")),
            ("example", None),
            ("wwwexample.org", None),
            ("", None),
            (".example.com", None),
        ] {
            assert_eq!(names.get(name.as_bytes()).copied(), found, "{name}");
        }
        assert_eq!(names.add(b"EXAMPLE.COM", ""), Err(Refused::Conflicting));
        for name in ["*", "a*.com", "a.*.com", "*.*", "a..b", "*.", ".*"] {
            assert_eq!(names.add(name.as_bytes(), ""), Err(Refused::Invalid), "{name}");
        }
    }
}
