//! What a token says, as variables. A token that is not right says nothing: its claims are anybody's words.

use auth::jwt::Token;
use conf::{Diagnostic, Node};
use serde_json::{Map, Value};

use super::check::token;
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::rewrite::variable_name;
use crate::variables::{Computed, Index};

/// The part of a token that a variable reads.
type Part = fn(&Token) -> &Map<String, Value>;

/// `$jwt_claim_NAME`
pub fn claim(ex: &Exchange<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    named(ex, |token| &token.claims, name, out)
}

/// `$jwt_header_NAME`
pub fn header(ex: &Exchange<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    named(ex, |token| &token.header, name, out)
}

/// `$jwt_payload`: all claims.
pub fn payload(ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
    let Some(token) = token(ex) else { return false };
    out.extend_from_slice(&token.payload);
    true
}

/// `auth_jwt_claim_set`, `auth_jwt_header_set`
pub fn set(node: &Node, cx: &mut Compiler, part: Part) -> Result<(), Diagnostic> {
    let variable = variable_name(node, 0)?.to_owned();
    let names = (1..node.args.len()).map(|at| node.str(at).map(Into::into)).collect::<Result<_, _>>()?;
    let span = Some(node.word(0)?.span);
    cx.variables.computed(&variable, span, Box::new(Member { part, names })).map(drop)
}

fn named(ex: &Exchange<'_>, part: Part, name: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(name) = str::from_utf8(name) else { return false };
    read(ex, part, &[name], out)
}

fn read(ex: &Exchange<'_>, part: Part, names: &[impl AsRef<str>], out: &mut Vec<u8>) -> bool {
    let Some(token) = token(ex) else { return false };
    let Some(value) = auth::json::look_up(part(&token), names) else { return false };
    let found = auth::json::text(value, out);
    if !found && !value.is_null() {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let names = names.join(" ").escape_debug().to_string();
        ex.log(
            Level::Error,
            format_args!("\"{names}\" of the token has a control character and is left out"),
        );
    }
    found
}

/// A member of a token, as a variable of the configuration's own name.
struct Member {
    part: Part,
    names: Box<[Box<str>]>,
}

impl Computed for Member {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
        read(ex, self.part, &self.names, out)
    }

    fn inputs(&self) -> Option<Vec<Index>> {
        None
    }

    fn volatile(&self) -> bool {
        true
    }
}
