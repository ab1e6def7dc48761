//! Points in time as nginx's logs write them, in the machine's time zone.

use std::cell::RefCell;
use std::fmt::Write as _;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

thread_local! {
    /// The last second that an error log showed, and how.
    static SHOWN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// `2026/11/24 15:04:05`, as the error log starts its lines.
pub fn error_log(unix: u64, out: &mut String) {
    SHOWN.with_borrow_mut(|(second, shown)| {
        if *second != unix || shown.is_empty() {
            let t = net::clock::local(unix);
            *second = unix;
            *shown = format!(
                "{:04}/{:02}/{:02} {:02}:{:02}:{:02}",
                t.year, t.month, t.day, t.hour, t.minute, t.second
            );
        }
        out.push_str(shown);
    });
}

/// `Nov  4 15:04:05`, as syslog wants it (RFC 3164, 4.1.2).
pub fn syslog(unix: u64, out: &mut String) {
    let t = net::clock::local(unix);
    let month = MONTHS[(t.month as usize).saturating_sub(1) % 12];
    let _ = write!(out, "{month} {:2} {:02}:{:02}:{:02}", t.day, t.hour, t.minute, t.second);
}

/// `24/Nov/2026:15:04:05 +0000` (`$time_local`).
pub fn access_log(unix: u64, out: &mut Vec<u8>) {
    let t = net::clock::local(unix);
    let month = MONTHS[(t.month as usize).saturating_sub(1) % 12];
    let (sign, offset) = if t.offset < 0 { ('-', -t.offset) } else { ('+', t.offset) };
    let text = format!(
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} {sign}{:02}{:02}",
        t.day,
        t.year,
        t.hour,
        t.minute,
        t.second,
        offset / 3600,
        offset / 60 % 60
    );
    out.extend_from_slice(text.as_bytes());
}

/// `2026-11-24T15:04:05+00:00` (`$time_iso8601`).
pub fn iso8601(unix: u64, out: &mut Vec<u8>) {
    iso8601_with(unix, "", out);
}

/// The same with milliseconds: `2026-11-24T15:04:05.678+00:00`.
pub fn iso8601_ms(unix: u64, ms: u32, out: &mut Vec<u8>) {
    iso8601_with(unix, &format!(".{ms:03}"), out);
}

fn iso8601_with(unix: u64, fraction: &str, out: &mut Vec<u8>) {
    let t = net::clock::local(unix);
    let (sign, offset) = if t.offset < 0 { ('-', -t.offset) } else { ('+', t.offset) };
    let text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}{sign}{:02}:{:02}",
        t.year,
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second,
        offset / 3600,
        offset / 60 % 60
    );
    out.extend_from_slice(text.as_bytes());
}
