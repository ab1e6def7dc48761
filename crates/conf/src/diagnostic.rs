//! What is said to the operator about the configuration: nginx's sentence, the place, and what to do about it.

use std::fmt::{self, Display};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::source::{Sources, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// nginx's `[emerg]`: the configuration is refused.
    Error,
    /// nginx's `[warn]`: it is taken all the same.
    Warning,
    /// Worth knowing, and no reason to change anything.
    Note,
}

/// One thing to say about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Refused, or only warned about.
    pub severity: Severity,
    /// nginx's sentence, without the ` in file:line` that [`Diagnostic::plain`] adds.
    pub message: String,
    /// The words spoken of; none if no place in a file is to blame.
    pub span: Option<Span>,
    /// What to do instead, for [`Diagnostic::rich`].
    pub remedy: Option<String>,
}

impl Diagnostic {
    /// An error about a place in the configuration.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span: Some(span), remedy: None }
    }

    /// An error about no place in particular (`no "events" section in configuration`).
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span: None, remedy: None }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// The same as a note.
    #[must_use]
    pub fn note(self) -> Self {
        Self { severity: Severity::Note, ..self }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn instead(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The line of the error log: `unknown directive "x" in /etc/nginx/nginx.conf:12`.
    pub fn plain(&self, sources: &Sources) -> String {
        match self.span {
            Some(span) => format!("{} in {}", self.message, sources.place(span)),
            None => self.message.clone(),
        }
    }

    /// The form for people at a terminal (no colours): message, place, source line with the words marked, remedy.
    pub fn rich(&self, sources: &Sources) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let excerpt = self.span.map(|span| Excerpt::of(span, sources));
        let mut group = Group::with_title(level.primary_title(printable(self.message.as_bytes())));
        if let Some(excerpt) = &excerpt {
            group = group.element(
                Snippet::source(&excerpt.text)
                    .path(&excerpt.name)
                    .line_start(excerpt.line)
                    .annotation(AnnotationKind::Primary.span(excerpt.marked.clone())),
            );
        }
        if let Some(remedy) = &self.remedy {
            group = group.element(Level::HELP.message(printable(remedy.as_bytes())));
        }
        Renderer::plain().render(&[group])
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The source line of a span as text that a terminal can be trusted with.
struct Excerpt {
    name: String,
    line: usize,
    text: String,
    marked: std::ops::Range<usize>,
}

impl Excerpt {
    fn of(span: Span, sources: &Sources) -> Self {
        let bytes = sources.bytes(span);
        let start = (span.start as usize).min(bytes.len());
        let (before, rest) = bytes.split_at(start);
        let before = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        let rest = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let (marked, after) = rest.split_at((span.end as usize - span.start as usize).min(rest.len()));
        // A line may be megabytes long: what is near the words is enough.
        let before = before.get(before.len().saturating_sub(200)..).unwrap_or_default();
        let after = after.get(..after.len().min(200)).unwrap_or_default();
        let marked = marked.get(..marked.len().min(200)).unwrap_or_default();

        let mut text = printable(before);
        let from = text.len();
        text.push_str(&printable(marked));
        let to = text.len();
        text.push_str(&printable(after));
        let name = match sources.files.get(span.file as usize).map(|file| &file.path) {
            Some(Some(path)) => path.display().to_string(),
            Some(None) | None => "command line".to_owned(),
        };
        Self { name, line: span.position(sources).0, text, marked: from..to }
    }
}

/// Bytes as text; control characters, which could steer a terminal, become their pictures.
fn printable(bytes: &[u8]) -> String {
    let visible = |c: char| match c {
        '\t' | '\n' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(' '),
        '\x7f'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    };
    String::from_utf8_lossy(bytes).chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn complaint(text: &[u8]) -> (Diagnostic, Sources) {
        let mut files = BTreeMap::from([("/etc/nginx/nginx.conf".into(), text.to_vec())]);
        crate::load(Path::new("/etc/nginx/nginx.conf"), &mut files).unwrap_err()
    }

    #[test]
    fn plain_is_a_line_of_the_error_log() {
        let (diagnostic, sources) = complaint(b"user nobody;\nhttp {\n    \"a\"b;\n}\n");
        assert_eq!(diagnostic.plain(&sources), "unexpected \"b\" in /etc/nginx/nginx.conf:3");
    }

    #[test]
    fn rich_marks_the_words_and_gives_the_remedy() {
        let (diagnostic, sources) = complaint(b"http {\n    server {\n        listen 80;\n    }\n");
        let rich = diagnostic.rich(&sources);
        assert!(rich.contains("unexpected end of file, expecting \"}\""), "{rich}");
        assert!(rich.contains("the block \"http\" that begins on line 1 is not closed"), "{rich}");
    }

    #[test]
    fn rich_survives_bytes_that_are_not_text() {
        let (diagnostic, sources) = complaint(b"\xff\xfe\x1b[31m \"\xff\xf0\"\x1b;");
        let rich = diagnostic.rich(&sources);
        assert!(!rich.contains('\x1b'), "{rich:?}");
    }
}
