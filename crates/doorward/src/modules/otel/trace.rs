//! The trace that a client's request is part of: what the client says of it, and what others are told.

use std::cell::Cell;

use super::context::{self, Context, SpanId, TraceId};
use super::{Otel, Propagation};
use crate::exchange::{Exchange, Visit};

/// A client's request as a part of a trace. It is made where the configuration asks for it, and then lives as long as the
/// request.
pub struct Trace {
    /// The trace, the client's where it is continued.
    pub(super) id: TraceId,
    /// The span of the request.
    pub(super) span: SpanId,
    /// The client's span, where its trace is continued.
    pub(super) parent: Option<SpanId>,
    /// Whether the client records its spans.
    pub(super) parent_sampled: bool,
    /// `tracestate`.
    pub(super) state: Vec<u8>,
    /// Whether spans are made.
    pub(super) sampled: Cell<bool>,
    /// Whether the trace is carried on to whom is asked.
    injects: Cell<bool>,
    /// What turns a moment of [`net::clock::now`] into milliseconds since 1970: the same for all spans of a request.
    epoch: u64,
}

impl Trace {
    /// The trace of a request; made here if nothing asked for it before.
    pub(super) fn of<'a>(ex: &Exchange<'a>) -> &'a Trace {
        let visit = ex.visit;
        visit.trace.get_or_init(|| {
            let extracts = ex.plan.otel.as_ref().is_some_and(|otel| otel.propagation.extracts());
            Box::new(Trace::new(visit, extracts))
        })
    }

    fn new(visit: &Visit<'_>, extracts: bool) -> Trace {
        let fields = || visit.head.fields.iter().map(|f| (f.name.of(visit.bytes), f.value.of(visit.bytes)));
        let client = if extracts { Context::of_fields(fields()) } else { None };
        let (seconds, ms) = net::clock::wall();
        Trace {
            id: client.as_ref().map_or_else(crate::random::bytes, |client| client.trace),
            span: new_span(),
            parent: client.as_ref().map(|client| client.span),
            parent_sampled: client.as_ref().is_some_and(|client| client.sampled),
            state: client.map(|client| client.state).unwrap_or_default(),
            sampled: Cell::new(false),
            injects: Cell::new(false),
            epoch: (seconds * 1000 + u64::from(ms)).saturating_sub(net::clock::now()),
        }
    }

    /// Nanoseconds since 1970 at a moment of [`net::clock::now`].
    pub(super) fn nanoseconds(&self, at: u64) -> u64 {
        (self.epoch + at).saturating_mul(1_000_000)
    }
}

/// Decides what becomes of a client's request, in its first location.
pub fn decide(otel: &Otel, ex: &Exchange<'_>) {
    let sampled = otel.samples(ex);
    if sampled || otel.propagation != Propagation::Ignore {
        let trace = Trace::of(ex);
        trace.sampled.set(sampled);
        trace.injects.set(otel.propagation.injects());
    }
}

/// The trace that is carried on to whom is asked for this request.
pub fn carried<'a>(ex: &Exchange<'a>) -> Option<&'a Trace> {
    let trace = &**ex.visit.trace.get()?;
    trace.injects.get().then_some(trace)
}

/// Whether a client's field is replaced where the trace is carried on.
pub fn is_trace_field(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(context::PARENT) || name.eq_ignore_ascii_case(context::STATE)
}

impl Trace {
    /// The value of `traceparent` for the attempt under way, and where its span stands in it.
    pub fn parent_field(&self, ex: &mut Exchange<'_>) -> Vec<u8> {
        let mut value = Vec::new();
        let span = self.span_of_attempt(ex);
        context::append_parent(self.id, span, self.sampled.get(), &mut value);
        value
    }

    /// The value of `tracestate`; empty for none.
    pub fn state_field(&self) -> &[u8] {
        &self.state
    }

    /// Appends the fields to a request, those that are wanted. Where the span stands that [`Trace::name_attempt`] writes.
    pub fn append_fields(&self, wanted: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) -> Option<usize> {
        let mut at = None;
        if wanted(context::PARENT) {
            out.extend_from_slice(context::PARENT);
            out.extend_from_slice(b": ");
            at = Some(out.len() + context::SPAN_AT);
            context::append_parent(self.id, self.span, self.sampled.get(), out);
            out.extend_from_slice(b"\r\n");
        }
        if !self.state.is_empty() && wanted(context::STATE) {
            out.extend_from_slice(context::STATE);
            out.extend_from_slice(b": ");
            out.extend_from_slice(&self.state);
            out.extend_from_slice(b"\r\n");
        }
        at
    }

    /// Writes the span of the attempt under way into a request that [`Trace::append_fields`] made.
    pub fn name_attempt(&self, ex: &mut Exchange<'_>, head: &mut [u8], at: usize) {
        let span = self.span_of_attempt(ex);
        let places = head.get_mut(at..).unwrap_or_default().as_chunks_mut::<2>().0;
        for (place, byte) in places.iter_mut().zip(span) {
            *place = context::hex(byte);
        }
    }

    /// Each attempt is a span of its own; where none are made, what is asked belongs to the request itself.
    fn span_of_attempt(&self, ex: &mut Exchange<'_>) -> SpanId {
        match ex.upstream.current() {
            Some(attempt) if self.sampled.get() => *attempt.span.get_or_insert_with(new_span),
            _ => self.span,
        }
    }
}

pub(super) fn new_span() -> SpanId {
    crate::random::bytes()
}
