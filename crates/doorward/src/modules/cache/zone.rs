//! A cache shared by all workers: what is in memory by key, what is only in files by fingerprint.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cold::{Cold, ColdFile, Name};
use super::entry::{Entry, Fingerprint, fingerprint};
use super::keeper::{Job, Orders};
use super::shard::{Shard, Slot};
use super::state::Status;
use crate::metrics::Counter;

/// The largest body that is held in memory.
const LARGEST: usize = 64 << 10;

/// Memory for each part of the index.
const SHARD: usize = 1 << 20;

/// A cache by its name.
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How many hexadecimal digits name the folder at each level.
    pub levels: Vec<usize>,
    /// Bytes of memory for keys and answers.
    pub size: usize,
    /// Milliseconds after which what nobody asks for is forgotten.
    pub inactive: AtomicU64,
    /// Bytes of all files.
    pub file_bytes: AtomicU64,
    /// How requests were served, by [`Status`].
    served: [Counter; Status::ALL.len()],
    pub(super) hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    pub(super) cold: Cold,
    /// Where work on files is sent.
    pub orders: Orders,
}

impl Zone {
    /// An empty cache.
    pub fn new(name: String, folder: PathBuf, levels: Vec<usize>, size: usize) -> Zone {
        let shards = (size / SHARD).clamp(1, 64).next_power_of_two();
        Zone {
            name,
            folder,
            levels,
            size,
            inactive: AtomicU64::new(600_000),
            file_bytes: AtomicU64::new(0),
            served: Default::default(),
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            cold: Cold::default(),
            orders: Orders::default(),
        }
    }

    /// The largest body that is held in memory.
    pub fn in_memory(&self) -> usize {
        (self.size / self.shards.len() / 4).min(LARGEST)
    }

    pub(super) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table takes the low bits.
        let at = (hash >> 32) as usize & (self.shards.len() - 1);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an answer in place of an older one. `file_size` is that of its file where that is written already;
    /// else it is written soon.
    pub fn store(self: &Arc<Self>, key: &[u8], entry: Arc<Entry>, file_size: Option<u64>) {
        let cold = self.cold.take(&name_of(&entry.fingerprint));
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let at = shard.find(hash, key).unwrap_or_else(|| shard.insert(hash, key));
        let Some(slot) = shard.get_mut(at) else { return };
        slot.expire = net::clock::now() + self.inactive.load(Ordering::Relaxed);
        slot.error = None;
        slot.uses = slot.uses.max(1);
        slot.entry = Some(entry.clone());
        slot.file_size += cold.map_or(0, |cold| cold.size);
        slot.file_is_old = file_size.is_none();
        if let Some(size) = file_size {
            self.resized(slot.file_size, size);
            slot.file_size = size;
        }
        let key = slot.key.clone();
        shard.weigh(at);
        shard.touch(at);
        self.make_room(&mut shard);
        drop(shard);
        self.cold.note_known(name_of(&entry.fingerprint));
        if file_size.is_none() {
            self.orders.send(Job::Write { zone: self.clone(), hash, key, entry });
        }
    }

    /// Remembers a failure, to be repeated until the second `until`.
    pub fn store_error(&self, key: &[u8], status: u16, until: i64) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let at = shard.find(hash, key).unwrap_or_else(|| shard.insert(hash, key));
        if let Some(slot) = shard.get_mut(at) {
            slot.error = Some((status, until));
            slot.expire = net::clock::now() + self.inactive.load(Ordering::Relaxed);
        }
    }

    /// Forgets an answer whose file is gone.
    pub fn forget(&self, key: &[u8], entry: &Arc<Entry>) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        if let Some(at) = shard.find(hash, key)
            && shard.get(at).is_some_and(|slot| is_current(slot, entry))
            && let Some(slot) = shard.remove(at)
        {
            self.resized(slot.file_size, 0);
        }
    }

    /// Whether anything is known of a key.
    pub fn has(&self, hash: u64, key: &[u8]) -> bool {
        self.shard(hash).find(hash, key).is_some()
    }

    /// Whether an answer is still the one for its key.
    pub fn is_current(&self, hash: u64, key: &[u8], entry: &Arc<Entry>) -> bool {
        let shard = self.shard(hash);
        shard.find(hash, key).and_then(|at| shard.get(at)).is_some_and(|slot| is_current(slot, entry))
    }

    /// The file of an answer was written; false when a newer one, or none, stands there by now.
    pub fn written(&self, hash: u64, key: &[u8], entry: &Arc<Entry>, size: u64) -> bool {
        let mut shard = self.shard(hash);
        let Some(slot) = shard.find(hash, key).and_then(|at| shard.get_mut(at)) else { return false };
        if !is_current(slot, entry) {
            return false;
        }
        self.resized(slot.file_size, size);
        slot.file_size = size;
        slot.file_is_old = false;
        self.cold.note_known(name_of(&entry.fingerprint));
        true
    }

    /// Takes an answer from its file into memory; whether there was one.
    pub fn load(self: &Arc<Self>, key: &[u8]) -> bool {
        let print = fingerprint(key);
        let name = name_of(&print);
        if !self.cold.may_hold(&name) {
            return false;
        }
        let path = self.path(&name);
        let read = File::open(&path).and_then(|mut file| {
            let length = file.metadata()?.len();
            Ok((Entry::read(&mut file, length, &print, self.in_memory() as u64)?, length))
        });
        let cold = self.cold.take(&name);
        let Ok((Some(entry), length)) = read else {
            if let Some(cold) = cold {
                self.resized(cold.size, 0);
            }
            return false;
        };
        self.cold.note_known(name);
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let at = shard.find(hash, key).unwrap_or_else(|| shard.insert(hash, key));
        if let Some(slot) = shard.get_mut(at)
            && slot.entry.is_none()
        {
            let size = blocks(length);
            self.resized(cold.map_or(slot.file_size, |c| c.size), size);
            slot.file_size = size;
            slot.file_is_old = false;
            slot.entry = Some(Arc::new(entry));
            slot.expire = net::clock::now() + self.inactive.load(Ordering::Relaxed);
            slot.uses = slot.uses.max(1);
        }
        shard.weigh(at);
        self.make_room(&mut shard);
        true
    }

    /// Adds a file found in the folder.
    pub fn add_file(&self, name: Name, size: u64) {
        let expire = net::clock::now() + self.inactive.load(Ordering::Relaxed);
        if self.cold.add_found(name, ColdFile { size, expire }) {
            self.resized(0, size);
        }
    }

    /// Whether the folder is to be read, and nobody does so yet.
    pub fn start_loading(&self) -> bool {
        self.cold.start_loading()
    }

    /// The folder has been read.
    pub fn loaded(&self) {
        self.cold.loaded();
    }

    /// Forgets everything in memory: no configuration names it any more. Its files stay, and are read anew when one does.
    pub fn retire(&self) {
        for shard in &self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = Shard::default();
        }
        self.cold.retire();
        self.file_bytes.store(0, Ordering::Relaxed);
    }

    /// Whether the folder is still being read.
    pub fn is_loading(&self) -> bool {
        self.cold.is_loading()
    }

    /// Counts how a request was served.
    pub fn served(&self, status: Status) {
        if let Some(counter) = self.served.get(status as usize) {
            counter.add_one();
        }
    }

    /// How many requests were served like that.
    pub fn served_as(&self, status: Status) -> u64 {
        self.served.get(status as usize).map_or(0, Counter::get)
    }

    /// How many keys are known.
    pub fn count(&self) -> usize {
        let hot: usize =
            self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len()).sum();
        hot + self.cold.len()
    }

    /// How many keys the zone has room for: what nginx makes of the same size.
    pub fn capacity(&self) -> usize {
        (self.size.saturating_sub(8 << 10) / 128).max(16)
    }

    /// The file of a fingerprint.
    pub fn path(&self, name: &Name) -> PathBuf {
        let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut path = self.folder.clone();
        let mut end = digits.len();
        for level in &self.levels {
            path.push(&digits[end - level..end]);
            end -= level;
        }
        path.push(digits);
        path
    }

    /// Takes out the key that nobody asked for longest, if that is before `before`; the file that it leaves behind.
    pub fn remove_oldest(&self, before: u64) -> Removed {
        if let Some((name, file)) = self.cold.take_oldest(before) {
            self.resized(file.size, 0);
            return Removed::File(name);
        }
        let mut oldest: Option<(u64, &Mutex<Shard>)> = None;
        for shard in &self.shards {
            let locked = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(slot) = locked.oldest().and_then(|at| locked.get(at))
                && slot.expire <= before
                && oldest.is_none_or(|(expire, _)| slot.expire < expire)
            {
                oldest = Some((slot.expire, shard));
            }
        }
        let Some((_, shard)) = oldest else { return Removed::Nothing };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = shard.oldest().and_then(|at| shard.remove(at)) else { return Removed::Nothing };
        self.resized(slot.file_size, 0);
        if slot.file_size == 0 {
            return Removed::Key;
        }
        Removed::File(name_of(&fingerprint(&slot.key)))
    }

    fn resized(&self, old: u64, new: u64) {
        // What a retired zone is still told about must not count below nothing.
        let resize = |bytes: u64| Some((bytes + new).saturating_sub(old));
        let _ = self.file_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, resize);
    }

    /// Lets the least recently used go from memory; what has a file can still be read from there.
    pub(super) fn make_room(self: &Arc<Self>, shard: &mut Shard) {
        let most = self.size / self.shards.len();
        while shard.weight > most {
            let Some(slot) = shard.oldest().and_then(|at| shard.remove(at)) else { break };
            if slot.file_size == 0 {
                continue;
            }
            let print = slot.entry.as_ref().map_or_else(|| fingerprint(&slot.key), |e| e.fingerprint);
            if slot.file_is_old {
                self.resized(slot.file_size, 0);
                self.orders.send(Job::Delete { path: self.path(&name_of(&print)) });
                continue;
            }
            let file = ColdFile { size: slot.file_size, expire: slot.expire };
            let full = self.cold.put(name_of(&print), file) > self.capacity();
            if full {
                self.orders.send(Job::Sweep { zone: self.clone() });
            }
        }
    }
}

/// What taking out a key left to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Removed {
    /// There was none to take out.
    Nothing,
    /// Nothing: it was in memory only.
    Key,
    /// Its file is to be deleted.
    File(Name),
}

fn is_current(slot: &Slot, entry: &Arc<Entry>) -> bool {
    slot.entry.as_ref().is_some_and(|current| Arc::ptr_eq(current, entry))
}

/// What a file is called by.
pub fn name_of(print: &Fingerprint) -> Name {
    let mut name = [0; 16];
    name.copy_from_slice(&print[..16]);
    name
}

/// What a file of that length takes of its file system.
pub fn blocks(length: u64) -> u64 {
    length.div_ceil(4096) * 4096
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::cache::entry::Stored;
    use crate::modules::cache::find::{Found, Terms};
    use crate::modules::cache::freshness::Times;
    use wire::h1::{ResponseHead, ResponseParser};

    const TERMS: Terms = Terms { min_uses: 1, lock_age: None, first: true, files: true };

    fn entry(key: &[u8], body: &[u8], valid: i64) -> Arc<Entry> {
        let bytes: Arc<[u8]> = Arc::from(&b"HTTP/1.1 200 OK\r\n\r\n"[..]);
        let mut head = ResponseHead::default();
        assert!(ResponseParser::new().parse(&bytes, &mut head).unwrap());
        Arc::new(Entry {
            fingerprint: fingerprint(key),
            head,
            bytes,
            body: Stored::Memory(body.into()),
            times: Times { valid, ..Times::default() },
            vary: Box::default(),
            variant: Box::default(),
        })
    }

    fn zone(folder: PathBuf, size: usize) -> Arc<Zone> {
        Arc::new(Zone::new("z".to_owned(), folder, vec![1], size))
    }

    fn find(zone: &Arc<Zone>, key: &[u8], mut terms: Terms, second: i64) -> Found {
        zone.find(key, &mut terms, |_| true, second)
    }

    #[test]
    fn fresh_then_stale_and_one_updates() {
        let zone = zone(PathBuf::from("/nowhere"), 1 << 20);
        zone.loaded();
        assert!(matches!(find(&zone, b"k", TERMS, 10), Found::Absent(None)));
        zone.store(b"k", entry(b"k", b"x", 10), None);
        assert!(matches!(find(&zone, b"k", TERMS, 10), Found::Fresh(_)));
        let Found::Stale(_, Some(claim)) = find(&zone, b"k", TERMS, 11) else { panic!("no claim") };
        assert!(matches!(find(&zone, b"k", TERMS, 11), Found::Stale(_, None)));
        drop(claim);
        assert!(matches!(find(&zone, b"k", TERMS, 11), Found::Stale(_, Some(_))));
        zone.store_error(b"k", 502, 20);
        assert!(matches!(find(&zone, b"k", TERMS, 20), Found::Error(502)));
        assert!(matches!(find(&zone, b"k", TERMS, 21), Found::Absent(None)));
    }

    #[test]
    fn one_fetches_while_others_wait_and_nothing_is_left_behind() {
        let zone = zone(PathBuf::from("/nowhere"), 1 << 20);
        zone.loaded();
        let lock = Terms { lock_age: Some(60_000), ..TERMS };
        let Found::Absent(Some(claim)) = find(&zone, b"k", lock, 0) else { panic!("no claim") };
        let Found::Wait(flight, _) = find(&zone, b"k", lock, 0) else { panic!("no wait") };
        assert_eq!(zone.count(), 1);
        drop(claim);
        let mut landed = std::pin::pin!(flight.landed());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(landed.as_mut().poll(&mut cx).is_ready());
        assert_eq!(zone.count(), 0);
        // An aged claim does not end the one that took its place.
        let hasty = Terms { lock_age: Some(0), ..TERMS };
        let Found::Absent(Some(old)) = find(&zone, b"k", hasty, 0) else { panic!("no claim") };
        let Found::Absent(Some(new)) = find(&zone, b"k", lock, 0) else { panic!("no claim") };
        drop(old);
        assert!(matches!(find(&zone, b"k", lock, 0), Found::Wait(..)));
        drop(new);
    }

    #[test]
    fn uses_are_counted_before_anything_is_stored() {
        let zone = zone(PathBuf::from("/nowhere"), 1 << 20);
        zone.loaded();
        let twice = Terms { min_uses: 2, ..TERMS };
        assert!(matches!(find(&zone, b"k", twice, 0), Found::Scarce));
        assert!(matches!(find(&zone, b"k", Terms { first: false, ..twice }, 0), Found::Scarce));
        assert!(matches!(find(&zone, b"k", twice, 0), Found::Absent(_)));
    }

    #[test]
    fn a_look_at_the_files_is_no_use_of_its_own_and_hides_none() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody has read the folder yet: every key may have a file.
        let zone = zone(folder.path().to_owned(), 1 << 20);
        let ask = || {
            let mut terms = Terms { min_uses: 2, ..TERMS };
            assert!(matches!(zone.find(b"k", &mut terms, |_| true, 0), Found::AskFiles));
            terms.files = false;
            zone.find(b"k", &mut terms, |_| true, 0)
        };
        assert!(matches!(ask(), Found::Scarce));
        assert!(matches!(ask(), Found::Absent(_)));
    }

    #[test]
    fn what_memory_lets_go_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let zone = zone(folder.path().to_owned(), 8192);
        zone.loaded();
        let keys: Vec<Vec<u8>> = (0..40).map(|n| format!("key {n}").into_bytes()).collect();
        for key in &keys {
            let entry = entry(key, &[b'x'; 300], 10);
            zone.store(key, entry.clone(), None);
            let path = zone.path(&name_of(&entry.fingerprint));
            let written = super::super::keeper::write_file(&path, |file| entry.write(file));
            written.unwrap();
            let hash = zone.hasher.hash_one(&**key);
            assert!(zone.written(hash, key, &entry, blocks(entry.file_len())));
        }
        assert_eq!(zone.file_bytes.load(Ordering::Relaxed), 40 * 4096);
        let held: usize = zone.shards.iter().map(|s| s.lock().unwrap().weight).sum();
        assert!(held <= 8192, "{held} bytes are held");
        for key in &keys {
            let mut found = find(&zone, key, TERMS, 10);
            if matches!(found, Found::AskFiles) {
                assert!(zone.load(key));
                found = find(&zone, key, Terms { files: false, ..TERMS }, 10);
            }
            assert!(matches!(found, Found::Fresh(_)));
        }
        assert_eq!((zone.count(), zone.file_bytes.load(Ordering::Relaxed)), (40, 40 * 4096));
        let mut removed = 0;
        while zone.remove_oldest(u64::MAX) != Removed::Nothing {
            removed += 1;
        }
        assert_eq!((removed, zone.count(), zone.file_bytes.load(Ordering::Relaxed)), (40, 0, 0));
    }
}
