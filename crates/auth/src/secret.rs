//! Secrets that nobody can guess, as text, and what is kept of them.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a secret: what a store keeps of it.
pub type Digest = [u8; 32];

/// Letters and digits: a double click takes all of it, and it needs no escape in a URL, a cookie or a shell.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters of a secret of 256 bits: 62^43 is more than 2^256.
pub(crate) const SECRET: usize = 43;

/// The machine gives no random numbers: without them there is no secret.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoRandomness;

/// `length` characters, each as likely as any other.
pub(crate) fn text(length: usize) -> Result<String, NoRandomness> {
    let mut text = String::with_capacity(length);
    let mut random = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut random).map_err(|_| NoRandomness)?;
        // 248 is four times 62: what is above would make some characters likelier.
        let fair = random.iter().filter(|byte| **byte < 248);
        let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        text.extend(letters.take(length - text.len()).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

/// Whether `word` could be made by [`text`].
pub(crate) fn is_text(word: &[u8], length: usize) -> bool {
    word.len() == length && word.iter().all(u8::is_ascii_alphanumeric)
}

/// What is kept of a secret. A fast hash is right here, where it would be wrong for passwords: whoever has the digest would
/// have to try 2^255 secrets, and no slowness of the hash adds anything to that.
pub(crate) fn digest(secret: &[u8]) -> Digest {
    Sha256::digest(secret).into()
}

/// Compares without telling by its time where the difference is.
pub(crate) fn equal(a: &Digest, b: &Digest) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_occurs_and_no_secret_twice() {
        let many: Vec<String> = (0..1000).map(|_| text(SECRET).unwrap()).collect();
        assert!(many.iter().all(|secret| is_text(secret.as_bytes(), SECRET)));
        let all = many.concat();
        for letter in ALPHABET {
            // 43,000 characters: each is expected 694 times, with a deviation of 26.
            let times = all.bytes().filter(|byte| byte == letter).count();
            assert!((430..960).contains(&times), "{} {times}", char::from(*letter));
        }
        let distinct: std::collections::HashSet<_> = many.iter().collect();
        assert_eq!(distinct.len(), many.len());
    }

    #[test]
    fn a_digest_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let found: String = digest(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
    }
}
