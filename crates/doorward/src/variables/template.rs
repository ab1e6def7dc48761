//! A value with variables in it, ready to be written out for a request.

use conf::{Diagnostic, Piece, Word};

use super::{Index, Registry};
use crate::exchange::{Captures, Exchange};

/// Text and variables in their order (nginx's complex value).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Box<[u8]>),
    Variable(Index),
    Capture(u8),
}

impl Template {
    /// Reads a word of the configuration; the variables may be defined later.
    pub fn compile(word: &Word, registry: &mut Registry) -> Result<Template, Diagnostic> {
        Self::of(&word.text, Some(word), registry)
    }

    /// Reads text that does not stand in the configuration, such as a built-in log format.
    pub fn of(text: &[u8], word: Option<&Word>, registry: &mut Registry) -> Result<Template, Diagnostic> {
        let span = word.map(|w| w.span);
        let pieces = conf::template::split(text, span.unwrap_or_default())?;
        let parts = pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => Part::Literal(text.into()),
            Piece::Variable(name) => Part::Variable(registry.named(&name, span)),
            Piece::Capture(n) => Part::Capture(n),
        });
        Ok(Template { parts: parts.collect() })
    }

    /// A template that is always the same text.
    pub fn literal(text: &[u8]) -> Template {
        Template {
            parts: if text.is_empty() { Box::default() } else { Box::new([Part::Literal(text.into())]) },
        }
    }

    /// The text, where there is no variable in it.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The variable that it is, alone.
    pub fn as_variable(&self) -> Option<Index> {
        match &*self.parts {
            [Part::Variable(index)] => Some(*index),
            _ => None,
        }
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = Index> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(index) => Some(*index),
            _ => None,
        })
    }

    /// The text as the configuration means it, with the variables' names.
    pub fn text(&self, names: &[Box<str>]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Variable(index) => {
                    let name = names.get(index.0 as usize).map_or("", |name| &**name);
                    out.extend_from_slice(format!("${{{name}}}").as_bytes());
                }
                Part::Capture(n) => out.extend_from_slice(format!("${n}").as_bytes()),
            }
        }
        out
    }

    /// Writes the value for this request.
    pub fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) {
        self.append_captured(ex, &ex.captures, out);
    }

    /// Writes the value for this request, with these captures in place of the request's own.
    pub fn append_captured(&self, ex: &Exchange<'_>, captures: &Captures, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Variable(index) => {
                    ex.variable(*index, out);
                }
                Part::Capture(n) => captures.append(*n, out),
            }
        }
    }

    /// Writes the value as the replacement of `rewrite`: captures behind a literal `?`, or all of them for a redirect,
    /// are escaped where the path was unescaped. Returns where the query starts.
    pub fn append_replacement(&self, ex: &Exchange<'_>, redirect: bool, out: &mut Vec<u8>) -> Option<usize> {
        let start = out.len();
        let mut query = None;
        let unescaped = ex.visit.head.target.of(ex.visit.bytes).iter().any(|b| matches!(b, b'%' | b'+'));
        for part in &self.parts {
            match part {
                Part::Literal(text) => {
                    if query.is_none()
                        && let Some(at) = text.iter().position(|b| *b == b'?')
                    {
                        query = Some(out.len() - start + at + 1);
                    }
                    out.extend_from_slice(text);
                }
                Part::Capture(n) if unescaped && (redirect || query.is_some()) => {
                    wire::uri::escape(wire::uri::Escape::Args, ex.captures.get(*n).unwrap_or_default(), out);
                }
                Part::Capture(n) => ex.captures.append(*n, out),
                Part::Variable(index) => {
                    ex.variable(*index, out);
                }
            }
        }
        query
    }

    /// Whether the value is neither empty nor `0` (nginx's predicates).
    pub fn holds(&self, ex: &Exchange<'_>) -> bool {
        let value = self.eval(ex);
        !value.is_empty() && value != b"0"
    }

    /// The value for this request.
    pub fn eval(&self, ex: &Exchange<'_>) -> Vec<u8> {
        if let Some(text) = self.as_literal() {
            return text.to_vec();
        }
        let mut out = Vec::with_capacity(64);
        self.append(ex, &mut out);
        out
    }
}
