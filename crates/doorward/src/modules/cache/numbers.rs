//! The numbers of a cache: what it holds, and how it served requests.

use std::sync::atomic::Ordering;

use super::keeper::CachePath;
use super::state::Status;
use crate::metrics::{Family, Reading};

// The names are those that nginx-prometheus-exporter gives these numbers of NGINX Plus.
static SIZE: Family = Family { name: "nginxplus_cache_size", help: "Bytes of a cache's files." };
static MAX_SIZE: Family =
    Family { name: "nginxplus_cache_max_size", help: "Bytes that a cache's files may take; 0 is no limit." };
static COLD: Family =
    Family { name: "nginxplus_cache_cold", help: "Whether a cache's folder is still being read." };
static KEYS: Family = Family { name: "doorward_cache_keys", help: "Keys that a cache knows." };
static HIT: Family = Family { name: "nginxplus_cache_hit_responses", help: "Requests served from a cache." };
static MISS: Family =
    Family { name: "nginxplus_cache_miss_responses", help: "Requests that a cache had nothing for." };
static BYPASS: Family =
    Family { name: "nginxplus_cache_bypass_responses", help: "Requests that a cache was not asked for." };
static EXPIRED: Family = Family {
    name: "nginxplus_cache_expired_responses",
    help: "Requests for which a cache had something too old, so that the server was asked.",
};
static STALE: Family = Family {
    name: "nginxplus_cache_stale_responses",
    help: "Requests served with something too old, since no server answered.",
};
static UPDATING: Family = Family {
    name: "nginxplus_cache_updating_responses",
    help: "Requests served with something too old while a newer answer was fetched.",
};
static REVALIDATED: Family = Family {
    name: "nginxplus_cache_revalidated_responses",
    help: "Requests served with something too old of which the server said that it is still right.",
};

impl CachePath {
    /// What there is to read of it.
    pub fn readings(&self) -> Vec<Reading> {
        let labels = || vec![("cache", self.zone.name.clone())];
        let (sized, known, cold) = (self.zone.clone(), self.zone.clone(), self.zone.clone());
        let most = if self.max_size == u64::MAX { 0.0 } else { self.max_size as f64 };
        let mut readings = vec![
            Reading::gauge(&SIZE, labels(), move || sized.file_bytes.load(Ordering::Relaxed) as f64),
            Reading::gauge(&MAX_SIZE, labels(), move || most),
            Reading::gauge(&COLD, labels(), move || f64::from(u8::from(cold.is_loading()))),
            Reading::gauge(&KEYS, labels(), move || known.count() as f64),
        ];
        for status in Status::ALL {
            let zone = self.zone.clone();
            readings.push(Reading::counter(family(status), labels(), move || zone.served_as(status)));
        }
        readings
    }
}

fn family(status: Status) -> &'static Family {
    match status {
        Status::Miss => &MISS,
        Status::Bypass => &BYPASS,
        Status::Expired => &EXPIRED,
        Status::Stale => &STALE,
        Status::Updating => &UPDATING,
        Status::Revalidated => &REVALIDATED,
        Status::Hit => &HIT,
    }
}
