//! Points in time as nginx's logs write them, in the machine's time zone.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::thread::LocalKey;

use net::clock::Local;

use crate::deliver::append_three_digits;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second as logs write it, put together once for all lines of it.
struct Shown {
    unix: u64,
    /// Empty as long as nothing was shown.
    text: String,
}

impl Shown {
    const fn nothing() -> RefCell<Shown> {
        RefCell::new(Shown { unix: 0, text: String::new() })
    }
}

thread_local! {
    static ERROR_LOG: RefCell<Shown> = const { Shown::nothing() };
    static ACCESS_LOG: RefCell<Shown> = const { Shown::nothing() };
    static ISO8601: RefCell<Shown> = const { Shown::nothing() };
}

/// Hands the text of a second to `show`, made by `write` where it is not the one that was shown last.
fn show(
    kept: &'static LocalKey<RefCell<Shown>>,
    unix: u64,
    write: fn(&Local) -> String,
    show: impl FnOnce(&str),
) {
    kept.with_borrow_mut(|shown| {
        if shown.unix != unix || shown.text.is_empty() {
            *shown = Shown { unix, text: write(&net::clock::local(unix)) };
        }
        show(&shown.text);
    });
}

/// `2026/11/24 15:04:05`, as the error log starts its lines.
pub fn error_log(unix: u64, out: &mut Vec<u8>) {
    let write = |t: &Local| {
        format!("{:04}/{:02}/{:02} {:02}:{:02}:{:02}", t.year, t.month, t.day, t.hour, t.minute, t.second)
    };
    show(&ERROR_LOG, unix, write, |text| out.extend_from_slice(text.as_bytes()));
}

/// `Nov  4 15:04:05`, as syslog wants it (RFC 3164, 4.1.2).
pub fn syslog(unix: u64, out: &mut String) {
    let t = net::clock::local(unix);
    let month = MONTHS[(t.month as usize).saturating_sub(1) % 12];
    let _ = write!(out, "{month} {:2} {:02}:{:02}:{:02}", t.day, t.hour, t.minute, t.second);
}

/// `24/Nov/2026:15:04:05 +0000` (`$time_local`).
pub fn access_log(unix: u64, out: &mut Vec<u8>) {
    let write = |t: &Local| {
        let month = MONTHS[(t.month as usize).saturating_sub(1) % 12];
        let (sign, offset) = if t.offset < 0 { ('-', -t.offset) } else { ('+', t.offset) };
        format!(
            "{:02}/{month}/{:04}:{:02}:{:02}:{:02} {sign}{:02}{:02}",
            t.day,
            t.year,
            t.hour,
            t.minute,
            t.second,
            offset / 3600,
            offset / 60 % 60
        )
    };
    show(&ACCESS_LOG, unix, write, |text| out.extend_from_slice(text.as_bytes()));
}

/// `2026-11-24T15:04:05+00:00` (`$time_iso8601`).
pub fn iso8601(unix: u64, out: &mut Vec<u8>) {
    show(&ISO8601, unix, write_iso8601, |text| out.extend_from_slice(text.as_bytes()));
}

/// The same with milliseconds: `2026-11-24T15:04:05.678+00:00`.
pub fn iso8601_ms(unix: u64, ms: u32, out: &mut Vec<u8>) {
    show(&ISO8601, unix, write_iso8601, |text| {
        let (time, zone) = text.split_at(text.len().saturating_sub("+00:00".len()));
        out.extend_from_slice(time.as_bytes());
        out.push(b'.');
        append_three_digits(u64::from(ms), out);
        out.extend_from_slice(zone.as_bytes());
    });
}

fn write_iso8601(t: &Local) -> String {
    let (sign, offset) = if t.offset < 0 { ('-', -t.offset) } else { ('+', t.offset) };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
        t.year,
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second,
        offset / 3600,
        offset / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_written_anew() {
        let written = |append: fn(u64, &mut Vec<u8>), unix| {
            let mut out = Vec::new();
            append(unix, &mut out);
            String::from_utf8(out).unwrap()
        };
        let all: [fn(u64, &mut Vec<u8>); 4] =
            [error_log, access_log, iso8601, |unix, out| iso8601_ms(unix, 7, out)];
        for append in all {
            let first = written(append, 1_767_225_598);
            assert_eq!(written(append, 1_767_225_598), first);
            let second = written(append, 1_767_225_599);
            assert_eq!(second, first.replacen(":58", ":59", 1));
        }
        let with_ms = written(|unix, out| iso8601_ms(unix, 7, out), 1_767_225_598);
        assert_eq!(with_ms.replacen(".007", "", 1), written(iso8601, 1_767_225_598));
    }
}
