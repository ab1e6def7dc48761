//! Request heads, lenient and hostile: each answer is what nginx 1.31's sources say, or stricter where it says so.

use proptest::prelude::*;
use wire::h1::{Connection, Limits, Method, RequestError, RequestHead, RequestParser, Version};
use wire::{Name, Range};

fn parse(bytes: &[u8], limits: &Limits) -> (Result<bool, RequestError>, RequestHead) {
    let mut head = RequestHead::default();
    let result = RequestParser::new().parse(bytes, limits, &mut head);
    (result, head)
}

/// The status and sentence of a refused request, or none.
fn refused(bytes: &str) -> Option<(u16, String)> {
    parse(bytes.as_bytes(), &Limits::default()).0.err().map(|error| (error.status(), error.to_string()))
}

fn accepted(bytes: &str) -> RequestHead {
    let (result, head) = parse(bytes.as_bytes(), &Limits::default());
    assert_eq!(result, Ok(true), "{bytes:?}");
    head
}

#[test]
fn request_lines_are_refused_with_nginx_sentences() {
    const METHOD: &str = "client sent invalid method";
    const REQUEST: &str = "client sent invalid request";
    const VERSION: &str = "client sent invalid version";
    for (line, status, sentence) in [
        ("get / HTTP/1.1\r\n", 400, METHOD),
        ("GeT", 400, METHOD),
        ("\x16\x03\x01", 400, METHOD),
        (" GET / HTTP/1.1\r\n", 400, METHOD),
        ("G\0T", 400, METHOD),
        ("GET\t/", 400, METHOD),
        ("GET\r\n", 400, METHOD),
        ("GET *", 400, REQUEST),
        ("OPTIONS * HTTP/1.1\r\n", 400, REQUEST),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, REQUEST),
        ("GET \t/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET ?x HTTP/1.1\r\n", 400, REQUEST),
        ("GET /\t", 400, REQUEST),
        ("GET /a\0b", 400, REQUEST),
        ("GET /a\x7fb", 400, REQUEST),
        ("GET /?\x01", 400, REQUEST),
        ("GET /\rX", 400, REQUEST),
        ("GET / X", 400, REQUEST),
        ("GET / a HTTP/1.1\r\n", 400, REQUEST),
        ("GET / http/1.1\r\n", 400, REQUEST),
        ("GET / HTTX", 400, REQUEST),
        ("GET / HTTP/0.9\r\n", 400, REQUEST),
        ("GET / HTTP/.1\r\n", 400, REQUEST),
        ("GET / HTTP/1.\r\n", 400, REQUEST),
        ("GET / HTTP/1\r\n", 400, REQUEST),
        ("GET / HTTP/1.1111\r\n", 400, REQUEST),
        ("GET / HTTP/1.1x", 400, REQUEST),
        ("GET / HTTP/1.1 x", 400, REQUEST),
        ("GET / HTTP/1.1\rx", 400, REQUEST),
        ("GET / HTTP/1.1\r\r", 400, REQUEST),
        ("GET / HTTP/2", 505, VERSION),
        ("GET / HTTP/9.9\r\n", 505, VERSION),
        ("GET / HTTP/10.1\r\n", 505, VERSION),
        ("GET http:/x", 400, REQUEST),
        ("GET ht_tp://x/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET http://a@b/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET http://a_b/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET http://a:8x/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET http://a#b HTTP/1.1\r\n", 400, REQUEST),
        ("GET http://a\r\n", 400, REQUEST),
        ("GET http://[::1/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET http://[::1]x/ HTTP/1.1\r\n", 400, REQUEST),
        ("GET http:///x HTTP/1.1\r\n", 400, "client sent invalid host in request line"),
        ("GET http://a..b/x HTTP/1.1\r\n", 400, "client sent invalid host in request line"),
        ("GET http://a:65536/x HTTP/1.1\r\n", 400, "client sent invalid host in request line"),
        ("POST /\r\n", 400, "client sent invalid method in HTTP/0.9 request"),
        ("CONNECT a HTTP/1.1\r\n", 400, REQUEST),
        ("CONNECT a: HTTP/1.1\r\n", 400, REQUEST),
        ("CONNECT a:80/ HTTP/1.1\r\n", 400, REQUEST),
        ("CONNECT / HTTP/1.1\r\n", 400, REQUEST),
    ] {
        assert_eq!(refused(line), Some((status, sentence.to_string())), "{line:?}");
    }
}

#[test]
fn fields_are_refused_with_nginx_sentences() {
    const LENGTH: &str = "client sent invalid \"Content-Length\" header";
    const HOST: &str = "client sent invalid host header";
    let duplicate = |name: &str| {
        format!("client sent duplicate header line: \"{name}: b\", previous value: \"{name}: a\"")
    };
    let mut rows = vec![
        ("Host : a\r\n", 400, r#"client sent invalid header line: "Host\x20...""#.to_string()),
        ("Host: a\r\n folded\r\n", 400, r#"client sent invalid header line: "\x20...""#.to_string()),
        ("Host: a\r\n\tfolded\r\n", 400, r#"client sent invalid header line: "\x09...""#.to_string()),
        (": a\r\n", 400, r#"client sent invalid header line: "\x3a...""#.to_string()),
        ("A\tb: c\r\n", 400, r#"client sent invalid header line: "A\x09...""#.to_string()),
        ("A\0: c\r\n", 400, r#"client sent invalid header line: "A\x00...""#.to_string()),
        ("A: b\0c\r\n", 400, r#"client sent invalid header line: "A: b\x00...""#.to_string()),
        ("A: b\rC: d\r\n", 400, r#"client sent invalid header line: "A: b\x0d...""#.to_string()),
        ("A: b \rC: d\r\n", 400, r#"client sent invalid header line: "A: b\x20...""#.to_string()),
        ("\rX", 400, r#"client sent invalid header line: "\x0d...""#.to_string()),
        ("\r\n", 400, "client sent HTTP/1.1 request without \"Host\" header".to_string()),
        ("Host:\r\n", 400, HOST.to_string()),
        ("Host:\ta\r\n", 400, HOST.to_string()),
        ("Host: a\t\r\n", 400, HOST.to_string()),
        ("Host: a/b\r\n", 400, HOST.to_string()),
        ("Host: a, b\r\n", 400, HOST.to_string()),
        (
            "Host: a\r\nhost: a\r\n",
            400,
            "client sent duplicate host header: \"host: a\", previous value: \"Host: a\"".to_string(),
        ),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "\"gzip, chunked\"".to_string()),
        ("Host: a\r\nTransfer-Encoding:\tchunked\r\n\r\n", 501, "\"\tchunked\"".to_string()),
        ("Host: a\r\nTransfer-Encoding: identity\r\n\r\n", 501, "\"identity\"".to_string()),
        ("Host: a\r\nTransfer-Encoding:\r\n\r\n", 501, "\"\"".to_string()),
        (
            "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time".to_string(),
        ),
    ];
    for value in
        ["", "-1", "+5", "5, 5", "5 5", "0x5", "\t5", "9223372036854775808", "99999999999999999999999"]
    {
        let line = format!("Host: a\r\nContent-Length: {value}\r\n\r\n");
        rows.push((line.leak(), 400, LENGTH.to_string()));
    }
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Expect",
        "Authorization",
        "Proxy-Authorization",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "If-Range",
        "Content-Range",
    ] {
        rows.push((format!("{name}: a\r\n{name}: b\r\n").leak(), 400, duplicate(name)));
    }
    for (lines, status, sentence) in rows {
        let (got, said) =
            refused(&format!("GET / HTTP/1.1\r\n{lines}")).unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(got, status, "{lines:?}");
        let sentence = if status == 501 {
            format!("client sent unknown \"Transfer-Encoding\": {sentence}")
        } else {
            sentence
        };
        assert_eq!(said, sentence, "{lines:?}");
    }
}

#[test]
fn methods_and_versions_have_their_own_refusals() {
    for (request, status, sentence) in [
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "client sent TRACE method"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "client sent CONNECT method"),
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "client sent HTTP/1.0 request with \"Transfer-Encoding\" header",
        ),
    ] {
        assert_eq!(refused(request), Some((status, sentence.to_string())), "{request:?}");
    }
    let limits = Limits { allow_connect: true, ..Limits::default() };
    let connect = |rest: &str| parse(format!("CONNECT a:1 {rest}").as_bytes(), &limits).0;
    assert_eq!(connect("HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(true));
    assert_eq!(connect("HTTP/1.0\r\n\r\n"), Err(RequestError::Connect));
    assert_eq!(connect("HTTP/1.2\r\nHost: a\r\n\r\n"), Err(RequestError::Connect));
    let with_body = connect("HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(with_body, Err(RequestError::ConnectWithBody));
}

#[test]
fn targets_are_taken_apart() {
    // target, path, query, authority, plain
    for (line, target, path, query, authority, plain) in [
        ("/", "/", "/", None, None, true),
        ("/a/b.c?d=/../e", "/a/b.c?d=/../e", "/a/b.c", Some("d=/../e"), None, true),
        ("/a?", "/a?", "/a", Some(""), None, true),
        ("/a%20b", "/a%20b", "/a%20b", None, None, false),
        ("/a?%20", "/a?%20", "/a", Some("%20"), None, true),
        ("//a", "//a", "//a", None, None, false),
        ("/a//b", "/a//b", "/a//b", None, None, false),
        ("/.a", "/.a", "/.a", None, None, false),
        ("/a/../b", "/a/../b", "/a/../b", None, None, false),
        ("/a.b./c", "/a.b./c", "/a.b./c", None, None, true),
        ("/a#b?c", "/a#b?c", "/a", None, None, false),
        ("/a?b#c", "/a?b#c", "/a", Some("b"), None, true),
        ("/a\u{e9}", "/a\u{e9}", "/a\u{e9}", None, None, true),
        ("http://h", "/", "/", None, Some("h"), true),
        ("http://h?q", "?q", "/", Some("q"), Some("h"), true),
        ("hTTps://H.x:80/p?q", "/p?q", "/p", Some("q"), Some("H.x:80"), true),
        ("x+y-1.0://[::1]:/p", "/p", "/p", None, Some("[::1]:"), true),
    ] {
        let bytes = format!("GET  {line}  HTTP/1.1  \r\nHost: f\r\n\r\n");
        let head = accepted(&bytes);
        let text = |range: Range| std::str::from_utf8(range.of(bytes.as_bytes())).unwrap();
        assert_eq!(text(head.target), target, "{line}");
        assert_eq!(text(head.path), path, "{line}");
        assert_eq!(head.query.map(text), query, "{line}");
        assert_eq!(head.authority.map(text), authority, "{line}");
        assert_eq!(head.plain_path, plain, "{line}");
        assert_eq!(head.server_host().map(text), authority.or(Some("f")), "{line}");
        assert_eq!(text(head.line), format!("GET  {line}  HTTP/1.1  "));
    }
}

#[test]
fn lenient_requests_are_accepted() {
    let bytes = "\r\n\n\rM-SEARCH_ /x HTTP/1.2\nHost: a.b:80\nnocolon\r\nA:  b  c  \r\r\nE:\r\n\nnext";
    let head = accepted(bytes);
    let text = |range: Range| std::str::from_utf8(range.of(bytes.as_bytes())).unwrap();
    assert_eq!((head.method, text(head.method_text)), (Method::Other, "M-SEARCH_"));
    assert_eq!((head.version, text(head.protocol)), (Version::Http11, "HTTP/1.2"));
    assert_eq!(&bytes[head.head_len as usize..], "next");
    let fields: Vec<_> = head.fields.iter().map(|field| (text(field.name), text(field.value))).collect();
    assert_eq!(fields, [("Host", "a.b:80"), ("nocolon", ""), ("A", "b  c"), ("E", "")]);

    for (line, version) in [
        ("GET /x\r\n", Version::Http09),
        ("GET /x\n", Version::Http09),
        ("GET /x \r\n", Version::Http09),
        ("GET http://h \n", Version::Http09),
        ("GET / HTTP/1.0\r\n\r\n", Version::Http10),
        ("GET / HTTP/1.00\r\n\r\n", Version::Http10),
        ("GET / HTTP/1.999\r\nHost: a\r\n\r\n", Version::Http11),
    ] {
        let head = accepted(line);
        assert_eq!((head.version, head.head_len as usize), (version, line.len()), "{line:?}");
        assert!(!head.keep_alive() || version == Version::Http11);
    }
}

#[test]
fn the_connection_and_the_body_are_told() {
    let head = |fields: &str| accepted(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert!(head("").keep_alive());
    assert!(!head("Connection: Close\r\n").keep_alive());
    assert!(!head("Connection: keep-alive, close\r\n").keep_alive());
    assert_eq!(head("Connection: close\r\nConnection: keep-alive\r\n").connection, Connection::KeepAlive);
    let old = accepted("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert!(old.keep_alive());
    let upgrade = head("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
    assert!(upgrade.connection_upgrade && upgrade.upgrade.is_some() && upgrade.keep_alive());
    assert!(head("Expect: 100-Continue\r\n").expect_continue);
    assert!(!head("Expect: 200\r\n").expect_continue);
    assert!(!accepted("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
    assert_eq!(head("Content-Length:  007 \r\n").content_length, Some(7));
    assert_eq!(head("Content-Length: 9223372036854775807\r\n").content_length, Some(i64::MAX as u64));
    let chunked = head("transfer-encoding: CHUNKED\r\n");
    assert!(chunked.chunked && chunked.content_length.is_none() && !chunked.body().is_done());
}

#[test]
fn odd_names_are_left_out_or_passed_on() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nA_b: 1 \r\nC\xe9: 2\r\nContent_Length: 5\r\nD/e: 3\r\n\r\n";
    let names = |limits: Limits| {
        let (result, head) = parse(bytes, &limits);
        assert_eq!(result, Ok(true));
        (head.fields.len(), head.ignored.iter().map(|line| RequestHead::ignored_line(*line, bytes)).collect())
    };
    let (fields, ignored): (usize, Vec<String>) = names(Limits::default());
    assert_eq!((fields, ignored.len()), (1, 4));
    assert_eq!(ignored[0], "client sent invalid header line: \"A_b: 1\"");
    assert_eq!(names(Limits { underscores: true, ..Limits::default() }).0, 3);
    assert_eq!(names(Limits { ignore_invalid: false, ..Limits::default() }).0, 5);
}

#[test]
fn heads_fit_the_buffers_nginx_would_fill() {
    let limits = Limits { header_buffer: 64, large_buffers: 2, large_size: 100, ..Limits::default() };
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(len - 16));
    let field = |len: usize| format!("A: {}\r\n", "b".repeat(len - 5));
    let status = |text: &str| match parse(text.as_bytes(), &limits).0 {
        Ok(_) => 0,
        Err(error) => error.status(),
    };
    // The request line: first buffer, one large buffer, none.
    assert_eq!(status(&(line(64) + "Host: a\r\n\r\n")), 0);
    assert_eq!(status(&(line(100) + "Host: a\r\n\r\n")), 0);
    assert_eq!(status(&line(101)), 414);
    assert_eq!(status(&line(101)[..100]), 414);
    assert_eq!(status(&line(100)[..99]), 0);
    // A field that does not fit the rest of a buffer takes a new one as a whole.
    let start = line(40) + "Host: a\r\n";
    assert_eq!(status(&(start.clone() + &field(15) + "\r\n")), 0);
    assert_eq!(status(&(start.clone() + &field(100) + "\r\n")), 0);
    assert_eq!(status(&(start.clone() + &field(101))), 494);
    assert_eq!(status(&(start.clone() + &field(60) + &field(60) + "\r\n")), 0);
    assert_eq!(status(&(start.clone() + &field(60) + &field(60) + &field(60))), 494);
    let long = parse((start.clone() + &field(101)).as_bytes(), &limits).0.unwrap_err();
    assert_eq!(long.to_string(), format!("client sent too long header line: \"A: {}\r...\"", "b".repeat(96)));
    assert!(long.lingers());
    // The line fills the buffer and the next needs one that is not there.
    let none = Limits { large_buffers: 0, ..limits };
    assert_eq!(parse(line(64).as_bytes(), &none).0, Err(RequestError::TooLargeRequest));

    let few = Limits { max_headers: 2, ..Limits::default() };
    let head = "GET / HTTP/1.1\r\nHost: a\r\nB_c: ignored\r\nD: e\r\n";
    assert_eq!(parse(format!("{head}\r\n").as_bytes(), &few).0, Ok(true));
    assert_eq!(parse(format!("{head}F: g\r\n").as_bytes(), &few).0, Err(RequestError::TooManyFields));
    // Empty lines before a request are not endless: stricter than nginx.
    assert_eq!(parse(&[b'\n'; 65], &limits).0, Err(RequestError::InvalidRequest));
    let behind = |lines: usize| "\n".repeat(lines) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(behind(64).as_bytes(), &limits).0, Ok(true));
    // Also when the request has come together with them.
    assert_eq!(parse(behind(65).as_bytes(), &limits).0, Err(RequestError::InvalidRequest));
}

#[test]
fn a_broken_request_line_is_there_for_the_log() {
    for (bytes, line) in [
        ("\r\nGET / HTTP/9\r\nHost: a\r\n", "GET / HTTP/9"),
        ("\x16\x03\x01", "\x16\x03\x01"),
        ("POST /\r\n", "POST /"),
        ("GET http://a..b/ HTTP/1.1\r\n", "GET http://a..b/ HTTP/1.1"),
    ] {
        let (result, head) = parse(bytes.as_bytes(), &Limits::default());
        assert!(result.is_err());
        assert_eq!(head.line.of(bytes.as_bytes()), line.as_bytes());
    }
}

#[test]
fn a_parser_and_a_head_serve_the_next_request_after_a_reset() {
    let (mut parser, mut head) = (RequestParser::new(), RequestHead::default());
    let first =
        b"POST /a?b HTTP/1.1\r\nHost: a\r\nA_b: c\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(parser.parse(first, &Limits::default(), &mut head), Ok(true));
    parser.reset();
    assert!(!parser.begun());
    let second = b"GET / HTTP/1.0\r\n\r\n";
    assert_eq!(parser.parse(second, &Limits::default(), &mut head), Ok(true));
    assert_eq!(format!("{head:?}"), format!("{:?}", parse(second, &Limits::default()).1));
    assert!(head.field(Name::Host).is_none());
}

/// Pieces that make requests nearly right.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET ",
        "POST ",
        "CONNECT ",
        "/",
        "/a/../b%20?c#d",
        "http://",
        "h:80",
        "[::1]",
        " ",
        "HTTP/1.1",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "\r\n",
        "\n",
        "\r",
        "Host: a\r\n",
        "Host",
        ":",
        "Content-Length: 5\r\n",
        "\0",
        "\t",
        "A_b: c\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Upgrade: x\r\n",
        "Expect: 100-continue\r\n",
        "/x",
        "TRACE ",
        "HTTP/2.0\r\n",
        "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
        "é",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Also proves that nothing panics.
    #[test]
    fn a_head_cut_anywhere_parses_as_the_whole(
        begin in prop::sample::select(vec!["", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\nPOST http://h/ HTTP/1.1\r\n"]),
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        every: bool,
        small: bool,
    ) {
        let text = begin.to_string() + &pieces.concat();
        let bytes = text.as_bytes();
        let limits = if small {
            Limits { header_buffer: 32, large_buffers: 1, large_size: 64, max_headers: 3, ..Limits::default() }
        } else {
            Limits::default()
        };
        let (whole, whole_head) = parse(bytes, &limits);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        if every {
            cuts = (0..bytes.len()).collect();
        }
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let (mut parser, mut head) = (RequestParser::new(), RequestHead::default());
        let mut result = Ok(false);
        for cut in cuts {
            result = parser.parse(&bytes[..cut], &limits, &mut head);
            if result != Ok(false) {
                break;
            }
        }
        match (&whole, &result) {
            // How much of the long line is logged depends on how much had arrived.
            (Err(RequestError::TooLongField(_) | RequestError::TooLargeRequest), Err(error)) => {
                prop_assert_eq!(error.status(), 494);
            }
            (Err(_), _) => prop_assert_eq!(&result, &whole),
            _ => {
                prop_assert_eq!(&result, &whole);
                prop_assert_eq!(format!("{head:?}"), format!("{whole_head:?}"));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, &Limits::default());
        let _ = parse(&bytes, &Limits { header_buffer: 0, large_size: 0, large_buffers: 9, ..Limits::default() });
    }
}
