//! Bodies: where payload, trailers and the end are found, and what is refused.

use proptest::prelude::*;
use wire::h1::{BodyError, Chunked, Decoder, chunk_header};

/// Everything a decoder finds when `bytes` arrive in pieces that end at `cuts`: payload, bytes consumed, done.
fn read(decoder: &mut Decoder, bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Result<(usize, bool), BodyError>) {
    let (mut payload, mut pos) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let buf = &bytes[pos..cut.max(pos)];
            match decoder.decode(buf) {
                Err(error) => return (payload, Err(error)),
                Ok(found) => {
                    payload.extend_from_slice(&buf[found.data]);
                    pos += found.consumed;
                    if found.done {
                        assert!(decoder.is_done());
                        return (payload, Ok((pos, true)));
                    }
                    if found.consumed == 0 {
                        break;
                    }
                }
            }
        }
    }
    (payload, Ok((pos, false)))
}

fn chunked(bytes: &str) -> (String, Result<(usize, bool), BodyError>) {
    let (payload, end) = read(&mut Decoder::Chunked(Chunked::new()), bytes.as_bytes(), &[]);
    (String::from_utf8_lossy(&payload).into_owned(), end)
}

#[test]
fn chunks_are_taken_apart() {
    for (bytes, payload, len) in [
        ("0\r\n\r\nnext", "", 5),
        ("5\r\nhello\r\n0\r\n\r\nnext", "hello", 15),
        ("A;x=\"y\"\r\n0123456789\r\n1 \r\n!\r\n000\t\r\n\r\n", "0123456789!", 36),
        ("1\r\na\r\n0;\r\nA: b\r\n odd\r\n\r\n", "a", 24),
    ] {
        assert_eq!(chunked(bytes), (payload.to_string(), Ok((len, true))), "{bytes:?}");
    }
}

#[test]
fn broken_framing_is_refused() {
    for bytes in [
        "\r\n",
        "x",
        " 5\r\n",
        "-1\r\n",
        "0x5\r\n",
        "+5\r\n",
        ";\r\n",
        "5\n",
        "5\rx",
        "5;a\n",
        "5;a\rb",
        "5 \n",
        "0\n",
        "0\r\n\n",
        "0\r\nA: b\n",
        "0\r\nA\rb",
        "0\r\n\rx",
        "8000000000000000\r\n",
        "fffffffffffffffff\r\n",
    ] {
        assert_eq!(chunked(bytes), (String::new(), Err(BodyError::Invalid)), "{bytes:?}");
    }
    for bytes in ["1\r\nab", "1\r\na\n", "1\r\na\rb", "1\r\na\r\n\r\n"] {
        assert_eq!(chunked(bytes), ("a".to_string(), Err(BodyError::Invalid)), "{bytes:?}");
    }
    // The largest size is a size; the payload is simply not there yet.
    assert_eq!(chunked("7fffffffffffffff\r\na").1, Ok((19, false)));
    let endless = format!("1;{}", "x".repeat(9000));
    assert_eq!(chunked(&endless).1, Err(BodyError::TooLongChunkHeader));
}

#[test]
fn trailers_are_kept_within_bounds() {
    let bytes = b"0\r\nX-Sum: 1 \r\netag: \"e\"\r\n\r\n";
    let mut decoder = Decoder::Chunked(Chunked::keeping_trailers(64));
    assert_eq!(read(&mut decoder, bytes, &[4, 9, 20]).1, Ok((bytes.len(), true)));
    let Decoder::Chunked(chunked) = &decoder else { panic!("still chunked") };
    let (fields, buf) = chunked.trailers();
    let fields: Vec<_> = fields.iter().map(|field| (field.name.of(buf), field.value.of(buf))).collect();
    assert_eq!(fields, [(&b"X-Sum"[..], &b"1"[..]), (b"etag", b"\"e\"")]);

    let end = |limit| read(&mut Decoder::Chunked(Chunked::keeping_trailers(limit)), bytes, &[]).1;
    assert_eq!(end(8), Err(BodyError::TooBigTrailers));
    let bad = read(&mut Decoder::Chunked(Chunked::keeping_trailers(64)), b"0\r\nA b: c\r\n\r\n", &[]).1;
    assert_eq!(bad, Err(BodyError::InvalidTrailer));
}

#[test]
fn lengths_end_where_they_say() {
    assert_eq!(read(&mut Decoder::Length(3), b"abcd", &[1]), (b"abc".to_vec(), Ok((3, true))));
    assert_eq!(read(&mut Decoder::Length(5), b"abcd", &[]), (b"abcd".to_vec(), Ok((4, false))));
    assert_eq!(read(&mut Decoder::None, b"abcd", &[]), (Vec::new(), Ok((0, true))));
    assert_eq!(read(&mut Decoder::UntilClose, b"abcd", &[]), (b"abcd".to_vec(), Ok((4, false))));
}

proptest! {
    #[test]
    fn what_is_written_as_chunks_is_read_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5),
        cuts in prop::collection::vec(0usize..1500, 0..8),
        every: bool,
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            chunk_header(chunk.len(), &mut bytes);
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        chunk_header(0, &mut bytes);
        bytes.extend_from_slice(b"\r\n");
        let end = bytes.len();
        bytes.extend_from_slice(b"behind");
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(end)).collect();
        if every {
            cuts = (0..end).collect();
        }
        cuts.sort_unstable();
        let (payload, found) = read(&mut Decoder::Chunked(Chunked::new()), &bytes, &cuts);
        prop_assert_eq!(payload, chunks.concat());
        prop_assert_eq!(found, Ok((end, true)));
    }

    #[test]
    fn nearly_chunks_cut_anywhere_read_as_the_whole(bytes in "[0-3a;\r\n ]{0,40}", keep: bool) {
        let decoder = || Decoder::Chunked(if keep { Chunked::keeping_trailers(9) } else { Chunked::new() });
        let cuts: Vec<usize> = (0..bytes.len()).collect();
        let whole = read(&mut decoder(), bytes.as_bytes(), &[]);
        prop_assert_eq!(read(&mut decoder(), bytes.as_bytes(), &cuts), whole);
    }
}
