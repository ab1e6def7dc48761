//! How often something may happen: leaky buckets by key, shared by the workers and kept over reloads.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use conf::{Diagnostic, Word};

use crate::zone::Table;

/// A thousandth of one occurrence, the unit that buckets count in.
pub const MILLI: u64 = 1000;

/// Milliseconds after which a bucket that nobody asked about, and that has leaked out, is given up.
const STALE: u64 = 60_000;

/// Buckets by key. Each fills by one occurrence at a time and leaks at a rate.
///
/// What an occurrence is, is the caller's: a request (`limit_req`), or only a request that was refused; who asks first
/// with [`Buckets::look`] and counts later with [`Buckets::count`] counts only what turned out to matter.
pub struct Buckets {
    shards: Box<[Mutex<Table<Bucket>>]>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// How full it is, in thousandths.
    excess: u64,
    /// When that was, in milliseconds of [`net::clock::now`].
    last: u64,
}

/// What a bucket says to one more occurrence; the excess over the rate is in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It fits.
    Fits(u64),
    /// It does not.
    Over(u64),
}

impl Buckets {
    /// Buckets that take about `size` bytes.
    pub fn new(size: usize) -> Buckets {
        // Small zones are not worth a division: it would make them forget unevenly.
        let count = (size >> 18).clamp(1, 16);
        let shards = (0..count).map(|_| Mutex::new(Table::new(size / count))).collect();
        Buckets { shards, hasher: RandomState::new() }
    }

    /// What would be said to one more, which is not counted.
    pub fn look(&self, key: &[u8], rate: u64, burst: u64, now: u64) -> Answer {
        self.with(key, |table| match table.get(key) {
            Some(bucket) => bucket.answer(rate, burst, now),
            None => Answer::Fits(0),
        })
    }

    /// Counts one more if it fits.
    pub fn take(&self, key: &[u8], rate: u64, burst: u64, now: u64) -> Answer {
        self.with(key, |table| {
            let Some(bucket) = table.get(key) else { return fresh(table, key, rate, now) };
            let answer = bucket.answer(rate, burst, now);
            if let Answer::Fits(excess) = answer {
                bucket.set(excess, now);
            }
            answer
        })
    }

    /// Counts one more, whether or not it fits; the excess afterwards.
    pub fn count(&self, key: &[u8], rate: u64, now: u64) -> u64 {
        match self.take(key, rate, u64::MAX, now) {
            Answer::Fits(excess) | Answer::Over(excess) => excess,
        }
    }

    /// How many keys there are, and how many bytes they take.
    pub fn usage(&self) -> (usize, usize) {
        usage_of(&self.shards)
    }

    fn with<T>(&self, key: &[u8], f: impl FnOnce(&mut Table<Bucket>) -> T) -> T {
        let at = self.hasher.hash_one(key) as usize % self.shards.len();
        f(&mut self.shards[at].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sum over the parts of a zone.
pub fn usage_of<V>(shards: &[Mutex<Table<V>>]) -> (usize, usize) {
    let usages = shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).usage());
    usages.fold((0, 0), |(keys, bytes), (more_keys, more_bytes)| (keys + more_keys, bytes + more_bytes))
}

/// The first occurrence of a key: it is the rate's own, no excess.
fn fresh(table: &mut Table<Bucket>, key: &[u8], rate: u64, now: u64) -> Answer {
    // One or two that are empty go for each that comes, so that a zone shrinks after a flood.
    for _ in 0..2 {
        if !table.evict(|bucket| bucket.is_stale(rate, now)) {
            break;
        }
    }
    // A key that no room can be made for is refused: the limit holds even then.
    match table.insert(key, Bucket { excess: 0, last: now }, |_| true) {
        Some(_) => Answer::Fits(0),
        None => Answer::Over(0),
    }
}

impl Bucket {
    fn answer(&self, rate: u64, burst: u64, now: u64) -> Answer {
        let leaked = rate.saturating_mul(now.saturating_sub(self.last)) / 1000;
        let excess = (self.excess + MILLI).saturating_sub(leaked);
        if excess > burst { Answer::Over(excess) } else { Answer::Fits(excess) }
    }

    fn set(&mut self, excess: u64, now: u64) {
        self.excess = excess;
        self.last = self.last.max(now);
    }

    fn is_stale(&self, rate: u64, now: u64) -> bool {
        let spent = now.saturating_sub(self.last);
        spent >= STALE && self.excess <= rate.saturating_mul(spent) / 1000
    }
}

/// Thousandths as nginx writes them: `1.234`.
pub struct Milli(pub u64);

impl std::fmt::Display for Milli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / MILLI, self.0 % MILLI)
    }
}

/// The rate in a word such as `rate=5r/m`, in thousandths of an occurrence per second; none where it is another word.
pub fn parse(word: &Word) -> Result<Option<u64>, Diagnostic> {
    let Some(text) = word.text.strip_prefix(b"rate=") else { return Ok(None) };
    let (number, scale) = match (text.strip_suffix(b"r/s"), text.strip_suffix(b"r/m")) {
        (_, Some(number)) => (number, 60),
        (Some(number), _) => (number, 1),
        _ => (text, 1),
    };
    match positive(number) {
        Some(number) => Ok(Some(number / scale)),
        None => Err(Diagnostic::at(word.span, format!("invalid rate \"{}\"", word.lossy()))),
    }
}

/// The number in a word such as `burst=5`, whose text behind the sign is `text`, in thousandths.
pub fn occurrences(word: &Word, text: &[u8], what: &str) -> Result<u64, Diagnostic> {
    positive(text)
        .ok_or_else(|| Diagnostic::at(word.span, format!("invalid {what} value \"{}\"", word.lossy())))
}

fn positive(text: &[u8]) -> Option<u64> {
    let number = conf::value::number(text).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0)?;
    number.checked_mul(MILLI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_leaks_at_its_rate() {
        let buckets = Buckets::new(1 << 20);
        let take = |now| buckets.take(b"k", 2 * MILLI, MILLI, now);
        assert_eq!(take(1000), Answer::Fits(0));
        assert_eq!(take(1000), Answer::Fits(1000));
        assert_eq!(take(1000), Answer::Over(2000));
        // What was refused does not count.
        assert_eq!(take(1250), Answer::Over(1500));
        assert_eq!(take(1500), Answer::Fits(1000));
        assert_eq!(take(9999), Answer::Fits(0));
    }

    #[test]
    fn looking_counts_nothing_and_counting_asks_nobody() {
        let buckets = Buckets::new(1 << 20);
        assert_eq!(buckets.look(b"k", MILLI, 0, 5), Answer::Fits(0));
        assert_eq!(buckets.look(b"k", MILLI, 0, 5), Answer::Fits(0));
        for n in 0..3 {
            assert_eq!(buckets.count(b"k", MILLI, 5), n * MILLI);
        }
        assert_eq!(buckets.look(b"k", MILLI, 0, 5), Answer::Over(3 * MILLI));
        assert_eq!(buckets.look(b"other", MILLI, 0, 5), Answer::Fits(0));
    }
}
