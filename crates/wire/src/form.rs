//! Forms as browsers send them, and queries (`application/x-www-form-urlencoded`, WHATWG URL, section 5.1).

/// A form that browsers do not send: a broken `%XX`, or a field twice that may occur once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid form")]
pub struct BadForm;

/// The value of the field `name`, decoded; `None` where there is no such field.
pub fn value(form: &[u8], name: &[u8]) -> Result<Option<Vec<u8>>, BadForm> {
    let mut found = None;
    for pair in form.split(|byte| *byte == b'&') {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (encoded, value) = pair.split_at_checked(end).ok_or(BadForm)?;
        if decode(encoded)? == name {
            let value = decode(value.strip_prefix(b"=").unwrap_or_default())?;
            if found.replace(value).is_some() {
                return Err(BadForm);
            }
        }
    }
    Ok(found)
}

fn decode(text: &[u8]) -> Result<Vec<u8>, BadForm> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).ok_or(BadForm);
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => (digit(rest.next())? << 4 | digit(rest.next())?) as u8,
            other => *other,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_and_decoded() {
        let form = b"user=ada+lovelace&password=a%26b%3D%2B%25%00%C3%A4&empty=&bare&=nameless&p%61th=%2f";
        let of = |name: &str| value(form, name.as_bytes()).unwrap();
        assert_eq!(of("user").as_deref(), Some(&b"ada lovelace"[..]));
        assert_eq!(of("password").as_deref(), Some("a&b=+%\0ä".as_bytes()));
        assert_eq!(of("path").as_deref(), Some(&b"/"[..]));
        assert_eq!(of("").as_deref(), Some(&b"nameless"[..]));
        for (name, expected) in
            [("empty", Some(vec![])), ("bare", Some(vec![])), ("User", None), ("use", None)]
        {
            assert_eq!(of(name), expected, "{name}");
        }
        assert_eq!(value(b"", b"user"), Ok(None));
    }

    #[test]
    fn what_is_broken_or_can_be_read_in_two_ways_is_refused() {
        for form in [
            "user=%",
            "user=%4",
            "user=%4g",
            "user=%+1",
            "user=a&user=a",
            "user=a&us%65r=b",
            "user&user=",
            "%zz=1",
        ] {
            assert_eq!(value(form.as_bytes(), b"user"), Err(BadForm), "{form}");
        }
        // Another field may occur as often as it likes.
        assert_eq!(value(b"a=1&a=2&user=u", b"user"), Ok(Some(b"u".to_vec())));
    }
}
