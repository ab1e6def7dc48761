//! Splits a value with variables into its pieces: `a${b}c$d$1`.

use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes as they are.
    Literal(Vec<u8>),
    /// `$name` or `${name}`, in lower case: nginx's variables do not know case.
    Variable(String),
    /// `$1` to `$9`: a group of the last regular expression.
    Capture(u8),
}

/// Splits `text`, which stands at `span`. Two literals never follow each other; an empty text has no pieces.
///
/// # Errors
/// `invalid variable name` for a `$` that no name follows; `the closing bracket in "x" variable is missing`.
pub fn split(text: &[u8], span: Span) -> Result<Vec<Piece>, Diagnostic> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        if byte == b'$' {
            let (piece, after) = variable(rest.get(1..).unwrap_or_default(), span)?;
            pieces.push(piece);
            rest = after;
        } else {
            let (literal, after) = split_where(rest, |byte| byte == b'$');
            pieces.push(Piece::Literal(literal.to_vec()));
            rest = after;
        }
    }
    Ok(pieces)
}

/// Whether a value has variables at all.
pub fn has_variables(text: &[u8]) -> bool {
    text.contains(&b'$')
}

/// What follows a `$`: the variable, and the text after it.
fn variable(text: &[u8], span: Span) -> Result<(Piece, &[u8]), Diagnostic> {
    if let Some((&byte @ b'1'..=b'9', after)) = text.split_first() {
        return Ok((Piece::Capture(byte - b'0'), after));
    }
    let (bracket, text) = match text.split_first() {
        Some((b'{', after)) if !after.is_empty() => (true, after),
        _ => (false, text),
    };
    let (name, mut after) = split_where(text, |byte| !byte.is_ascii_alphanumeric() && byte != b'_');
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    if bracket {
        after = after.strip_prefix(b"}").ok_or_else(|| {
            Diagnostic::at(span, format!("the closing bracket in \"{name}\" variable is missing"))
        })?;
    }
    if name.is_empty() {
        return Err(Diagnostic::at(span, "invalid variable name"));
    }
    Ok((Piece::Variable(name), after))
}

fn split_where(text: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&byte| ends(byte)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { file: 0, start: 0, end: 0, line: 1 };

    fn error(text: &[u8]) -> String {
        split(text, SPAN).unwrap_err().message
    }

    #[test]
    fn pieces() {
        let literal = |text: &[u8]| Piece::Literal(text.to_vec());
        let named = |name: &str| Piece::Variable(name.to_owned());
        assert_eq!(
            split(b"a${b}c$D_1-$12", SPAN).unwrap(),
            [
                literal(b"a"),
                named("b"),
                literal(b"c"),
                named("d_1"),
                literal(b"-"),
                Piece::Capture(1),
                literal(b"2")
            ]
        );
        assert_eq!(split(b"", SPAN).unwrap(), []);
    }

    #[test]
    fn errors_are_nginx_sentences() {
        assert_eq!(error(b"a$"), "invalid variable name");
        assert_eq!(error(b"$-"), "invalid variable name");
        assert_eq!(error(b"${"), "invalid variable name");
        assert_eq!(error(b"${}"), "invalid variable name");
        assert_eq!(error(b"${ab"), "the closing bracket in \"ab\" variable is missing");
        assert_eq!(error(b"${a-b}"), "the closing bracket in \"a\" variable is missing");
    }
}
