//! `ngx_http_geo_module`: a variable whose value depends on an address.

mod networks;
mod ranges;

use std::net::{IpAddr, Ipv4Addr};

use conf::Arg::{Optional, Text};
use conf::{Diagnostic, Node};
use net::Address;

use crate::cidr::{self, Cidr};
use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::module::Module;
use crate::modules::rewrite::variable_name;
use crate::variables::{Computed, Index};

use networks::Networks;
use ranges::Ranges;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_geo_module",
    directives: directives! { ();
        /// Makes `$variable`: each line of the block is a network and the value for its addresses, the smallest network counts;
        /// `default` is for all others, `delete` takes a network out. `ranges`, first in the block, has it be ranges of IPv4
        /// addresses instead. The address is the client's, that of `$address`, or that of `X-Forwarded-For` where `proxy` says
        /// which proxies are believed (`proxy_recursive` all along the way). `volatile` evaluates at each use.
        "geo": Free in [HTTP] (Optional(&Text("$address")), Text("$variable")) = "" => |_, cx, n| {
            let last = n.args.len() - 1;
            let address = match last {
                0 => None,
                _ => Some(cx.variables.named(variable_name(n, 0)?, Some(n.word(0)?.span))),
            };
            let name = variable_name(n, last)?.to_owned();
            let geo = Geo::compile(n, address, cx)?;
            cx.variables.computed(&name, Some(n.word(last)?.span), Box::new(geo)).map(drop)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

/// The number of a value in the list of values.
type ValueIndex = u32;

struct Geo {
    /// Whose value is the address; the client's otherwise.
    address: Option<Index>,
    proxies: Vec<Cidr>,
    recursive: bool,
    volatile: bool,
    values: Vec<Box<[u8]>>,
    ipv4: Segments<u32>,
    ipv6: Segments<u128>,
}

impl Geo {
    fn compile(node: &Node, address: Option<Index>, cx: &mut Compiler) -> Result<Geo, Diagnostic> {
        let mut block = Block::default();
        for line in node.block.as_deref().unwrap_or_default() {
            block.line(line, cx)?;
        }
        let (ipv4, ipv6) = match block.ranges {
            Some(ranges) => (ranges.finish(), Segments::default()),
            None => block.networks.finish(),
        };
        Ok(Geo {
            address,
            proxies: block.proxies,
            recursive: block.recursive,
            volatile: block.volatile,
            values: block.values.list,
            ipv4,
            ipv6,
        })
    }

    /// The address that is looked up; what has none counts as 255.255.255.255, as in nginx.
    fn ip(&self, ex: &Exchange<'_>) -> IpAddr {
        let given = match self.address {
            None => Some(ex.with_remote(Address::clone)),
            Some(index) => {
                let mut text = Vec::new();
                ex.variable(index, &mut text);
                cidr::ip(&text).map(|ip| Address::Inet((ip, 0).into()))
            }
        };
        let found = given.map(|given| {
            if self.proxies.is_empty() {
                return given;
            }
            let values = cidr::values_reversed(ex, wire::Name::XForwardedFor);
            cidr::forwarded(&given, values, &self.proxies, self.recursive).unwrap_or(given)
        });
        match found {
            Some(Address::Inet(inet)) => inet.ip().to_canonical(),
            _ => Ipv4Addr::BROADCAST.into(),
        }
    }
}

impl Computed for Geo {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) -> bool {
        let found = match self.ip(ex) {
            IpAddr::V4(v4) => self.ipv4.get(v4.to_bits()),
            // Ranges know no IPv6.
            IpAddr::V6(_) if self.ipv6.is_empty() => self.ipv4.get(u32::MAX),
            IpAddr::V6(v6) => self.ipv6.get(v6.to_bits()),
        };
        if let Some(value) = found.and_then(|at| self.values.get(at as usize)) {
            out.extend_from_slice(value);
        }
        true
    }

    fn inputs(&self) -> Option<Vec<Index>> {
        // The client's address, and what proxies say of it, come from no variable.
        self.address.filter(|_| self.proxies.is_empty()).map(|address| vec![address])
    }

    fn volatile(&self) -> bool {
        self.volatile
    }
}

/// The whole line of addresses in pieces: each starts at its place and ends before the next.
#[derive(Default)]
struct Segments<A> {
    starts: Vec<A>,
    values: Vec<Option<ValueIndex>>,
}

impl<A: Copy + Ord> Segments<A> {
    /// Continues with another value from `start` on, which is not before the last piece's.
    fn push(&mut self, start: A, value: Option<ValueIndex>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn get(&self, address: A) -> Option<ValueIndex> {
        let after = self.starts.partition_point(|start| *start <= address);
        *self.values.get(after.checked_sub(1)?)?
    }

    fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// Each value once.
#[derive(Default)]
struct Values {
    list: Vec<Box<[u8]>>,
    places: std::collections::HashMap<Box<[u8]>, ValueIndex>,
}

impl Values {
    fn place_of(&mut self, value: &[u8]) -> ValueIndex {
        if let Some(place) = self.places.get(value) {
            return *place;
        }
        let place = self.list.len() as ValueIndex;
        self.list.push(value.into());
        self.places.insert(value.into(), place);
        place
    }

    fn text(&self, place: ValueIndex) -> String {
        let value = self.list.get(place as usize).map(|value| &**value);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    }
}

/// The block as far as it is read.
#[derive(Default)]
struct Block {
    values: Values,
    proxies: Vec<Cidr>,
    recursive: bool,
    volatile: bool,
    ranges: Option<Ranges>,
    networks: Networks,
}

impl Block {
    fn line(&mut self, line: &Node, cx: &mut Compiler) -> Result<(), Diagnostic> {
        if line.block.is_some() {
            return Err(Diagnostic::at(line.span, "unexpected \"{\""));
        }
        match (&*line.name.text, &*line.args) {
            (b"ranges", []) if !self.networks.is_empty() => {
                let sentence = "the \"ranges\" directive must be the first directive inside \"geo\" block";
                return Err(Diagnostic::at(line.span, sentence));
            }
            (b"ranges", []) => drop(self.ranges.get_or_insert_default()),
            (b"proxy_recursive", []) => self.recursive = true,
            (b"volatile", []) => self.volatile = true,
            (b"proxy", [word]) => {
                let proxy = Cidr::of_word(word, cx).filter(|cidr| *cidr != Cidr::Unix);
                let invalid = || Diagnostic::at(word.span, format!("invalid network \"{}\"", word.lossy()));
                self.proxies.push(proxy.ok_or_else(invalid)?);
            }
            (_, [value]) => match &mut self.ranges {
                Some(ranges) => ranges.line(&line.name, value, &mut self.values, cx)?,
                None => self.networks.line(&line.name, value, &mut self.values, cx)?,
            },
            _ => return Err(Diagnostic::at(line.span, "invalid number of the geo parameters")),
        }
        Ok(())
    }
}
