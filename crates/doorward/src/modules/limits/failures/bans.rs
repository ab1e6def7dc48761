//! Who failed how often, and who is banned for it: shared by the workers and kept over reloads.

use std::sync::{Mutex, PoisonError};

use crate::modules::limits::rate::Buckets;
use crate::zone::Table;

/// Failures by key, and bans.
pub struct Failures {
    /// How often authentication failed.
    pub rates: Buckets,
    /// Until when a key is banned, in milliseconds of [`net::clock::now`].
    bans: Mutex<Table<u64>>,
}

impl Failures {
    /// A zone of about `size` bytes, a quarter of them for bans.
    pub fn new(size: usize) -> Failures {
        let bans = size / 4;
        Failures { rates: Buckets::new(size - bans), bans: Mutex::new(Table::new(bans)) }
    }

    /// How many keys there are, and how many bytes they take; a key that is banned too is two.
    pub fn usage(&self) -> (usize, usize) {
        let (keys, bytes) = self.rates.usage();
        let (banned, more) = self.bans.lock().unwrap_or_else(PoisonError::into_inner).usage();
        (keys + banned, bytes + more)
    }

    /// How many keys are banned, with those whose time is over and that have not come back since.
    pub fn banned_keys(&self) -> usize {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner).usage().0
    }

    /// Bans a key; the least recently seen of those banned goes where there is no room.
    pub fn ban(&self, key: &[u8], until: u64) {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        bans.insert(key, until, |_| true);
    }

    /// The keys seen last of those that are banned, at most `most`, each with the milliseconds that are left.
    pub fn latest_bans(&self, now: u64, most: usize) -> Vec<(Box<[u8]>, u64)> {
        let bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = bans.newest().filter(|(_, until)| **until > now);
        in_force.take(most).map(|(key, until)| (key.into(), until - now)).collect()
    }

    /// For how many milliseconds more a key is banned.
    pub fn banned(&self, key: &[u8], now: u64) -> Option<u64> {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *bans.get(key)?;
        if until > now {
            return Some(until - now);
        }
        bans.remove(key);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends() {
        let failures = Failures::new(32 << 10);
        failures.ban(b"a", 500);
        assert_eq!(failures.banned(b"a", 100), Some(400));
        assert_eq!(failures.banned(b"b", 100), None);
        assert_eq!(failures.banned(b"a", 500), None);
        assert_eq!(failures.banned(b"a", 100), None);
    }
}
