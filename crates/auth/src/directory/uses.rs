//! When keys or sessions were used, as long as the store was not told.

use std::collections::HashMap;
use std::hash::Hash;

use crate::store::Time;

/// Most uses that are remembered until they are told.
const MOST: usize = 100_000;

/// Most that are told at a time: a store is not kept from its other work for longer than these take.
const PORTION: usize = 256;

/// The last use of each.
pub(super) struct Uses<K> {
    last: HashMap<K, Time>,
}

impl<K: Hash + Eq + Clone> Uses<K> {
    pub(super) fn new() -> Uses<K> {
        Uses { last: HashMap::new() }
    }

    /// Remembers a use; those of others are forgotten when there are too many.
    pub(super) fn note(&mut self, id: K, now: Time) {
        if self.last.len() < MOST {
            self.last.insert(id, now);
        }
    }

    /// Some that the store is to be told of.
    pub(super) fn portion(&self) -> Vec<(K, Time)> {
        self.last.iter().take(PORTION).map(|(id, time)| (id.clone(), *time)).collect()
    }

    /// The store has been told of these. What was used again meanwhile is still to be told.
    pub(super) fn told(&mut self, portion: &[(K, Time)]) {
        for (id, time) in portion {
            if self.last.get(id) == Some(time) {
                self.last.remove(id);
            }
        }
        if self.last.is_empty() {
            self.last = HashMap::new();
        }
    }
}
