//! A part of a zone's index: slots by key, in the order of their last use, each with what is held for its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashTable;
use tokio::sync::Notify;

use super::entry::Entry;

/// No slot.
const NONE: u32 = u32::MAX;

/// What is known of one key.
pub struct Slot {
    /// The hash of the key.
    pub hash: u64,
    /// The key.
    pub key: Arc<[u8]>,
    /// The stored answer.
    pub entry: Option<Arc<Entry>>,
    /// A status to answer instead, and the last second in which to.
    pub error: Option<(u16, i64)>,
    /// How often it was asked for.
    pub uses: u32,
    /// Who is fetching it.
    pub flight: Option<Arc<Flight>>,
    /// Until when others wait for that, in milliseconds of [`net::clock::now`].
    pub flight_ends: u64,
    /// When it is forgotten unless it is asked for, in the same milliseconds.
    pub expire: u64,
    /// The size of its file, 0 while there is none.
    pub file_size: u64,
    /// Whether the file, if there is one, is older than the entry.
    pub file_is_old: bool,
    weight: usize,
    newer: u32,
    older: u32,
}

impl Slot {
    /// Whether nothing is known but how often it was asked for.
    pub fn is_empty(&self) -> bool {
        self.entry.is_none() && self.error.is_none()
    }

    fn weigh(&self) -> usize {
        size_of::<Slot>() + self.key.len() + self.entry.as_ref().map_or(0, |e| e.weight())
    }
}

/// One fetch that others may wait for.
#[derive(Default)]
pub struct Flight {
    landed: AtomicBool,
    notify: Notify,
}

impl Flight {
    /// Tells everybody that it is over.
    pub fn land(&self) {
        self.landed.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Waits for its end.
    pub async fn landed(&self) {
        // Made before the look, so that an end between the two is not missed.
        let notified = self.notify.notified();
        if !self.landed.load(Ordering::Acquire) {
            notified.await;
        }
    }
}

/// Slots by key and by age.
pub struct Shard {
    table: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// Bytes of memory that all slots take.
    pub weight: usize,
}

impl Default for Shard {
    fn default() -> Shard {
        Shard {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            weight: 0,
        }
    }
}

impl Shard {
    /// The slot of a key.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.table.find(hash, |at| self.get(*at).is_some_and(|slot| *slot.key == *key)).copied()
    }

    /// A slot by its number.
    pub fn get(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    /// A slot by its number, to change; [`Shard::weigh`] it when its entry changed.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// A new slot for a key that has none; it is the newest.
    pub fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = Slot {
            hash,
            key: key.into(),
            entry: None,
            error: None,
            uses: 0,
            flight: None,
            flight_ends: 0,
            expire: 0,
            file_size: 0,
            file_is_old: false,
            weight: 0,
            newer: NONE,
            older: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[at as usize] = Some(slot);
        let Shard { table, slots, .. } = self;
        table.insert_unique(hash, at, |at| slots[*at as usize].as_ref().map_or(0, |slot| slot.hash));
        self.link(at);
        self.weigh(at);
        at
    }

    /// Takes a slot out.
    pub fn remove(&mut self, at: u32) -> Option<Slot> {
        let hash = self.get(at)?.hash;
        self.unlink(at);
        if let Ok(found) = self.table.find_entry(hash, |other| *other == at) {
            found.remove();
        }
        let slot = self.slots[at as usize].take()?;
        self.free.push(at);
        self.weight -= slot.weight;
        Some(slot)
    }

    /// Makes a slot the newest.
    pub fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    /// Counts a slot's memory anew.
    pub fn weigh(&mut self, at: u32) {
        if let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::as_mut) {
            let weight = slot.weigh();
            self.weight = self.weight - slot.weight + weight;
            slot.weight = weight;
        }
    }

    /// The slot that was not used for the longest time and that nobody is fetching.
    pub fn oldest(&self) -> Option<u32> {
        let mut at = self.oldest;
        while let Some(slot) = self.get(at) {
            if slot.flight.is_none() {
                return Some(at);
            }
            at = slot.newer;
        }
        None
    }

    fn link(&mut self, at: u32) {
        let newest = self.newest;
        if let Some(slot) = self.get_mut(at) {
            slot.older = newest;
            slot.newer = NONE;
        }
        match self.get_mut(newest) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Some((newer, older)) = self.get(at).map(|slot| (slot.newer, slot.older)) else { return };
        match self.get_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.get_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_memory_is_counted() {
        let mut shard = Shard::default();
        let keys: Vec<Vec<u8>> = (0..100_u32).map(|n| n.to_le_bytes().to_vec()).collect();
        // One hash for all: keys are told apart in full.
        let slots: Vec<u32> = keys.iter().map(|key| shard.insert(7, key)).collect();
        shard.touch(slots[0]);
        shard.touch(slots[50]);
        assert_eq!(shard.find(7, &keys[99]), Some(slots[99]));
        assert_eq!(shard.find(7, b"other"), None);
        shard.get_mut(slots[1]).unwrap().flight = Some(Arc::default());
        let mut order = Vec::new();
        while let Some(at) = shard.oldest() {
            order.push(shard.remove(at).unwrap().key);
        }
        assert_eq!((&*order[0], &*order[97], &*order[98]), (&*keys[2], &*keys[0], &*keys[50]));
        assert_eq!(shard.len(), 1);
        shard.remove(slots[1]);
        assert_eq!((shard.len(), shard.weight), (0, 0));
        assert_eq!(shard.insert(1, b"again"), slots[1]);
    }
}
