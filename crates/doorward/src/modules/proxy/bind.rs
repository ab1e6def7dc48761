//! `proxy_bind`: the local address that connections to servers come from.

use std::net::{IpAddr, SocketAddr};

use conf::{Diagnostic, Node};
use net::{Connect, Keepalive};

use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::variables::Template;

/// Where connections come from.
#[derive(Clone)]
pub enum Bind {
    /// Wherever the system says.
    Off,
    /// Always the same address.
    Fixed(SocketAddr, Transparent),
    /// What variables say.
    Variable(Template, Transparent),
}

/// Whether the address may be another machine's, such as the client's.
pub type Transparent = bool;

impl Bind {
    /// Reads the directive.
    pub fn compile(node: &Node, cx: &mut Compiler) -> Result<Bind, Diagnostic> {
        let word = node.word(0)?;
        if node.args.len() == 1 && word.text == b"off" {
            return Ok(Bind::Off);
        }
        let transparent = match node.args.get(1) {
            None => false,
            Some(word) if word.text == b"transparent" => true,
            Some(word) => {
                return Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy())));
            }
        };
        let template = Template::compile(word, &mut cx.variables)?;
        match template.as_literal() {
            None => Ok(Bind::Variable(template, transparent)),
            Some(text) => match address(text) {
                Some(address) => Ok(Bind::Fixed(address, transparent)),
                None => Err(Diagnostic::at(word.span, format!("invalid address \"{}\"", word.lossy()))),
            },
        }
    }

    /// The address for this request, and whether it is transparent.
    pub fn address(&self, ex: &Exchange<'_>) -> Option<(SocketAddr, Transparent)> {
        match self {
            Bind::Off => None,
            Bind::Fixed(address, transparent) => Some((*address, *transparent)),
            Bind::Variable(template, transparent) => {
                let text = template.eval(ex);
                let found = address(&text);
                if found.is_none() && !text.is_empty() {
                    let shown = String::from_utf8_lossy(&text);
                    ex.log(Level::Error, format_args!("invalid local address \"{shown}\""));
                }
                found.map(|address| (address, *transparent))
            }
        }
    }
}

/// How a connection to a server is made: where it comes from, whether TCP keepalive is on, and its receive and send
/// buffers, 0 for the system's.
pub fn connect_options(ex: &Exchange<'_>, bind: &Bind, keepalive: bool, buffers: (u64, u64)) -> Connect {
    let bind = bind.address(ex);
    let size = |bytes: u64| usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    let keepalive = keepalive.then_some(Keepalive { on: true, idle: None, interval: None, count: None });
    Connect {
        bind: bind.map(|(address, _)| address),
        transparent: bind.is_some_and(|(_, transparent)| transparent),
        rcvbuf: size(buffers.0),
        sndbuf: size(buffers.1),
        keepalive,
        nodelay: true,
    }
}

/// An address with or without a port.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_optional_and_a_name_is_none() {
        assert_eq!(address(b"127.0.0.2"), Some(([127, 0, 0, 2], 0).into()));
        assert_eq!(address(b"127.0.0.2:53"), Some(([127, 0, 0, 2], 53).into()));
        assert_eq!(address(b"[::1]:53").map(|a| a.port()), Some(53));
        assert_eq!(address(b"::1").map(|a| a.port()), Some(0));
        assert_eq!(address(b"localhost"), None);
    }
}
