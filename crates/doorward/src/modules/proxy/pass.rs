//! Where `proxy_pass` leads: a server or group known from the start, or one that variables name.

use conf::{Diagnostic, Node, Span};

use crate::compile::Compiler;
use crate::modules::upstream::{Scheme, Target};
use crate::variables::Template;

/// Where requests go.
#[derive(Clone)]
pub enum Destination {
    /// Always the same server or group.
    Fixed(Fixed),
    /// What the variables say in each request.
    Variable(Template),
}

/// A server or group known from the start.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The group's number.
    pub upstream: usize,
    /// The default `Host` field.
    pub authority: Vec<u8>,
    /// `$proxy_port`.
    pub port: String,
    /// The path that takes the place of the location's prefix, if one is written.
    pub uri: Vec<u8>,
    /// The URL as it was written.
    pub url: Vec<u8>,
    /// Where it was written.
    pub span: Span,
}

impl Destination {
    /// Reads the URL of `proxy_pass`.
    pub fn compile(node: &Node, cx: &mut Compiler) -> Result<Destination, Diagnostic> {
        let word = node.word(0)?;
        if word.text.contains(&b'$') {
            return Ok(Destination::Variable(Template::compile(word, &mut cx.variables)?));
        }
        let (scheme, rest) =
            Scheme::split(&word.text).ok_or_else(|| Diagnostic::at(word.span, "invalid URL prefix"))?;
        if scheme == Scheme::Https {
            return Err(Diagnostic::at(word.span, "TLS to upstreams is not built yet in this version")
                .instead("use http:// on a trusted network"));
        }
        let target = Target::parse(rest, true).map_err(|error| {
            Diagnostic::at(word.span, format!("{error} in upstream \"{}\"", String::from_utf8_lossy(rest)))
        })?;
        let mut uri = target.uri.clone();
        if uri.starts_with(b"?") {
            uri.insert(0, b'/');
        }
        Ok(Destination::Fixed(Fixed {
            scheme,
            upstream: cx.upstreams.of_target(&target, scheme, word.span),
            authority: target.authority(scheme).into_bytes(),
            port: target.port.unwrap_or(scheme.port()).to_string(),
            uri,
            url: word.text.clone(),
            span: node.span,
        }))
    }
}
