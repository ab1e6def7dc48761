//! The numbers of one question: how often it was asked, what was answered, and how long that took.

use std::sync::Arc;
use std::time::Instant;

use crate::compile::Compiler;
use crate::metrics::{Counter, Family, Histogram, Statuses};

static TOTAL: Family =
    Family { name: "nginx_http_auth_request_total", help: "Questions put to an auth service." };
static STATUS_COUNT: Family =
    Family { name: "nginx_http_auth_request_status_count", help: "Answers of auth services by status." };
static UNCHECKED: Family = Family {
    name: "doorward_auth_unchecked_total",
    help: "Requests let pass unchecked while an auth service did not answer (auth_request_on_error allow).",
};
static TIME: Family = Family {
    name: "nginx_http_auth_request_time_seconds",
    help: "Time from the question to the head of the auth service's answer.",
};

/// The counters of a location's question, shared by all locations of a server that ask the same.
pub struct Counts {
    total: Arc<Counter>,
    statuses: Arc<Statuses>,
    times: Arc<Histogram>,
    unchecked: Arc<Counter>,
}

impl Counts {
    /// The counters for a question of the server being compiled, where something shows them.
    pub fn of(cx: &Compiler, uri: &[u8]) -> Option<Counts> {
        if !cx.measures {
            return None;
        }
        let labels = || {
            vec![("server", cx.server_name.clone()), ("location", String::from_utf8_lossy(uri).into_owned())]
        };
        let metrics = &cx.zones.metrics;
        Some(Counts {
            total: metrics.counter(&TOTAL, labels()),
            statuses: metrics.statuses(&STATUS_COUNT, labels()),
            times: metrics.histogram(&TIME, labels()),
            unchecked: metrics.counter(&UNCHECKED, labels()),
        })
    }

    /// Counts an answer to a question put at `began`.
    pub fn answered(&self, status: u16, began: Instant) {
        self.total.add_one();
        self.statuses.add_one(status);
        self.times.observe(began.elapsed());
    }

    /// Counts a request that passed without an answer.
    pub fn passed_unchecked(&self) {
        self.unchecked.add_one();
    }
}
