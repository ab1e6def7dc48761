//! `prometheus`: what this server counted, for Prometheus.

use wire::h1::Method;

use crate::body::Body;
use crate::directives;
use crate::exchange::Exchange;
use crate::metrics::text::{self, Format};
use crate::metrics::{Shown, collect, process};
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::run::Stop;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_prometheus_module",
    directives: directives! { PrometheusSettings;
        /// Answers with the server's metrics, in Prometheus' text format or as OpenMetrics, as the request's `Accept`
        /// wants it. Doorward's own directive. Nothing is counted in a configuration without it.
        /// docs/metrics.md names them all. Let only those in who may see them.
        "prometheus" in [SERVER LOCATION] () = "" => |c, cx, _| {
            c.on = true;
            cx.measures = true;
            Ok(())
        };
    },
    variables: &[],
    plan: |_, scope, plan| {
        if scope.get_mut::<PrometheusSettings>().on {
            plan.content = Content::Prometheus;
        }
        Ok(())
    },
};

#[derive(Default)]
struct PrometheusSettings {
    on: bool,
}

impl Settings for PrometheusSettings {
    fn inherit(&mut self, _: &Self) {}
    fn inherit_inside(&mut self, location: &Self) {
        self.on |= location.on;
    }
}

/// Answers with the metrics.
pub fn run(ex: &mut Exchange<'_>) -> Result<Body, Stop> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Err(Stop::Status(405));
    }
    let head = ex.visit.head;
    let accept = head.fields.iter().filter(|field| field.id == wire::Name::Accept);
    let format = Format::accepted(accept.map(|field| field.value.of(ex.visit.bytes)));
    let text = text::page(format, &numbers(ex));
    ex.response.status = 200;
    ex.response.content_length = Some(text.len() as u64);
    ex.response.fields.set("Vary", b"Accept");
    set_content_type(ex, format.content_type());
    Ok(Body::Bytes(text))
}

/// Every number of this moment.
pub fn numbers(ex: &Exchange<'_>) -> Vec<Shown> {
    let config = ex.visit.config;
    let process = process::readings(ex);
    collect(&config.zones.metrics, config.readings.iter().chain(&process))
}
