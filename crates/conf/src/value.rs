//! Sizes, times and numbers as nginx writes them (ngx_parse.c): pure functions from bytes, `None` for what is not one.

/// A number without sign, up to `i64::MAX`.
pub fn number(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_i64, |value, &byte| value.checked_mul(10)?.checked_add(digit(byte)?))
}

/// Bytes: `512`, `8k`, `1m`.
pub fn size(text: &[u8]) -> Option<u64> {
    match text.last()? {
        b'G' | b'g' => None,
        _ => offset(text),
    }
}

/// Bytes of a file: as [`size`], and `2g`.
pub fn offset(text: &[u8]) -> Option<u64> {
    let (&unit, front) = text.split_last()?;
    let (digits, scale) = match unit {
        b'K' | b'k' => (front, 1 << 10),
        b'M' | b'm' => (front, 1 << 20),
        b'G' | b'g' => (front, 1 << 30),
        _ => (text, 1),
    };
    number(digits)?.checked_mul(scale)?.try_into().ok()
}

/// Milliseconds: `500ms`, `30s`, `1m30s`, `1h 30m`; a number without a unit is seconds. Years and months are not known.
pub fn msec(text: &[u8]) -> Option<u64> {
    time(text, 1000)
}

/// Seconds: as [`msec`], with years and months (of 30 days) and without milliseconds.
pub fn sec(text: &[u8]) -> Option<u64> {
    time(text, 1)
}

/// `second` is how many of the wanted unit make a second. Units must come in falling order, each at most once.
fn time(text: &[u8], second: i64) -> Option<u64> {
    const YEAR: u8 = 1;
    const MONTH: u8 = 2;
    const WEEK: u8 = 3;
    const DAY: u8 = 4;
    const HOUR: u8 = 5;
    const MINUTE: u8 = 6;
    const SECOND: u8 = 7;
    const MILLISECOND: u8 = 8;
    const NO_UNIT: u8 = 9;

    let milliseconds = second != 1;
    let mut last = if milliseconds { MONTH } else { 0 };
    let mut total = 0_i64;
    let mut value = 0_i64;
    let mut digits = false;
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if let Some(digit) = digit(byte) {
            value = value.checked_mul(10)?.checked_add(digit)?;
            digits = true;
            continue;
        }
        let (unit, scale) = match byte {
            b'y' => (YEAR, 365 * 86400 * second),
            b'M' => (MONTH, 30 * 86400 * second),
            b'w' => (WEEK, 7 * 86400 * second),
            b'd' => (DAY, 86400 * second),
            b'h' => (HOUR, 3600 * second),
            b'm' if rest.first() == Some(&b's') => {
                rest = rest.get(1..).unwrap_or_default();
                (MILLISECOND, 1)
            }
            b'm' => (MINUTE, 60 * second),
            b's' => (SECOND, second),
            b' ' => (NO_UNIT, second),
            _ => return None,
        };
        let in_order = if unit == NO_UNIT { last < SECOND } else { last < unit };
        if !in_order || (unit == MILLISECOND && !milliseconds) {
            return None;
        }
        last = unit;
        total = total.checked_add(value.checked_mul(scale)?)?;
        value = 0;
        while let Some((b' ', tail)) = rest.split_first() {
            rest = tail;
        }
    }
    if !digits {
        return None;
    }
    total.checked_add(value.checked_mul(second)?)?.try_into().ok()
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(b"8k"), Some(8192));
        assert_eq!(size(b"1M"), Some(1 << 20));
        assert_eq!(size(b"1g"), None);
        assert_eq!(offset(b"2g"), Some(2 << 30));
        assert_eq!(size(b"k"), None);
        assert_eq!(size(b"-1"), None);
        assert_eq!(size(b"9223372036854775807"), Some(i64::MAX as u64));
        assert_eq!(size(b"9223372036854775807k"), None);
    }

    #[test]
    fn times() {
        assert_eq!(msec(b"30"), Some(30_000));
        assert_eq!(msec(b"500ms"), Some(500));
        assert_eq!(msec(b"1m30s"), Some(90_000));
        assert_eq!(msec(b"1h 30m"), Some(5_400_000));
        assert_eq!(msec(b"1s 5ms"), Some(1005));
        assert_eq!(msec(b"30m 1h"), None);
        assert_eq!(msec(b"1m 1m"), None);
        assert_eq!(msec(b"1M"), None);
        assert_eq!(msec(b"s"), None);
        assert_eq!(msec(b""), None);
        assert_eq!(sec(b"1y1M"), Some(395 * 86400));
        assert_eq!(sec(b"5ms"), None);
        assert_eq!(sec(b"99999999999999999999"), None);
    }
}
