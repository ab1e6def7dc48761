//! The language of nginx.conf: words, blocks, includes, spans, diagnostics, values and the shape of directives.
//!
//! Nothing here knows what a directive means. The way up: [`load`] reads files into a [`Tree`] of [`Node`]s, a
//! [`Table`] of [`Directive`]s says which of them may stand where, and the arguments of a node are read with the typed
//! methods of [`Node`] ([`Node::size`], [`Node::flag`], ...). Every complaint is a [`Diagnostic`] in nginx's words.

mod args;
mod diagnostic;
mod directive;
mod lexer;
mod source;
pub mod template;
mod tree;
pub mod value;

pub use args::once;
pub use diagnostic::{Diagnostic, Severity};
pub use directive::{Arg, Contexts, Directive, Shape, Table, closest};
pub use source::{Disk, Files, SourceFile, Sources, Span};
pub use template::Piece;
pub use tree::{Node, Tree, Word, load, load_leniently, load_with_globals, parse_text};
