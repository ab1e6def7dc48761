//! Networks and addresses as the configuration and clients write them: `192.0.2.0/24`, `2001:db8::/32`, `unix:`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use conf::{Diagnostic, Word};
use net::Address;

use crate::compile::Compiler;
use crate::exchange::Exchange;

/// A network, or everything that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cidr {
    /// Addresses that agree with the first in so many bits.
    Inet(IpAddr, u8),
    /// Unix sockets.
    Unix,
}

impl Cidr {
    /// Reads a word of the configuration; `None` where it is no network. Bits below the prefix are warned of.
    pub fn of_word(word: &Word, cx: &mut Compiler) -> Option<Cidr> {
        if word.text == b"unix:" {
            return Some(Cidr::Unix);
        }
        let (given, prefix) = parse(&word.text)?;
        let network = masked(given, prefix);
        if network != given {
            let text = format!("low address bits of {} are meaningless", word.lossy());
            cx.warn(Diagnostic::at(word.span, text));
        }
        Some(Cidr::Inet(network, prefix))
    }

    /// Whether an address is in the network, IPv4 and IPv6 strictly apart.
    pub fn contains_ip(&self, ip: IpAddr) -> bool {
        matches!(self, Cidr::Inet(network, prefix)
            if network.is_ipv4() == ip.is_ipv4() && masked(ip, *prefix) == *network)
    }

    /// Whether an address is in the network. An IPv4 address that came through an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: &Address) -> bool {
        match (self, address) {
            (Cidr::Inet(..), Address::Inet(inet)) => self.contains_ip(inet.ip().to_canonical()),
            (Cidr::Unix, Address::Unix(_)) => true,
            _ => false,
        }
    }
}

/// Address and prefix length; without one, the address alone.
pub fn parse(text: &[u8]) -> Option<(IpAddr, u8)> {
    let mut parts = text.splitn(2, |b| *b == b'/');
    let ip = ip(parts.next()?)?;
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match parts.next() {
        None => whole,
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            str::from_utf8(digits).ok()?.parse().ok().filter(|prefix| *prefix <= whole)?
        }
        Some(_) => return None,
    };
    Some((ip, prefix))
}

/// An address without a port. As in nginx, zeros may lead the numbers of IPv4.
pub fn ip(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|p| (1..=8).contains(&p.len()))?;
        if !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// The address with the bits below the prefix cleared.
pub fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from(v6.to_bits() & mask).into()
        }
    }
}

/// An address that may have a port: `192.0.2.1`, `192.0.2.1:80`, `::1`, `[::1]:80`. Without one the port is 0.
pub fn address(text: &[u8]) -> Option<Address> {
    if let Some(ip) = ip(text) {
        return Some(SocketAddr::new(ip, 0).into());
    }
    let colon = text.iter().rposition(|b| *b == b':')?;
    let (host, port) = (text.get(..colon)?, text.get(colon + 1..)?);
    let (host, bracketed) = match host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")) {
        Some(inner) => (inner, true),
        None => (host, false),
    };
    let ip = ip(host).filter(|ip| ip.is_ipv6() == bracketed)?;
    if port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port: u16 = str::from_utf8(port).ok()?.parse().ok()?;
    (port > 0).then(|| SocketAddr::new(ip, port).into())
}

/// The client behind proxies that may be believed (nginx's ngx_http_get_forwarded_addr): the last address of `values`,
/// or with `recursive` the last that is not one of the trusted. `values` are those of the field, the last first.
/// `None` where `peer` is not trusted itself, or says nothing that can be read.
pub fn forwarded<'v>(
    peer: &Address,
    values: impl Iterator<Item = &'v [u8]>,
    trusted: &[Cidr],
    recursive: bool,
) -> Option<Address> {
    let is_trusted = |address: &Address| trusted.iter().any(|cidr| cidr.contains(address));
    let mut found: Option<Address> = None;
    let separator = |b: &u8| matches!(b, b' ' | b',');
    for value in values {
        // Empty places between separators are passed over, but a field with nothing in it ends the search.
        let mut read = false;
        for text in value.rsplit(separator).filter(|text| !text.is_empty()) {
            read = true;
            if !is_trusted(found.as_ref().unwrap_or(peer)) {
                return found;
            }
            match address(text) {
                Some(address) => found = Some(address),
                None => return found,
            }
            if !recursive {
                return found;
            }
        }
        if !read {
            return found;
        }
    }
    found
}

/// The values of a request's field that may be sent in several lines, the last first.
pub fn values_reversed<'c>(ex: &Exchange<'c>, name: wire::Name) -> impl Iterator<Item = &'c [u8]> {
    let visit = ex.visit;
    visit.head.fields.iter().rev().filter(move |f| f.id == name).map(move |f| f.value.of(visit.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        let (ip, prefix) = parse(text.as_bytes()).unwrap();
        Cidr::Inet(masked(ip, prefix), prefix)
    }

    fn at(text: &str) -> Address {
        address(text.as_bytes()).unwrap()
    }

    #[test]
    fn networks_contain_their_addresses() {
        assert!(cidr("192.0.2.0/24").contains(&at("192.0.2.255")));
        assert!(!cidr("192.0.2.0/24").contains(&at("192.0.3.0")));
        assert!(cidr("192.0.2.0/24").contains(&at("::ffff:192.0.2.9")));
        assert!(cidr("0.0.0.0/0").contains(&at("255.1.2.3:80")));
        assert!(!cidr("::/0").contains(&at("192.0.2.1")));
        assert!(cidr("2001:0db8::/32").contains(&at("[2001:db8:1::1]:80")));
        assert!(!cidr("0.0.0.0/0").contains(&Address::Unix("/s".into())));
        assert!(Cidr::Unix.contains(&Address::Unix("/s".into())));
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in
            ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4/33", "::1/129", "1.2.3.4/", "a", "1.2.3.4/-1"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        for text in
            ["1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "[1.2.3.4]:80", "[::1]", "unix:/s", "1.2.3.4:+1"]
        {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(ip(b"010.0.0.01"), Some(IpAddr::from([10, 0, 0, 1])));
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        let trusted = [cidr("127.0.0.1/32"), cidr("10.0.1.0/24")];
        let client = |peer: &str, values: &[&str], recursive| {
            let values = values.iter().rev().map(|v| v.as_bytes());
            forwarded(&at(peer), values, &trusted, recursive).map(|a| a.to_string())
        };
        let found = |text: &str| Some(format!("{text}:0"));
        assert_eq!(client("127.0.0.1", &["10.0.0.1, 192.0.2.1"], false), found("192.0.2.1"));
        assert_eq!(client("127.0.0.1", &["192.0.2.1, 10.0.1.1"], false), found("10.0.1.1"));
        assert_eq!(client("127.0.0.1", &["192.0.2.7,10.0.1.1 , "], true), found("192.0.2.7"));
        assert_eq!(client("127.0.0.1", &["10.0.1.1", "192.0.2.1", "127.0.0.1"], true), found("192.0.2.1"));
        assert_eq!(client("127.0.0.1", &["10.0.1.1"], true), found("10.0.1.1"));
        assert_eq!(client("127.0.0.1", &["x, 10.0.1.1"], true), found("10.0.1.1"));
        assert_eq!(client("127.0.0.1", &["x"], true), None);
        assert_eq!(client("192.0.2.9", &["192.0.2.1"], true), None);
        assert_eq!(client("127.0.0.1", &["192.0.2.1", ""], true), None);
    }
}
