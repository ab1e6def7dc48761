//! When a client's token ends, as it says itself: read, never believed for longer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest token that is looked into.
const LONGEST: usize = 64 << 10;

/// `exp` of a JWT, in seconds since 1970 (RFC 7519, 4.1.4); none of what is no JWT or has none.
pub fn expiry(token: &[u8]) -> Option<u64> {
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let payload = payload.trim_ascii_end();
    member(&URL_SAFE_NO_PAD.decode(payload).ok()?, b"exp").map(|number| {
        // Fractions are allowed; a number that is none has ended.
        let number = str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok());
        number.map_or(0, |number| number as u64)
    })
}

/// The text of the outermost object's last member of that name (as JSON parsers mostly take it).
fn member<'j>(json: &'j [u8], name: &[u8]) -> Option<&'j [u8]> {
    let (mut depth, mut at, mut found) = (0_usize, 0, None);
    while let Some(byte) = json.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(json, at)?;
                let after = skip_blanks(json, end + 1);
                if depth == 1 && json.get(at + 1..end) == Some(name) && json.get(after) == Some(&b':') {
                    let start = skip_blanks(json, after + 1);
                    let rest = json.get(start..)?;
                    let length = rest
                        .iter()
                        .position(|byte| matches!(byte, b',' | b'}') || byte.is_ascii_whitespace());
                    found = rest.get(..length?);
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Where the string that begins at `start` has its closing quote.
fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn skip_blanks(json: &[u8], from: usize) -> usize {
    let blanks = json.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace());
    from + blanks.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry_of(payload: &str) -> Option<u64> {
        expiry(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload)).as_bytes())
    }

    #[test]
    fn the_end_is_found_where_it_is_the_tokens_own() {
        assert_eq!(expiry_of(r#"{"sub":"a","exp":1700000000}"#), Some(1_700_000_000));
        assert_eq!(expiry_of("{ \"exp\" : 1.7e9 , \"a\":[1,{\"exp\":5}]}"), Some(1_700_000_000));
        assert_eq!(expiry_of(r#"{"a":{"exp":5},"b":"\"exp\":6","c":"exp"}"#), None);
        assert_eq!(expiry_of(r#"{"exp":1,"exp":2}"#), Some(2));
        for ended in [r#"{"exp":"never"}"#, r#"{"exp":null}"#, r#"{"exp":-5}"#] {
            assert_eq!(expiry_of(ended), Some(0), "{ended}");
        }
        for none in [&b"opaque"[..], b"a.b", b"..", b"a.!.c", b"a.e30.c.d", b"e30.eyJleHAiOjE.x"] {
            assert_eq!(expiry(none), None, "{none:?}");
        }
    }
}
