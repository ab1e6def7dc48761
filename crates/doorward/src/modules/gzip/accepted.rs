//! What an `Accept-Encoding` field says of gzip (RFC 9110, 12.5.3), as nginx reads it.

/// Whether bodies may be compressed.
pub(super) fn gzip(field: &[u8]) -> bool {
    const WORD: &[u8] = b"gzip";
    let begins = |at: &usize| *at == 0 || matches!(field.get(at - 1), Some(b',' | b' '));
    let found = field.windows(WORD.len()).enumerate().filter(|(_, word)| word.eq_ignore_ascii_case(WORD));
    let Some(at) = found.map(|(at, _)| at).find(begins) else { return false };
    let rest = field.get(at + WORD.len()..).unwrap_or_default().trim_ascii_start();
    match rest.split_first() {
        None | Some((b',', _)) => true,
        Some((b';', weight)) => weighs(weight),
        Some(_) => false,
    }
}

/// Whether what stands behind `;` is a weight above zero, or nothing.
fn weighs(text: &[u8]) -> bool {
    match text.trim_ascii_start() {
        [] => true,
        [b'q' | b'Q', b'=', number @ ..] => {
            let number = number.split(|byte| matches!(byte, b',' | b' ')).next().unwrap_or_default();
            thousandths(number).is_some_and(|weight| weight > 0)
        }
        _ => false,
    }
}

/// A weight: 0 to 1 with at most three digits behind the point.
fn thousandths(number: &[u8]) -> Option<u32> {
    let (whole, digits) = match number {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let mut weight = digit(whole)?;
    for at in 0..3 {
        weight = weight * 10 + digits.get(at).map_or(Some(0), digit)?;
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::gzip;

    #[test]
    fn only_what_names_gzip_and_does_not_refuse_it() {
        for yes in [
            "gzip",
            "gzip,deflate",
            "GZip",
            "deflate, gzip",
            "br,gzip;q=0.5",
            "gzip ;q=1",
            "gzip; q=0.001",
            "gzip;",
            "gzip;q=1.000, *;q=0",
            "x-gzip, gzip",
        ] {
            assert!(gzip(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "deflate",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=0.",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.0001",
            "gzip;q",
            "gzip;q=",
            "gzipped",
            "x-gzip",
            "gzip;level=1",
            "gzip;q=0.1x",
            "*",
        ] {
            assert!(!gzip(no.as_bytes()), "{no}");
        }
    }
}
