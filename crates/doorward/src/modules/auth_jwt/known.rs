//! Tokens whose signature was found right, so that the same token costs no second check of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auth::jwt::{KeySet, Token};
use conf::Diagnostic;

use crate::compile::Compiler;
use crate::modules::auth_request::{Key, Secret};
use crate::zone::Table;

/// The bytes that they may take, in one configuration.
const ROOM: usize = 16 << 20;

const SHARDS: usize = 16;

/// Right tokens, found by a hash of theirs and of the keys that they were checked with. They end with the configuration.
pub struct Known {
    secret: Secret,
    shards: [Mutex<Table<Arc<Token>>>; SHARDS],
}

impl Known {
    /// Those of the configuration being compiled.
    pub fn of(cx: &mut Compiler) -> Result<Arc<Known>, Diagnostic> {
        if let Some(known) = &cx.jwt.known {
            return Ok(known.clone());
        }
        let secret = Secret::random().map_err(|error| {
            Diagnostic::nowhere(format!("the system has no random numbers for \"auth_jwt\": {error}"))
        })?;
        let known = Arc::new(Known::new(secret, ROOM));
        cx.readings.extend(super::counts::readings(&known));
        cx.jwt.known = Some(known.clone());
        Ok(known)
    }

    fn new(secret: Secret, room: usize) -> Known {
        Known { secret, shards: std::array::from_fn(|_| Mutex::new(Table::new(room / SHARDS))) }
    }

    /// What a token is found by that was checked with these keys.
    pub fn key(&self, keys: &[Arc<KeySet>], token: &[u8]) -> Key {
        let mut material = Vec::with_capacity(8 * (keys.len() + 1) + token.len());
        material.extend_from_slice(&(keys.len() as u64).to_le_bytes());
        for set in keys {
            material.extend_from_slice(&set.number().to_le_bytes());
        }
        material.extend_from_slice(token);
        self.secret.key(&material)
    }

    /// The token, if it was found right before.
    pub fn find(&self, key: &Key) -> Option<Arc<Token>> {
        self.shard(key).get(key).cloned()
    }

    /// Remembers a token that was found right.
    pub fn keep(&self, key: &Key, token: &Arc<Token>) {
        let size = size_of::<Token>() + 32 + token.size();
        self.shard(key).insert_sized(key, token.clone(), size, |_| true);
    }

    /// Forgets a token.
    pub fn forget(&self, key: &Key) {
        self.shard(key).remove(key);
    }

    /// How many there are, and the bytes that they take.
    pub fn usage(&self) -> (usize, usize) {
        let shards = self.shards.iter().map(lock);
        shards.fold((0, 0), |(tokens, bytes), shard| {
            let (more, more_bytes) = shard.usage();
            (tokens + more, bytes + more_bytes)
        })
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Table<Arc<Token>>> {
        let [.., last] = *key;
        lock(&self.shards[usize::from(last) % SHARDS])
    }
}

fn lock(shard: &Mutex<Table<Arc<Token>>>) -> MutexGuard<'_, Table<Arc<Token>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use auth::jwt::Signed;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn keys() -> Arc<KeySet> {
        let secret = URL_SAFE_NO_PAD.encode([7; 32]);
        Arc::new(KeySet::parse(format!(r#"{{"kty":"oct","k":"{secret}"}}"#).as_bytes()).unwrap())
    }

    /// A right token with that much to say, as it was sent and as it was read.
    fn token(keys: &Arc<KeySet>, length: usize) -> (String, Arc<Token>) {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let text =
            format!("{header}.{}", URL_SAFE_NO_PAD.encode(format!(r#"{{"x":"{}"}}"#, "x".repeat(length))));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
        let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
        let text = format!("{text}.{signature}");
        let token = Signed::parse(text.as_bytes()).unwrap().verify(std::slice::from_ref(keys)).unwrap();
        (text, Arc::new(token))
    }

    fn known(room: usize) -> Known {
        Known::new(Secret::from([1; 32]), room)
    }

    #[test]
    fn a_token_is_known_for_the_keys_that_it_was_checked_with() {
        let (known, one, other) = (known(ROOM), keys(), keys());
        let (text, token) = token(&one, 10);
        let key = known.key(std::slice::from_ref(&one), text.as_bytes());
        known.keep(&key, &token);
        assert!(known.find(&key).is_some());
        // The same keys read once more are others: what is wrong with them may have been put right.
        let sets = [vec![], vec![other.clone()], vec![one.clone(), other.clone()], vec![other, one.clone()]];
        for sets in sets {
            assert!(known.find(&known.key(&sets, text.as_bytes())).is_none());
        }
        assert!(known.find(&known.key(&[one], &text.as_bytes()[1..])).is_none());
        known.forget(&key);
        assert!(known.find(&key).is_none());
    }

    #[test]
    fn a_flood_of_tokens_stays_within_its_room() {
        let (known, keys) = (known(1 << 20), keys());
        let (_, token) = token(&keys, 500);
        for n in 0..10_000_u32 {
            known.keep(&known.key(&[], &n.to_be_bytes()), &token);
        }
        let (tokens, bytes) = known.usage();
        assert!(tokens > 50 && bytes <= 1 << 20, "{tokens} tokens take {bytes} bytes");
    }
}
