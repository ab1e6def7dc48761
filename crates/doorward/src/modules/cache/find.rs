//! A key is looked up in a cache: what is found, and who fetches what is not.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entry;
use super::shard::{Flight, Slot};
use super::zone::Zone;

/// On which terms a key is looked up.
#[derive(Clone, Copy)]
pub struct Terms {
    /// How often it must be asked for before it is stored.
    pub min_uses: u32,
    /// Milliseconds for which one request fetches it while others wait, where they wait.
    pub lock_age: Option<u64>,
    /// Whether this request has not been counted yet.
    pub first: bool,
    /// Whether files may be looked at.
    pub files: bool,
}

/// What was found.
pub enum Found {
    /// A fresh answer.
    Fresh(Arc<Entry>),
    /// An answer that is no longer fresh; with the right to update it, unless another request does.
    Stale(Arc<Entry>, Option<Claim>),
    /// An answer to a request that asked in another way.
    OtherVariant(Arc<Entry>),
    /// A failure that is to be repeated.
    Error(u16),
    /// It was not asked for often enough to be stored.
    Scarce,
    /// Nothing; with the right to fetch it for all, where others wait for that.
    Absent(Option<Claim>),
    /// Another request fetches it: wait, at most until then.
    Wait(Arc<Flight>, u64),
    /// Nothing in memory, but perhaps a file.
    AskFiles,
}

/// The right to fetch an answer that others wait for. It ends when this is dropped.
pub struct Claim {
    zone: Arc<Zone>,
    hash: u64,
    key: Arc<[u8]>,
    flight: Arc<Flight>,
    /// Whether uses are counted, so that the key is worth remembering for itself.
    counted: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut shard = self.zone.shard(self.hash);
        if let Some(at) = shard.find(self.hash, &self.key)
            && let Some(slot) = shard.get_mut(at)
            && slot.flight.as_ref().is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            slot.flight = None;
            if !self.counted && slot.is_empty() {
                shard.remove(at);
            }
        }
        drop(shard);
        self.flight.land();
    }
}

impl Zone {
    /// Looks a key up; `matches` says whether an answer is for a request like this one.
    pub fn find(
        self: &Arc<Self>,
        key: &[u8],
        terms: &mut Terms,
        matches: impl FnOnce(&Entry) -> bool,
        second: i64,
    ) -> Found {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let found = shard.find(hash, key);
        let known = found.and_then(|at| shard.get(at)).is_some_and(|slot| !slot.is_empty());
        if !known && terms.files && self.cold.may_hold_any() {
            return Found::AskFiles;
        }
        let counted = terms.min_uses > 1;
        let at = match found {
            Some(at) => at,
            // Keys that lead to nothing would push out those that do: none is kept without need.
            None if !counted && terms.lock_age.is_none() => return Found::Absent(None),
            None => {
                let at = shard.insert(hash, key);
                self.make_room(&mut shard);
                at
            }
        };
        shard.touch(at);
        if shard.get(at).and_then(|slot| slot.error).is_some_and(|(_, until)| until < second)
            && let Some(slot) = shard.get_mut(at)
        {
            slot.error = None;
            slot.entry = None;
            slot.file_is_old = true;
            shard.weigh(at);
        }
        let expire = net::clock::now() + self.inactive.load(Ordering::Relaxed);
        let Some(slot) = shard.get_mut(at) else { return Found::Absent(None) };
        slot.expire = expire;
        // A new key has been asked for, whatever this request found before.
        if std::mem::take(&mut terms.first) || slot.uses == 0 {
            slot.uses = slot.uses.saturating_add(1);
        }
        if let Some((status, _)) = slot.error {
            return Found::Error(status);
        }
        let Some(entry) = &slot.entry else {
            if slot.uses < terms.min_uses {
                return Found::Scarce;
            }
            let Some(age) = terms.lock_age else { return Found::Absent(None) };
            return match &slot.flight {
                Some(flight) if slot.flight_ends > net::clock::now() => {
                    Found::Wait(flight.clone(), slot.flight_ends)
                }
                _ => Found::Absent(Some(self.claim(slot, age, counted))),
            };
        };
        let entry = entry.clone();
        if !entry.vary.is_empty() && !matches(&entry) {
            return Found::OtherVariant(entry);
        }
        if entry.times.valid >= second {
            return Found::Fresh(entry);
        }
        let claim = slot.flight.is_none().then(|| self.claim(slot, u64::MAX, counted));
        Found::Stale(entry, claim)
    }

    fn claim(self: &Arc<Self>, slot: &mut Slot, age: u64, counted: bool) -> Claim {
        let flight = Arc::new(Flight::default());
        slot.flight = Some(flight.clone());
        slot.flight_ends = net::clock::now().saturating_add(age);
        Claim { zone: self.clone(), hash: slot.hash, key: slot.key.clone(), flight, counted }
    }
}
