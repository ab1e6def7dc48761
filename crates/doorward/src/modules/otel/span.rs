//! A span as OTLP has it (opentelemetry/proto/trace/v1/trace.proto).

use super::context::{SpanId, TraceId};
use super::protobuf::{bytes, fixed32, fixed64, message, start, string, varint};

/// A span that has ended, without its attributes.
pub(super) struct Span<'a> {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    /// Whether the parent is another program's.
    pub remote: bool,
    /// `tracestate`.
    pub state: &'a [u8],
    pub name: &'a [u8],
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// The same.
    pub end: u64,
    pub failed: bool,
}

/// Whose work a span is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// This server's own.
    Internal = 1,
    /// Asked for by a client.
    Server = 2,
    /// Asked of another server.
    Client = 3,
}

impl Span<'_> {
    /// Appends the message.
    pub(super) fn append(&self, out: &mut Vec<u8>, attributes: impl FnOnce(&mut Attributes<'_>)) {
        const SAMPLED: u32 = 1;
        const KNOWN: u32 = 0x100;
        const REMOTE: u32 = 0x200;
        const ERROR: u64 = 2;
        bytes(1, &self.trace, out);
        bytes(2, &self.id, out);
        if !self.state.is_empty() {
            string(3, self.state, out);
        }
        if let Some(parent) = &self.parent {
            bytes(4, parent, out);
        }
        string(5, self.name, out);
        varint(6, self.kind as u64, out);
        fixed64(7, self.start, out);
        fixed64(8, self.end, out);
        attributes(&mut Attributes { field: 9, out });
        if self.failed {
            message(15, out, |out| varint(3, ERROR, out));
        }
        fixed32(16, SAMPLED | KNOWN | if self.remote { REMOTE } else { 0 }, out);
    }
}

/// Attributes on their way into a message.
pub(super) struct Attributes<'a> {
    field: u32,
    out: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// A text.
    pub(super) fn text(&mut self, key: &[u8], value: &[u8]) {
        self.add(key, |out| string(1, value, out));
    }

    /// A number.
    pub(super) fn number(&mut self, key: &[u8], value: u64) {
        self.add(key, |out| varint(3, value, out));
    }

    /// A list of one text.
    pub(super) fn list(&mut self, key: &[u8], value: &[u8]) {
        self.add(key, |out| message(5, out, |out| message(1, out, |out| string(1, value, out))));
    }

    fn add(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        message(self.field, self.out, |out| {
            string(1, key, out);
            message(2, out, value);
        });
    }
}

/// What all spans of a program share, as the start of the message that carries them.
pub(super) struct Origin {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Origin {
    /// From the attributes of the resource, and the program that makes the spans.
    pub(super) fn new<'a>(
        resource: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        program: (&str, &str),
    ) -> Origin {
        let mut origin = Origin { resource: Vec::new(), scope: Vec::new() };
        message(1, &mut origin.resource, |out| {
            let mut attributes = Attributes { field: 1, out };
            resource.for_each(|(name, value)| attributes.text(name, value));
        });
        message(1, &mut origin.scope, |out| {
            string(1, program.0.as_bytes(), out);
            string(2, program.1.as_bytes(), out);
        });
        origin
    }

    /// The start of an `ExportTraceServiceRequest` whose spans, each as [`append_to`] writes it, are `length` bytes.
    pub(super) fn request(&self, length: usize) -> Vec<u8> {
        let in_scope = self.scope.len() + length;
        let mut scope_spans = Vec::new();
        start(2, in_scope, &mut scope_spans);
        let mut request = Vec::new();
        start(1, self.resource.len() + scope_spans.len() + in_scope, &mut request);
        request.extend_from_slice(&self.resource);
        request.extend_from_slice(&scope_spans);
        request.extend_from_slice(&self.scope);
        request
    }
}

/// Appends a span to those of a message.
pub(super) fn append_to(spans: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    message(2, spans, write);
}
