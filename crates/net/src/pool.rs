//! Idle connections kept for their next use: a worker's connections of one upstream.

use crate::clock::{self, Millis};
use crate::stream::Stream;
use foldhash::{HashMap, HashMapExt};
use std::collections::VecDeque;
use std::hash::Hash;

/// How many idle connections are kept and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `keepalive`: idle connections over all keys; of more, those idle for longest are closed.
    pub connections: usize,
    /// `keepalive_requests`: after so many a connection is not kept.
    pub requests: u64,
    /// `keepalive_time`: a connection older than this is not kept.
    pub time: Millis,
    /// `keepalive_timeout`: a connection idle for longer is closed.
    pub timeout: Millis,
}

/// A connection with what it has behind it.
#[derive(Debug)]
pub struct Pooled {
    /// The connection.
    pub stream: Stream,
    /// Requests it has carried.
    pub requests: u64,
    /// When it was opened.
    pub opened: Millis,
}

/// Idle connections by key (such as the peer's address). The last one put is the first one taken: it is the warmest, and
/// the others get a chance to time out.
#[derive(Debug)]
pub struct Pool<K> {
    limits: Limits,
    idle: HashMap<K, VecDeque<Idle>>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    connection: Pooled,
    since: Millis,
}

impl Pooled {
    /// A connection just opened.
    pub fn new(stream: Stream) -> Pooled {
        Pooled { stream, requests: 0, opened: clock::now() }
    }
}

impl<K: Eq + Hash> Pool<K> {
    /// An empty pool.
    pub fn new(limits: Limits) -> Pool<K> {
        Pool { limits, idle: HashMap::new(), count: 0 }
    }

    /// How many connections are idle in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it holds no connection.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A connection that its peer, as far as known, keeps open and silent. Others are closed on the way.
    pub fn take(&mut self, key: &K) -> Option<Pooled> {
        let now = clock::now();
        let idle = self.idle.get_mut(key)?;
        while let Some(Idle { mut connection, since }) = idle.pop_back() {
            self.count -= 1;
            if now.saturating_sub(since) < self.limits.timeout && connection.stream.is_idle() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose last response has been read completely, if the limits allow; otherwise closes it.
    /// Returns whether it was kept. The caller has counted the request in `requests`, and calls [`Pool::trim`] before it
    /// waits: what many requests of one turn of the event loop give back, those behind them may take again.
    pub fn put(&mut self, key: K, mut connection: Pooled) -> bool {
        let now = clock::now();
        let limits = &self.limits;
        if limits.connections == 0
            || connection.requests >= limits.requests
            || now.saturating_sub(connection.opened) > limits.time
            || !connection.stream.is_idle()
        {
            return false;
        }
        self.idle.entry(key).or_default().push_back(Idle { connection, since: now });
        self.count += 1;
        true
    }

    /// Whether it holds more connections than it may.
    pub fn is_over(&self) -> bool {
        self.count > self.limits.connections
    }

    /// Closes what it holds beyond its limit.
    pub fn trim(&mut self) {
        while self.is_over() {
            self.close_longest_idle();
        }
    }

    /// Closes what has been idle for too long, or what the peer has closed. To be called every second or so.
    pub fn sweep(&mut self) {
        let now = clock::now();
        let timeout = self.limits.timeout;
        self.idle.retain(|_, idle| {
            idle.retain_mut(|idle| {
                now.saturating_sub(idle.since) < timeout && idle.connection.stream.is_idle()
            });
            !idle.is_empty()
        });
        self.count = self.idle.values().map(VecDeque::len).sum();
    }

    /// There are few keys (an upstream's peers), and this happens only when the pool is full.
    fn close_longest_idle(&mut self) {
        let first = self.idle.values_mut().filter(|idle| !idle.is_empty());
        let longest = first.min_by_key(|idle| idle.front().map_or(Millis::MAX, |idle| idle.since));
        if longest.and_then(VecDeque::pop_front).is_some() {
            self.count -= 1;
        }
    }
}
