//! Any bytes as the PROXY protocol's header: the pieces they arrive in change nothing, and there is an end to waiting.
#![no_main]

use fuzz::arrivals;
use libfuzzer_sys::fuzz_target;
use wire::proxy_protocol::{BrokenTlv, Header, HeaderError, LONGEST, read, tlv};

fuzz_target!(|bytes: &[u8]| {
    let [whole, others @ ..] = arrivals(bytes).map(|ends| arrive(bytes, &ends));
    for other in &others {
        assert_eq!(&whole, other);
    }
    match whole {
        Ok(Some((header, length))) => check(&header, &bytes[..length]),
        Ok(None) => assert!(bytes.len() < LONGEST, "waits for more than a header has"),
        Err(_) => {}
    }
});

fn arrive(bytes: &[u8], ends: &[usize]) -> Result<Option<(Header, usize)>, HeaderError> {
    let mut result = Ok(None);
    for &end in ends {
        result = read(&bytes[..end]);
        if result != Ok(None) {
            break;
        }
    }
    result
}

fn check(header: &Header, bytes: &[u8]) {
    assert!(bytes.len() <= LONGEST);
    // What follows the header is no part of it.
    assert_eq!(read(bytes), Ok(Some((header.clone(), bytes.len()))));
    if let Some((from, to)) = header.ends {
        assert_eq!(from.is_ipv4(), to.is_ipv4());
    }
    assert!(bytes.ends_with(&header.tlvs));
    for kind in 0..=u8::MAX {
        assert_eq!(tlv(&header.tlvs, kind), first(&header.tlvs, kind), "{kind}");
    }
}

/// As [`tlv`], by counting.
fn first(list: &[u8], wanted: u8) -> Result<Option<&[u8]>, BrokenTlv> {
    let mut at = 0;
    while at + 3 <= list.len() {
        let end = at + 3 + usize::from(list[at + 1]) * 256 + usize::from(list[at + 2]);
        if end > list.len() {
            return Err(BrokenTlv);
        }
        if list[at] == wanted {
            return Ok(Some(&list[at + 3..end]));
        }
        at = end;
    }
    if at == list.len() { Ok(None) } else { Err(BrokenTlv) }
}
