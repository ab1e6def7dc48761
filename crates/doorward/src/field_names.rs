//! A set of field names, asked for every field of every message that passes.

use wire::Name;

/// A set of known names.
#[derive(Clone, Copy, Default)]
pub struct KnownNames([u64; 2]);

impl KnownNames {
    /// Adds a name.
    #[inline]
    pub fn insert(&mut self, id: Name) {
        self.0[id as usize / 64 % 2] |= 1 << (id as usize % 64);
    }

    /// Whether the name is in it.
    #[inline]
    pub fn contains(self, id: Name) -> bool {
        self.0[id as usize / 64 % 2] & (1 << (id as usize % 64)) != 0
    }
}

/// Names of fields, in any case: the known ones as bits, the few others one by one.
#[derive(Clone, Default)]
pub struct FieldNames {
    known: KnownNames,
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
        self.known.insert(id);
    }

    /// Whether the name is in it; `id` is what [`Name::of`] says of `name`.
    #[inline]
    pub fn contains(&self, id: Name, name: &[u8]) -> bool {
        if id != Name::Other {
            return self.known.contains(id);
        }
        self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
    }
}

/// Names of fields that are told apart neither by case nor by `-` and `_`: many frameworks make one variable of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlikeNames(Vec<Box<[u8]>>);

impl AlikeNames {
    /// Adds a name.
    pub fn insert(&mut self, name: &[u8]) {
        if !self.contains(name) {
            self.0.push(name.into());
        }
    }

    /// Whether the name, or one like it, is among them.
    pub fn contains(&self, name: &[u8]) -> bool {
        let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        self.0
            .iter()
            .any(|known| known.len() == name.len() && known.iter().map(plain).eq(name.iter().map(plain)))
    }

    /// The names as they were added.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alike_are_one() {
        let mut names = AlikeNames::default();
        names.insert(b"X-User-Id");
        names.insert(b"x_user_id");
        assert_eq!(names.iter().count(), 1);
        assert!(names.contains(b"X_USER-ID") && names.contains(b"x-user-id"));
        assert!(
            !names.contains(b"X-User-I") && !names.contains(b"X-User-Ids") && !names.contains(b"XXUserXId")
        );
    }

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
