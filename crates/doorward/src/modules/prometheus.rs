//! `prometheus`: what this server counted, for Prometheus.

use wire::h1::Method;

use crate::body::Body;
use crate::directives;
use crate::exchange::Exchange;
use crate::metrics::text::Page;
use crate::module::{Module, Settings};
use crate::modules::static_files::set_content_type;
use crate::plan::Content;
use crate::run::Stop;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_prometheus_module",
    directives: directives! { PrometheusSettings;
        /// Answers with the server's metrics in Prometheus' text format. Doorward's own directive. Nothing is counted
        /// in a configuration without it.
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
    let mut page = Page::default();
    for (family, members) in ex.visit.config.zones.metrics.families() {
        page.family(family, &members);
    }
    let text = page.into_bytes();
    ex.response.status = 200;
    ex.response.content_length = Some(text.len() as u64);
    set_content_type(ex, b"text/plain; version=0.0.4; charset=utf-8");
    Ok(Body::Bytes(text))
}
