//! What a client sends that is no request: whose fault it was stands in the error log.

use std::io::Write;

use crate::raw::{
    Connection, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, frame,
};
use crate::support::{Gateway, wait_for};

const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;

fn gateway(directives: &str) -> Gateway {
    Gateway::start_as(
        "daemon off; error_log error.log info; events {}",
        &format!(
            "http {{ http2 on; {directives} server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 ok; }}
              location /up {{ proxy_pass http://127.0.0.1:{{port}}/; }} }} }}"
        ),
        &[],
    )
}

/// The next frame is the reset of a stream: which, and why.
fn reset(client: &Connection) -> (u32, u32) {
    let (kind, stream, reason) = client.next();
    assert_eq!(kind, RST_STREAM);
    (stream, u32::from_be_bytes(reason[..].try_into().unwrap()))
}

/// Asks for what is answered.
fn get(client: &mut Connection, stream: u32) {
    client.stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, stream, GET)).unwrap();
    let (kind, of, _) = client.next();
    assert_eq!((kind, of), (HEADERS, stream));
}

/// How many lines of the log hold a text, all of them about this client.
fn lines(gateway: &Gateway, text: &str) -> usize {
    let log = gateway.log();
    let lines =
        log.lines().filter(|line| line.contains(text) && line.contains(", client: 127.0.0.1, server: "));
    lines.count()
}

#[test]
fn a_request_that_is_reset_is_logged_with_the_reason() {
    let gateway = gateway("");
    let mut client = Connection::open(&gateway);
    let malformed = [
        // What HTTP/1 says of a connection, no path, an authority that is none, a text as length.
        [GET, b"\x00\x0aconnection\x05close"].concat(),
        b"\x82\x86\x01\x09localhost".to_vec(),
        b"\x82\x86\x84\x01\x03a b".to_vec(),
        [GET, b"\x0f\x0d\x01a"].concat(),
    ];
    for (at, fields) in (0..).zip(&malformed) {
        let stream = 2 * at + 1;
        client.stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, stream, fields)).unwrap();
        assert_eq!(reset(&client), (stream, PROTOCOL_ERROR));
    }
    // A body that is longer than it says.
    let long = b"\x83\x86\x04\x03/up\x01\x09localhost\x0f\x0d\x011";
    client.stream.write_all(&frame(HEADERS, END_HEADERS, 9, long)).unwrap();
    client.stream.write_all(&frame(DATA, END_STREAM, 9, b"ab")).unwrap();
    assert_eq!(reset(&client), (9, PROTOCOL_ERROR));
    get(&mut client, 11);
    wait_for("all are logged", || lines(&gateway, "client sent malformed request: ") == 5);
    for reason in ["malformed header block", "malformed authority", "content-length overflow"] {
        assert_eq!(lines(&gateway, reason), 1, "{}", gateway.log());
    }
}

#[test]
fn a_connection_that_cannot_go_on_is_logged_with_the_reason() {
    // The length of a frame that does not come is not waited for.
    let mut promise = frame(PUSH_PROMISE, 0, 1, b"1234");
    promise.truncate(9);
    let cases = [
        (promise, PROTOCOL_ERROR, "client sent PUSH_PROMISE frame"),
        (frame(GOAWAY, 0, 0, b""), FRAME_SIZE_ERROR, "client sent GOAWAY frame with incorrect length 0"),
        (frame(PING, 0, 0, b"short"), FRAME_SIZE_ERROR, "client sent PING frame with incorrect length 5"),
        (
            frame(PING, 0, 1, b"8 octets"),
            PROTOCOL_ERROR,
            "client sent malformed frame: failed to load PING frame",
        ),
    ];
    for (bytes, reason, sentence) in cases {
        let gateway = gateway("");
        let mut client = Connection::open(&gateway);
        client.stream.write_all(&bytes).unwrap();
        wait_for(sentence, || lines(&gateway, sentence) == 1);
        assert_eq!(lines(&gateway, "client sent "), 1, "{}", gateway.log());
        assert_eq!(client.farewells(), [reason], "{sentence}");
    }
}

#[test]
fn a_head_that_takes_too_long_is_reset_when_it_is_complete() {
    let gateway = gateway("client_header_timeout 50ms;");
    let mut client = Connection::open(&gateway);
    let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
    client.stream.write_all(&head[..12]).unwrap();
    wait_for("it is logged", || lines(&gateway, "client timed out") == 1);
    client.stream.write_all(&head[12..]).unwrap();
    assert_eq!(reset(&client), (1, PROTOCOL_ERROR));
    get(&mut client, 3);
}

#[test]
fn a_head_that_is_never_complete_ends_the_connection() {
    let gateway = gateway("client_header_timeout 50ms; keepalive_timeout 50ms;");
    let mut client = Connection::open(&gateway);
    client.stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).unwrap();
    wait_for("it is logged", || lines(&gateway, "client timed out") == 2);
    assert_eq!(client.farewells(), [PROTOCOL_ERROR]);
}
