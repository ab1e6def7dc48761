//! The numbers of one server of an upstream group: what was tried, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use super::server::classes;
use super::{Counter, Family, Gauge, Histogram, Metrics, Reading, Statuses};
use crate::modules::upstream::{Attempt, Upstream};

// The names are those that nginx-prometheus-exporter gives these numbers of NGINX Plus.
static STATE: Family = Family {
    name: "nginxplus_upstream_server_state",
    help: "What a server of a group is: 1 up, 3 down (said by the configuration), 4 unavailable (it failed).",
};
static ACTIVE: Family =
    Family { name: "nginxplus_upstream_server_active", help: "Requests that a server is being asked." };
static LIMIT: Family = Family {
    name: "nginxplus_upstream_server_limit",
    help: "How many a server may be asked at once (max_conns); 0 is no limit.",
};
static REQUESTS: Family =
    Family { name: "nginxplus_upstream_server_requests", help: "Requests that a server was asked." };
static RESPONSES: Family =
    Family { name: "nginxplus_upstream_server_responses", help: "Answers of a server by class of status." };
static CODES: Family =
    Family { name: "nginxplus_upstream_server_responses_codes", help: "Answers of a server by status." };
static SENT: Family = Family { name: "nginxplus_upstream_server_sent", help: "Bytes sent to a server." };
static RECEIVED: Family =
    Family { name: "nginxplus_upstream_server_received", help: "Bytes received from a server." };
static FAILS: Family =
    Family { name: "nginxplus_upstream_server_fails", help: "Attempts that a server failed." };
static UNAVAIL: Family = Family {
    name: "nginxplus_upstream_server_unavail",
    help: "How often a server became unavailable, since it failed max_fails times.",
};
static HEADER_TIME: Family = Family {
    name: "nginxplus_upstream_server_header_time",
    help: "Average time to the head of a server's answer, in milliseconds.",
};
static RESPONSE_TIME: Family = Family {
    name: "nginxplus_upstream_server_response_time",
    help: "Average time to the end of a server's answer, in milliseconds.",
};
static KEPT: Family =
    Family { name: "doorward_upstream_header_time_seconds", help: "Time to the head of a server's answer." };
static WHOLE: Family = Family {
    name: "doorward_upstream_response_time_seconds",
    help: "Time to the end of a server's answer, or of the attempt.",
};

/// The counters of a server of a group.
#[derive(Debug)]
pub struct PeerCounts {
    statuses: Arc<Statuses>,
    sent: Arc<Counter>,
    received: Arc<Counter>,
    fails: Arc<Counter>,
    unavail: Arc<Counter>,
    header_times: Arc<Histogram>,
    times: Arc<Histogram>,
    active: Arc<Gauge>,
}

impl PeerCounts {
    /// Those of a server of that group.
    pub fn new(metrics: &Metrics, group: &str, server: &str) -> PeerCounts {
        let labels = || labels(group, server);
        PeerCounts {
            statuses: metrics.by_status(&CODES, labels(), "code"),
            sent: metrics.counter(&SENT, labels()),
            received: metrics.counter(&RECEIVED, labels()),
            fails: metrics.counter(&FAILS, labels()),
            unavail: metrics.counter(&UNAVAIL, labels()),
            header_times: metrics.histogram(&KEPT, labels()),
            times: metrics.histogram(&WHOLE, labels()),
            active: metrics.gauge(&ACTIVE, labels()),
        }
    }

    /// An attempt begins.
    pub fn begin(&self) {
        self.active.up();
    }

    /// It is over.
    pub fn end(&self, failed: bool) {
        self.active.down();
        if failed {
            self.fails.add_one();
        }
    }

    /// The server has failed so often that it is left alone.
    pub fn unavailable(&self) {
        self.unavail.add_one();
    }

    /// Counts what an attempt came to.
    pub fn count(&self, attempt: &Attempt) {
        self.sent.add(attempt.bytes_sent);
        self.received.add(attempt.bytes_received);
        if let Some(ms) = attempt.header_time {
            self.statuses.add_one(attempt.status);
            self.header_times.observe(Duration::from_millis(ms));
        }
        let time = attempt.response_time.unwrap_or_else(|| net::clock::now() - attempt.started);
        self.times.observe(Duration::from_millis(time));
    }
}

fn labels(group: &str, server: &str) -> super::Labels {
    vec![("upstream", group.to_owned()), ("server", server.to_owned())]
}

/// What there is to read of a group's servers; of those that are looked up while it serves, by the lines that name them.
pub fn readings(group: &Arc<Upstream>) -> Vec<Reading> {
    if let Some(resolving) = &group.resolving {
        let readings = |(server, limit, counts): (String, u32, Arc<PeerCounts>)| {
            let (resolving, known) = (resolving.clone(), counts.clone());
            let state = move || resolving.state_of(&known, net::clock::now());
            of_server(&group.name, &server, limit, &counts, state)
        };
        return resolving.counted().flat_map(readings).collect();
    }
    let counted =
        group.peers.iter().enumerate().filter_map(|(at, peer)| Some((at, peer, peer.counts.as_ref()?)));
    let readings = counted.flat_map(|(at, peer, counts)| {
        let known = group.clone();
        let state = move || known.state_of(at, net::clock::now());
        of_server(&group.name, &peer.name, peer.max_conns, counts, state)
    });
    readings.collect()
}

fn of_server(
    group: &str,
    server: &str,
    max_conns: u32,
    counts: &PeerCounts,
    state: impl Fn() -> f64 + Send + Sync + 'static,
) -> Vec<Reading> {
    let labels = || labels(group, server);
    let (times, header_times) = (counts.times.clone(), counts.header_times.clone());
    let (whole, limit) = (times.clone(), f64::from(max_conns));
    let mut readings = vec![
        Reading::gauge(&STATE, labels(), state),
        Reading::gauge(&LIMIT, labels(), move || limit),
        Reading::counter(&REQUESTS, labels(), move || times.count()),
        Reading::gauge(&HEADER_TIME, labels(), move || header_times.average()),
        Reading::gauge(&RESPONSE_TIME, labels(), move || whole.average()),
    ];
    readings.extend(classes(&RESPONSES, labels, &counts.statuses));
    readings
}
