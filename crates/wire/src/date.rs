//! Dates as HTTP writes them (RFC 9110, 5.6.7).

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// The last second that fits four digits of a year: 9999-12-31 23:59:59.
const LAST: u64 = 253_402_300_799;

/// `Sun, 06 Nov 1994 08:49:37 GMT` from seconds since 1970; later than the year 9999 reads as its last second.
pub fn format(unix: u64) -> [u8; 29] {
    let mut text = [b' '; 29];
    let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(unix.min(LAST)));
    let mut rest = text.as_mut_slice();
    // The text is always 29 bytes, so the write into memory cannot fail.
    let _ = write!(rest, "{date}");
    text
}

/// Seconds since 1970 of any of the three formats; none when it is no date. As in nginx the day of the week and the
/// time zone are not looked at: a client that got them wrong is understood all the same.
pub fn parse(text: &[u8]) -> Option<u64> {
    let mut words = text.split(|b| matches!(b, b' ' | b',' | b'-')).filter(|word| !word.is_empty());
    words.next()?;
    let [first, second, third, fourth] = [words.next()?, words.next()?, words.next()?, words.next()?];
    let (day, month, year, time) = if first.first()?.is_ascii_digit() {
        // Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT
        (first, second, third, fourth)
    } else {
        // Sun Nov  6 08:49:37 1994
        (second, first, fourth, third)
    };
    let month = MONTHS.iter().position(|(name, _)| *name == month)?;
    let year = match (year.len(), number(year)?) {
        (4, year) => year,
        (2, year) if year < 70 => year + 2000,
        (2, year) => year + 1900,
        _ => return None,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (_, days) = *MONTHS.get(month)?;
    let day = number(day)?;
    if year < 1970 || day == 0 || day > days + u64::from(leap && month == 1) {
        return None;
    }
    let [hour, minute, second] = clock(time)?;
    // Leap days up to the end of the year before.
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let before = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let in_year: u64 = MONTHS.iter().take(month).map(|(_, days)| days).sum();
    let days = before + in_year + u64::from(leap && month > 1) + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Names, and days in a year that is no leap year.
const MONTHS: [(&[u8], u64); 12] = [
    (b"Jan", 31),
    (b"Feb", 28),
    (b"Mar", 31),
    (b"Apr", 30),
    (b"May", 31),
    (b"Jun", 30),
    (b"Jul", 31),
    (b"Aug", 31),
    (b"Sep", 30),
    (b"Oct", 31),
    (b"Nov", 30),
    (b"Dec", 31),
];

/// `08:49:37`
fn clock(text: &[u8]) -> Option<[u64; 3]> {
    let mut parts = text.split(|b| *b == b':').map(|part| number(part).filter(|_| part.len() == 2));
    let clock = [parts.next()??, parts.next()??, parts.next()??];
    let [hour, minute, second] = clock;
    (parts.next().is_none() && hour < 24 && minute < 60 && second < 60).then_some(clock)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read_in_all_three_formats() {
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        // A wrong day of the week, which RFC 9110 does not forgive and nginx does not see.
        assert_eq!(parse(b"Mon, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in [
            "yesterday",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        for days in (0..90_000).step_by(59) {
            assert_eq!(parse(&format(days * 86400 + 1)), Some(days * 86400 + 1));
        }
        assert_eq!(parse(b"\xff"), None);
    }
}
