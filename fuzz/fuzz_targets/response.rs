//! Any bytes as a response: the pieces they arrive in change nothing, and an accepted head keeps its promises.
#![no_main]

use fuzz::{arrivals, check_field, check_range};
use libfuzzer_sys::fuzz_target;
use wire::h1::{ResponseError, ResponseHead, ResponseParser};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    loop {
        let [whole, others @ ..] = arrivals(rest).map(|ends| parse(rest, &ends));
        for other in &others {
            assert_eq!(whole.0, other.0);
            if whole.0 == Ok(true) {
                assert_eq!(format!("{:?}", whole.1), format!("{:?}", other.1));
            }
        }
        let (Ok(true), head) = whole else { break };
        check(rest, &head);
        rest = &rest[head.head_len as usize..];
        // Behind early hints another head follows.
        if head.status != 103 {
            for head_request in [false, true] {
                let _ = head.body(head_request, Some(64)).decode(rest);
            }
            break;
        }
    }
});

fn parse(bytes: &[u8], ends: &[usize]) -> (Result<bool, ResponseError>, ResponseHead) {
    let (mut parser, mut head) = (ResponseParser::new(), ResponseHead::default());
    let mut result = Ok(false);
    for &end in ends {
        result = parser.parse(&bytes[..end], &mut head);
        if result != Ok(false) {
            break;
        }
    }
    (result, head)
}

fn check(bytes: &[u8], head: &ResponseHead) {
    let head_bytes = &bytes[..head.head_len as usize];
    check_range(head.status_line, head_bytes);
    check_range(head.reason, head_bytes);
    assert!(!head.status_line.of(bytes).iter().any(|byte| b"\r\n".contains(byte)));
    for field in &head.fields {
        check_field(field, head_bytes);
    }
    for duplicate in &head.duplicates {
        check_field(&duplicate.field, head_bytes);
        check_field(&duplicate.previous, head_bytes);
        duplicate.sentence(bytes);
    }
    assert!((100..1000).contains(&head.status));
    assert!(!(head.chunked && head.content_length.is_some()), "two framings");
}
