//! Users by name and password, without a costly comparison for each request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use auth::check::Why;
use auth::password;
use auth::store::StoreError;
use std::sync::Arc;

use auth::identity::Identity;

use super::service::Service;
use crate::exchange::Exchange;
use crate::hashing;
use crate::random;
use crate::run::Stop;

/// How long a password that was right is not compared again, in milliseconds.
const REMEMBERED: u64 = 60_000;

/// Most passwords that are remembered.
const MOST: usize = 10_000;

/// Passwords that were right lately, as keyed hashes.
pub struct Passwords {
    secret: [u8; 32],
    right: Mutex<HashMap<[u8; 32], u64>>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { secret: random::bytes(), right: Mutex::default() }
    }
}

/// Whose name and password these are, or why they are not good.
pub type Login = Result<Result<Arc<Identity>, Why>, Failed>;

/// Why that cannot be told.
pub enum Failed {
    /// The store is not there.
    Store(StoreError),
    /// The client has gone, or waits for too long.
    Stop(Stop),
}

/// Finds the user, and compares the password, unless it is one of those that are `known`; without `known` the store says what the user
/// is now, since what is begun by it lasts: with nobody's where there is no such user, so that the time of the answer
/// does not tell that.
pub async fn check(
    service: &Service,
    known: Option<&Passwords>,
    ex: &Exchange<'_>,
    user: &[u8],
    password: Vec<u8>,
) -> Login {
    let found = match str::from_utf8(user) {
        Ok(name) if name.len() <= password::LONGEST => {
            let directory = service.directory().map_err(Failed::Store)?;
            let found = match known {
                Some(_) => directory.user_named(name, service.grace).await,
                None => directory.user_as_stored(name).await,
            };
            found.map_err(Failed::Store)?
        }
        _ => None,
    };
    let stored = found.as_ref().and_then(|found| found.user.password.as_deref());
    let mark = known.map(|known| known.mark(stored.unwrap_or_default(), user, &password));
    let remembered = known.zip(mark).is_some_and(|(known, mark)| known.has(&mark));
    let is_right = remembered || {
        let stored = stored.unwrap_or(password::NOBODYS).as_bytes().to_vec();
        hashing::matches(ex, stored, password).await.map_err(Failed::Stop)?
    };
    let Some(found) = &found else { return Ok(Err(Why::Unknown)) };
    if !is_right || stored.is_none() {
        return Ok(Err(Why::Wrong));
    }
    if found.user.disabled {
        return Ok(Err(Why::Disabled));
    }
    if let Some((known, mark)) = known.zip(mark) {
        known.add(mark);
    }
    Ok(Ok(found.identity.clone()))
}

impl Passwords {
    /// A hash of what makes a password right: another password of the user, or another one stored, is another hash.
    fn mark(&self, stored: &str, user: &[u8], password: &[u8]) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_keyed(&self.secret);
        for part in [stored.as_bytes(), user, password] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        *hash.finalize().as_bytes()
    }

    fn has(&self, mark: &[u8; 32]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(mark).is_some_and(|until| net::clock::now() < *until)
    }

    fn add(&self, mark: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        let now = net::clock::now();
        if right.len() >= MOST {
            right.retain(|_, until| now < *until);
        }
        if right.len() < MOST {
            right.entry(mark).or_insert(now + REMEMBERED);
        }
    }
}
