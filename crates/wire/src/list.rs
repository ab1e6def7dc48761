//! Field values that are lists: elements between commas, tokens, and directives with values.

/// The elements of a comma list without the blanks around them; empty elements are left out (RFC 9110, 5.6.1).
pub fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a comma list holds `token`, in any case.
pub fn has_token(value: &[u8], token: &[u8]) -> bool {
    split(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// Whether `needle` stands anywhere in `value`, in any case, which is how nginx reads Connection and Cache-Control.
pub fn contains(value: &[u8], needle: &[u8]) -> bool {
    position(value, needle).is_some()
}

/// The seconds behind `name` in a Cache-Control value, as nginx reads `max-age=`: the first place where `name=`
/// stands, digits up to a comma, semicolon or space, the largest number when there are too many.
///
/// `None` when the name is not there, `Some(Err)` when its value is no number.
pub fn seconds(value: &[u8], name: &[u8]) -> Option<Result<u64, NotSeconds>> {
    let rest = directive(value, name)?;
    let digits = rest.split(|byte| matches!(byte, b',' | b';' | b' ')).next().unwrap_or_default();
    Some(digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => {
            Ok(sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(i64::MAX as u64))
        }
        _ => Err(NotSeconds),
    }))
}

/// A directive's value is no number of seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid number of seconds")]
pub struct NotSeconds;

/// The value of the first element `name=value` of a list with the given separator; names in any case.
pub fn named<'a>(field: &'a [u8], name: &[u8], separator: u8) -> Option<&'a [u8]> {
    field.split(|&byte| byte == separator).find_map(|element| {
        let element = skip_spaces(element);
        let (start, rest) = element.split_at_checked(name.len())?;
        if !start.eq_ignore_ascii_case(name) {
            return None;
        }
        skip_spaces(rest).strip_prefix(b"=").map(skip_spaces)
    })
}

/// What follows `name=` where it first stands.
fn directive<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (mut rest, mut from) = (value, 0);
    while let Some(at) = position(rest, name) {
        from += at + name.len();
        rest = value.get(from..)?;
        if let Some(found) = rest.strip_prefix(b"=") {
            return Some(found);
        }
    }
    None
}

fn position(value: &[u8], needle: &[u8]) -> Option<usize> {
    value.windows(needle.len().max(1)).position(|window| window.eq_ignore_ascii_case(needle))
}

fn skip_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    text
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_and_directives_read() {
        let elements: Vec<&[u8]> = split(b" a ,, b\t,c d,").collect();
        assert_eq!(elements, [b"a".as_slice(), b"b", b"c d"]);
        assert!(has_token(b"keep-alive, Upgrade", b"upgrade"));
        assert!(!has_token(b"upgraded", b"upgrade"));
        assert!(contains(b"x-CLOSEd", b"close"));
        assert_eq!(seconds(b"public, max-age=60, s-maxage=5", b"max-age"), Some(Ok(60)));
        assert_eq!(seconds(b"max-age, max-age=7", b"max-age"), Some(Ok(7)));
        assert_eq!(seconds(b"max-age=1x", b"max-age"), Some(Err(NotSeconds)));
        assert_eq!(seconds(b"max-age=99999999999999999999", b"max-age"), Some(Ok(i64::MAX as u64)));
        assert_eq!(seconds(b"no-cache", b"max-age"), None);
    }
}
