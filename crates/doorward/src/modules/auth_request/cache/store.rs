//! A zone of decisions: shared by the workers, kept over reloads, bounded in bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::answer::Answer;
use super::key::{Key, Mark, Secret};
use crate::flights::{Flights, Seat};
use crate::zone::Table;

/// What an auth service decided of all requests of one key.
pub struct Decision {
    /// What it answered.
    pub answer: Answer,
    /// Whom it let pass, where `user=` says how that is known.
    pub user: Vec<u8>,
    /// What it can be purged by, beside the user.
    pub marks: Box<[Mark]>,
    /// Until when it is used, in milliseconds of [`net::clock::now`].
    pub until: u64,
    /// Whether it may be used longer when the service fails.
    pub graceful: bool,
}

impl Decision {
    /// The bytes that it takes.
    fn size(&self) -> usize {
        // The two counts of an `Arc`, and what the allocator keeps.
        size_of::<Decision>() + 32 + self.answer.size() + self.user.capacity() + size_of_val(&*self.marks)
    }
}

/// What there is for a key.
pub enum Found<'s> {
    /// A decision to be used.
    Fresh(Arc<Decision>),
    /// None, or one whose time is over.
    Not(Missing<'s>),
}

/// What there is in place of a decision to be used.
pub struct Missing<'s> {
    /// One whose time is over.
    pub expired: Option<Arc<Decision>>,
    /// For waiting, or for asking.
    pub seat: Seat<'s, Landed>,
    /// How often the zone had been purged: what was known then may be taken back later.
    pub purges: u64,
}

/// What a question came to, for those who waited.
#[derive(Clone)]
pub enum Landed {
    /// The decision is theirs too; whether its own time is over, and the service failed.
    Shared(Arc<Decision>, bool),
    /// The service failed: asking it again one after the other would let the last one wait for all.
    Failed(Arc<Decision>),
    /// The answer was for the one who asked: the others ask for themselves.
    Alone,
}

/// Decisions by key.
pub struct Store {
    /// What keys are hashed with, made for this zone.
    pub secret: Secret,
    /// The bytes that it may take.
    pub size: u64,
    shards: Box<[Shard]>,
    /// How often it was purged: what was asked before is not stored after.
    purges: AtomicU64,
    evictions: AtomicU64,
}

struct Shard {
    decisions: Mutex<Table<Arc<Decision>>>,
    flights: Flights<Landed>,
}

impl Store {
    /// An empty zone that takes about `size` bytes.
    pub fn new(size: u64, secret: Secret) -> Store {
        let count = (size >> 18).clamp(1, 16);
        let room = usize::try_from(size / count).unwrap_or(usize::MAX);
        let shard = |_| Shard { decisions: Mutex::new(Table::new(room)), flights: Flights::default() };
        Store {
            secret,
            size,
            shards: (0..count).map(shard).collect(),
            purges: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// What there is for a key at this moment.
    pub fn find(&self, key: &Key, now: u64) -> Found<'_> {
        let shard = self.shard(key);
        let mut decisions = shard.decisions();
        let expired = match decisions.get(key) {
            Some(decision) if now < decision.until => return Found::Fresh(decision.clone()),
            known => known.cloned(),
        };
        // Under the lock: a decision that is not seen here is stored by a question that has not landed yet, and what a purge
        // forgets after this, it has counted.
        let seat = shard.flights.seat(*key);
        Found::Not(Missing { expired, seat, purges: self.purges() })
    }

    /// Keeps a decision that was asked for when there had been `purges` purges; false where it may not be used by others.
    pub fn keep(&self, key: &Key, decision: &Arc<Decision>, purges: u64) -> bool {
        let mut decisions = self.shard(key).decisions();
        // Under the lock: a purge that is not seen here will find the decision.
        if self.purges() != purges {
            return false;
        }
        decisions.remove(key);
        let before = decisions.len();
        if decisions.insert_sized(key, decision.clone(), decision.size(), |_| true).is_some() {
            let gone = (before + 1).saturating_sub(decisions.len());
            self.evictions.fetch_add(gone as u64, Ordering::Relaxed);
        }
        true
    }

    /// How often it was purged so far.
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::SeqCst)
    }

    /// Forgets the decisions that `goes` names, and those being asked for; how many were forgotten.
    pub fn purge(&self, goes: impl Fn(&Decision) -> bool) -> usize {
        self.purges.fetch_add(1, Ordering::SeqCst);
        self.shards.iter().map(|shard| shard.decisions().remove_where(|decision| goes(decision))).sum()
    }

    /// How many decisions there are, the bytes that they take, and how many had to go for others so far.
    pub fn usage(&self) -> (usize, usize, u64) {
        let (entries, bytes) = self.shards.iter().fold((0, 0), |(entries, bytes), shard| {
            let (more, more_bytes) = shard.decisions().usage();
            (entries + more, bytes + more_bytes)
        });
        (entries, bytes, self.evictions.load(Ordering::Relaxed))
    }

    fn shard(&self, key: &Key) -> &Shard {
        let [.., last] = *key;
        &self.shards[usize::from(last) % self.shards.len()]
    }
}

impl Shard {
    fn decisions(&self) -> MutexGuard<'_, Table<Arc<Decision>>> {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(user: &[u8], until: u64) -> Arc<Decision> {
        let marks = Box::new([]);
        Arc::new(Decision { answer: Answer::default(), user: user.to_vec(), marks, until, graceful: true })
    }

    fn store() -> Arc<Store> {
        Arc::new(Store::new(64 << 10, Secret::from([7; 32])))
    }

    fn is_fresh(store: &Arc<Store>, key: u8, now: u64) -> bool {
        matches!(store.find(&[key; 32], now), Found::Fresh(_))
    }

    #[test]
    fn a_decision_is_used_until_its_time_is_over_or_it_is_purged() {
        let store = store();
        assert!(store.keep(&[1; 32], &decision(b"a", 100), 0));
        assert!(store.keep(&[2; 32], &decision(b"b", 100), 0));
        assert!(is_fresh(&store, 1, 99) && !is_fresh(&store, 1, 100) && !is_fresh(&store, 3, 0));
        assert_eq!(store.purge(|decision| decision.user == b"a"), 1);
        assert!(!is_fresh(&store, 1, 0) && is_fresh(&store, 2, 0));
    }

    #[test]
    fn what_was_asked_before_a_purge_is_not_kept_after_it() {
        let store = store();
        let purges = store.purges();
        store.purge(|_| true);
        assert!(!store.keep(&[1; 32], &decision(b"a", 100), purges));
        assert!(!is_fresh(&store, 1, 0));
    }

    #[test]
    fn a_flood_of_keys_stays_within_the_size() {
        let store = store();
        for n in 0..10_000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            assert!(store.keep(&key, &decision(&[b'x'; 500], 100), 0));
        }
        let (entries, bytes, evictions) = store.usage();
        assert!(entries > 50 && bytes <= 64 << 10, "{entries} entries take {bytes} bytes");
        assert_eq!(evictions, 10_000 - entries as u64);
    }
}
