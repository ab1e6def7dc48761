//! What a stream's fields become as the head of a request.

use proptest::prelude::*;
use wire::h1::{Decoder, Limits, Method, RequestHead, RequestParser, Version};
use wire::h2::{Pseudo, RequestError, request};

const GET: Pseudo<'static> =
    Pseudo { method: Some(b"GET"), scheme: Some(b"http"), authority: Some(b"example.com"), path: Some(b"/") };

type Fields<'a> = &'a [(&'a str, &'a str)];

fn read(pseudo: &Pseudo<'_>, fields: Fields<'_>, ends: bool) -> Result<(RequestHead, Vec<u8>), RequestError> {
    let (mut head, mut bytes) = (RequestHead::default(), Vec::new());
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    request(pseudo, fields, ends, &Limits::default(), &mut head, &mut bytes)?;
    Ok((head, bytes))
}

fn refused(pseudo: &Pseudo<'_>, fields: Fields<'_>) -> String {
    read(pseudo, fields, true).expect_err("it is refused").to_string()
}

#[test]
fn a_head_reads_as_one_of_http1() {
    let path = Pseudo { path: Some(b"/a/../b%20c?d=e"), ..GET };
    let (head, bytes) = read(&path, &[("x-one", "1"), ("x-two", "")], true).unwrap();
    let expected = "GET /a/../b%20c?d=e HTTP/2.0\r\nx-one: 1\r\nx-two: \r\nhost: example.com\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
    assert_eq!(head.line.of(&bytes), b"GET /a/../b%20c?d=e HTTP/2.0");
    assert_eq!((head.method, head.version), (Method::Get, Version::Http20));
    assert_eq!((head.uri(&bytes), head.query.unwrap().of(&bytes)), (&b"/b c"[..], &b"d=e"[..]));
    assert_eq!(head.protocol.of(&bytes), b"HTTP/2.0");
    assert_eq!(head.host.unwrap().of(&bytes), b"example.com");
    assert_eq!(head.head_len as usize, bytes.len());
    assert!(head.body().is_done() && !head.keep_alive());
}

#[test]
fn cookies_become_one_field() {
    let (head, bytes) = read(&GET, &[("cookie", "a=b"), ("x-one", "1"), ("cookie", "c=d")], true).unwrap();
    let cookies: Vec<_> = head.fields.iter().filter(|f| f.id == wire::Name::Cookie).collect();
    assert_eq!(cookies.len(), 1);
    assert_eq!(cookies[0].value.of(&bytes), b"a=b; c=d");
}

#[test]
fn a_body_ends_where_its_length_or_its_stream_does() {
    let body = |fields, ends| read(&GET, fields, ends).unwrap().0.body();
    assert!(matches!(body(&[("content-length", "3")], false), Decoder::Length(3)));
    assert!(matches!(body(&[], false), Decoder::UntilClose));
    assert!(matches!(body(&[("content-length", "0")], true), Decoder::None));
    assert_eq!(refused(&GET, &[("content-length", "3")]), "client prematurely closed stream");
}

#[test]
fn what_is_no_request_is_refused() {
    for (pseudo, sentence) in [
        (Pseudo { method: None, ..GET }, "client sent no :method header"),
        (Pseudo { method: Some(b"get"), ..GET }, "client sent invalid method: \"get\""),
        (Pseudo { scheme: None, ..GET }, "client sent no :scheme header"),
        (Pseudo { scheme: Some(b"1"), ..GET }, "client sent invalid :scheme header: \"1\""),
        (Pseudo { path: None, ..GET }, "client sent no :path header"),
        (Pseudo { path: Some(b""), ..GET }, "client sent empty :path header"),
        (Pseudo { path: Some(b"*"), ..GET }, "client sent invalid :path header: \"*\""),
        (Pseudo { path: Some(b"/a b"), ..GET }, "client sent invalid :path header: \"/a b\""),
        (Pseudo { path: Some(b"/../a"), ..GET }, "client sent invalid :path header: \"/../a\""),
        (Pseudo { authority: Some(b""), ..GET }, "client sent invalid \":authority\" header"),
        (Pseudo { authority: None, ..GET }, "client sent neither \":authority\" nor \"Host\" header"),
        (Pseudo { method: Some(b"CONNECT"), ..GET }, "client sent CONNECT method"),
        (Pseudo { method: Some(b"TRACE"), ..GET }, "client sent TRACE method"),
    ] {
        assert_eq!(refused(&pseudo, &[]), sentence);
    }
    let different = "client sent \":authority\" and \"Host\" headers with different values";
    for (fields, sentence) in [
        (&[("X-One", "1")][..], "client sent invalid header name: \"X-One\""),
        (&[("", "1")], "client sent invalid header name: \"\""),
        (&[("x:one", "1")], "client sent invalid header name: \"x:one\""),
        (&[("x-one", "1\n2")], "client sent header \"x-one\" with invalid value: \"1\n2\""),
        (&[("connection", "close")], "client sent \"Connection\" header"),
        (&[("transfer-encoding", "chunked")], "client sent \"Transfer-Encoding\" header"),
        (&[("upgrade", "h2c")], "client sent \"Upgrade\" header"),
        (&[("te", "gzip")], "client sent invalid \"TE\" header"),
        (&[("te", "trailers"), ("te", "trailers")], "client sent invalid \"TE\" header"),
        (&[("host", "other.example.com")], different),
        (&[("content-length", "1x")], "client sent invalid \"Content-Length\" header"),
        (
            &[("authorization", "a"), ("authorization", "b")],
            "client sent duplicate header line: \"authorization: b\", previous value: \"authorization: a\"",
        ),
    ] {
        assert_eq!(refused(&GET, fields), sentence);
    }
}

#[test]
fn a_head_has_bounds() {
    let long = "x".repeat(8193);
    let error = read(&GET, &[("x-one", &long)], true).unwrap_err();
    assert!(error == RequestError::TooLargeField && error.ends_connection());
    let half = "x".repeat(8000);
    let many = vec![("x-one", half.as_str()); 5];
    assert_eq!(read(&GET, &many, true).unwrap_err(), RequestError::TooLarge);
    let many = vec![("x-one", ""); 1001];
    let error = read(&GET, &many, true).unwrap_err();
    assert_eq!((error.status(), error.ends_connection()), (494, false));
}

#[test]
fn odd_names_are_left_out() {
    let (head, bytes) = read(&GET, &[("x_one", "1"), ("x-two", "2")], true).unwrap();
    assert_eq!(head.ignored[0].of(&bytes), b"x_one");
    let names: Vec<_> = head.fields.iter().map(|f| f.name.of(&bytes)).collect();
    assert_eq!(names, [&b"x-two"[..], b"host"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_accepted_reads_the_same_in_http1(
        path in "/[a-z/.%?#@2e ]{0,9}",
        authority in prop::option::of("[a-zA-Z0-9.:\\[\\]]{1,9}"),
        fields in prop::collection::vec(
            ("[a-z_A-Z: -]{0,6}|cookie|te|host|content-length|connection", "[ -~\u{0}\u{1}\u{7f}\t\n\r\u{e9}]{0,8}|[0-9]{0,9}|trailers"),
            0..6,
        ),
        ends: bool,
    ) {
        let authority = authority.as_ref().map(String::as_bytes);
        let pseudo = Pseudo { path: Some(path.as_bytes()), authority, ..GET };
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let Ok((head, bytes)) = read(&pseudo, &fields, ends) else { return Ok(()) };
        let mut text = bytes[..head.head_len as usize].to_vec();
        let version = head.protocol.start as usize;
        text[version..version + 8].copy_from_slice(b"HTTP/1.1");
        let mut same = RequestHead::default();
        prop_assert_eq!(RequestParser::new().parse(&text, &Limits::default(), &mut same), Ok(true));
        prop_assert_eq!(same.head_len, head.head_len);
        prop_assert_eq!(same.uri(&text), head.uri(&bytes));
        let listed = |head: &RequestHead, bytes: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
            let fields = head.fields.iter();
            fields.map(|f| (f.name.of(bytes).to_vec(), f.value.of(bytes).trim_ascii().to_vec())).collect()
        };
        prop_assert_eq!(listed(&same, &text), listed(&head, &bytes));
    }
}
