//! `ngx_http_stub_status_module`: how many connections and requests there are and were.

use conf::Arg::{Optional, Text};
use wire::h1::Method;

use crate::body::Body;
use crate::deliver::itoa;
use crate::directives;
use crate::exchange::Exchange;
use crate::metrics::process::Connections;
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::run::Stop;
use crate::variables::Row;

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
        Row::fresh("connections_active", |ex, out| number(numbers(ex).active, out)),
        Row::fresh("connections_reading", |ex, out| number(numbers(ex).reading, out)),
        Row::fresh("connections_writing", |ex, out| number(numbers(ex).writing, out)),
        Row::fresh("connections_waiting", |ex, out| number(numbers(ex).waiting, out)),
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

fn numbers(ex: &Exchange<'_>) -> Connections {
    Connections::of(&ex.visit.worker.counters)
}

/// Answers with the numbers.
pub fn run(ex: &mut Exchange<'_>) -> Result<Body, Stop> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Err(Stop::Status(405));
    }
    let Connections { accepted, requests, active, reading, writing, waiting } = numbers(ex);
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
