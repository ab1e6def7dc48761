//! `resolver`: the DNS servers that are asked for names which only a request makes known.

use std::net::SocketAddr;
use std::time::Duration;

use conf::Arg::{Many, Text, Time};
use conf::{Diagnostic, Node, once};
use net::names::Servers;

use crate::compile::Compiler;
use crate::module::Module;
use crate::{directives, settings};

settings! {
    /// Where names are looked up.
    ResolverSettings => Resolver {
        /// The servers, by their place in the configuration.
        servers: Option<usize> = None;
        /// Longest wait for a name, in milliseconds.
        timeout: u64 = 30_000;
    }
}

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_core_module",
    directives: directives! { ResolverSettings;
        /// The DNS servers for names in variables of `proxy_pass`: `address[:port] ... [valid=time] [ipv4=on|off] [ipv6=on|off]`, or `off`.
        "resolver" in [HTTP SERVER LOCATION] (Many(&Text("address | parameter"))) = "" => |c, cx, n| {
            let servers = servers(cx, n)?;
            once(&mut c.servers, servers, n)
        };
        /// Longest wait for a name.
        "resolver_timeout" in [HTTP SERVER LOCATION] (Time) = "30s" => |c, _, n| once(&mut c.timeout, n.msec(0)?, n);
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// The same inside an `upstream` block.
pub static OF_UPSTREAM: Module = Module {
    name: "ngx_http_upstream_module",
    directives: directives! { ResolverSettings;
        /// The DNS servers for the names of this group's servers that have `resolve`, as the directive of the http block.
        "resolver" in [UPSTREAM] (Many(&Text("address | parameter"))) = "" => |c, cx, n| {
            let servers = servers(cx, n)?;
            once(&mut c.servers, servers, n)
        };
        /// Longest wait for such a name.
        "resolver_timeout" in [UPSTREAM] (Time) = "30s" => |c, _, n| once(&mut c.timeout, n.msec(0)?, n);
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

fn servers(cx: &mut Compiler, node: &Node) -> Result<Option<usize>, Diagnostic> {
    if node.args.len() == 1 && node.bytes(0) == b"off" {
        return Ok(None);
    }
    let mut servers = Servers { addresses: Vec::new(), valid: None, ipv4: true, ipv6: true };
    for (at, word) in node.args.iter().enumerate() {
        let text = node.str(at)?;
        let invalid = || Diagnostic::at(word.span, format!("invalid parameter: {text}"));
        let flag = |value: &str| match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(invalid()),
        };
        match text.split_once('=') {
            Some(("valid", time)) => {
                let seconds = conf::value::sec(time.as_bytes()).ok_or_else(invalid)?;
                servers.valid = Some(Duration::from_secs(seconds));
            }
            Some(("ipv4", value)) => servers.ipv4 = flag(value)?,
            Some(("ipv6", value)) => servers.ipv6 = flag(value)?,
            Some(("status_zone", _)) => {}
            Some(_) => return Err(invalid()),
            None => servers.addresses.extend(addresses(text).ok_or_else(|| {
                Diagnostic::at(word.span, format!("host not found in resolver \"{text}\""))
            })?),
        }
    }
    if !servers.ipv4 && !servers.ipv6 {
        return Err(Diagnostic::at(node.span, "\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    if servers.addresses.is_empty() {
        return Err(Diagnostic::at(node.span, "no name servers defined"));
    }
    cx.resolvers.push(servers);
    Ok(Some(cx.resolvers.len() - 1))
}

/// Addresses as written, or of a name, with port 53 where none is.
fn addresses(text: &str) -> Option<Vec<SocketAddr>> {
    let target = crate::modules::upstream::Target::parse(text.as_bytes(), false).ok()?;
    let found = target.addresses(53).ok()?;
    let inet = found.into_iter().filter_map(|address| match address {
        net::Address::Inet(address) => Some(address),
        net::Address::Unix(_) => None,
    });
    Some(inet.collect::<Vec<_>>()).filter(|found| !found.is_empty())
}
