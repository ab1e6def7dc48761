//! What spans say: of a request, of its subrequests, and of each attempt at an upstream.

use std::cell::Cell;

use wire::Name;
use wire::h1::Method;

use super::context::SpanId;
use super::span::{Attributes, Kind, Span};
use super::trace::{Trace, new_span};
use crate::exchange::Exchange;
use crate::modules::upstream::Attempt;

/// A subrequest under way.
pub struct Part {
    id: SpanId,
    parent: SpanId,
    /// In milliseconds of [`net::clock::now`].
    began: u64,
    /// Whether its end was recorded.
    ended: Cell<bool>,
}

/// Begins the span of a subrequest, where there is to be one.
pub fn begin(ex: &Exchange<'_>, child: &mut Exchange<'_>) {
    if let Some(trace) = sampled(ex) {
        let parent = span_of(ex, trace);
        child.part = Some(Box::new(Part {
            id: new_span(),
            parent,
            began: net::clock::now(),
            ended: Cell::new(false),
        }));
    }
}

/// Records a subrequest that is given up before it was answered.
pub fn give_up(ex: &Exchange<'_>) {
    if ex.part.as_ref().is_some_and(|part| !part.ended.get()) {
        end(ex);
    }
}

/// Records a client's request that has ended, or a subrequest whose answer is there, with what was asked for it.
pub fn end(ex: &Exchange<'_>) {
    let Some(trace) = sampled(ex) else { return };
    let Some(spans) = &ex.visit.service.spans else { return };
    let status = ex.status();
    let now = net::clock::now();
    let (id, parent, began) = match &ex.part {
        Some(part) => {
            part.ended.set(true);
            (part.id, Some(part.parent), part.began)
        }
        None => (trace.span, trace.parent, ex.visit.started),
    };
    spans.queue.add(|out| {
        let span = Span {
            trace: trace.id,
            id,
            parent,
            remote: ex.is_main() && parent.is_some(),
            state: &trace.state,
            name: &name(ex),
            kind: if ex.is_main() { Kind::Server } else { Kind::Internal },
            start: trace.nanoseconds(began),
            end: trace.nanoseconds(now),
            // Of a client's request there may be none to send any to.
            failed: status >= 500 || (status == 0 && !ex.is_main()),
        };
        span.append(out, |attributes| {
            match ex.is_main() {
                true => of_request(ex, attributes),
                false => of_subrequest(ex, attributes),
            }
            if status > 0 {
                attributes.number(b"http.status_code", u64::from(status));
            }
            own(ex, attributes);
        });
    });
    end_attempts(ex);
}

/// Records what was asked of upstreams.
pub fn end_attempts(ex: &Exchange<'_>) {
    let Some(trace) = sampled(ex) else { return };
    let Some(spans) = &ex.visit.service.spans else { return };
    for (at, attempt) in ex.upstream.list().iter().enumerate() {
        let ended = attempt.response_time.map_or_else(net::clock::now, |time| attempt.started + time);
        spans.queue.add(|out| {
            let span = Span {
                trace: trace.id,
                id: attempt.span.unwrap_or_else(new_span),
                parent: Some(span_of(ex, trace)),
                remote: false,
                state: &trace.state,
                name: &attempt_name(ex),
                kind: Kind::Client,
                start: trace.nanoseconds(attempt.started),
                end: trace.nanoseconds(ended),
                failed: attempt.status >= 500,
            };
            span.append(out, |attributes| of_attempt(ex, at, attempt, attributes));
        });
    }
}

fn sampled<'a>(ex: &Exchange<'a>) -> Option<&'a Trace> {
    let trace = &**ex.visit.trace.get()?;
    trace.sampled.get().then_some(trace)
}

fn span_of(ex: &Exchange<'_>, trace: &Trace) -> SpanId {
    ex.part.as_ref().map_or(trace.span, |part| part.id)
}

/// `otel_span_name`, or the name of the location; outside of locations the method.
fn name(ex: &Exchange<'_>) -> Vec<u8> {
    match ex.plan.otel.as_ref().and_then(|otel| otel.span_name.as_ref()) {
        Some(template) => template.eval(ex),
        None if ex.plan.core.name.is_empty() => method(ex).to_vec(),
        None => ex.plan.core.name.clone(),
    }
}

/// The method and whom the configuration asks: what only the client knows is in no name.
fn attempt_name(ex: &Exchange<'_>) -> Vec<u8> {
    let mut name = method(ex).to_vec();
    if let Some(asked) = ex.upstream.passed_to.as_ref().filter(|asked| !asked.url.is_empty()) {
        name.push(b' ');
        name.extend_from_slice(&asked.authority);
    }
    name
}

/// A method that is not known is `HTTP`, as the semantic conventions have it.
fn method<'a>(ex: &Exchange<'a>) -> &'a [u8] {
    if ex.method == Method::Other { b"HTTP" } else { ex.method_text() }
}

/// What nginx's module says of a request: the semantic conventions for HTTP, version 1.16.
fn of_request(ex: &Exchange<'_>, attributes: &mut Attributes<'_>) {
    let (visit, head) = (ex.visit, ex.visit.head);
    attributes.text(b"http.method", ex.method_text());
    attributes.text(b"http.target", head.target.of(visit.bytes));
    route(ex, attributes);
    attributes.text(b"http.scheme", b"http");
    if let Some(version) = head.protocol.of(visit.bytes).strip_prefix(b"HTTP/") {
        attributes.text(b"http.flavor", version);
    }
    if let Some(agent) = ex.request_field(Name::UserAgent) {
        attributes.text(b"http.user_agent", agent);
    }
    attributes.number(b"http.request_content_length", head.content_length.unwrap_or(0));
    attributes.number(b"http.response_content_length", visit.body_bytes_sent.get());
    attributes.text(b"net.host.name", if ex.server.name.is_empty() { &visit.host } else { &ex.server.name });
    if let Some(port) = visit.client.local().and_then(net::Address::port).filter(|port| *port != 80) {
        attributes.number(b"net.host.port", u64::from(port));
    }
    ex.with_remote(|address| {
        attributes.text(b"net.sock.peer.addr", address.ip_text().as_bytes());
        if let Some(port) = address.port() {
            attributes.number(b"net.sock.peer.port", u64::from(port));
        }
    });
}

fn of_subrequest(ex: &Exchange<'_>, attributes: &mut Attributes<'_>) {
    attributes.text(b"http.method", ex.method_text());
    attributes.text(b"http.target", &ex.uri);
    route(ex, attributes);
}

fn of_attempt(ex: &Exchange<'_>, at: usize, attempt: &Attempt, attributes: &mut Attributes<'_>) {
    attributes.text(b"http.method", ex.method_text());
    if attempt.status > 0 {
        attributes.number(b"http.status_code", u64::from(attempt.status));
    }
    if at > 0 {
        attributes.number(b"http.resend_count", at as u64);
    }
    attributes.number(b"http.response_content_length", attempt.response_length);
    if let Some(asked) = &ex.upstream.passed_to {
        attributes.text(b"net.peer.name", &asked.authority);
    }
    match attempt.address.rsplit_once(':') {
        Some((address, port)) if let Ok(port) = port.parse() => {
            attributes.text(b"net.sock.peer.addr", address.as_bytes());
            attributes.number(b"net.sock.peer.port", port);
        }
        _ => attributes.text(b"net.sock.peer.addr", attempt.address.as_bytes()),
    }
}

fn route(ex: &Exchange<'_>, attributes: &mut Attributes<'_>) {
    if !ex.plan.core.name.is_empty() {
        attributes.text(b"http.route", &ex.plan.core.name);
    }
}

/// `otel_span_attr`. A field is a list of its values in the semantic conventions.
fn own(ex: &Exchange<'_>, attributes: &mut Attributes<'_>) {
    for (name, value) in ex.plan.otel.iter().flat_map(|otel| &otel.attributes) {
        let value = value.eval(ex);
        let is_field = [&b"http.request.header."[..], b"http.response.header."]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        match is_field {
            true => attributes.list(name, &value),
            false => attributes.text(name, &value),
        }
    }
}
