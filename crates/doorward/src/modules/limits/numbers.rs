//! The numbers of limits: what came of requests, by zone, and how full the zones are.

use std::sync::Arc;

use super::Zone;
use crate::compile::Compiler;
use crate::metrics::{Counter, Family, Reading};

static KEYS: Family = Family { name: "doorward_zone_keys", help: "Keys that a zone holds." };
static USED: Family =
    Family { name: "doorward_zone_used_bytes", help: "Memory that a zone's keys take, in bytes." };
static SIZE: Family =
    Family { name: "doorward_zone_size_bytes", help: "Memory that a zone may take, in bytes." };
static BANNED: Family = Family {
    name: "doorward_auth_limit_banned_keys",
    help: "Keys that are banned, with those whose time is over and that have not come back since.",
};

/// What came of requests.
#[derive(Clone, Copy)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It had to wait.
    Delayed,
    /// It was refused.
    Rejected,
    /// It would have had to wait.
    DelayedDryRun,
    /// It would have been refused.
    RejectedDryRun,
}

/// A family for each outcome, in their order; the names are those that nginx-prometheus-exporter gives these numbers of
/// NGINX Plus.
pub type Families = [Family; 5];

pub(super) static REQUESTS: Families = [
    Family { name: "nginxplus_limit_request_passed", help: "Requests that a zone let pass." },
    Family { name: "nginxplus_limit_request_delayed", help: "Requests that a zone let wait." },
    Family { name: "nginxplus_limit_request_rejected", help: "Requests that a zone refused." },
    Family {
        name: "nginxplus_limit_request_delayed_dry_run",
        help: "Requests that a zone would have let wait.",
    },
    Family {
        name: "nginxplus_limit_request_rejected_dry_run",
        help: "Requests that a zone would have refused.",
    },
];

/// Nothing is delayed by a number of connections: those families are never made.
pub(super) static CONNECTIONS: Families = [
    Family { name: "nginxplus_limit_connection_passed", help: "Connections that a zone let pass." },
    Family { name: "", help: "" },
    Family { name: "nginxplus_limit_connection_rejected", help: "Connections that a zone refused." },
    Family { name: "", help: "" },
    Family {
        name: "nginxplus_limit_connection_rejected_dry_run",
        help: "Connections that a zone would have refused.",
    },
];

/// The counters of a zone's limits.
pub struct Outcomes([Option<Arc<Counter>>; 5]);

impl Outcomes {
    /// Those of a zone, where something shows them.
    pub fn of(cx: &Compiler, families: &'static Families, zone: &str) -> Outcomes {
        Outcomes(families.each_ref().map(|family| {
            let counted = cx.measures && !family.name.is_empty();
            counted.then(|| cx.zones.metrics.counter(family, vec![("zone", zone.to_owned())]))
        }))
    }

    /// Counts a request.
    pub fn count(&self, outcome: Outcome) {
        if let Some(Some(counter)) = self.0.get(outcome as usize) {
            counter.add_one();
        }
    }
}

/// Lets a zone's use be read: `usage` says how many keys it has and how many bytes they take.
pub(super) fn show_usage<T: Send + Sync + 'static>(
    cx: &mut Compiler,
    zone: &Zone<T>,
    usage: fn(&T) -> (usize, usize),
) {
    let labels = || vec![("zone", zone.name.clone())];
    let (keys, bytes, size) =
        (zone.shared.counts.clone(), zone.shared.counts.clone(), zone.shared.size as f64);
    cx.readings.extend([
        Reading::gauge(&KEYS, labels(), move || usage(&keys).0 as f64),
        Reading::gauge(&USED, labels(), move || usage(&bytes).1 as f64),
        Reading::gauge(&SIZE, labels(), move || size),
    ]);
}

/// Lets it be read how many keys a zone bans.
pub(super) fn show_bans<T: Send + Sync + 'static>(
    cx: &mut Compiler,
    zone: &Zone<T>,
    banned: fn(&T) -> usize,
) {
    let counts = zone.shared.counts.clone();
    let labels = vec![("zone", zone.name.clone())];
    cx.readings.push(Reading::gauge(&BANNED, labels, move || banned(&counts) as f64));
}
