//! The numbers of one `server`: requests as they end, by status, and why authentication failed.

use std::sync::Arc;

use super::{Counter, Family, Gauge, Reading, Statuses};
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::modules::auth_outcome::Reason;
use crate::modules::ssl::ServerTls;

// The names are those that nginx-prometheus-exporter gives these numbers of NGINX Plus.
static PROCESSING: Family = Family {
    name: "nginxplus_server_zone_processing",
    help: "Requests of clients that are being answered, by server.",
};
static REQUESTS: Family =
    Family { name: "nginxplus_server_zone_requests", help: "Requests of clients, by server." };
static RESPONSES: Family =
    Family { name: "nginxplus_server_zone_responses", help: "Responses to clients by class of status." };
static CODES: Family =
    Family { name: "nginxplus_server_zone_responses_codes", help: "Responses to clients by status." };
static DISCARDED: Family =
    Family { name: "nginxplus_server_zone_discarded", help: "Requests that ended without a response." };
static RECEIVED: Family =
    Family { name: "nginxplus_server_zone_received", help: "Bytes of clients' requests." };
static SENT: Family = Family { name: "nginxplus_server_zone_sent", help: "Bytes of responses to clients." };
static FAILURES: Family = Family {
    name: "doorward_auth_failures_total",
    help: "Requests whose authentication was refused or not decided, whoever checked it, by reason.",
};

static HANDSHAKES: Family = Family {
    name: "nginxplus_server_zone_ssl_handshakes",
    help: "Handshakes of TLS that succeeded, by server.",
};
static HANDSHAKES_FAILED: Family = Family {
    name: "nginxplus_server_zone_ssl_handshakes_failed",
    help: "Handshakes of TLS that failed, by the server that was asked for.",
};
static SESSION_REUSES: Family = Family {
    name: "nginxplus_server_zone_ssl_session_reuses",
    help: "Handshakes of TLS that took up an earlier session.",
};

static EARLY_DATA: Family = Family {
    name: "doorward_ssl_early_data_total",
    help: "Handshakes of TLS that had not ended yet when the first request came (ssl_early_data).",
};

/// The counters of a server's handshakes.
pub struct TlsCounts {
    handshakes: Arc<Counter>,
    failed: Arc<Counter>,
    reuses: Arc<Counter>,
    early_data: Option<Arc<Counter>>,
}

impl TlsCounts {
    /// Counts a handshake that succeeded, or goes on behind early data.
    pub fn succeeded(&self, took_up_a_session: bool, early_data: bool) {
        self.handshakes.add_one();
        if took_up_a_session {
            self.reuses.add_one();
        }
        if let Some(counter) = self.early_data.as_ref().filter(|_| early_data) {
            counter.add_one();
        }
    }

    /// Counts one that failed.
    pub fn failed(&self) {
        self.failed.add_one();
    }
}

/// The counters of a server.
pub struct ServerCounts {
    /// Those of its handshakes, where it speaks TLS.
    pub tls: Option<TlsCounts>,
    statuses: Arc<Statuses>,
    discarded: Arc<Counter>,
    received: Arc<Counter>,
    sent: Arc<Counter>,
    processing: Arc<Gauge>,
    failures: [Arc<Counter>; Reason::ALL.len()],
}

impl ServerCounts {
    /// Those of the server being compiled, where something shows them.
    pub fn of(cx: &mut Compiler, tls: Option<&ServerTls>) -> Option<Box<ServerCounts>> {
        if !cx.measures {
            return None;
        }
        let name = cx.server_name.clone();
        let metrics = &cx.zones.metrics;
        let labels = || vec![("server_zone", name.clone())];
        let counts = ServerCounts {
            tls: tls.map(|tls| TlsCounts {
                handshakes: metrics.counter(&HANDSHAKES, labels()),
                failed: metrics.counter(&HANDSHAKES_FAILED, labels()),
                reuses: metrics.counter(&SESSION_REUSES, labels()),
                early_data: tls.takes_early_data().then(|| metrics.counter(&EARLY_DATA, labels())),
            }),
            statuses: metrics.by_status(&CODES, labels(), "code"),
            discarded: metrics.counter(&DISCARDED, labels()),
            received: metrics.counter(&RECEIVED, labels()),
            sent: metrics.counter(&SENT, labels()),
            processing: metrics.gauge(&PROCESSING, labels()),
            failures: Reason::ALL.map(|reason| {
                let labels = vec![("server", name.clone()), ("reason", reason.as_str().to_owned())];
                metrics.counter(&FAILURES, labels)
            }),
        };
        let (statuses, discarded) = (counts.statuses.clone(), counts.discarded.clone());
        cx.readings.push(Reading::counter(&REQUESTS, labels(), move || statuses.all() + discarded.get()));
        cx.readings.extend(classes(&RESPONSES, labels, &counts.statuses));
        Some(Box::new(counts))
    }

    /// Counts a request among those being answered, until what this returns is dropped.
    pub fn begin(&self) -> Processing<'_> {
        self.processing.up();
        Processing(&self.processing)
    }

    /// Counts a client's request that has been answered, or was not.
    pub fn ended(&self, ex: &Exchange<'_>) {
        let visit = ex.visit;
        self.received.add(u64::from(visit.head.head_len) + visit.body.borrow().received);
        match visit.bytes_sent.get() {
            0 => self.discarded.add_one(),
            sent => {
                self.sent.add(sent);
                self.statuses.add_one(ex.response.status);
            }
        }
        if let Some(reason) = visit.auth.borrow().reason
            && let Some(counter) = self.failures.get(reason as usize)
        {
            counter.add_one();
        }
    }
}

/// A request that is being answered, however that ends.
pub struct Processing<'s>(&'s Gauge);

impl Drop for Processing<'_> {
    fn drop(&mut self) {
        self.0.down();
    }
}

/// What there was of each class of statuses.
pub(super) fn classes(
    family: &'static Family,
    labels: impl Fn() -> super::Labels,
    statuses: &Arc<Statuses>,
) -> impl Iterator<Item = Reading> {
    (1..=5).map(move |class| {
        let mut labels = labels();
        labels.push(("code", format!("{class}xx")));
        let statuses = statuses.clone();
        Reading::counter(family, labels, move || statuses.class(class))
    })
}
