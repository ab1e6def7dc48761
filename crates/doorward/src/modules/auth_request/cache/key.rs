//! Keys of decisions: keyed hashes, so that nobody can find two requests of one key, and no credential stands in memory.

pub use crate::flights::Key;

/// What a decision can be purged by: a hash of a credential or of the operator's own key.
pub type Mark = [u8; 16];

/// What is hashed with: 256 bits that the system's randomness made for one zone, and what is derived of them.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }
}

impl Secret {
    /// A new one; an error where the system has no randomness.
    pub fn random() -> Result<Secret, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Secret(bytes))
    }

    /// The secret of one question: keys of different questions have nothing in common.
    pub fn of_question(&self, question: &[u8]) -> Secret {
        Secret(self.hash(&[b"question\0", question].concat()))
    }

    /// The key of a request, given everything that it depends on.
    pub fn key(&self, material: &[u8]) -> Key {
        self.hash(material)
    }

    /// The mark of a credential.
    pub fn mark(&self, credential: &[u8]) -> Mark {
        let hash = self.hash(&[b"mark\0", credential].concat());
        let mut mark = Mark::default();
        mark.copy_from_slice(hash.split_at(16).0);
        mark
    }

    fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }
}

/// Appends a part of the material with its length before it, so that no two lists of parts are the same bytes.
pub fn append_part(part: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(part.len() as u32).to_le_bytes());
    out.extend_from_slice(part);
}

/// The same for a part that `write` appends.
pub fn append_written(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - at - 4) as u32;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let material = |parts: &[&[u8]]| {
            let mut out = Vec::new();
            for part in parts {
                append_part(part, &mut out);
            }
            out
        };
        assert_ne!(material(&[b"ab", b"c"]), material(&[b"a", b"bc"]));
        assert_ne!(material(&[b"", b"a"]), material(&[b"a", b""]));
        let mut written = Vec::new();
        append_written(&mut written, |out| out.extend_from_slice(b"ab"));
        assert_eq!(written, material(&[b"ab"]));
    }

    #[test]
    fn secrets_and_questions_tell_keys_apart() {
        let (one, two) = (Secret::from([1; 32]), Secret::from([2; 32]));
        assert_ne!(one.key(b"x"), two.key(b"x"));
        assert_ne!(one.of_question(b"a").key(b"x"), one.of_question(b"b").key(b"x"));
        assert_ne!(one.key(b"x"), one.of_question(b"").key(b"x"));
    }
}
