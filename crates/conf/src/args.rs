//! Reads the arguments of a directive as values; each complaint is nginx's sentence at the argument's place.
//!
//! Arguments count from 0. A missing one is an error of the number of arguments, which [`crate::Directive::check`] has
//! already refused: no reader here panics.

use crate::diagnostic::Diagnostic;
use crate::tree::{Node, Word};
use crate::value;

impl Node {
    /// The argument as a word.
    pub fn word(&self, i: usize) -> Result<&Word, Diagnostic> {
        self.args.get(i).ok_or_else(|| self.wrong_count())
    }

    /// The argument's bytes; empty if there is none.
    pub fn bytes(&self, i: usize) -> &[u8] {
        self.args.get(i).map_or(&[], |word| &word.text)
    }

    /// The argument as UTF-8 text.
    pub fn str(&self, i: usize) -> Result<&str, Diagnostic> {
        let word = self.word(i)?;
        std::str::from_utf8(&word.text)
            .map_err(|_| self.invalid(i, "value").instead("this argument must be UTF-8 text"))
    }

    /// `on` or `off`, in any case.
    pub fn flag(&self, i: usize) -> Result<bool, Diagnostic> {
        let word = self.word(i)?;
        match word.text.to_ascii_lowercase().as_slice() {
            b"on" => Ok(true),
            b"off" => Ok(false),
            _ => Err(Diagnostic::at(
                word.span,
                format!(
                    "invalid value \"{}\" in \"{}\" directive, it must be \"on\" or \"off\"",
                    word.lossy(),
                    self.name.lossy()
                ),
            )),
        }
    }

    /// Bytes: `8k`, `1m`.
    pub fn size(&self, i: usize) -> Result<u64, Diagnostic> {
        value::size(&self.word(i)?.text)
            .ok_or_else(|| self.invalid(i, "value").instead("a size is a number of bytes, or of k or m"))
    }

    /// Bytes of a file: `8k`, `1m`, `2g`.
    pub fn offset(&self, i: usize) -> Result<u64, Diagnostic> {
        value::offset(&self.word(i)?.text)
            .ok_or_else(|| self.invalid(i, "value").instead("a size is a number of bytes, or of k, m or g"))
    }

    /// A time in milliseconds.
    pub fn msec(&self, i: usize) -> Result<u64, Diagnostic> {
        value::msec(&self.word(i)?.text)
            .ok_or_else(|| self.invalid(i, "value").instead("a time looks like 30s, 1m30s or 500ms"))
    }

    /// A time in seconds.
    pub fn sec(&self, i: usize) -> Result<u64, Diagnostic> {
        value::sec(&self.word(i)?.text)
            .ok_or_else(|| self.invalid(i, "value").instead("a time looks like 30s, 1h30m or 7d"))
    }

    /// A number without sign.
    pub fn number(&self, i: usize) -> Result<i64, Diagnostic> {
        value::number(&self.word(i)?.text).ok_or_else(|| self.invalid(i, "number"))
    }

    /// Buffers: their number at `i` and the size of each after it, none of them 0.
    pub fn bufs(&self, i: usize) -> Result<(u64, u64), Diagnostic> {
        let count = value::number(&self.word(i)?.text).and_then(|count| u64::try_from(count).ok());
        let size = value::size(&self.word(i + 1)?.text);
        let count = count.filter(|&count| count != 0).ok_or_else(|| self.invalid(i, "value"))?;
        let size = size.filter(|&size| size != 0).ok_or_else(|| self.invalid(i + 1, "value"))?;
        Ok((count, size))
    }

    /// One of some words, in any case, as what it stands for.
    pub fn choice<T: Clone>(&self, i: usize, options: &[(&str, T)]) -> Result<T, Diagnostic> {
        let word = self.word(i)?;
        let found = options.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(&word.text));
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let names: Vec<&str> = options.iter().map(|&(name, _)| name).collect();
            not_a_choice(word, &names)
        })
    }

    /// Every argument as [`Node::choice`] reads one. Of a word given twice nginx only warns; it stands here twice.
    pub fn choices<T: Clone>(&self, options: &[(&str, T)]) -> Result<Vec<T>, Diagnostic> {
        (0..self.args.len()).map(|i| self.choice(i, options)).collect()
    }

    /// The complaint `"name" directive ...` about the directive as a whole.
    pub fn complaint(&self, predicate: &str) -> Diagnostic {
        Diagnostic::at(self.span, format!("\"{}\" directive {predicate}", self.name.lossy()))
    }

    /// `"name" directive is duplicate`
    pub fn duplicate(&self) -> Diagnostic {
        self.complaint("is duplicate")
    }

    /// `invalid number of arguments in "name" directive`
    pub(crate) fn wrong_count(&self) -> Diagnostic {
        Diagnostic::at(
            self.span,
            format!("invalid number of arguments in \"{}\" directive", self.name.lossy()),
        )
    }

    /// `"name" directive invalid value`
    fn invalid(&self, i: usize, what: &str) -> Diagnostic {
        let span = self.args.get(i).map_or(self.span, |word| word.span);
        Diagnostic { span: Some(span), ..self.complaint(&format!("invalid {what}")) }
    }
}

/// `invalid value "x"`, with the words that would be right.
pub(crate) fn not_a_choice(word: &Word, names: &[&str]) -> Diagnostic {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    Diagnostic::at(word.span, format!("invalid value \"{}\"", word.lossy()))
        .instead(format!("it must be one of {}", quoted.join(", ")))
}

/// Stores a value that may be given once.
///
/// # Errors
/// `"name" directive is duplicate` if there is one already.
pub fn once<T>(slot: &mut Option<T>, value: T, node: &Node) -> Result<(), Diagnostic> {
    if slot.is_some() {
        return Err(node.duplicate());
    }
    *slot = Some(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        crate::parse_text("t", text.as_bytes()).unwrap().nodes.remove(0)
    }

    fn sentence<T: std::fmt::Debug>(result: Result<T, Diagnostic>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn complaints_are_nginx_sentences() {
        let flag = "invalid value \"maybe\" in \"gzip\" directive, it must be \"on\" or \"off\"";
        assert_eq!(sentence(node("gzip maybe;").flag(0)), flag);
        assert_eq!(sentence(node("a 1g;").size(0)), "\"a\" directive invalid value");
        assert_eq!(sentence(node("a -1;").number(0)), "\"a\" directive invalid number");
        assert_eq!(sentence(node("a 0 4k;").bufs(0)), "\"a\" directive invalid value");
        assert_eq!(sentence(node("a c;").choice(0, &[("b", 1)])), "invalid value \"c\"");
        assert_eq!(sentence(node("a;").msec(0)), "invalid number of arguments in \"a\" directive");
        let mut slot = None;
        once(&mut slot, 1, &node("a 1;")).unwrap();
        assert_eq!(sentence(once(&mut slot, 2, &node("a 2;"))), "\"a\" directive is duplicate");
    }

    #[test]
    fn a_wrong_argument_is_marked_where_it_stands() {
        let tree = crate::parse_text("t", b"a\n  8 oops\n;").unwrap();
        let span = tree.nodes[0].bufs(0).unwrap_err().span.unwrap();
        assert_eq!(tree.sources.text(span), b"oops");
        assert_eq!((span.position(&tree.sources), span.line), ((2, 5), 3));
    }
}
