//! The records that responses leave in.

use std::io::{Read, Write};

use rustls::crypto::aws_lc_rs;

use crate::authority::self_signed;
use crate::client::Client;
use crate::support::{BEGINNING, Gateway};

/// What TLS 1.2 adds to a record with AES-GCM or ChaCha20-Poly1305, at most, in bytes (RFC 5288, 3).
const SEAL: usize = 24;

/// The lengths of the records that an answer comes in, without their five bytes.
fn lengths(port: u16) -> Vec<usize> {
    let client = Client::with(&[&rustls::version::TLS12], aws_lc_rs::default_provider(), None);
    let mut connection = client.connect(port, "one.test").unwrap();
    connection.write_all(b"GET /big.txt HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    connection.sock.read_to_end(&mut bytes).unwrap();
    let mut rest = &*bytes;
    let mut lengths = Vec::new();
    while let [kind, _, _, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // Application data; goodbye is an alert.
        if *kind == 23 {
            lengths.push(length);
        }
        rest = &behind[length..];
    }
    lengths
}

#[test]
fn a_record_holds_no_more_than_ssl_buffer_size() {
    let one = self_signed("one.test");
    let big = "x".repeat(60_000);
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key; root .;
        server { listen 127.0.0.1:{port} ssl; ssl_buffer_size 4k; }
        server { listen 127.0.0.1:{port2} ssl; }
    }"#;
    let files = [("one.crt", &*one.certificate), ("one.key", &one.key), ("big.txt", &big)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let (small, usual) = (lengths(gateway.port), lengths(gateway.port2));
    assert!(small.iter().all(|length| *length <= 4096 + SEAL), "{small:?}");
    assert!(small.contains(&(4096 + SEAL)) || small.contains(&(4096 + SEAL - 8)), "{small:?}");
    assert!(usual.iter().any(|length| *length > 4096 + SEAL), "{usual:?}");
    assert!(small.iter().sum::<usize>() > 60_000 && usual.iter().sum::<usize>() > 60_000);
}
