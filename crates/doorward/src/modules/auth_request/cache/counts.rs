//! The numbers of a cache: how its decisions were used.

use std::sync::Arc;

use super::Store;
use crate::compile::Compiler;
use crate::metrics::{Counter, Family, Reading};

static REQUESTS: Family = Family {
    name: "doorward_auth_cache_requests_total",
    help: "Requests that a cache of auth decisions was asked for, by what it had.",
};

static KEYS: Family =
    Family { name: "doorward_auth_cache_keys", help: "Decisions that a cache of auth decisions holds." };
static USED: Family = Family {
    name: "doorward_auth_cache_used_bytes",
    help: "Memory that a cache's decisions take, in bytes.",
};
static SIZE: Family =
    Family { name: "doorward_auth_cache_size_bytes", help: "Memory that a cache may take, in bytes." };
static EVICTIONS: Family = Family {
    name: "doorward_auth_cache_evictions_total",
    help: "Decisions that had to go for others before their time was over.",
};

/// What there is to read of a zone.
pub fn readings(zone: &str, store: &Arc<Store>) -> [Reading; 4] {
    let labels = || vec![("zone", zone.to_owned())];
    let (keys, used, size, evictions) = (store.clone(), store.clone(), store.size, store.clone());
    [
        Reading::gauge(&KEYS, labels(), move || keys.usage().0 as f64),
        Reading::gauge(&USED, labels(), move || used.usage().1 as f64),
        Reading::gauge(&SIZE, labels(), move || size as f64),
        Reading::counter(&EVICTIONS, labels(), move || evictions.usage().2),
    ]
}

/// How a decision was come by (`$auth_cache_status`, in nginx's words for a cache).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It was stored, or another request asked for it at the same time.
    Hit,
    /// Nothing was stored.
    Miss,
    /// What was stored had expired.
    Expired,
    /// What was stored had expired, and was used since the service failed.
    Stale,
    /// The cache is not for this request.
    Bypass,
}

impl Use {
    const ALL: [Use; 5] = [Use::Hit, Use::Miss, Use::Expired, Use::Stale, Use::Bypass];

    /// The word of `$auth_cache_status`.
    pub fn word(self) -> &'static str {
        match self {
            Use::Hit => "HIT",
            Use::Miss => "MISS",
            Use::Expired => "EXPIRED",
            Use::Stale => "STALE",
            Use::Bypass => "BYPASS",
        }
    }
}

/// The counters of a zone as one server's locations use it.
pub struct Counts([Arc<Counter>; 5]);

impl Counts {
    /// The counters for a zone, in the server being compiled, where something shows them.
    pub fn of(cx: &Compiler, zone: &str) -> Option<Counts> {
        cx.measures.then(|| {
            Counts(Use::ALL.map(|used| {
                let status = used.word().to_ascii_lowercase();
                let labels =
                    vec![("server", cx.server_name.clone()), ("zone", zone.to_owned()), ("status", status)];
                cx.zones.metrics.counter(&REQUESTS, labels)
            }))
        })
    }

    /// Counts one.
    pub fn add(&self, used: Use) {
        if let Some(counter) = self.0.get(used as usize) {
            counter.add_one();
        }
    }
}
