//! What a request has to do with a cache: how it was served, and what it holds while it asks the server.

use std::sync::Arc;

use super::entry::Entry;
use super::find::Claim;
use super::update::Updates;
use super::zone::Zone;
use crate::config::Config;
use crate::variables::Row;

/// How a cache served a request (`$upstream_cache_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing was stored.
    Miss,
    /// The cache was not asked.
    Bypass,
    /// What was stored is too old, and the server was asked.
    Expired,
    /// What was stored is too old, and served all the same.
    Stale,
    /// The same, while another request fetches a newer answer.
    Updating,
    /// What was stored is still right, as the server says.
    Revalidated,
    /// It was served from the cache.
    Hit,
}

impl Status {
    /// Every status, each at the place that its number names.
    pub const ALL: [Status; 7] = [
        Status::Miss,
        Status::Bypass,
        Status::Expired,
        Status::Stale,
        Status::Updating,
        Status::Revalidated,
        Status::Hit,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Status::Miss => "MISS",
            Status::Bypass => "BYPASS",
            Status::Expired => "EXPIRED",
            Status::Stale => "STALE",
            Status::Updating => "UPDATING",
            Status::Revalidated => "REVALIDATED",
            Status::Hit => "HIT",
        }
    }
}

/// Why no answer could be had from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached, or closed the connection.
    Error,
    /// It took too long.
    Timeout,
    /// It answered what is no HTTP.
    Invalid,
}

/// What a request has to do with a cache.
#[derive(Default)]
pub struct State<'c> {
    /// How it was served.
    pub status: Option<Status>,
    /// What it holds while the server is being asked.
    pub open: Option<Box<Open>>,
    /// Where answers to be fetched in the background go, in a configuration that has some.
    pub updates: Option<Updates<'c>>,
    /// Whether it fetches an answer that nobody waits for.
    pub background: bool,
    /// Which cache it was, by its place in the configuration.
    pub zone: usize,
}

impl State<'_> {
    /// Counts how it was served, for metrics.
    pub fn count(&self, config: &Config) {
        // A fetch in the background serves nobody.
        if let Some(status) = self.status
            && !self.background
            && let Some(cache) = config.caches.get(self.zone)
        {
            cache.zone.served(status);
        }
    }

    /// Forgets what another location had to do with a cache.
    pub fn leave(&mut self) {
        self.status = None;
        self.open = None;
    }

    /// Whether the answer may be stored, so that the server is asked for the whole of it, and asked to the end.
    pub fn fills(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.cacheable)
    }

    /// Whether a HEAD is passed on as GET.
    pub fn as_get(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.as_get)
    }

    /// The answer whose change the server is asked about.
    pub fn condition(&self) -> Option<&Entry> {
        let open = self.open.as_ref().filter(|open| open.revalidate)?;
        open.stale.as_deref().filter(|_| self.status == Some(Status::Expired))
    }
}

/// What a request holds while it asks the server for what a cache did not have.
pub struct Open {
    /// The cache.
    pub zone: Arc<Zone>,
    /// The key.
    pub key: Key,
    /// The right to fetch it, where others wait for that.
    pub claim: Option<Claim>,
    /// What is stored, but too old.
    pub stale: Option<Arc<Entry>>,
    /// Whether that may be served when the server fails, as it said itself.
    pub stale_if_error: bool,
    /// Whether the answer may be stored.
    pub cacheable: bool,
    /// Whether a HEAD is passed on as GET.
    pub as_get: bool,
    /// Whether the server is asked on condition that the answer changed.
    pub revalidate: bool,
}

/// A key of the index. The last byte says which kind it is, so that no kind can pass for the other: the configured key,
/// or that with what one variant was chosen by.
pub struct Key {
    bytes: Vec<u8>,
    main: usize,
}

impl Key {
    /// A configured key.
    pub fn main(mut bytes: Vec<u8>) -> Key {
        let main = bytes.len();
        bytes.push(0);
        Key { bytes, main }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a variant's.
    pub fn is_variant(&self) -> bool {
        self.bytes.last() == Some(&1)
    }

    /// Makes it the key of a variant.
    pub fn set_variant(&mut self, variant: &[u8]) {
        self.bytes.truncate(self.main);
        self.bytes.extend_from_slice(variant);
        self.bytes.extend_from_slice(&(self.main as u64).to_le_bytes());
        self.bytes.push(1);
    }

    /// Makes it the configured key again.
    pub fn set_main(&mut self) {
        self.bytes.truncate(self.main);
        self.bytes.push(0);
    }

    /// Gives its memory back.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

pub(super) const VARIABLES: &[Row] = &[
    Row::fresh("upstream_cache_status", |ex, out| {
        ex.cache.status.is_some_and(|status| {
            out.extend_from_slice(status.as_str().as_bytes());
            true
        })
    }),
    Row::fresh("upstream_cache_last_modified", |ex, out| {
        ex.cache.condition().and_then(Entry::last_modified).is_some_and(|time| {
            out.extend_from_slice(&wire::date::format(time));
            true
        })
    }),
    Row::fresh("upstream_cache_etag", |ex, out| {
        ex.cache.condition().and_then(Entry::etag).is_some_and(|tag| {
            out.extend_from_slice(tag);
            true
        })
    }),
];
