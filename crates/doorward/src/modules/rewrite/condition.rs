//! The conditions of `if`.

use std::path::Path;

use conf::{Diagnostic, Node, Word};

use crate::compile::{Compiler, as_path};
use crate::exchange::Exchange;
use crate::modules::static_files;
use crate::regex::Pattern;
use crate::variables::{Index, Template};

/// When the rules of an `if` apply.
pub enum Condition {
    /// `($variable)`: neither empty nor 0.
    True(Index),
    /// `($variable = text)`, `!=`.
    Equal(Index, Template, bool),
    /// `($variable ~ pattern)`, `~*`, `!~`, `!~*`.
    Matches(Index, Pattern, bool),
    /// `(-f path)`, `-d`, `-e`, `-x`, each with `!`.
    File(FileTest, Template, bool),
}

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTest {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// Anything.
    Exists,
    /// Something executable.
    Executable,
}

impl Condition {
    /// Reads the words between the parentheses.
    pub fn compile(node: &Node, cx: &mut Compiler) -> Result<Condition, Diagnostic> {
        let words = without_parentheses(node)?;
        let invalid =
            |word: &Word| Diagnostic::at(word.span, format!("invalid condition \"{}\"", word.lossy()));
        let first = words.first().ok_or_else(|| Diagnostic::at(node.span, "invalid condition \"\""))?;
        let mut variable = |word: &Word| {
            let name =
                word.text.strip_prefix(b"$").and_then(|n| str::from_utf8(n).ok()).filter(|n| !n.is_empty());
            let name = name.ok_or_else(|| invalid(word))?;
            Ok(cx.variables.named(name, Some(word.span)))
        };
        match (&*first.text, &words[1..]) {
            ([b'$', ..], []) => Ok(Condition::True(variable(first)?)),
            ([b'$', ..], [operator, operand]) => {
                let index = variable(first)?;
                match &*operator.text {
                    b"=" | b"!=" => {
                        let text = Template::compile(operand, &mut cx.variables)?;
                        Ok(Condition::Equal(index, text, operator.text.starts_with(b"!")))
                    }
                    b"~" | b"~*" | b"!~" | b"!~*" => {
                        let caseless = operator.text.ends_with(b"*");
                        let pattern = Pattern::compile(&operand.text, caseless, operand, &mut cx.variables)?;
                        Ok(Condition::Matches(index, pattern, operator.text.starts_with(b"!")))
                    }
                    _ => {
                        let text = format!("unexpected \"{}\" in condition", operator.lossy());
                        Err(Diagnostic::at(operator.span, text))
                    }
                }
            }
            (test, [path]) => {
                let (not, test) = match test.strip_prefix(b"!") {
                    Some(rest) => (true, rest),
                    None => (false, test),
                };
                let test = match test {
                    b"-f" => FileTest::File,
                    b"-d" => FileTest::Directory,
                    b"-e" => FileTest::Exists,
                    b"-x" => FileTest::Executable,
                    _ => return Err(invalid(first)),
                };
                Ok(Condition::File(test, Template::compile(path, &mut cx.variables)?, not))
            }
            _ => Err(invalid(first)),
        }
    }

    /// Whether it holds now.
    pub fn holds(&self, ex: &mut Exchange<'_>) -> bool {
        match self {
            Condition::True(index) => {
                let mut value = Vec::new();
                ex.variable(*index, &mut value);
                !value.is_empty() && value != b"0"
            }
            Condition::Equal(index, text, not) => {
                let mut value = Vec::new();
                ex.variable(*index, &mut value);
                (value == text.eval(ex)) != *not
            }
            Condition::Matches(index, pattern, not) => {
                let mut value = Vec::new();
                ex.variable(*index, &mut value);
                pattern.matches(ex, Some(&value)) != *not
            }
            Condition::File(test, path, not) => test.holds(ex, as_path(&path.eval(ex))) != *not,
        }
    }
}

impl FileTest {
    fn holds(self, ex: &Exchange<'_>, path: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let Ok(metadata) = static_files::metadata(ex, path) else { return false };
        match self {
            FileTest::File => metadata.is_file(),
            FileTest::Directory => metadata.is_dir(),
            FileTest::Exists => true,
            FileTest::Executable => metadata.permissions().mode() & 0o111 != 0,
        }
    }
}

/// The words of the condition; the parentheses may stand alone or hang on the first and the last.
fn without_parentheses(node: &Node) -> Result<Vec<Word>, Diagnostic> {
    let wrong = |word: &Word| Diagnostic::at(word.span, format!("invalid condition \"{}\"", word.lossy()));
    let mut words = node.args.clone();
    let first = words.first_mut().ok_or_else(|| Diagnostic::at(node.span, "invalid condition \"\""))?;
    if !first.text.starts_with(b"(") {
        return Err(wrong(first));
    }
    let whole = first.clone();
    first.text.remove(0);
    if first.text.is_empty() && words.len() == 1 {
        return Err(wrong(&whole));
    }
    let last = words.last_mut().ok_or_else(|| Diagnostic::at(node.span, "invalid condition \"\""))?;
    if !last.text.ends_with(b")") {
        return Err(wrong(last));
    }
    last.text.pop();
    words.retain(|word| !word.text.is_empty() || word.quoted);
    Ok(words)
}
