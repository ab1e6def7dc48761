//! `ngx_http_stub_status_module`: how many connections and requests there are and were.

use std::sync::atomic::{AtomicU64, Ordering};

use conf::Arg::{Optional, Text};
use wire::h1::Method;

use crate::body::Body;
use crate::deliver::itoa;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::run::Stop;
use crate::variables::Row;
use crate::worker::Counters;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_stub_status_module",
    directives: directives! { StatusSettings;
        /// Answers with a short text: open connections, connections accepted and handled, requests, and what the
        /// open connections are doing.
        "stub_status" in [SERVER LOCATION] (Optional(&Text("value"))) = "" => |c, _, _| {
            c.on = true;
            Ok(())
        };
    },
    variables: &[
        Row::fresh("connections_active", |ex, out| number(Numbers::of(ex).active, out)),
        Row::fresh("connections_reading", |ex, out| number(Numbers::of(ex).reading, out)),
        Row::fresh("connections_writing", |ex, out| number(Numbers::of(ex).writing, out)),
        Row::fresh("connections_waiting", |ex, out| number(Numbers::of(ex).waiting, out)),
    ],
    plan: |_, scope, plan| {
        if scope.get_mut::<StatusSettings>().on {
            plan.content = Content::StubStatus;
        }
        Ok(())
    },
};

#[derive(Default)]
struct StatusSettings {
    on: bool,
}

impl Settings for StatusSettings {
    fn inherit(&mut self, _: &Self) {}
    fn inherit_inside(&mut self, location: &Self) {
        self.on |= location.on;
    }
}

/// The numbers of one moment.
struct Numbers {
    accepted: u64,
    requests: u64,
    active: u64,
    reading: u64,
    writing: u64,
    waiting: u64,
}

impl Numbers {
    fn of(ex: &Exchange<'_>) -> Numbers {
        let counters: &Counters = &ex.visit.worker.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (active, reading, writing) =
            (read(&counters.active), read(&counters.reading), read(&counters.writing));
        Numbers {
            accepted: read(&counters.accepted),
            requests: read(&counters.requests),
            active,
            reading,
            writing,
            waiting: active.saturating_sub(reading + writing),
        }
    }
}

/// Answers with the numbers.
pub fn run(ex: &mut Exchange<'_>) -> Result<Body, Stop> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Err(Stop::Status(405));
    }
    let Numbers { accepted, requests, active, reading, writing, waiting } = Numbers::of(ex);
    let text = format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    );
    ex.response.status = 200;
    ex.response.content_length = Some(text.len() as u64);
    set_content_type(ex, b"text/plain");
    Ok(Body::Bytes(text.into_bytes()))
}

fn number(n: u64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(itoa(n, &mut [0; 20]));
    true
}
