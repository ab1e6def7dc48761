//! Any fields as a request of HTTP/2: what is accepted is a head that reads the same as one of HTTP/1, so that nobody behind
//! the gateway is told of fields that were not sent.
#![no_main]

use fuzz::{check_field, check_range};
use libfuzzer_sys::fuzz_target;
use wire::h1::{Limits, Method, RequestHead, RequestParser};
use wire::h2::{Pseudo, request};

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let fields: Vec<(&[u8], &[u8])> = rest
        .split(|byte| *byte == 0xff)
        .map(|field| {
            let colon = field.iter().skip(1).position(|byte| *byte == b':').map_or(field.len(), |at| at + 1);
            (&field[..colon], field.get(colon + 1..).unwrap_or_default())
        })
        .collect();
    let pseudo = |name: &[u8]| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let pseudo = Pseudo {
        method: pseudo(b":method"),
        scheme: pseudo(b":scheme"),
        authority: pseudo(b":authority"),
        path: pseudo(b":path"),
    };
    let others = fields.iter().copied().filter(|(name, _)| !name.starts_with(b":"));
    let limits = Limits { underscores: first & 1 != 0, ignore_invalid: first & 2 != 0, ..Limits::default() };
    let (mut head, mut text) = (RequestHead::default(), Vec::new());
    match request(&pseudo, others, first & 4 != 0, &limits, &mut head, &mut text) {
        Ok(()) => check(&head, &text, &limits),
        Err(error) => assert!((400..600).contains(&error.status())),
    }
});

fn check(head: &RequestHead, text: &[u8], limits: &Limits) {
    check_range(head.line, text);
    head.fields.iter().for_each(|field| check_field(field, text));
    assert!(head.host.is_some() && head.method != Method::Connect && head.uri(text).starts_with(b"/"));
    // The same head in the version that upstreams are asked in.
    let mut line = text[..head.head_len as usize].to_vec();
    let version = head.protocol.start as usize;
    line[version..version + 8].copy_from_slice(b"HTTP/1.1");
    let room = Limits { large_buffers: 100, large_size: 64 << 10, header_buffer: 64 << 10, ..*limits };
    let mut same = RequestHead::default();
    assert_eq!(RequestParser::new().parse(&line, &room, &mut same), Ok(true));
    assert_eq!(same.head_len, head.head_len);
    let names = |head: &RequestHead, text: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
        let fields = head.fields.iter();
        fields.map(|f| (f.name.of(text).to_vec(), f.value.of(text).trim_ascii().to_vec())).collect()
    };
    assert_eq!(names(&same, &line), names(head, text));
    assert_eq!((same.uri(&line), same.content_length), (head.uri(text), head.content_length));
}
