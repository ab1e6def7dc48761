//! `ngx_otel_module`: requests as spans of a distributed trace, sent to a collector.

mod context;
mod exporter;
mod protobuf;
mod queue;
mod record;
mod send;
mod span;
mod trace;

use conf::Arg::{Choice, Text};
use conf::{Diagnostic, Span as Place};

pub use context::{SpanId, append_hex};
pub use exporter::Export;
pub use record::{Part, begin, end, end_attempts, give_up};
pub use send::{Sending, Spans};
pub use trace::{Trace, carried, decide, is_trace_field};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Scope, Settings};
use crate::plan::Plan;
use crate::variables::{Row, Template};
use exporter::Exporter;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_otel_module",
    directives: directives! { OtelSettings;
        /// Where spans are sent: a block of `endpoint URL` (such as `http://localhost:4318/v1/traces`), `interval time`
        /// (the longest that a span waits for others, 5s), `batch_size number` (spans sent together, 512), `batch_count
        /// number` (portions that may wait in each worker, 4; what comes beyond them is dropped, and counted in the error
        /// log), `header name value` (a field of each request to the collector, may be repeated) and `trusted_certificate
        /// file` (without effect). Unlike nginx, Doorward speaks OTLP over HTTP with protobuf, not over gRPC, and not over
        /// TLS yet; an `endpoint` in nginx's form, `localhost:4317`, is refused.
        "otel_exporter": Free in [HTTP] () = "" => |_, cx, n| {
            if cx.otel.exporter.is_some() {
                return Err(n.duplicate());
            }
            cx.otel.exporter = Some(Exporter::read(n)?);
            Ok(())
        };
        /// The resource's attribute `service.name`.
        "otel_service_name" in [HTTP] (Text("name")) = "unknown_service:doorward" => |_, cx, n| {
            conf::once(&mut cx.otel.service_name, n.bytes(0).to_vec(), n)
        };
        /// An attribute of the resource, that is of all spans; the last of a name counts.
        "otel_resource_attr" in [HTTP] (Text("name"), Text("value")) = "" => |_, cx, n| {
            cx.otel.resource.push((n.bytes(0).to_vec(), n.bytes(1).to_vec()));
            Ok(())
        };
        /// Whether requests become spans: when the value is `on` or `1`. A variable samples: `$otel_parent_sampled` follows
        /// the client, one of `split_clients "$otel_trace_id" $name { 10% on; * off; }` takes a share of the traces. It is
        /// asked once, in the first location of a request. Beside the span of the request there is one for each
        /// subrequest, such as an auth service's, and one for each attempt at an upstream.
        "otel_trace" in [HTTP SERVER LOCATION] (Text("on | off | $variable")) = "off" => |c, cx, n| {
            let sampling = match n.bytes(0) {
                b"on" | b"1" => Sampling::Always,
                text if conf::template::has_variables(text) => {
                    Sampling::Asked(Template::compile(n.word(0)?, &mut cx.variables)?)
                }
                _ => Sampling::Never,
            };
            conf::once(&mut c.trace, (sampling, n.span), n)
        };
        /// How `traceparent` and `tracestate` are dealt with: `extract` continues the client's trace; `inject` tells auth
        /// services and upstreams of the request's own trace, each attempt with a span of its own, in place of what the
        /// client sent; `propagate` does both; `ignore` leaves the fields alone. A `proxy_set_header traceparent` is
        /// stronger.
        "otel_trace_context" in [HTTP SERVER LOCATION] (Choice(&["extract", "inject", "propagate", "ignore"])) = "ignore" => |c, _, n| {
            let propagation = n.choice(0, &[
                ("extract", Propagation::Extract),
                ("inject", Propagation::Inject),
                ("propagate", Propagation::Propagate),
                ("ignore", Propagation::Ignore),
            ])?;
            conf::once(&mut c.propagation, propagation, n)
        };
        /// The name of a request's span, in place of the location's name.
        "otel_span_name" in [HTTP SERVER LOCATION] (Text("name")) = "" => |c, cx, n| {
            let name = Template::compile(n.word(0)?, &mut cx.variables)?;
            conf::once(&mut c.span_name, name, n)
        };
        /// Another attribute of a request's span.
        "otel_span_attr" in [HTTP SERVER LOCATION] (Text("name"), Text("value")) = "" => |c, cx, n| {
            let value = Template::compile(n.word(1)?, &mut cx.variables)?;
            c.attributes.push((n.bytes(0).to_vec(), value));
            Ok(())
        };
    },
    variables: &[
        Row::fresh("otel_trace_id", |ex, out| {
            append_hex(&Trace::of(ex).id, out);
            true
        }),
        Row::fresh("otel_span_id", |ex, out| {
            append_hex(&Trace::of(ex).span, out);
            true
        }),
        Row::fresh("otel_parent_id", |ex, out| match &Trace::of(ex).parent {
            Some(parent) => {
                append_hex(parent, out);
                true
            }
            None => false,
        }),
        Row::fresh("otel_parent_sampled", |ex, out| {
            out.push(if Trace::of(ex).parent_sampled { b'1' } else { b'0' });
            true
        }),
    ],
    plan,
};

#[derive(Clone, Default)]
struct OtelSettings {
    trace: Option<(Sampling, Place)>,
    propagation: Option<Propagation>,
    span_name: Option<Template>,
    attributes: Vec<(Vec<u8>, Template)>,
}

impl Settings for OtelSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.trace.is_none() {
            self.trace.clone_from(&outer.trace);
        }
        self.propagation = self.propagation.or(outer.propagation);
        if self.span_name.is_none() {
            self.span_name.clone_from(&outer.span_name);
        }
        if self.attributes.is_empty() {
            self.attributes.clone_from(&outer.attributes);
        }
    }
}

/// What a location says of traces; a location where nothing is configured has none.
pub struct Otel {
    sampling: Sampling,
    propagation: Propagation,
    span_name: Option<Template>,
    attributes: Vec<(Vec<u8>, Template)>,
}

#[derive(Clone)]
enum Sampling {
    Always,
    Never,
    Asked(Template),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Propagation {
    Ignore,
    Extract,
    Inject,
    Propagate,
}

impl Propagation {
    fn extracts(self) -> bool {
        matches!(self, Propagation::Extract | Propagation::Propagate)
    }

    fn injects(self) -> bool {
        matches!(self, Propagation::Inject | Propagation::Propagate)
    }
}

impl Otel {
    fn samples(&self, ex: &Exchange<'_>) -> bool {
        match &self.sampling {
            Sampling::Always => true,
            Sampling::Never => false,
            Sampling::Asked(template) => matches!(&*template.eval(ex), b"on" | b"1"),
        }
    }
}

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let settings = scope.get_mut::<OtelSettings>();
    if let Some((_, place)) = &settings.trace
        && cx.otel.exporter.is_none()
    {
        return Err(Diagnostic::at(*place, "\"otel_exporter\" block is missing"));
    }
    let is_set = settings.trace.is_some() || settings.propagation.is_some();
    if is_set || settings.span_name.is_some() || !settings.attributes.is_empty() {
        let OtelSettings { trace, propagation, span_name, attributes } = settings.clone();
        plan.otel = Some(Box::new(Otel {
            sampling: trace.map_or(Sampling::Never, |(sampling, _)| sampling),
            propagation: propagation.unwrap_or(Propagation::Ignore),
            span_name,
            attributes,
        }));
    }
    Ok(())
}
