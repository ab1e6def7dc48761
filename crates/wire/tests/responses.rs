//! Response heads: what upstreams may send, and what makes a 502.

use proptest::prelude::*;
use wire::Name;
use wire::h1::{Decoder, ResponseError, ResponseHead, ResponseParser};

fn parse(bytes: &[u8]) -> (Result<bool, ResponseError>, ResponseHead) {
    let mut head = ResponseHead::default();
    let result = ResponseParser::new().parse(bytes, &mut head);
    (result, head)
}

fn accepted(bytes: &str) -> ResponseHead {
    let (result, head) = parse(bytes.as_bytes());
    assert_eq!(result, Ok(true), "{bytes:?}");
    head
}

#[test]
fn status_lines_are_read() {
    for (line, version, status, status_line, reason) in [
        ("HTTP/1.1 200 OK\r\n", (1, 1), 200, "200 OK", "OK"),
        ("HTTP/1.0 404 Not  Found \n", (1, 0), 404, "404 Not  Found ", "Not  Found "),
        ("HTTP/1.1  302\r\n", (1, 1), 302, "302", ""),
        ("HTTP/1.1 204 \r\n", (1, 1), 204, "204 ", ""),
        ("HTTP/1.1 403.2 Denied\r\n", (1, 1), 403, "403.2 Denied", "2 Denied"),
        ("HTTP/2.0 200 \0x\r\n", (2, 0), 200, "200 \0x", "\0x"),
    ] {
        let bytes = format!("{line}\r\nbody");
        let head = accepted(&bytes);
        assert_eq!((head.version, head.status), (version, status), "{line:?}");
        assert_eq!(head.status_line.of(bytes.as_bytes()), status_line.as_bytes(), "{line:?}");
        assert_eq!(head.reason.of(bytes.as_bytes()), reason.as_bytes(), "{line:?}");
        assert_eq!(&bytes[head.head_len as usize..], "body");
        assert_eq!(head.keep_alive, version >= (1, 1), "{line:?}");
    }
    for line in [
        "hello",
        "\r\nHTTP/1.1 200\r\n",
        "HTTP/0.9 200\r\n",
        "HTTP/1 200\r\n",
        "HTTP/1.1\r\n",
        "HTTP/1.1 20\r\n",
        "HTTP/1.1 2000\r\n",
        "HTTP/1.1 200OK\r\n",
        "HTTP/1.1 200 OK\rx",
        "HTTP/1.1111 200\r\n",
        "HTTP/1.1 -20\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()).0, Err(ResponseError::NoStatusLine), "{line:?}");
    }
    assert_eq!(parse(b"HTTP/1.1 099 x\r\n").0, Err(ResponseError::InvalidStatus(99)));
    assert_eq!(parse(b"HTTP/1.0 103 x\r\n").0, Err(ResponseError::EarlyHintsIn10));
}

#[test]
fn fields_are_refused_with_nginx_sentences() {
    const BOTH: &str = "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time";
    for (lines, sentence) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BOTH),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", BOTH),
        ("Content-Length: x\r\n", "upstream sent invalid \"Content-Length\" header: \"Content-Length: x\""),
        (
            "Content-Length: 5\r\ncontent-length: 5\r\n",
            "upstream sent duplicate header line: \"content-length: 5\", previous value: \"Content-Length: 5\"",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "upstream sent duplicate header line: \"Transfer-Encoding: chunked\", previous value: \"Transfer-Encoding: chunked\"",
        ),
        ("Transfer-Encoding: gzip\r\n", "upstream sent unknown \"Transfer-Encoding\": \"gzip\""),
        ("A: b\r\n c\r\n", "upstream sent invalid header: \"\\x20...\""),
        ("A : b\r\n", "upstream sent invalid header: \"A\\x20...\""),
        ("A: \0b\r\n", "upstream sent invalid header: \"A: \\x00...\""),
    ] {
        let (result, _) = parse(format!("HTTP/1.1 200 OK\r\n{lines}").as_bytes());
        assert_eq!(result.map_err(|error| error.to_string()), Err(sentence.to_string()), "{lines:?}");
    }
}

#[test]
fn heads_tell_how_to_go_on() {
    let head = |status: u16, fields: &str| accepted(&format!("HTTP/1.1 {status} x\r\n{fields}\r\n"));
    assert!(!head(200, "Connection: foo, CLOSE\r\n").keep_alive);
    assert!(matches!(head(200, "").body(false, None), Decoder::UntilClose));
    assert!(matches!(head(200, "Content-Length: 5\r\n").body(false, None), Decoder::Length(5)));
    assert!(head(200, "Content-Length: 5\r\n").body(true, None).is_done());
    assert!(head(200, "Content-Length: 0\r\n").body(false, None).is_done());
    assert!(head(204, "Content-Length: 5\r\n").body(false, None).is_done());
    assert!(head(304, "Transfer-Encoding: chunked\r\n").body(false, None).is_done());
    assert!(matches!(head(200, "Transfer-Encoding: Chunked\r\n").body(false, None), Decoder::Chunked(_)));
    let switched = head(101, "Upgrade: websocket\r\nConnection: upgrade\r\n");
    assert!(switched.upgrade && !switched.keep_alive);
    // Early hints are not read: what they repeat is none of our business.
    assert_eq!(head(103, "Content-Length: x\r\nDate: a\r\nDate: b\r\n").fields.len(), 3);
}

#[test]
fn repeated_single_fields_are_ignored_and_status_lines_skipped() {
    let bytes = "HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nDate: a\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX_y: z\r\nDate: b\r\n\r\n";
    let head = accepted(bytes);
    let ids: Vec<Name> = head.fields.iter().map(|field| field.id).collect();
    assert_eq!(ids, [Name::Date, Name::SetCookie, Name::SetCookie, Name::Other]);
    assert_eq!(
        head.duplicates[0].sentence(bytes.as_bytes()),
        "upstream sent duplicate header line: \"Date: b\", previous value: \"Date: a\", ignored"
    );
}

proptest! {
    #[test]
    fn a_head_cut_anywhere_parses_as_the_whole(pieces in prop::collection::vec(prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 ", "103", " 200", "\r\n", "\n", "\r", "Date: x\r\n", "A: b \r\n", "HTTP/x\n",
        "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "\0", " ", "Connection: close\r\n", "HTTP/1.1 200 \0a\r\n",
    ]), 0..9)) {
        let text = pieces.concat();
        let (whole, whole_head) = parse(text.as_bytes());
        let (mut parser, mut head) = (ResponseParser::new(), ResponseHead::default());
        let mut result = Ok(false);
        for cut in 0..=text.len() {
            result = parser.parse(&text.as_bytes()[..cut], &mut head);
            if result != Ok(false) {
                break;
            }
        }
        prop_assert_eq!(&result, &whole);
        if result == Ok(true) {
            prop_assert_eq!(format!("{head:?}"), format!("{whole_head:?}"));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start: bool) {
        let head: &[u8] = if start { b"HTTP/1.1 200 OK\r\n" } else { b"" };
        let _ = parse(&[head, &bytes].concat());
    }
}
