//! The header that a proxy puts before a connection to say where it comes from (HAProxy's PROXY protocol, 1 and 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header that is read, as in nginx.
pub const LONGEST: usize = 4096;

/// Longest header of version 1 (section 2.1).
const LONGEST_TEXT: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the proxy says of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Where it comes from and what it reached; `None` where the proxy does not know, or speaks for itself.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// Version 2: what follows the addresses, as type, length, value.
    pub tlvs: Vec<u8>,
}

/// Why a connection does not begin as it should. Display is nginx's sentence for the error_log, without the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum HeaderError {
    #[error("broken header")]
    Broken,
    #[error("unknown PROXY protocol version: {0}")]
    Version(u8),
    #[error("header is too large")]
    TooLarge,
}

/// Reads the header at the start of `buf`, and how long it is; `None` while it is not complete.
pub fn read(buf: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let start = buf.get(..SIGNATURE.len()).unwrap_or(buf);
    if SIGNATURE.starts_with(start) {
        return if start.len() < SIGNATURE.len() { Ok(None) } else { binary(buf) };
    }
    let start = buf.get(..6).unwrap_or(buf);
    if !b"PROXY ".starts_with(start) {
        return Err(HeaderError::Broken);
    }
    match buf.windows(2).take(LONGEST_TEXT).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some((text(buf.get(6..end).ok_or(HeaderError::Broken)?)?, end + 2))),
        None if buf.len() > LONGEST_TEXT => Err(HeaderError::Broken),
        None => Ok(None),
    }
}

/// Version 1, behind `PROXY `: `TCP4 source destination port port`, or `UNKNOWN` and anything.
fn text(line: &[u8]) -> Result<Header, HeaderError> {
    let line = str::from_utf8(line).map_err(|_| HeaderError::Broken)?;
    if line.starts_with("UNKNOWN") {
        return Ok(Header::default());
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(HeaderError::Broken);
    let ipv6 = match word()? {
        "TCP4" => false,
        "TCP6" => true,
        _ => return Err(HeaderError::Broken),
    };
    let ip =
        |word: &str| word.parse().ok().filter(|ip: &IpAddr| ip.is_ipv6() == ipv6).ok_or(HeaderError::Broken);
    let port = |word: &str| match word.bytes().all(|b| b.is_ascii_digit()) {
        true => word.parse::<u16>().map_err(|_| HeaderError::Broken),
        false => Err(HeaderError::Broken),
    };
    let (source, destination) = (ip(word()?)?, ip(word()?)?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(HeaderError::Broken);
    }
    let ends = (SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port));
    Ok(Header { ends: Some(ends), tlvs: Vec::new() })
}

/// Version 2, from its signature on.
fn binary(buf: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let Some(&[version_command, family_transport, high, low]) = buf.get(12..16).and_then(<[u8]>::first_chunk)
    else {
        return Ok(None);
    };
    if version_command >> 4 != 2 {
        return Err(HeaderError::Version(version_command >> 4));
    }
    let end = 16 + usize::from(u16::from_be_bytes([high, low]));
    if end > LONGEST {
        return Err(HeaderError::TooLarge);
    }
    let Some(rest) = buf.get(16..end) else { return Ok(None) };
    // Only a proxied stream has ends that mean anything (section 2.2).
    if version_command & 15 != 1 || family_transport & 15 != 1 {
        return Ok(Some((Header::default(), end)));
    }
    let header = match family_transport >> 4 {
        1 => {
            let (ips, rest) = rest.split_first_chunk::<8>().ok_or(HeaderError::Broken)?;
            let [a, b, c, d, e, f, g, h] = *ips;
            with_ports(Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into(), rest)?
        }
        2 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Broken)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Broken)?;
            with_ports(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), rest)?
        }
        _ => Header::default(),
    };
    Ok(Some((header, end)))
}

fn with_ports(source: IpAddr, destination: IpAddr, rest: &[u8]) -> Result<Header, HeaderError> {
    let (&[a, b, c, d], tlvs) = rest.split_first_chunk::<4>().ok_or(HeaderError::Broken)?;
    let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let ends = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
    Ok(Header { ends: Some(ends), tlvs: tlvs.to_vec() })
}

/// A list of types, lengths and values that ends within one of them. Display is nginx's sentence for the error_log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken PROXY protocol TLV")]
pub struct BrokenTlv;

/// The first value of that type in a list of types, lengths and values.
pub fn tlv(mut list: &[u8], wanted: u8) -> Result<Option<&[u8]>, BrokenTlv> {
    while !list.is_empty() {
        let (&[kind, high, low], rest) = list.split_first_chunk::<3>().ok_or(BrokenTlv)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(BrokenTlv)?;
        if kind == wanted {
            return Ok(Some(value));
        }
        list = rest;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str) -> Option<(String, String)> {
        let (header, _) = read(text.as_bytes()).unwrap().unwrap();
        header.ends.map(|(from, to)| (from.to_string(), to.to_string()))
    }

    #[test]
    fn lines_of_version_1() {
        let some = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(
            ends("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\nGET"),
            some("192.0.2.1:123", "192.0.2.2:5678")
        );
        assert_eq!(ends("PROXY TCP6 2001:Db8::1 ::2 1 2\r\n"), some("[2001:db8::1]:1", "[::2]:2"));
        assert_eq!(ends("PROXY UNKNOWN 1 2 3\r\n"), None);
        for text in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(HeaderError::Broken), "{text}");
        }
        assert_eq!(read(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat()), Err(HeaderError::Broken));
    }

    #[test]
    fn a_header_may_be_cut_anywhere() {
        let mut binary = SIGNATURE.to_vec();
        binary.extend_from_slice(&[
            0x21, 0x11, 0, 17, 192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 22, 46, 0xae, 0, 2, b'h', b'i',
        ]);
        for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n"[..], &binary] {
            for cut in 0..header.len() {
                assert_eq!(read(&header[..cut]), Ok(None), "{cut}");
            }
            let (found, length) = read(&[header, b"GET"].concat()).unwrap().unwrap();
            assert_eq!(length, header.len());
            assert_eq!(found.ends.unwrap().0.to_string(), "192.0.2.1:123");
        }
        let (found, _) = read(&binary).unwrap().unwrap();
        assert_eq!(tlv(&found.tlvs, 0xae), Ok(Some(&b"hi"[..])));
        assert_eq!(tlv(&found.tlvs, 1), Ok(None));
        assert_eq!(tlv(&found.tlvs[..4], 0xae), Err(BrokenTlv));
        binary[12] = 0x31;
        assert_eq!(read(&binary), Err(HeaderError::Version(3)));
    }
}
