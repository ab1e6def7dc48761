//! `ngx_http_not_modified_filter_module`: answers 304 or 412 where the client's conditions say so (RFC 9110, 13).

use wire::Name;

use crate::exchange::{Exchange, Head};
use crate::modules::core::IfModifiedSince;

/// The conditions of a request.
#[derive(Default)]
struct Conditions<'c> {
    unmodified_since: Option<&'c [u8]>,
    matches: Option<&'c [u8]>,
    modified_since: Option<&'c [u8]>,
    none_match: Option<&'c [u8]>,
}

/// Makes a 304 of a 200 that the client has already; an error is the status to answer with instead (412).
pub fn apply(ex: &mut Exchange<'_>) -> Result<(), u16> {
    if ex.response.status != 200 || !ex.is_main() || ex.response.disable_not_modified {
        return Ok(());
    }
    let Some(conditions) = conditions(ex) else { return Ok(()) };
    let head = &mut ex.response;
    if conditions.unmodified_since.is_some_and(|since| !is_unmodified(head, since)) {
        return Err(412);
    }
    if conditions.matches.is_some_and(|list| !is_listed(head, list, false)) {
        return Err(412);
    }
    if conditions.modified_since.is_none() && conditions.none_match.is_none() {
        return Ok(());
    }
    let how = ex.plan.core.if_modified_since;
    if conditions.modified_since.is_some_and(|since| is_modified(head, since, how))
        || conditions.none_match.is_some_and(|list| !is_listed(head, list, true))
    {
        return Ok(());
    }
    head.status = 304;
    head.status_line = wire::Range::default();
    head.content_length = None;
    head.allow_ranges = false;
    for gone in [Name::ContentType, Name::AcceptRanges, Name::ContentEncoding] {
        head.fields.hide_known(gone);
    }
    Ok(())
}

/// The conditions, if there are any: most requests have none, and are looked through once.
fn conditions<'c>(ex: &Exchange<'c>) -> Option<Conditions<'c>> {
    let visit = ex.visit;
    let mut found: Option<Conditions<'c>> = None;
    for field in &visit.head.fields {
        let slot = match field.id {
            Name::IfUnmodifiedSince => |c: &mut Conditions<'c>, v| c.unmodified_since = Some(v),
            Name::IfMatch => |c: &mut Conditions<'c>, v| c.matches = Some(v),
            Name::IfModifiedSince => |c: &mut Conditions<'c>, v| c.modified_since = Some(v),
            Name::IfNoneMatch => |c: &mut Conditions<'c>, v| c.none_match = Some(v),
            _ => continue,
        };
        slot(found.get_or_insert_default(), field.value.of(visit.bytes));
    }
    found
}

fn is_unmodified(head: &Head, since: &[u8]) -> bool {
    match (head.last_modified, time(since)) {
        (Some(changed), Some(since)) => since >= changed,
        _ => false,
    }
}

fn is_modified(head: &Head, since: &[u8], how: IfModifiedSince) -> bool {
    let Some(changed) = head.last_modified else { return true };
    match (how, time(since)) {
        (IfModifiedSince::Off, _) | (_, None) => true,
        (IfModifiedSince::Exact, Some(since)) => since != changed,
        (IfModifiedSince::Before, Some(since)) => since < changed,
    }
}

fn time(text: &[u8]) -> Option<i64> {
    wire::date::parse(text).and_then(|t| i64::try_from(t).ok())
}

/// Whether the response's tag is in the list; `weak` compares without the `W/` in front (RFC 9110, 8.8.3.2).
fn is_listed(head: &Head, list: &[u8], weak: bool) -> bool {
    if list == b"*" {
        return true;
    }
    let without_weak = |tag| if weak { strip_weak(tag) } else { tag };
    let Some(tag) = head.fields.get(Name::ETag).map(without_weak) else { return false };
    let mut rest = list;
    while !rest.is_empty() {
        // A tag may contain commas, so the list is not split at them before the tag is compared.
        if let Some(behind) = without_weak(rest).strip_prefix(tag) {
            let behind = behind.trim_ascii_start();
            if behind.is_empty() || behind.starts_with(b",") {
                return true;
            }
        }
        let comma = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
        rest = rest.get(comma..).unwrap_or_default();
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
    }
    false
}

fn strip_weak(tag: &[u8]) -> &[u8] {
    match tag {
        [b'W', b'/', rest @ ..] if !rest.is_empty() => rest,
        tag => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists() {
        let listed = |tag: &[u8], list: &[u8], weak| {
            let mut head = Head::default();
            head.fields.add("ETag", tag);
            is_listed(&head, list, weak)
        };
        assert!(listed(b"\"a,b\"", b"\"x\", \"a,b\" , \"y\"", false));
        assert!(listed(b"W/\"a\"", b"\"x\",\"a\"", true));
        assert!(listed(b"\"a\"", b"W/\"a\"", true));
        assert!(!listed(b"\"a\"", b"W/\"a\"", false));
        assert!(!listed(b"\"a\"", b"\"ab\"", true));
        assert!(listed(b"\"a\"", b"*", false));
    }
}
