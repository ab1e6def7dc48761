//! Session ids as text: 256 bits in letters and digits, of which a store keeps only the digest.

use crate::secret::{self, Digest, NoRandomness};

/// Length of a session id in bytes.
pub const LENGTH: usize = secret::SECRET;

/// A new session's id: its text is known only now.
pub struct NewSession {
    /// The id as a cookie carries it.
    pub text: String,
    /// What is kept of it.
    pub digest: Digest,
}

impl NewSession {
    /// Makes an id.
    pub fn generate() -> Result<NewSession, NoRandomness> {
        let text = secret::text(secret::SECRET)?;
        Ok(NewSession { digest: secret::digest(text.as_bytes()), text })
    }
}

/// The digest by which a store finds a session; `None` for what no session id looks like. A lookup by the digest needs no
/// comparison in constant time: its time tells something of the digest, which tells nothing of the id.
pub fn digest_of(text: &[u8]) -> Option<Digest> {
    secret::is_text(text, LENGTH).then(|| secret::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_by_its_digest() {
        let session = NewSession::generate().unwrap();
        assert_eq!(digest_of(session.text.as_bytes()), Some(session.digest));
        for broken in
            ["", &session.text[1..], &format!("{}0", session.text), &session.text.replacen(|_| true, ";", 1)]
        {
            assert_eq!(digest_of(broken.as_bytes()), None, "{broken}");
        }
    }
}
