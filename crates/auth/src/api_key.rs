//! API keys as text: `dw_<id>_<secret>`. The id may be seen; the secret has 256 bits and is shown once.

use crate::secret::{self, Digest, NoRandomness};

/// What every key begins with, so that scanners for leaked secrets find them.
pub const PREFIX: &str = "dw_";

/// Characters of an id: 71 bits.
const ID: usize = 12;

/// Length of a key's text in bytes.
pub const LENGTH: usize = PREFIX.len() + ID + 1 + secret::SECRET;

/// A new key: its text is known only now.
pub struct NewKey {
    /// The key as its owner sends it.
    pub text: String,
    /// The part that may be seen.
    pub id: String,
    /// What is kept of the secret.
    pub digest: Digest,
}

impl NewKey {
    /// Makes a key.
    pub fn generate() -> Result<NewKey, NoRandomness> {
        let (id, secret) = (secret::text(ID)?, secret::text(secret::SECRET)?);
        Ok(NewKey { text: format!("{PREFIX}{id}_{secret}"), digest: secret::digest(secret.as_bytes()), id })
    }
}

/// A key that a client has sent: well formed, which says nothing of whether it is right.
pub struct Presented<'a> {
    /// The part by which a store finds it.
    pub id: &'a str,
    secret: &'a [u8],
}

impl<'a> Presented<'a> {
    /// Reads a key; `None` for what no key looks like.
    pub fn parse(text: &'a [u8]) -> Option<Presented<'a>> {
        let rest = text.strip_prefix(PREFIX.as_bytes())?;
        let (id, rest) = rest.split_at_checked(ID)?;
        let secret = rest.strip_prefix(b"_")?;
        if !secret::is_text(id, ID) || !secret::is_text(secret, secret::SECRET) {
            return None;
        }
        Some(Presented { id: str::from_utf8(id).ok()?, secret })
    }

    /// Whether it has the secret of which `digest` is kept; takes the same time whatever the answer.
    pub fn matches(&self, digest: &Digest) -> bool {
        secret::equal(&secret::digest(self.secret), digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_and_no_other() {
        let (key, other) = (NewKey::generate().unwrap(), NewKey::generate().unwrap());
        assert_eq!(key.text.len(), LENGTH);
        let presented = Presented::parse(key.text.as_bytes()).unwrap();
        assert_eq!(presented.id, key.id);
        assert!(presented.matches(&key.digest));
        assert!(!presented.matches(&other.digest));
        assert!(!key.digest.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let key = NewKey::generate().unwrap().text;
        assert!(Presented::parse(key.as_bytes()).is_some());
        for broken in [
            String::new(),
            "dw_".into(),
            key.replacen("dw_", "DW_", 1),
            key[1..].into(),
            key[..LENGTH - 1].into(),
            format!("{key}0"),
            format!("{key}\0"),
            format!("{}-{}", &key[..15], &key[16..]),
            format!("{}/{}", &key[..LENGTH - 1], ""),
            format!("{}é", &key[..LENGTH - 2]),
            key.replace('_', "-"),
            "x".repeat(1 << 20),
        ] {
            assert!(Presented::parse(broken.as_bytes()).is_none(), "{broken}");
        }
    }
}
