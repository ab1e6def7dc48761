//! Any bytes as a FastCGI server's answer: the pieces they arrive in change nothing. As a request: records hold all of it.
#![no_main]

use fuzz::arrivals;
use libfuzzer_sys::fuzz_target;
use wire::fastcgi::{Event, RecordError, Records, Stream, end, param, piece};

fuzz_target!(|bytes: &[u8]| {
    let [whole, others @ ..] = arrivals(bytes).map(|ends| read(bytes, &ends));
    for other in &others {
        assert_eq!(&whole, other);
    }
    assert!(whole.stdout.len() + whole.stderr.len() <= bytes.len());
    if whole.end == Ok(false) {
        assert_eq!(whole.consumed, bytes.len(), "bytes are left, and more are waited for");
    }

    let mut request = Vec::new();
    piece(Stream::Stdin, bytes, &mut request);
    end(Stream::Stdin, &mut request);
    assert_eq!(content(&request), bytes);
    // An answer of the same records, and then its end.
    let mut at = 0;
    while at < request.len() {
        request[at + 1] = 6;
        at += 8 + usize::from(u16::from_be_bytes([request[at + 4], request[at + 5]]));
    }
    request.extend_from_slice(b"\x01\x03\0\x01\0\x08\0\0\0\0\0\0\0\0\0\0behind");
    let answer = read(&request, &[request.len()]);
    assert_eq!((&*answer.stdout, answer.end), (bytes, Ok(true)));
    assert_eq!(answer.consumed, request.len() - b"behind".len());

    let (name, value) = bytes.split_at(bytes.len() / 3);
    let mut pair = Vec::new();
    param(name, value, &mut pair);
    let mut rest = &*pair;
    let lengths = [length(&mut rest), length(&mut rest)];
    assert_eq!((lengths, rest), ([name.len(), value.len()], bytes));
});

#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Whether the answer was over.
    end: Result<bool, RecordError>,
    consumed: usize,
}

fn read(bytes: &[u8], ends: &[usize]) -> Outcome {
    let mut records = Records::default();
    let mut outcome = Outcome { stdout: Vec::new(), stderr: Vec::new(), end: Ok(false), consumed: 0 };
    let mut start = 0;
    for &end in ends {
        let buf = &bytes[start..end];
        let mut at = 0;
        loop {
            let (event, next) = match records.next(buf, at) {
                Ok(found) => found,
                Err(error) => {
                    // Where the bytes stopped making sense depends on the pieces; that they did does not.
                    outcome.end = Err(error);
                    outcome.consumed = 0;
                    return outcome;
                }
            };
            assert!((at..=buf.len()).contains(&next));
            at = next;
            match event {
                Event::More => break,
                Event::Stdout(range) | Event::Stderr(range) if range.is_empty() => panic!("an empty event"),
                Event::Stdout(range) => outcome.stdout.extend_from_slice(range.of(buf)),
                Event::Stderr(range) => outcome.stderr.extend_from_slice(range.of(buf)),
                Event::End => {
                    outcome.end = Ok(true);
                    outcome.consumed = start + at;
                    return outcome;
                }
            }
        }
        assert_eq!(at, buf.len(), "more is wanted while there is more");
        start = end;
    }
    outcome.consumed = start;
    outcome
}

/// What the records of one stream hold, up to the empty one.
fn content(mut records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let (header, rest) = records.split_first_chunk::<8>().expect("a header");
        let [1, 5, 0, 1, high, low, 0, 0] = *header else { panic!("a header of {header:?}") };
        let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])));
        if part.is_empty() {
            assert!(rest.is_empty());
            return out;
        }
        out.extend_from_slice(part);
        records = rest;
    }
}

/// A length as names and values have it before them.
fn length(rest: &mut &[u8]) -> usize {
    let first = rest[0];
    if first < 0x80 {
        *rest = &rest[1..];
        return usize::from(first);
    }
    let (number, behind) = rest.split_first_chunk::<4>().expect("four bytes");
    *rest = behind;
    (u32::from_be_bytes(*number) & 0x7fff_ffff) as usize
}
