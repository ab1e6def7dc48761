//! Any bytes as a chunked body: the pieces they arrive in change nothing, and the payload in new chunks is the same.
#![no_main]

use fuzz::{arrivals, check_field};
use libfuzzer_sys::fuzz_target;
use wire::h1::{BodyError, Chunked, Decoder, chunk_header};

fuzz_target!(|bytes: &[u8]| {
    for new in [Chunked::new, || Chunked::keeping_trailers(64)] {
        let [whole, others @ ..] = arrivals(bytes).map(|ends| read(bytes, &ends, new()));
        for other in &others {
            assert_eq!(&whole, other);
        }
        let again = framed(&whole.payload);
        let copy = read(&again, &[again.len()], new());
        assert_eq!(copy.payload, whole.payload);
        assert_eq!(copy.end, Ok((again.len(), true)));
    }
    let mut length = Decoder::Length(bytes.len() as u64 / 2);
    let found = length.decode(bytes).expect("a length cannot be wrong");
    assert_eq!((found.consumed, found.data, found.done), (bytes.len() / 2, 0..bytes.len() / 2, true));
});

#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    payload: Vec<u8>,
    /// How many bytes were consumed, and whether the body ended there.
    end: Result<(usize, bool), BodyError>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

fn read(bytes: &[u8], ends: &[usize], chunked: Chunked) -> Outcome {
    let mut decoder = Decoder::Chunked(chunked);
    let (mut payload, mut pos) = (Vec::new(), 0);
    let mut ends = ends.iter().copied();
    let mut arrived = 0;
    let end = loop {
        let buf = &bytes[pos..arrived];
        let found = match decoder.decode(buf) {
            Ok(found) => found,
            Err(error) => {
                assert_eq!(decoder.decode(buf), Err(error), "an error that goes away");
                break Err(error);
            }
        };
        assert!(found.consumed <= buf.len() && found.data.start <= found.data.end);
        assert!(found.data.end <= found.consumed);
        payload.extend_from_slice(&buf[found.data]);
        pos += found.consumed;
        assert_eq!(decoder.is_done(), found.done);
        let (last, before) = decoder.announced();
        assert!(before.saturating_add(last) >= payload.len() as u64, "more payload than was announced");
        if found.done {
            assert_eq!(before + last, payload.len() as u64);
            break Ok((pos, true));
        }
        if found.consumed == 0 {
            match ends.next() {
                Some(end) => arrived = end,
                None => break Ok((pos, false)),
            }
        }
    };
    Outcome { payload, end, trailers: trailers(&decoder) }
}

fn trailers(decoder: &Decoder) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Decoder::Chunked(chunked) = decoder else { return Vec::new() };
    if !decoder.is_done() {
        return Vec::new();
    }
    let (fields, bytes) = chunked.trailers();
    let copy = |field: &wire::Field| {
        check_field(field, bytes);
        (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec())
    };
    fields.iter().map(copy).collect()
}

/// The payload in chunks of rising lengths, and the last chunk.
fn framed(payload: &[u8]) -> Vec<u8> {
    let (mut out, mut rest, mut len) = (Vec::new(), payload, 1);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(len.min(rest.len()));
        chunk_header(chunk.len(), &mut out);
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        (rest, len) = (behind, len * 3);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
