//! `error_page`: what is shown, or done, instead of a status.

use conf::Arg::{Many, Text};
use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives;
use crate::module::{Directive, Settings};
use crate::variables::Template;

/// The error pages of a location: its own, or else all of the enclosing block's.
#[derive(Clone, Default)]
pub struct ErrorPages {
    pages: Vec<ErrorPage>,
}

/// What `error_page` says of one status.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// The status that leads here.
    pub status: u16,
    /// `=code`: the status to answer with; `Some(0)` for `=`, which takes the new response's own.
    pub overwrite: Option<u16>,
    /// A path, `@name` or an address to redirect to.
    pub target: Template,
    /// The query of a path that has no variables.
    pub args: Vec<u8>,
}

impl Settings for ErrorPages {
    fn inherit(&mut self, outer: &Self) {
        if self.pages.is_empty() {
            self.pages.clone_from(&outer.pages);
        }
    }
}

impl ErrorPages {
    /// The page for a status.
    pub fn find(&self, status: u16) -> Option<&ErrorPage> {
        self.pages.iter().find(|p| p.status == status)
    }
}

pub(super) const DIRECTIVES: &[Directive] = directives! { ErrorPages;
    /// Shows a page for statuses: `code ... [=[response]] uri`. The uri is a path, `@name`, or an address to redirect to.
    "error_page" in [HTTP SERVER LOCATION IF_IN_LOCATION] (Text("code"), Many(&Text("code | =[response] | uri"))) = "" => error_page;
};

fn error_page(pages: &mut ErrorPages, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let (target, mut codes) = node.args.split_last().expect("the table asks for two arguments at least");
    let mut overwrite = None;
    if let Some(word) = codes.last().filter(|w| w.text.starts_with(b"=")) {
        codes = &codes[..codes.len() - 1];
        if codes.is_empty() {
            return Err(invalid(&word.text, word.span));
        }
        overwrite = Some(match &word.text[1..] {
            b"" => 0,
            digits => number(digits).ok_or_else(|| invalid(&word.text, word.span))?,
        });
    }
    let mut template = Template::compile(target, &mut cx.variables)?;
    let mut args = Vec::new();
    if let Some(text) = template.as_literal()
        && text.starts_with(b"/")
        && let Some(at) = text.iter().position(|b| *b == b'?')
    {
        args = text[at + 1..].to_vec();
        template = Template::literal(&text[..at]);
    }
    for word in codes {
        let status = number(&word.text).ok_or_else(|| invalid(&word.text, word.span))?;
        if status == 499 || status == 0 {
            return Err(invalid(&word.text, word.span));
        }
        if !(300..=599).contains(&status) {
            let text = String::from_utf8_lossy(&word.text);
            return Err(Diagnostic::at(word.span, format!("value \"{text}\" must be between 300 and 599")));
        }
        // The specials of TLS and of a too large head are answered as 400 unless the page says otherwise.
        let overwrite = overwrite.or(matches!(status, 494..=497).then_some(400));
        pages.pages.push(ErrorPage { status, overwrite, target: template.clone(), args: args.clone() });
    }
    Ok(())
}

fn number(digits: &[u8]) -> Option<u16> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn invalid(text: &[u8], span: conf::Span) -> Diagnostic {
    Diagnostic::at(span, format!("invalid value \"{}\"", String::from_utf8_lossy(text)))
}
