//! `ngx_http_realip_module`: takes the client's address from a field that trusted proxies send.

use std::sync::Arc;

use conf::Arg::{Flag, Text};
use conf::{Diagnostic, Node, once};
use net::Address;

use crate::cidr::{self, Cidr};
use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Settings};
use crate::variables::Row;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_realip_module",
    directives: directives! { RealIpSettings;
        /// Trusts the proxies at this address or network, or all on unix sockets, to say where requests come from.
        "set_real_ip_from" in [HTTP SERVER LOCATION] (Text("address | CIDR | hostname | unix:")) = "" => |c, cx, n| {
            let found = trusted(cx, n)?;
            c.from.extend(found);
            Ok(())
        };
        /// The field that says it.
        "real_ip_header" in [HTTP SERVER LOCATION] (Text("field | X-Real-IP | X-Forwarded-For | proxy_protocol")) = "X-Real-IP" => |c, _, n| {
            let source = match n.bytes(0) {
                b"X-Forwarded-For" => Source::Forwarded,
                b"proxy_protocol" => Source::ProxyProtocol,
                name => Source::Field(name.to_vec()),
            };
            once(&mut c.source, source, n)
        };
        /// Of several addresses in the field, takes the last that is not a trusted proxy's, rather than the last.
        "real_ip_recursive" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.recursive, n.flag(0)?, n);
    },
    variables: &[
        Row::fresh("realip_remote_addr", |ex, out| {
            ex.visit.client.peer.append_ip(out);
            true
        }),
        Row::fresh("realip_remote_port", |ex, out| {
            if let Some(port) = ex.visit.client.peer.port() {
                out.extend_from_slice(port.to_string().as_bytes());
            }
            true
        }),
    ],
    plan: |_, scope, plan| {
        let settings = scope.get_mut::<RealIpSettings>();
        if !settings.from.is_empty() {
            let source = settings.source.clone().unwrap_or_else(|| Source::Field(b"X-Real-IP".to_vec()));
            let recursive = settings.recursive.unwrap_or(false);
            plan.realip = Some(Arc::new(RealIp { from: settings.from.clone().into(), source, recursive }));
        }
        Ok(())
    },
};

#[derive(Clone, Default)]
struct RealIpSettings {
    from: Vec<Cidr>,
    source: Option<Source>,
    recursive: Option<bool>,
}

impl Settings for RealIpSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.from.is_empty() {
            self.from.clone_from(&outer.from);
        }
        if self.source.is_none() {
            self.source.clone_from(&outer.source);
        }
        self.recursive = self.recursive.or(outer.recursive);
    }
}

/// Where the address stands.
#[derive(Clone, Debug)]
enum Source {
    /// `X-Forwarded-For`, which may hold several and be sent in several lines.
    Forwarded,
    /// The header of the PROXY protocol.
    ProxyProtocol,
    /// Another field; its first line counts.
    Field(Vec<u8>),
}

fn trusted(cx: &mut Compiler, node: &Node) -> Result<Vec<Cidr>, Diagnostic> {
    let word = node.word(0)?;
    if let Some(cidr) = Cidr::of_word(word, cx) {
        return Ok(vec![cidr]);
    }
    let found = net::address::resolve(node.str(0)?, 0).map_err(|_| {
        Diagnostic::at(word.span, format!("host not found in set_real_ip_from \"{}\"", word.lossy()))
    })?;
    Ok(found.iter().map(|a| Cidr::Inet(a.ip(), if a.is_ipv4() { 32 } else { 128 })).collect())
}

/// Whom to believe, and what.
pub struct RealIp {
    from: Box<[Cidr]>,
    source: Source,
    recursive: bool,
}

impl RealIp {
    /// Replaces the client's address for the rest of the request, unless that was done before.
    pub fn apply(&self, ex: &Exchange<'_>) {
        if ex.visit.realip.borrow().is_some() {
            return;
        }
        let peer = &ex.visit.client.peer;
        let one = |value: Option<&[u8]>| self.forwarded(peer, value.into_iter());
        let found = match &self.source {
            Source::Forwarded => self.forwarded(peer, cidr::values_reversed(ex, wire::Name::XForwardedFor)),
            Source::ProxyProtocol => self.proxied(ex),
            Source::Field(name) => {
                let visit = ex.visit;
                let field = visit.head.fields.iter().find(|f| f.is(visit.bytes, name));
                one(field.map(|f| f.value.of(visit.bytes)))
            }
        };
        if let Some(address) = found {
            *ex.visit.realip.borrow_mut() = Some(address);
        }
    }

    /// What the header of the PROXY protocol says, if it comes from somebody trusted.
    fn proxied(&self, ex: &Exchange<'_>) -> Option<Address> {
        let client = ex.visit.client;
        let (from, _) = client.proxy.get()?.ends?;
        self.from.iter().any(|cidr| cidr.contains(&client.peer)).then(|| from.into())
    }

    fn forwarded<'v>(&self, peer: &Address, values: impl Iterator<Item = &'v [u8]>) -> Option<Address> {
        cidr::forwarded(peer, values, &self.from, self.recursive)
    }
}
