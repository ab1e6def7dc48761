//! The names of variables, known only while the configuration is compiled.

use std::collections::HashMap;

use conf::{Diagnostic, Span};

use super::{Computed, Index, Read, Row, Source};
use crate::modules;

/// The place of a remembered value in a request.
pub type Slot = u32;

/// Every variable that the configuration names, by number.
#[derive(Default)]
pub struct Registry {
    by_name: HashMap<String, u32>,
    entries: Vec<Entry>,
    slots: Slot,
}

struct Entry {
    name: String,
    source: Option<Source>,
    first_use: Option<Span>,
}

impl Entry {
    fn is_unknown(&self) -> Diagnostic {
        let error = complaint(self.first_use, format!("unknown \"{}\" variable", self.name));
        match conf::closest(&self.name, modules::variables().map(|row| row.name)) {
            Some(near) => error.instead(format!("did you mean ${near}?")),
            None => {
                error.instead("no directive here gives it a value (set, map, geo ...), and no module has it")
            }
        }
    }
}

impl Registry {
    /// The number of a variable that is read, defined before or after.
    pub fn named(&mut self, name: &str, span: Option<Span>) -> Index {
        let name = name.to_ascii_lowercase();
        if let Some(&at) = self.by_name.get(&name) {
            return Index(at);
        }
        let at = self.entries.len() as u32;
        self.by_name.insert(name.clone(), at);
        self.entries.push(Entry { name, source: None, first_use: span });
        Index(at)
    }

    /// A variable that requests may store a value in (`set`, `auth_request_set`, named captures).
    /// A module's variable can be stored over only where the module says so.
    pub fn stored(&mut self, name: &str, span: Option<Span>) -> Result<Index, Diagnostic> {
        let index = self.named(name, span);
        let slot = self.slots;
        let entry = &mut self.entries[index.0 as usize];
        // A module's own variable has a source here only when an earlier line was let to set it.
        if entry.source.is_some() {
            return Ok(index);
        }
        entry.source = Some(match row(&entry.name) {
            None | Some((Row { read: Read::Family(_), .. }, _)) => Source::Stored(slot),
            Some((Row { write: Some(_), read: Read::Fresh(get), .. }, _)) => Source::Fresh(*get),
            Some(_) => return Err(duplicate(&entry.name, span)),
        });
        self.slots += 1;
        Ok(index)
    }

    /// A variable that a directive computes.
    pub fn computed(
        &mut self,
        name: &str,
        span: Option<Span>,
        how: Box<dyn Computed>,
    ) -> Result<Index, Diagnostic> {
        let index = self.named(name, span);
        let slot = (!how.volatile()).then(|| self.new_slot());
        let entry = &mut self.entries[index.0 as usize];
        if row(&entry.name).is_some_and(|(r, _)| !matches!(r.read, Read::Family(_)) && r.write.is_none()) {
            return Err(duplicate(&entry.name, span));
        }
        entry.source = Some(Source::Computed(how, slot));
        Ok(index)
    }

    fn new_slot(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    /// The complaints about every variable that neither a directive nor a module defines.
    pub fn unknown(&self) -> Vec<Diagnostic> {
        let undefined = |entry: &&Entry| entry.source.is_none() && row(&entry.name).is_none();
        self.entries.iter().filter(undefined).map(Entry::is_unknown).collect()
    }

    /// Finds the module of every variable that no directive defined, and ends the registry.
    pub fn finish(mut self) -> Result<Variables, Diagnostic> {
        let mut sources = Vec::with_capacity(self.entries.len());
        let mut names = Vec::with_capacity(self.entries.len());
        for entry in std::mem::take(&mut self.entries) {
            let source = match entry.source {
                Some(source) => source,
                None => match row(&entry.name) {
                    Some((Row { read: Read::Fresh(get), .. }, _)) => Source::Fresh(*get),
                    Some((Row { read: Read::Once(get), .. }, _)) => Source::Once(*get, self.new_slot()),
                    // The prefix alone names no member of the family, and is no error.
                    Some((Row { read: Read::Family(_), .. }, "")) => Source::Fresh(|_, _| false),
                    Some((Row { read: Read::Family(get), .. }, suffix)) => {
                        Source::Family(*get, suffix.as_bytes().into())
                    }
                    None => return Err(entry.is_unknown()),
                },
            };
            sources.push(source);
            names.push(entry.name.into_boxed_str());
        }
        Ok(Variables { sources, names, slots: self.slots })
    }

    /// The write function of a module's variable, if `set` may change it.
    pub fn write_of(name: &str) -> Option<fn(&mut crate::exchange::Exchange<'_>, &[u8])> {
        row(&name.to_ascii_lowercase()).and_then(|(r, _)| r.write)
    }
}

/// The variables of a compiled configuration.
#[derive(Default)]
pub struct Variables {
    /// How each is read.
    pub sources: Vec<Source>,
    /// Their names, for log lines.
    pub names: Vec<Box<str>>,
    /// How many remembered values a request has.
    pub slots: Slot,
}

fn duplicate(name: &str, span: Option<Span>) -> Diagnostic {
    complaint(span, format!("the duplicate \"{name}\" variable"))
        .instead("this variable is the server's own: choose another name")
}

fn complaint(span: Option<Span>, sentence: String) -> Diagnostic {
    match span {
        Some(span) => Diagnostic::at(span, sentence),
        None => Diagnostic::nowhere(sentence),
    }
}

/// The module's row for a name, and what follows the prefix where the row is a family.
fn row(name: &str) -> Option<(&'static Row, &str)> {
    let mut family = None;
    for row in modules::variables() {
        match row.read {
            Read::Family(_) => {
                if let Some(rest) = name.strip_prefix(row.name) {
                    family = Some((row, rest));
                }
            }
            _ if row.name == name => return Some((row, "")),
            _ => {}
        }
    }
    family
}
