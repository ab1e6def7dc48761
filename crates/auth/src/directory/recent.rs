//! What was looked up lately, bounded in number: a table of two generations.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Values by key. When the young generation is full it becomes the old one, and what nobody asks for then goes with it.
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Most entries of a generation.
    half: usize,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// A table that never holds more than `most`.
    pub(super) fn new(most: usize) -> Recent<K, V> {
        Recent { young: HashMap::new(), old: HashMap::new(), half: (most / 2).max(1) }
    }

    /// The value of a key.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// Adds or replaces a value.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Forgets a value.
    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets the values that are not to stay.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&V) -> bool) {
        self.young.retain(|_, value| stays(value));
        self.old.retain(|_, value| stays(value));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut recent = Recent::new(10);
        for n in 0..1000 {
            recent.insert(n, n);
            assert_eq!(recent.get(&0), Some(0));
            assert!(recent.young.len() + recent.old.len() <= 10);
        }
        assert_eq!(recent.get(&999), Some(999));
        assert_eq!(recent.get(&1), None);
    }

    #[test]
    fn what_is_removed_is_gone_from_both_generations() {
        let mut recent = Recent::new(4);
        for n in 0..4 {
            recent.insert(n, n);
        }
        recent.remove(&0);
        recent.remove(&3);
        assert_eq!((recent.get(&0), recent.get(&3)), (None, None));
        recent.retain(|value| *value != 1);
        assert_eq!((recent.get(&1), recent.get(&2)), (None, Some(2)));
        recent.clear();
        assert_eq!(recent.get(&2), None);
    }
}
