//! Networks and their values, the smallest that holds an address first.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conf::{Diagnostic, Word};

use super::{Segments, ValueIndex, Values};
use crate::cidr::Cidr;
use crate::compile::Compiler;

/// The lines of a block without `ranges`, by size and then place: what is painted later lies inside or beside.
#[derive(Default)]
pub(super) struct Networks {
    ipv4: BTreeMap<(u8, u32), ValueIndex>,
    ipv6: BTreeMap<(u8, u128), ValueIndex>,
}

impl Networks {
    pub(super) fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }

    /// Takes a line: a network and its value, `default` and its value, `delete` and a network.
    pub(super) fn line(
        &mut self,
        name: &Word,
        value: &Word,
        values: &mut Values,
        cx: &mut Compiler,
    ) -> Result<(), Diagnostic> {
        if name.text == b"default" {
            for whole in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
                self.add((whole, 0), name, value, values, cx);
            }
            return Ok(());
        }
        let delete = name.text == b"delete";
        let word = if delete { value } else { name };
        let Some(Cidr::Inet(ip, prefix)) = Cidr::of_word(word, cx) else {
            return Err(Diagnostic::at(word.span, format!("invalid network \"{}\"", word.lossy())));
        };
        if !delete {
            self.add((ip, prefix), name, value, values, cx);
            return Ok(());
        }
        let deleted = match ip {
            IpAddr::V4(v4) => self.ipv4.remove(&(prefix, v4.to_bits())),
            IpAddr::V6(v6) => self.ipv6.remove(&(prefix, v6.to_bits())),
        };
        if deleted.is_none() {
            cx.warn(Diagnostic::at(word.span, format!("no network \"{}\" to delete", word.lossy())));
        }
        Ok(())
    }

    fn add(
        &mut self,
        (ip, prefix): (IpAddr, u8),
        name: &Word,
        value: &Word,
        values: &mut Values,
        cx: &mut Compiler,
    ) {
        let place = values.place_of(&value.text);
        let old = match ip {
            IpAddr::V4(v4) => self.ipv4.insert((prefix, v4.to_bits()), place),
            IpAddr::V6(v6) => self.ipv6.insert((prefix, v6.to_bits()), place),
        };
        if let Some(old) = old {
            let (net, value, old) = (name.lossy(), value.lossy(), values.text(old));
            let text = format!("duplicate network \"{net}\", value: \"{value}\", old value: \"{old}\"");
            cx.warn(Diagnostic::at(name.span, text));
        }
    }

    /// The pieces of both lines of addresses.
    pub(super) fn finish(self) -> (Segments<u32>, Segments<u128>) {
        let ipv4 = self.ipv4.into_iter().map(|((prefix, start), value)| {
            let size = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            (start, start | size, value)
        });
        let ipv6 = self.ipv6.into_iter().map(|((prefix, start), value)| {
            let size = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            (start, start | size, value)
        });
        (
            paint(ipv4, 0, |last| last.checked_add(1)),
            // IPv6 is asked about even where only IPv4 is known, and then has no value.
            paint(ipv6, 0, |last| last.checked_add(1)),
        )
    }
}

/// Paints one network over another, the larger before the smaller: each changes the colour at its start, and changes it
/// back behind its end.
fn paint<A: Copy + Ord>(
    networks: impl Iterator<Item = (A, A, ValueIndex)>,
    zero: A,
    behind: impl Fn(A) -> Option<A>,
) -> Segments<A> {
    let mut line: BTreeMap<A, Option<ValueIndex>> = BTreeMap::from([(zero, None)]);
    for (first, last, value) in networks {
        let under = line.range(..=first).next_back().and_then(|(_, value)| *value);
        if let Some(next) = behind(last) {
            line.entry(next).or_insert(under);
        }
        line.insert(first, Some(value));
    }
    let mut segments = Segments { starts: Vec::new(), values: Vec::new() };
    for (start, value) in line {
        segments.push(start, value);
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_network_counts() {
        let mut networks = Networks::default();
        for (at, text) in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.0.0.0/16",
            "10.255.255.255/32",
            "255.255.255.255/32",
        ]
        .iter()
        .enumerate()
        {
            let (IpAddr::V4(v4), prefix) = crate::cidr::parse(text.as_bytes()).unwrap() else {
                unreachable!()
            };
            networks.ipv4.insert((prefix, v4.to_bits()), at as ValueIndex);
        }
        networks.ipv6.insert((128, 1), 9);
        let (ipv4, ipv6) = networks.finish();
        for (address, value) in [
            ([0, 0, 0, 0], 0),
            ([9, 255, 255, 255], 0),
            ([10, 0, 0, 0], 3),
            ([10, 0, 255, 255], 3),
            ([10, 1, 0, 0], 2),
            ([10, 1, 255, 255], 2),
            ([10, 2, 0, 0], 1),
            ([10, 255, 255, 254], 1),
            ([10, 255, 255, 255], 4),
            ([11, 0, 0, 0], 0),
            ([255, 255, 255, 255], 5),
        ] {
            assert_eq!(ipv4.get(u32::from_be_bytes(address)), Some(value), "{address:?}");
        }
        assert_eq!((ipv6.get(0), ipv6.get(1), ipv6.get(2)), (None, Some(9), None));
    }
}
