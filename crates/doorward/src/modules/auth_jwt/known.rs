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

    fn shard(&self, key: &Key) -> MutexGuard<'_, Table<Arc<Token>>> {
        let [.., last] = *key;
        self.shards[usize::from(last) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
