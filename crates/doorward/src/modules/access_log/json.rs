//! The format `json`: one JSON object a line, valid whatever bytes a client sends (RFC 8259).

use crate::compile::Compiler;
use crate::deliver::itoa;
use crate::exchange::Exchange;
use crate::variables::{Get, Index};

use super::format::escape_json;

/// The members in their order. A variable without a value is `null`; so is a number that is none.
const MEMBERS: &[(&str, Source, Kind)] = &[
    ("time", Source::Own(time), Kind::Text),
    ("remote_addr", Source::Variable("remote_addr"), Kind::Text),
    ("method", Source::Variable("request_method"), Kind::Text),
    ("host", Source::Variable("host"), Kind::Text),
    ("uri", Source::Variable("request_uri"), Kind::Text),
    ("protocol", Source::Variable("server_protocol"), Kind::Text),
    ("status", Source::Own(status), Kind::Number),
    ("bytes", Source::Variable("body_bytes_sent"), Kind::Number),
    ("request_time", Source::Variable("request_time"), Kind::Number),
    ("upstream_addr", Source::Variable("upstream_addr"), Kind::Text),
    ("upstream_status", Source::Variable("upstream_status"), Kind::Text),
    ("upstream_time", Source::Variable("upstream_response_time"), Kind::Text),
    ("auth_status", Source::Variable("auth_status"), Kind::Number),
    ("auth_time", Source::Variable("auth_time"), Kind::Number),
    ("auth_cache_status", Source::Variable("auth_cache_status"), Kind::Text),
    ("auth_reason", Source::Variable("auth_reason"), Kind::Text),
    ("auth_user", Source::Variable("auth_user"), Kind::Text),
    ("request_id", Source::Variable("request_id"), Kind::Text),
    ("user_agent", Source::Variable("http_user_agent"), Kind::Text),
    ("referer", Source::Variable("http_referer"), Kind::Text),
];

/// Where a member's value is from.
#[derive(Clone, Copy)]
enum Source {
    Variable(&'static str),
    Own(Get),
}

/// What a member's value is in JSON.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
}

/// The format, with its variables found.
#[derive(Clone)]
pub(super) struct Json {
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    /// Everything between the value before and this one.
    start: String,
    value: Value,
    kind: Kind,
}

#[derive(Clone)]
enum Value {
    Variable(Index),
    Own(Get),
}

impl Json {
    /// Finds the variables.
    pub(super) fn compile(cx: &mut Compiler) -> Json {
        let member = |(at, (name, source, kind)): (usize, &(&str, Source, Kind))| Member {
            start: format!("{}\"{name}\":", if at == 0 { '{' } else { ',' }),
            value: match source {
                Source::Variable(name) => Value::Variable(cx.variables.named(name, None)),
                Source::Own(get) => Value::Own(*get),
            },
            kind: *kind,
        };
        Json { members: MEMBERS.iter().enumerate().map(member).collect() }
    }

    /// Appends the line of a request, without its end.
    pub(super) fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) {
        let buffers = &ex.visit.worker.buffers;
        let mut value = buffers.take(256);
        for member in &self.members {
            out.extend_from_slice(member.start.as_bytes());
            value.clear();
            let found = match &member.value {
                Value::Variable(index) => ex.variable(*index, &mut value),
                Value::Own(get) => get(ex, &mut value),
            };
            match member.kind {
                Kind::Text if found => append_text(&value, out),
                Kind::Number if found && is_number(&value) => out.extend_from_slice(&value),
                _ => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
        buffers.put(value);
    }
}

/// Digits, perhaps with a fraction, and no zero in front: what variables have for sizes, statuses and times.
fn is_number(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |b| *b == b'.');
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let whole = parts.next().unwrap_or_default();
    digits(whole) && (whole.len() == 1 || !whole.starts_with(b"0")) && parts.next().is_none_or(digits)
}

/// A string. Bytes that are no UTF-8 are written out as `\xHH`, as the other formats show them: JSON has no bytes.
fn append_text(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        escape_json(chunk.valid().as_bytes(), out);
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\\\x{byte:02X}").as_bytes());
        }
    }
    out.push(b'"');
}

fn time(_: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
    let (seconds, ms) = net::clock::wall();
    crate::time::iso8601_ms(seconds, ms, out);
    true
}

/// Without the zeros that `$status` has in front where a request ended with none.
fn status(ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
    let status = ex.status();
    out.extend_from_slice(itoa(u64::from(status), &mut [0; 20]));
    status > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_valid_whatever_its_bytes() {
        let every: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        append_text(&every, &mut out);
        let text: String = serde_json::from_slice(&out).unwrap();
        let (ascii, rest) = text.split_at(128);
        assert!(ascii.bytes().eq(0..128));
        let shown: String = (128..=255).map(|byte| format!("\\x{byte:02X}")).collect();
        assert_eq!(rest, shown);
        out.clear();
        append_text("é\u{10348}".as_bytes(), &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), "é\u{10348}");
    }

    #[test]
    fn what_json_would_not_read_as_a_number_is_none() {
        for text in ["0", "0.004", "12.000", "18446744073709551615"] {
            assert!(is_number(text.as_bytes()), "{text}");
            assert!(serde_json::from_str::<f64>(text).is_ok(), "{text}");
        }
        for text in ["", "-", "000", "01", "1.", ".5", "1.2.3", "0.1, 0.2", "NaN"] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }
}
