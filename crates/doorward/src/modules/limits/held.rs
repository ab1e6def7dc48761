//! How many of something are there at once: counts by key, shared by the workers and kept over reloads.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::zone::Table;

/// Counts by key of what is held at the moment.
pub struct Counts {
    shards: Box<[Mutex<Table<u64>>]>,
    hasher: RandomState,
}

/// One that is held; dropped, it is given back.
pub struct Held {
    counts: Arc<Counts>,
    key: Vec<u8>,
}

/// Why nothing more is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// As many as may be are held.
    Limit,
    /// There is no room for another key.
    NoRoom,
}

impl Counts {
    /// Counts that take about `size` bytes.
    pub fn new(size: usize) -> Counts {
        let count = (size >> 18).clamp(1, 16);
        let shards = (0..count).map(|_| Mutex::new(Table::new(size / count))).collect();
        Counts { shards, hasher: RandomState::new() }
    }

    /// Takes one more of a key, if there are fewer than `most`.
    pub fn hold(self: &Arc<Self>, key: &[u8], most: u64) -> Result<Held, NotHeld> {
        self.with(key, |table| {
            match table.get(key) {
                Some(count) if *count >= most => return Err(NotHeld::Limit),
                Some(count) => *count += 1,
                // Every entry is held by someone: none may go for another.
                None => table.insert(key, 1, |_| false).map(|_| ()).ok_or(NotHeld::NoRoom)?,
            }
            Ok(Held { counts: self.clone(), key: key.to_vec() })
        })
    }

    /// How many keys there are, and how many bytes they take.
    pub fn usage(&self) -> (usize, usize) {
        super::rate::usage_of(&self.shards)
    }

    fn with<T>(&self, key: &[u8], f: impl FnOnce(&mut Table<u64>) -> T) -> T {
        let at = self.hasher.hash_one(key) as usize % self.shards.len();
        f(&mut self.shards[at].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.with(&self.key, |table| {
            if let Some(count) = table.get(&self.key) {
                *count -= 1;
                if *count == 0 {
                    table.remove(&self.key);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_held_again() {
        let counts = Arc::new(Counts::new(1 << 20));
        let first = counts.hold(b"k", 2);
        let second = counts.hold(b"k", 2);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(counts.hold(b"k", 2).err(), Some(NotHeld::Limit));
        assert!(counts.hold(b"other", 1).is_ok());
        drop(first);
        assert!(counts.hold(b"k", 2).is_ok());
    }

    #[test]
    fn a_full_zone_refuses_new_keys_until_one_goes() {
        let counts = Arc::new(Counts::new(1000));
        let mut all = Vec::new();
        let refused = (0..100u8).find_map(|n| match counts.hold(&[n], 1) {
            Ok(held) => {
                all.push(held);
                None
            }
            Err(why) => Some((n, why)),
        });
        let Some((n, NotHeld::NoRoom)) = refused else { panic!("a thousand bytes are never full") };
        all.pop();
        assert!(counts.hold(&[n], 1).is_ok());
    }
}
