//! A set of field names, asked for every field of every message that passes.

use wire::Name;

/// Names of fields, in any case: the known ones as bits, the few others one by one.
#[derive(Clone, Default)]
pub struct FieldNames {
    known: [u64; 2],
    others: Vec<Box<[u8]>>,
}

impl FieldNames {
    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        match Name::of(name) {
            Name::Other if !self.contains(Name::Other, name) => self.others.push(name.into()),
            Name::Other => {}
            id => self.insert_known(id),
        }
    }

    /// Adds a known name.
    pub fn insert_known(&mut self, id: Name) {
        self.known[id as usize / 64 % 2] |= 1 << (id as usize % 64);
    }

    /// Whether the name is in it; `id` is what [`Name::of`] says of `name`.
    #[inline]
    pub fn contains(&self, id: Name, name: &[u8]) -> bool {
        if id != Name::Other {
            return self.known[id as usize / 64 % 2] & (1 << (id as usize % 64)) != 0;
        }
        self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_known_and_other_names_in_any_case() {
        let mut names = FieldNames::default();
        names.insert(b"x-pad");
        names.insert(b"X-PAD");
        names.insert(b"server");
        names.insert_known(Name::Upgrade);
        let contains = |name: &[u8]| names.contains(Name::of(name), name);
        assert!(contains(b"X-Pad") && contains(b"Server") && contains(b"upgrade"));
        assert!(!contains(b"X-Pa") && !contains(b"X-Padd") && !contains(b"Date"));
        assert_eq!(names.others.len(), 1);
    }
}
