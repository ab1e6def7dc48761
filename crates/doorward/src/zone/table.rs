//! A table of a zone: entries by key, bounded in bytes, in the order of their last use.

use std::collections::HashMap;
use std::sync::Arc;

/// Entries by key. A new one takes the place of the least recently used where the table is full.
pub struct Table<V> {
    by_key: HashMap<Arc<[u8]>, u32>,
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    used: usize,
    room: usize,
}

struct Node<V> {
    key: Arc<[u8]>,
    value: Option<V>,
    newer: u32,
    older: u32,
    /// What it takes in all.
    cost: u32,
}

const NONE: u32 = u32::MAX;

impl<V> Table<V> {
    /// A table that takes about `room` bytes.
    pub fn new(room: usize) -> Table<V> {
        Table {
            by_key: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            used: 0,
            room,
        }
    }

    /// The entry of that key, which becomes the most recently used.
    pub fn get(&mut self, key: &[u8]) -> Option<&mut V> {
        let at = *self.by_key.get(key)?;
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
        self.nodes.get_mut(at as usize)?.value.as_mut()
    }

    /// Makes an entry, after as many of the oldest as need be have gone for it; none where one of those may not go.
    pub fn insert(&mut self, key: &[u8], value: V, may_go: impl Fn(&V) -> bool) -> Option<&mut V> {
        self.insert_sized(key, value, 0, may_go)
    }

    /// The same for a value that holds `more` bytes beside itself.
    pub fn insert_sized(
        &mut self,
        key: &[u8],
        value: V,
        more: usize,
        may_go: impl Fn(&V) -> bool,
    ) -> Option<&mut V> {
        self.remove(key);
        let cost = Self::cost(key).saturating_add(more);
        let kept = u32::try_from(cost).ok().filter(|_| cost <= self.room)?;
        while self.used + cost > self.room {
            if !self.evict(&may_go) {
                return None;
            }
        }
        let key: Arc<[u8]> = key.into();
        let node = Node { key: key.clone(), value: Some(value), newer: NONE, older: NONE, cost: kept };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).ok()?
            }
        };
        self.by_key.insert(key, at);
        self.used += cost;
        self.link(at);
        self.nodes.get_mut(at as usize)?.value.as_mut()
    }

    /// Removes the least recently used entry, where there is one and it may go.
    pub fn evict(&mut self, may_go: impl Fn(&V) -> bool) -> bool {
        let Some(node) = self.nodes.get(self.oldest as usize) else { return false };
        if !node.value.as_ref().is_some_and(may_go) {
            return false;
        }
        let key = node.key.clone();
        self.remove(&key).is_some()
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let at = self.by_key.remove(key)?;
        self.unlink(at);
        self.free.push(at);
        let node = self.nodes.get_mut(at as usize)?;
        self.used -= node.cost as usize;
        node.key = Arc::default();
        node.value.take()
    }

    /// Removes every entry that `goes` names; how many those were.
    pub fn remove_where(&mut self, goes: impl Fn(&V) -> bool) -> usize {
        let gone = self.nodes.iter().filter(|node| node.value.as_ref().is_some_and(&goes));
        let keys: Vec<Arc<[u8]>> = gone.map(|node| node.key.clone()).collect();
        keys.iter().filter(|key| self.remove(key).is_some()).count()
    }

    /// The entries, the most recently used first.
    pub fn newest(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let first = self.nodes.get(self.newest as usize);
        let nodes = std::iter::successors(first, |node| self.nodes.get(node.older as usize));
        nodes.filter_map(|node| Some((&*node.key, node.value.as_ref()?)))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The bytes that they take.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.used
    }

    /// How many entries there are, and how many bytes they take.
    pub fn usage(&self) -> (usize, usize) {
        (self.by_key.len(), self.used)
    }

    /// What an entry takes: its key, its node, its place among the keys, and what the allocator keeps beside them.
    fn cost(key: &[u8]) -> usize {
        key.len() + size_of::<Node<V>>() + 64
    }

    fn link(&mut self, at: u32) {
        let second = std::mem::replace(&mut self.newest, at);
        if let Some(node) = self.nodes.get_mut(at as usize) {
            (node.newer, node.older) = (NONE, second);
        }
        match self.nodes.get_mut(second as usize) {
            Some(node) => node.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some((newer, older)) = self.nodes.get(at as usize).map(|node| (node.newer, node.older)) else {
            return;
        };
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut table = Table::new(3 * Table::<u8>::cost(b"a"));
        for key in [b"a", b"b", b"c"] {
            table.insert(key, key[0], |_| true);
        }
        assert_eq!(table.get(b"a"), Some(&mut b'a'));
        table.insert(b"d", b'd', |_| true);
        assert_eq!(table.get(b"b"), None);
        assert!([b"a", b"c", b"d"].into_iter().all(|key| table.get(key).is_some()));
    }

    #[test]
    fn an_entry_in_use_stays_and_a_new_one_finds_no_room() {
        let mut table = Table::new(Table::<i32>::cost(b"a"));
        table.insert(b"a", 1, |_| true);
        assert_eq!(table.insert(b"b", 2, |value| *value != 1), None);
        assert_eq!(table.remove(b"a"), Some(1));
        assert_eq!(table.insert(b"b", 2, |_| false), Some(&mut 2));
        assert_eq!(table.insert(b"long key", 3, |_| true), None);
    }

    #[test]
    fn what_a_value_holds_is_counted() {
        let mut table = Table::new(4096);
        for n in 0..100u8 {
            assert!(table.insert_sized(&[n], n, 1000, |_| true).is_some());
            assert!(table.used() <= 4096);
        }
        assert_eq!(table.len(), 3);
        assert_eq!(table.insert_sized(b"large", 0, 5000, |_| true), None);
        assert_eq!(table.remove_where(|n| *n == 98), 1);
        assert_eq!(table.get(&[98]), None);
        assert_eq!(table.len(), 2);
        table.remove_where(|_| true);
        assert_eq!((table.len(), table.used()), (0, 0));
    }

    #[test]
    fn places_are_used_again() {
        let mut table = Table::new(4 * Table::<u32>::cost(b"0000"));
        for n in 0..1000u32 {
            table.insert(&n.to_be_bytes(), n, |_| true);
        }
        assert_eq!(table.nodes.len(), 4);
        assert_eq!(table.by_key.len(), 4);
        assert!((996..1000u32).all(|n| table.get(&n.to_be_bytes()) == Some(&mut n.clone())));
    }
}
