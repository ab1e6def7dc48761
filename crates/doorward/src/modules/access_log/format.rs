//! What a line of an access log looks like.

use conf::Diagnostic;

use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::variables::Index;

/// How values are made safe for a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Escape {
    #[default]
    Default,
    Json,
    None,
}

/// A format, as `log_format` made it.
#[derive(Clone)]
pub(super) struct Format {
    escape: Escape,
    parts: Vec<FormatPart>,
}

#[derive(Clone)]
enum FormatPart {
    Text(Vec<u8>),
    Variable(Index),
}

/// Reads the text of a format.
pub(super) fn compile(
    text: &[u8],
    escape: Escape,
    span: conf::Span,
    cx: &mut Compiler,
) -> Result<Format, Diagnostic> {
    let pieces = conf::template::split(text, span)?;
    let parts = pieces.into_iter().map(|piece| match piece {
        conf::Piece::Literal(text) => FormatPart::Text(text),
        conf::Piece::Variable(name) => FormatPart::Variable(cx.variables.named(&name, Some(span))),
        conf::Piece::Capture(digit) => FormatPart::Text(format!("${digit}").into_bytes()),
    });
    Ok(Format { escape, parts: parts.collect() })
}

impl Format {
    /// Appends the line of a request, without its end.
    pub(super) fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) {
        let buffers = &ex.visit.worker.buffers;
        let mut value = buffers.take(256);
        for part in &self.parts {
            match part {
                FormatPart::Text(text) => out.extend_from_slice(text),
                FormatPart::Variable(index) => {
                    value.clear();
                    let found = ex.variable(*index, &mut value);
                    match self.escape {
                        Escape::Default if !found => out.push(b'-'),
                        Escape::Default => escape_default(&value, out),
                        Escape::Json => escape_json(&value, out),
                        Escape::None => out.extend_from_slice(&value),
                    }
                }
            }
        }
        buffers.put(value);
    }
}

/// `"`, `\` and everything that is no printable ASCII as `\xXX`.
fn escape_default(value: &[u8], out: &mut Vec<u8>) {
    escape(
        value,
        out,
        |byte| matches!(byte, b'"' | b'\\' | 0..=31 | 127..=255),
        |byte, out| {
            out.extend_from_slice(b"\\x");
            append_hex(byte, out);
        },
    );
}

/// Appends a text with its special bytes as `append` writes them, and what is between them in one go.
fn escape(
    mut text: &[u8],
    out: &mut Vec<u8>,
    is_special: impl Fn(u8) -> bool,
    append: impl Fn(u8, &mut Vec<u8>),
) {
    while let Some(at) = text.iter().position(|&byte| is_special(byte)) {
        out.extend_from_slice(&text[..at]);
        append(text[at], out);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

fn append_hex(byte: u8, out: &mut Vec<u8>) {
    out.push(HEX[(byte >> 4) as usize]);
    out.push(HEX[(byte & 15) as usize]);
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends a text as it stands between the quotes of a JSON string.
pub fn escape_json(value: &[u8], out: &mut Vec<u8>) {
    escape(
        value,
        out,
        |byte| matches!(byte, b'"' | b'\\' | 0..=31),
        |byte, out| match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..=31 => {
                out.extend_from_slice(b"\\u00");
                append_hex(byte, out);
            }
            _ => out.extend_from_slice(&[b'\\', byte]),
        },
    );
}
