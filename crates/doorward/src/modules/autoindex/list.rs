//! How a list of a folder is written.

use std::io::Write;

use wire::uri::Escape;

use super::{Entry, Kind, List};

/// How wide the column of names is.
const WIDTH: usize = 50;

/// A page.
pub(super) fn html(list: &List, uri: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + entries.len() * 128);
    out.extend_from_slice(b"<html>\r\n<head><title>Index of ");
    escape_html(uri, &mut out);
    out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
    escape_html(uri, &mut out);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    let shift = if list.local_time { net::clock::local(net::clock::wall().0).offset } else { 0 };
    for entry in entries {
        link(entry, &mut out);
        time(entry.modified.saturating_add_signed(shift), &mut out);
        size(entry, list.exact_size, &mut out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    out
}

/// The name as a link, filled up with spaces to the width of its column; a longer one is cut.
fn link(entry: &Entry, out: &mut Vec<u8>) {
    let folder = entry.kind == Kind::Directory;
    out.extend_from_slice(b"<a href=\"");
    wire::uri::escape(Escape::UriComponent, &entry.name, out);
    if folder {
        out.push(b'/');
    }
    out.extend_from_slice(b"\">");
    if entry.name.len() > WIDTH {
        escape_html(entry.name.get(..WIDTH - 3).unwrap_or_default(), out);
        out.extend_from_slice(b"..&gt;</a>");
    } else {
        escape_html(&entry.name, out);
        let mut shown = entry.name.len();
        if folder && shown < WIDTH {
            out.push(b'/');
            shown += 1;
        }
        out.extend_from_slice(b"</a>");
        out.resize(out.len() + WIDTH - shown, b' ');
    }
}

/// ` 28-Sep-1970 12:00 `
fn time(unix: u64, out: &mut Vec<u8>) {
    // Sun, 06 Nov 1994 08:49:37 GMT
    let date = wire::date::format(unix);
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    for piece in [b" ", part(5..7), b"-", part(8..11), b"-", part(12..16), b" ", part(17..22), b" "] {
        out.extend_from_slice(piece);
    }
}

fn size(entry: &Entry, exact: bool, out: &mut Vec<u8>) {
    let folder = entry.kind == Kind::Directory;
    let rounded = |unit: u64| (entry.size + unit / 2) / unit;
    // Writing into memory does not fail.
    let _ = match (exact, folder, entry.size) {
        (true, true, _) => write!(out, "{:>19}", '-'),
        (true, false, size) => write!(out, "{size:>19}"),
        (false, true, _) => write!(out, "{:>7}", '-'),
        (false, false, 0..=9_999) => write!(out, " {:>6}", entry.size),
        (false, false, 10_000..=0xf_ffff) => write!(out, "{:>6}K", rounded(1 << 10)),
        (false, false, 0x10_0000..=0x3fff_ffff) => write!(out, "{:>6}M", rounded(1 << 20)),
        _ => write!(out, "{:>6}G", rounded(1 << 30)),
    };
}

/// XML.
pub(super) fn xml(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for entry in entries {
        let kind = kind(entry);
        let (year, month, day, clock) = calendar(entry.modified);
        let _ = write!(out, "<{kind} mtime=\"{year}-{month:02}-{day}T{clock}Z\"");
        if entry.kind == Kind::File {
            let _ = write!(out, " size=\"{}\"", entry.size);
        }
        out.push(b'>');
        escape_html(&entry.name, &mut out);
        let _ = write!(out, "</{kind}>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

/// JSON handed to a function.
pub(super) fn jsonp(callback: &[u8], entries: &[Entry]) -> Vec<u8> {
    [b"/* callback */\r\n", callback, b"(", &json(entries), b");"].concat()
}

/// JSON.
pub(super) fn json(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"\r\n{ \"name\":\"");
        escape_json(&entry.name, &mut out);
        let _ = write!(out, "\", \"type\":\"{}\", \"mtime\":\"", kind(entry));
        out.extend_from_slice(&wire::date::format(entry.modified));
        out.push(b'"');
        if entry.kind == Kind::File {
            let _ = write!(out, ", \"size\":{}", entry.size);
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    out
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Other => "other",
    }
}

/// Year, month, day and time of day in UTC.
fn calendar(unix: u64) -> (String, usize, String, String) {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = wire::date::format(unix);
    let text = |range: std::ops::Range<usize>| {
        String::from_utf8_lossy(date.get(range).unwrap_or_default()).into_owned()
    };
    let month = MONTHS.chunks(3).position(|name| Some(name) == date.get(8..11)).map_or(1, |at| at + 1);
    (text(12..16), month, text(5..7), text(17..25))
}

/// Appends a text as it may stand in a page, also between quotation marks.
pub fn escape_html(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(byte),
        }
    }
}

fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => {
                let _ = write!(out, "\\u{byte:04X}");
            }
            _ => out.push(byte),
        }
    }
}
