//! Any bytes as a request: the pieces they arrive in change nothing, and an accepted head keeps its promises.
#![no_main]

use fuzz::{arrivals, check_field, check_range};
use libfuzzer_sys::fuzz_target;
use wire::h1::{Limits, Method, RequestError, RequestHead, RequestParser, Version};
use wire::{host, uri};

fuzz_target!(|bytes: &[u8]| {
    let usual = Limits::default();
    // Everything the other way round, in buffers that are soon full.
    let narrow = Limits {
        header_buffer: 32,
        large_buffers: 2,
        large_size: 64,
        ignore_invalid: false,
        underscores: true,
        max_headers: 3,
        merge_slashes: false,
        allow_connect: true,
    };
    for limits in [usual, narrow] {
        let [whole, others @ ..] = arrivals(bytes).map(|ends| parse(bytes, &ends, &limits));
        for other in &others {
            check_same(&whole, other);
        }
        let (result, head) = whole;
        match result {
            Ok(true) => check(bytes, &head, &limits),
            Ok(false) => {}
            Err(error) => {
                check_range(head.line, bytes);
                assert!((400..600).contains(&error.status()));
            }
        }
    }
});

type Outcome = (Result<bool, RequestError>, RequestHead);

fn parse(bytes: &[u8], ends: &[usize], limits: &Limits) -> Outcome {
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::default());
    let mut result = Ok(false);
    for &end in ends {
        result = parser.parse(&bytes[..end], limits, &mut head);
        if result != Ok(false) {
            break;
        }
    }
    (result, head)
}

fn check_same((whole, head): &Outcome, (other, other_head): &Outcome) {
    match (whole, other) {
        // How much of the long line is logged depends on how much had arrived.
        (Err(RequestError::TooLongField(_) | RequestError::TooLargeRequest), Err(error)) => {
            assert!(
                matches!(error, RequestError::TooLongField(_) | RequestError::TooLargeRequest),
                "{error:?}"
            );
        }
        // So does how much there is of a request line that is no good.
        (Err(_), _) => assert_eq!(whole, other),
        _ => {
            assert_eq!(whole, other);
            assert_eq!(format!("{head:?}"), format!("{other_head:?}"));
        }
    }
}

fn check(bytes: &[u8], head: &RequestHead, limits: &Limits) {
    let head_bytes = &bytes[..head.head_len as usize];
    let ranges = [head.line, head.method_text, head.target, head.path, head.protocol];
    let more = [head.query, head.scheme, head.authority, head.host, head.upgrade].into_iter().flatten();
    for range in ranges.into_iter().chain(more).chain(head.ignored.iter().copied()) {
        check_range(range, head_bytes);
        RequestHead::ignored_line(range, bytes);
    }
    for field in &head.fields {
        check_field(field, head_bytes);
    }
    assert!(head.fields.len() <= limits.max_headers);
    assert!(!head.target.of(bytes).iter().any(|&byte| byte <= b' ' || byte == 0x7f));

    assert!(!(head.chunked && head.content_length.is_some()), "two framings");
    assert!(!head.chunked || head.version == Version::Http11);
    assert!(head.version != Version::Http11 || head.host.is_some());
    for range in head.server_host().into_iter().chain(head.host) {
        let text = range.of(bytes);
        let found = host::host(text).expect("a host that was accepted");
        assert_eq!(found.name, host::name(text));
    }

    let mut clean = Vec::new();
    uri::normalize(head.path.of(bytes), limits.merge_slashes, &mut clean).expect("a path that was accepted");
    assert_eq!(head.uri(bytes), clean, "the path is not as clean as it is said to be");
    assert!(clean.starts_with(b"/"));
    assert!(clean.split(|&byte| byte == b'/').all(|name| name != b".." && name != b"."));
    assert!(head.method != Method::Connect || limits.allow_connect);
    assert!(head.method != Method::Connect || head.body().is_done());
}
