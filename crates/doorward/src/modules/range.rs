//! `ngx_http_range_filter_module`: answers with the parts of a body that the client asks for (RFC 9110, 14).

use std::collections::VecDeque;

use wire::Name;

use crate::body::Body;
use crate::exchange::Exchange;

/// One part: from its first byte to behind its last.
type Part = std::ops::Range<u64>;

/// What a `Range` field comes to.
#[derive(Debug, PartialEq)]
enum Asked {
    /// These parts.
    Parts(Vec<Part>),
    /// The whole body after all.
    Whole,
    /// Nothing that there is (416).
    Unsatisfiable,
}

/// Takes the parts that are asked for out of a 200; an error is the status to answer with instead (416).
pub fn apply(ex: &mut Exchange<'_>, body: Body) -> Result<Body, u16> {
    let head = &ex.response;
    if head.status != 200 || !head.allow_ranges || !ex.is_main() || ex.plan.core.max_ranges == 0 {
        return Ok(body);
    }
    let Some(length) = head.content_length else { return Ok(body) };
    if ex.visit.head.version < wire::h1::Version::Http10 {
        return Ok(body);
    }
    let most = if head.single_range { 1 } else { ex.plan.core.max_ranges };
    let asked = match asked_for(ex) {
        Some(ranges) => parse(ranges, length, most),
        None => Asked::Whole,
    };
    match asked {
        Asked::Parts(parts) => match <[Part; 1]>::try_from(parts) {
            Ok([part]) => Ok(single(ex, body, length, part)),
            Err(parts) => Ok(several(ex, body, length, &parts)),
        },
        Asked::Whole => Ok(whole(ex, body)),
        Asked::Unsatisfiable => {
            let fields = &mut ex.response.fields;
            fields.set("Content-Range", format!("bytes */{length}").as_bytes());
            ex.response.content_length = None;
            Err(416)
        }
    }
}

/// What follows `bytes=`, where `If-Range` lets it count.
fn asked_for<'c>(ex: &Exchange<'c>) -> Option<&'c [u8]> {
    let (unit, ranges) = ex.request_field(Name::Range)?.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") || ranges.is_empty() {
        return None;
    }
    if let Some(condition) = ex.request_field(Name::IfRange) {
        let same = if condition.len() >= 2 && condition.ends_with(b"\"") {
            ex.response.fields.get(Name::ETag) == Some(condition)
        } else {
            let time = wire::date::parse(condition).and_then(|t| i64::try_from(t).ok());
            time.is_some() && time == ex.response.last_modified
        };
        if !same {
            return None;
        }
    }
    Some(ranges)
}

fn whole(ex: &mut Exchange<'_>, body: Body) -> Body {
    ex.response.fields.set("Accept-Ranges", b"bytes");
    body
}

fn single(ex: &mut Exchange<'_>, body: Body, length: u64, part: Part) -> Body {
    let head = &mut ex.response;
    head.status = 206;
    head.status_line = wire::Range::default();
    let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    head.fields.set("Content-Range", range.as_bytes());
    head.content_length = Some(part.end - part.start);
    body.part(part.start, part.end - part.start)
}

/// Several parts need a body that can be read from anywhere; others are sent whole.
fn several(ex: &mut Exchange<'_>, body: Body, length: u64, parts: &[Part]) -> Body {
    let pieces: Result<Vec<Body>, Body> = body.cut(parts);
    let pieces = match pieces {
        Ok(pieces) => pieces,
        Err(body) => return whole(ex, body),
    };
    let boundary = format!("{:020}", u64::from_ne_bytes(crate::random::bytes()));
    let head = &mut ex.response;
    let mut start = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(media_type) = head.fields.get(Name::ContentType) {
        start.extend_from_slice(b"Content-Type: ");
        start.extend_from_slice(media_type);
        start.extend_from_slice(b"\r\n");
    }
    start.extend_from_slice(b"Content-Range: bytes ");
    let mut total = 0;
    let mut bodies = VecDeque::with_capacity(parts.len() * 2 + 1);
    for (part, piece) in parts.iter().zip(pieces) {
        let mut text = start.clone();
        let range = format!("{}-{}/{length}\r\n\r\n", part.start, part.end - 1);
        text.extend_from_slice(range.as_bytes());
        total += text.len() as u64 + part.end - part.start;
        bodies.push_back(Body::Bytes(text));
        bodies.push_back(piece);
    }
    let end = format!("\r\n--{boundary}--\r\n");
    total += end.len() as u64;
    bodies.push_back(Body::Bytes(end.into_bytes()));
    head.status = 206;
    head.status_line = wire::Range::default();
    head.content_length = Some(total);
    head.fields.hide_known(Name::ContentRange);
    let media_type = format!("multipart/byteranges; boundary={boundary}");
    head.fields.set("Content-Type", media_type.as_bytes());
    Body::Parts(bodies)
}

/// Reads the ranges of a body of that length, at most `most` of them.
fn parse(text: &[u8], length: u64, most: u64) -> Asked {
    let mut parts: Vec<Part> = Vec::new();
    let mut size: u64 = 0;
    for spec in text.split(|b| *b == b',') {
        let Some((first, last)) = spec_of(spec) else { return Asked::Unsatisfiable };
        let part = match (first, last) {
            (Some(first), None) => first..length,
            (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
            // The last so many bytes.
            (None, last) => length.saturating_sub(last.unwrap_or(0))..length,
        };
        if part.start < part.end {
            size = size.saturating_add(part.end - part.start);
            parts.push(part);
            if parts.len() as u64 > most {
                return Asked::Whole;
            }
        } else if part.start == 0 {
            return Asked::Whole;
        }
    }
    match parts.len() {
        0 => return Asked::Unsatisfiable,
        1 => return Asked::Parts(parts),
        _ => {}
    }
    // Parts that overlap, or whose heads outweigh them, would cost more than the whole.
    let heads = if most == u64::MAX { parts.len() as u64 * 256 } else { 0 };
    let limit = if most == u64::MAX { length.saturating_add(4096) } else { length };
    if size > length || size.saturating_add(heads) > limit {
        return Asked::Whole;
    }
    Asked::Parts(parts)
}

/// `first-last`, `first-` or `-count`.
fn spec_of(spec: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let dash = spec.iter().position(|b| *b == b'-')?;
    let (first, last) = (spec.get(..dash)?, spec.get(dash + 1..)?);
    let spaces = |text: &[u8]| text.iter().all(|b| *b == b' ');
    if spaces(first) {
        // No space may follow the dash of a suffix.
        return Some((None, Some(number(last.strip_suffix(b" ").map_or(last, |_| last.trim_ascii_end()))?)));
    }
    let first = number(first.trim_ascii())?;
    if spaces(last) {
        return Some((Some(first), None));
    }
    Some((Some(first), Some(number(last.trim_ascii())?)))
}

fn number(digits: &[u8]) -> Option<u64> {
    conf::value::number(digits).and_then(|n| u64::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_hundred_bytes() {
        let parse = |text: &str, most| parse(text.as_bytes(), 100, most);
        let parts = |list: &[(u64, u64)]| Asked::Parts(list.iter().map(|(a, b)| *a..*b).collect());
        assert_eq!(parse("0-9", 9), parts(&[(0, 10)]));
        assert_eq!(parse("90-", 9), parts(&[(90, 100)]));
        assert_eq!(parse("-10", 9), parts(&[(90, 100)]));
        assert_eq!(parse("-1000", 9), parts(&[(0, 100)]));
        assert_eq!(parse(" 5 - 999 ", 9), parts(&[(5, 100)]));
        assert_eq!(parse("0-0, 200-, -1", 9), parts(&[(0, 1), (99, 100)]));
        assert_eq!(parse("0-0,1-1", 1), Asked::Whole);
        assert_eq!(parse("0-99,0-99", 9), Asked::Whole);
        for wrong in ["", "x-1", "1-x", "5", "100-", "18446744073709551616-", "- 5", "1-2 3"] {
            assert_eq!(parse(wrong, 9), Asked::Unsatisfiable, "{wrong}");
        }
    }
}
