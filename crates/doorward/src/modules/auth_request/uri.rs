//! Where a subrequest goes: the path of a location, and a query, either with variables.

use conf::{Diagnostic, Word};

use crate::exchange::Exchange;
use crate::log::Level;
use crate::run::Stop;
use crate::variables::{Registry, Template};

/// The argument of `auth_request` or `auth_jwt_key_request`.
#[derive(Clone)]
pub struct Uri {
    /// As it is written.
    pub text: Box<[u8]>,
    /// Whose argument it is.
    directive: &'static str,
    path: Template,
    args: Template,
}

impl Uri {
    /// Reads the argument. The query begins where it is written, whatever variables hold.
    pub fn compile(word: &Word, directive: &'static str, registry: &mut Registry) -> Result<Uri, Diagnostic> {
        let cut = word.text.iter().position(|byte| *byte == b'?');
        let (path, args) = word.text.split_at(cut.unwrap_or(word.text.len()));
        let args = args.get(1..).unwrap_or_default();
        Ok(Uri {
            path: Template::of(path, Some(word), registry)?,
            args: Template::of(args, Some(word), registry)?,
            directive,
            text: word.text.as_slice().into(),
        })
    }

    /// The path, where no variable is in the argument.
    pub fn fixed_path(&self) -> Option<&[u8]> {
        self.args.as_literal().and(self.path.as_literal())
    }

    /// Path and query of the question about a request.
    pub fn of(&self, ex: &Exchange<'_>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
        if let (Some(path), Some(args)) = (self.path.as_literal(), self.args.as_literal()) {
            return Ok((path.to_vec(), args.to_vec()));
        }
        let path = self.path.eval(ex);
        // What a client has a part in must not lead to another location, or elsewhere at the service.
        let leads_elsewhere = |name: &[u8]| matches!(name, b"." | b"..");
        if path.first() != Some(&b'/') || path.split(|byte| *byte == b'/').any(leads_elsewhere) {
            let shown = path.escape_ascii();
            ex.log(Level::Error, format_args!("\"{}\" cannot ask \"{shown}\"", self.directive));
            return Err(Stop::Status(500));
        }
        Ok((path, within_line(self.args.eval(ex))))
    }
}

/// A query that stays in its line: what would end it, or the target, is encoded.
fn within_line(args: Vec<u8>) -> Vec<u8> {
    let ends = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    if !args.iter().any(ends) {
        return args;
    }
    let mut line = Vec::with_capacity(args.len() + 16);
    for byte in args {
        match ends(&byte) {
            true => line.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            false => line.push(byte),
        }
    }
    line
}
