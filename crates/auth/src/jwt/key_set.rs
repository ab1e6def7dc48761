//! Sets of keys as they stand in files and come from services (RFC 7517, 5).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::value::RawValue;

use super::key::{Fault, Key};
use super::{MOST_KEYS, MOST_SET};
use crate::json;

/// Keys that tokens are checked with.
pub struct KeySet {
    /// A number that no other set of this process has.
    number: u64,
    pub(super) keys: Vec<Key>,
    ignored: Vec<Ignored>,
    short_secrets: Vec<(Place, usize)>,
    private_parts: Vec<Place>,
}

/// A key that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Where it stands.
    pub place: Place,
    /// Why.
    pub fault: Fault,
}

/// Where a key stands in the text of its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// Which key it is, from 1.
    pub number: usize,
}

/// Why a text is no set of keys, in words that go on after its name, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotASet {
    /// From 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

impl fmt::Display for NotASet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A set, or a key alone, which is taken as a set of one.
#[derive(serde::Deserialize)]
struct Text<'t> {
    #[serde(borrow)]
    keys: Option<Vec<&'t RawValue>>,
    kty: Option<String>,
}

impl KeySet {
    /// Reads a set, or one key alone.
    pub fn parse(text: &[u8]) -> Result<KeySet, NotASet> {
        static SETS: AtomicU64 = AtomicU64::new(0);
        let not = |line, why: &str| NotASet { line, why: why.to_owned() };
        if text.len() > MOST_SET {
            return Err(not(1, "it has more than a megabyte"));
        }
        let text = str::from_utf8(text).map_err(|_| not(1, "it is not UTF-8"))?;
        let read: Text<'_> = serde_json::from_str(text)
            .map_err(|error| NotASet { line: error.line().max(1), why: error.to_string() })?;
        let keys = match (&read.keys, &read.kty) {
            (Some(keys), _) => keys.iter().map(|key| key.get()).collect(),
            (None, Some(_)) => vec![text],
            (None, None) => return Err(not(1, "it has neither \"keys\" nor, as a key alone, \"kty\"")),
        };
        if keys.len() > MOST_KEYS {
            return Err(not(1, &format!("it has more than {MOST_KEYS} keys")));
        }
        let mut set = KeySet {
            number: SETS.fetch_add(1, Ordering::Relaxed),
            keys: Vec::with_capacity(keys.len()),
            ignored: Vec::new(),
            short_secrets: Vec::new(),
            private_parts: Vec::new(),
        };
        for (at, key) in keys.into_iter().enumerate() {
            set.add(key, Place { line: line_of(key, text), number: at + 1 });
        }
        Ok(set)
    }

    fn add(&mut self, text: &str, place: Place) {
        let key = json::object(text.as_bytes()).ok_or(Fault::NotAKey).and_then(|members| Key::of(&members));
        match key {
            Ok(key) => {
                if let Some(bytes) = key.short_secret {
                    self.short_secrets.push((place.clone(), bytes));
                }
                if key.has_private_part {
                    self.private_parts.push(place);
                }
                self.keys.push(key);
            }
            Err(fault) => self.ignored.push(Ignored { place, fault }),
        }
    }

    /// A number that no other set of this process has, so that what was checked with another is told apart.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many keys it has that can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that are not used.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// Secrets that are shorter than the hash that they are used with (RFC 7518, 3.2), with their length in bytes.
    pub fn short_secrets(&self) -> &[(Place, usize)] {
        &self.short_secrets
    }

    /// Keys whose private part is there too, which nobody who only checks needs.
    pub fn private_parts(&self) -> &[Place] {
        &self.private_parts
    }
}

/// The line of a part of a text, from 1.
fn line_of(part: &str, text: &str) -> usize {
    let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
