//! The host of a request, from its Host field or its target: checked, and split from the port.

/// A host that passed [`host`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidHost<'a> {
    /// The name or bracketed address without port and without a final dot, in the sender's case.
    pub name: &'a [u8],
    /// The port; 0 when there is none.
    pub port: u16,
    /// Whether the name holds upper case letters, so that it must be lowered before it is compared.
    pub upper: bool,
}

/// The host cannot be one; nginx answers 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid host")]
pub struct InvalidHost;

/// Checks a host as nginx does: RFC 3986 reg-name or IP literal, no empty label, no empty name, a port that fits.
pub fn host(text: &[u8]) -> Result<ValidHost<'_>, InvalidHost> {
    let literal = text.first() == Some(&b'[');
    let start = usize::from(literal);
    let allowed = if literal { NAME | UPPER | DOT | COLON } else { NAME | UPPER | DOT | PERCENT };
    // What all classes of the name have together, and what a class and the one before it.
    let (mut seen, mut repeated, mut before) = (0, 0, 0);
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        let class = CLASSES[usize::from(byte)];
        if class & allowed == 0 {
            break;
        }
        seen |= class;
        repeated |= class & before;
        before = class;
        end += 1;
    }
    if repeated & DOT != 0 {
        return Err(InvalidHost);
    }
    let upper = seen & UPPER != 0;
    if literal {
        if text.get(end) != Some(&b']') {
            return Err(InvalidHost);
        }
        end += 1;
    }
    let (name, rest) = text.split_at_checked(end).ok_or(InvalidHost)?;

    let port = match rest.split_first() {
        None => 0,
        Some((b':', digits)) => port(digits)?,
        Some(_) => return Err(InvalidHost),
    };
    let name = if literal { name } else { name.strip_suffix(b".").unwrap_or(name) };
    if name.is_empty() { Err(InvalidHost) } else { Ok(ValidHost { name, port, upper }) }
}

/// The name of a host that [`host`] has accepted, without port and final dot, in the sender's case.
pub fn name(text: &[u8]) -> &[u8] {
    if text.first() == Some(&b'[') {
        let end = text.iter().position(|&byte| byte == b']').map_or(text.len(), |close| close + 1);
        return text.get(..end).unwrap_or(text);
    }
    let end = memchr::memchr(b':', text).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or(text);
    name.strip_suffix(b".").unwrap_or(name)
}

const NAME: u8 = 1;
const UPPER: u8 = 2;
const DOT: u8 = 4;
const COLON: u8 = 8;
const PERCENT: u8 = 16;

/// What each byte is in a host; 0 for what cannot stand there (RFC 3986, 3.2.2).
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'.' => DOT,
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => NAME,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => NAME,
            b':' => COLON,
            b'%' => PERCENT,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

/// Digits, perhaps none: `host:` is a host without port.
fn port(digits: &[u8]) -> Result<u16, InvalidHost> {
    let mut port = 0u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(InvalidHost);
        }
        port = port * 10 + u32::from(digit - b'0');
        if port > u32::from(u16::MAX) {
            return Err(InvalidHost);
        }
    }
    Ok(port as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_accepted_and_refused_as_nginx_does() {
        let split = |text: &'static str| host(text.as_bytes()).map(|host| (host.name, host.port));
        for (text, name, number) in [
            ("example.com", "example.com", 0),
            ("Example.com.:8080", "Example.com", 8080),
            ("example.com:", "example.com", 0),
            ("[::1]:443", "[::1]", 443),
            ("[v1.a:b]", "[v1.a:b]", 0),
            ("a%20b_~!$&'()*+,;=", "a%20b_~!$&'()*+,;=", 0),
            ("h:00080", "h", 80),
            ("h:65535", "h", 65535),
        ] {
            assert_eq!(split(text), Ok((name.as_bytes(), number)), "{text}");
            assert_eq!(super::name(text.as_bytes()), name.as_bytes());
        }
        for text in [
            "", ":80", ".", "a..b", "a b", "a/b", "a@b", "a\\b", "[::1", "[::1]x", "[%31]", "h:65536",
            "h:8a", "h:-1", "h:80:80", "\u{e9}", "a\0", "a\tb", "h?x", "h#x", "..",
        ] {
            assert_eq!(split(text), Err(InvalidHost), "{text:?}");
        }
    }
}
