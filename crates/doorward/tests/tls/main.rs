//! TLS with clients: handshakes, names, what becomes of those that do not speak it, and sessions.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

mod authority;
mod client;
mod clients;
mod early;
#[allow(dead_code, reason = "each test uses its part of it")]
#[path = "../side_by_side/names.rs"]
mod names;
mod negotiation;
mod ocsp;
#[allow(dead_code, reason = "each test uses its part of it")]
#[path = "../side_by_side/oracle.rs"]
mod oracle;
mod records;
#[path = "../support/service.rs"]
mod service;
mod sessions;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use rustls::crypto::aws_lc_rs;

use authority::{self_signed, self_signed_rsa};
use client::{Client, ask, body};
use support::{BEGINNING, Gateway, beginning_as_nobody, send, wait_for};

/// The common name of a server's certificate.
fn shown(client: &Client, port: u16, name: &str) -> String {
    let connection = client.connect(port, name).unwrap();
    let certificate = connection.conn.peer_certificates().unwrap()[0].to_vec();
    // Names are short strings of their own in the certificate's bytes.
    let text = String::from_utf8_lossy(&certificate).into_owned();
    let names = ["one.test", "two.test", "three.test"];
    names.into_iter().find(|name| text.contains(name)).unwrap_or("another").to_owned()
}

#[test]
fn the_name_chooses_certificate_and_server() {
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl; server_name one.test; return 200 "one $scheme $https $ssl_server_name"; }
        server { listen 127.0.0.1:{port}; server_name two.test *.two.test; return 200 "two $ssl_server_name";
                 ssl_certificate two.crt; ssl_certificate_key two.key; }
        server { listen 127.0.0.1:{port}; server_name rejected.test; ssl_reject_handshake on; }
    }"#;
    let files = [
        ("one.crt", &*one.certificate),
        ("one.key", &one.key),
        ("two.crt", &two.certificate),
        ("two.key", &two.key),
    ];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let client = Client::new();
    assert_eq!(body(&client.get(gateway.port, "one.test", "/")), "one https on one.test");
    assert_eq!(body(&client.get(gateway.port, "two.test", "/")), "two two.test");
    assert_eq!(body(&client.get(gateway.port, "a.two.test", "/")), "two a.two.test");
    assert_eq!(body(&client.get(gateway.port, "unknown.test", "/")), "one https on unknown.test");
    assert_eq!(shown(&client, gateway.port, "one.test"), "one.test");
    assert_eq!(shown(&client, gateway.port, "b.two.test"), "two.test");
    assert_eq!(shown(&client, gateway.port, "unknown.test"), "one.test");
    let refused = client.get(gateway.port, "rejected.test", "/").unwrap_err();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    gateway.says("handshake rejected while SSL handshaking, client: 127.0.0.1");
}

#[test]
fn a_client_gets_the_certificate_that_it_can_check() {
    let (rsa, ecdsa) = (self_signed_rsa("one.test"), self_signed("two.test"));
    let http = r#"http {
        ssl_certificate rsa.crt; ssl_certificate_key rsa.key;
        ssl_certificate ecdsa.crt; ssl_certificate_key ecdsa.key;
        server { listen 127.0.0.1:{port} ssl; return 200 "$ssl_protocol $ssl_cipher $ssl_curve"; }
    }"#;
    let files = [
        ("rsa.crt", &*rsa.certificate),
        ("rsa.key", &rsa.key),
        ("ecdsa.crt", &ecdsa.certificate),
        ("ecdsa.key", &ecdsa.key),
    ];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let with = |suites: &[rustls::SupportedCipherSuite]| {
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: suites.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        Client::with(&[&rustls::version::TLS12], provider, None)
    };
    use aws_lc_rs::cipher_suite::*;
    let of_rsa = || with(&[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]);
    let of_ecdsa = with(&[TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]);
    assert_eq!(shown(&of_rsa(), gateway.port, "one.test"), "one.test");
    assert_eq!(shown(&of_ecdsa, gateway.port, "one.test"), "two.test");
    assert_eq!(
        body(&of_rsa().get(gateway.port, "one.test", "/")),
        "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 X25519"
    );
    let modern = Client::new();
    let answer = modern.get(gateway.port, "one.test", "/");
    assert!(body(&answer).starts_with("TLSv1.3 TLS_AES_256_GCM_SHA384 X25519"), "{answer:?}");
}

#[test]
fn who_speaks_no_tls_is_told_so() {
    let pair = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl; return 200 "in"; }
        server { listen 127.0.0.1:{port2} ssl; error_page 497 =301 https://$host$request_uri; return 200 "in"; }
    }"#;
    let files = [("one.crt", &*pair.certificate), ("one.key", &pair.key)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let plain = gateway.get("/", "");
    assert_eq!(plain.status, 400);
    assert!(plain.body.contains("The plain HTTP request was sent to HTTPS port"), "{plain:?}");
    gateway.says("client sent plain HTTP request to HTTPS port");
    let moved = support::get(gateway.port2, "/a?b", "");
    assert_eq!((moved.status, moved.field("Location")), (301, Some("https://localhost/a?b")));
    // Something that begins like TLS and is none.
    assert_eq!(send(gateway.port, "\u{16}\u{3}\u{1}\0\u{5}hello").status, 0);
    gateway.says("SSL_do_handshake() failed (SSL: error:0A0000");
}

#[test]
fn a_client_that_takes_its_time_is_not_waited_for() {
    let pair = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key; client_header_timeout 200ms;
        server { listen 127.0.0.1:{port} ssl; return 200 "in"; }
    }"#;
    let files = [("one.crt", &*pair.certificate), ("one.key", &pair.key)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    socket.write_all(&[22, 3, 1]).unwrap();
    assert_eq!(socket.read(&mut [0; 16]).unwrap_or(0), 0);
    gateway.says("client timed out (110: Connection timed out) while SSL handshaking");
}

#[test]
fn the_proxy_before_it_speaks_first() {
    let pair = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl proxy_protocol; return 200 "$proxy_protocol_addr $scheme"; }
    }"#;
    let files = [("one.crt", &*pair.certificate), ("one.key", &pair.key)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n").unwrap();
    let mut connection = Client::new().over(socket, "one.test").unwrap();
    assert_eq!(body(&ask(&mut connection, "one.test", "/")), "192.0.2.7 https");
}

#[test]
fn a_key_that_only_root_reads_serves_a_worker_that_is_not_root_also_after_a_reload() {
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let http = r#"http {
        ssl_certificate the.crt; ssl_certificate_key the.key;
        server { listen 127.0.0.1:{port} ssl; return 200 "in"; }
    }"#;
    let files = [("the.crt", &*one.certificate), ("the.key", &one.key)];
    let gateway = Gateway::start_as(&beginning_as_nobody(), http, &files);
    assert_eq!(shown(&Client::new(), gateway.port, "x.test"), "one.test");
    std::fs::write(gateway.path("the.crt"), &two.certificate).unwrap();
    std::fs::write(gateway.path("the.key"), &two.key).unwrap();
    std::fs::set_permissions(gateway.path("the.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    gateway.reload();
    assert_eq!(shown(&Client::new(), gateway.port, "x.test"), "two.test");
    assert!(gateway.is_served_by_nobody());
}

#[test]
fn a_password_opens_a_key_that_only_root_reads() {
    let one = self_signed("one.test");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain.key"), &one.key).unwrap();
    let sealed = std::process::Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", "plain.key", "-passout", "pass:the second"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let sealed = String::from_utf8(sealed.stdout).unwrap();
    assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{sealed}");
    let http = r#"http {
        ssl_certificate the.crt; ssl_certificate_key the.key; ssl_password_file passwords;
        server { listen 127.0.0.1:{port} ssl; return 200 "in"; }
    }"#;
    let files =
        [("the.crt", &*one.certificate), ("the.key", &sealed), ("passwords", "the first\nthe second\n")];
    let gateway = Gateway::start_as(&beginning_as_nobody(), http, &files);
    assert_eq!(body(&Client::new().get(gateway.port, "one.test", "/")), "in");
    assert!(gateway.is_served_by_nobody());
}

#[test]
fn variables_name_a_certificate() {
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let http = r#"http {
        ssl_certificate $ssl_server_name.crt; ssl_certificate_key $ssl_server_name.key;
        server { listen 127.0.0.1:{port} ssl; return 200 "in"; }
        server { listen 127.0.0.1:{port2} ssl; ssl_certificate_cache max=10 valid=1h; return 200 "in"; }
    }"#;
    let files = [
        ("one.test.crt", &*one.certificate),
        ("one.test.key", &one.key),
        ("two.test.crt", &two.certificate),
        ("two.test.key", &two.key),
    ];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    for port in [gateway.port, gateway.port2] {
        assert_eq!(shown(&Client::new(), port, "one.test"), "one.test");
        assert_eq!(shown(&Client::new(), port, "two.test"), "two.test");
    }
    let refused = Client::new().get(gateway.port, "three.test", "/").unwrap_err();
    assert!(refused.contains("InternalError"), "{refused}");
    let sentence = "three.test.crt\": open() failed (2: No such file or directory) while SSL handshaking";
    gateway.says(sentence);
    // What is kept is not looked for.
    for suffix in ["crt", "key"] {
        let file = |name: &str| gateway.path(&format!("{name}.{suffix}"));
        std::fs::rename(file("two.test"), file("one.test")).unwrap();
    }
    assert_eq!(shown(&Client::new(), gateway.port, "one.test"), "two.test");
    assert_eq!(shown(&Client::new(), gateway.port2, "one.test"), "one.test");
}

#[test]
fn an_answer_about_revocation_goes_with_the_certificate() {
    let pair = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl; ssl_stapling on; ssl_stapling_file answer; return 200 in; }
        server { listen 127.0.0.1:{port2} ssl; ssl_stapling_file answer; return 200 in; }
    }"#;
    let answer = "0\u{3}\n\u{1}\0";
    let files = [("one.crt", &*pair.certificate), ("one.key", &pair.key), ("answer", answer)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    for (port, expected) in [(gateway.port, answer.as_bytes()), (gateway.port2, b"")] {
        let client = Client::new();
        client.get(port, "one.test", "/").unwrap();
        assert_eq!(client.stapled(), expected);
    }
}

#[test]
fn commands_of_openssl_choose_suites_and_sessions() {
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key; ssl_session_tickets off;
        ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;
        ssl_conf_command Options SessionTicket;
        server { listen 127.0.0.1:{port} ssl; return 200 "$ssl_cipher $ssl_session_reused"; }
        server { listen 127.0.0.1:{port2} ssl; return 200 "in";
                 ssl_conf_command Certificate two.crt; ssl_conf_command PrivateKey two.key; }
    }"#;
    let files = [
        ("one.crt", &*one.certificate),
        ("one.key", &one.key),
        ("two.crt", &two.certificate),
        ("two.key", &two.key),
    ];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let client = Client::new();
    for reused in [".", "r"] {
        let answer = client.get(gateway.port, "one.test", "/");
        assert_eq!(body(&answer), format!("TLS_CHACHA20_POLY1305_SHA256 {reused}"));
    }
    assert_eq!(shown(&Client::new(), gateway.port2, "one.test"), "two.test");
}

#[test]
fn handshakes_are_counted_by_server() {
    let pair = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl; server_name one.test; return 200 in; }
        server { listen 127.0.0.1:{port} ssl; server_name two.test; ssl_reject_handshake on; }
        server { listen 127.0.0.1:{port2}; location /metrics { prometheus; } }
    }"#;
    let files = [("one.crt", &*pair.certificate), ("one.key", &pair.key)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    let client = Client::new();
    for _ in 0..3 {
        client.get(gateway.port, "one.test", "/").unwrap();
    }
    client.get(gateway.port, "two.test", "/").unwrap_err();
    // One that fails is counted behind the alert that says so.
    let page = || support::get(gateway.port2, "/metrics", "").body;
    for line in [
        "ssl_handshakes{server_zone=\"one.test\"} 3",
        "ssl_session_reuses{server_zone=\"one.test\"} 2",
        "ssl_handshakes_failed{server_zone=\"one.test\"} 0",
        "ssl_handshakes_failed{server_zone=\"two.test\"} 1",
    ] {
        wait_for(line, || page().contains(&format!("nginxplus_server_zone_{line}\n")));
    }
}

/// What `-t` says of such a server.
fn objection(directives: &str, files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let text =
        format!("pid nginx.pid; events {{}} http {{ server {{ listen 127.0.0.1:8443 ssl; {directives} }} }}");
    for (name, text) in [("nginx.conf", &*text)].iter().chain(files) {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let place = folder.path().display().to_string();
    let output = support::doorward(&["-t", "-p", &place, "-c", "nginx.conf", "-e", "error.log"], "");
    String::from_utf8_lossy(&output.stderr).replace(&place, "")
}

#[test]
fn files_and_words_that_are_wrong_are_refused_with_their_place() {
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let files = [
        ("one.crt", &*one.certificate),
        ("one.key", &one.key),
        ("two.key", &two.key),
        ("empty", ""),
        ("sealed.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        ("short", "123"),
    ];
    let pair =
        |certificate: &str, key: &str| format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
    let good = pair("one.crt", "one.key");
    let expected = [
        (
            pair("none.crt", "one.key"),
            "cannot load certificate \"/none.crt\": open() failed (2: No such file",
        ),
        (pair("empty", "one.key"), "cannot load certificate \"/empty\": there is no certificate in it"),
        (
            pair("one.crt", "one.crt"),
            "cannot load certificate key \"/one.crt\": there is no private key in it",
        ),
        (
            pair("one.crt", "two.key"),
            "SSL_CTX_use_PrivateKey(\"/two.key\") failed (SSL: key values mismatch)",
        ),
        (pair("one.crt", "engine:e:k"), "cannot load certificate key \"engine:e:k\""),
        (pair("one.crt", "sealed.key"), "cannot load certificate key \"/sealed.key\": the key is encrypted"),
        (
            "ssl_certificate one.crt;".to_owned(),
            "no \"ssl_certificate_key\" is defined for certificate \"one.crt\"",
        ),
        (
            format!("{good} ssl_ciphers kRSA;"),
            "SSL_CTX_set_cipher_list(\"kRSA\") failed (SSL: error:0A0000B9",
        ),
        (format!("{good} ssl_ecdh_curve secp521r1;"), "SSL_CTX_set1_curves_list(\"secp521r1\") failed"),
        (format!("{good} ssl_protocols TLSv1.1;"), "\"ssl_protocols\" leaves no version of TLS"),
        (
            format!("{good} ssl_stapling on; ssl_stapling_file short;"),
            "cannot load OCSP response \"/short\": it holds no OCSP response",
        ),
        (
            format!("{good} ssl_stapling on; ssl_certificate_compression on;"),
            "\"ssl_stapling\" is incompatible with",
        ),
        (
            format!("{good} ssl_conf_command MinProtocol TLSv1;"),
            "SSL_CONF_cmd(\"MinProtocol\", \"TLSv1\") failed",
        ),
        (
            format!("{good} ssl_conf_command Ciphersuites RC4;"),
            "SSL_CONF_cmd(\"Ciphersuites\", \"RC4\") failed",
        ),
        (format!("{good} ssl_session_ticket_key short;"), "\"short\" must be 48 or 80 bytes"),
    ];
    for (directives, sentence) in expected {
        let said = objection(&directives, &files);
        assert!(said.contains(sentence), "{directives}: {said}");
        assert!(said.contains("nginx.conf:1"), "{directives}: {said}");
    }
    // One line, also where the rest of the file is looked at.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    let text = "events {} http { server { listen 443 ssl; ssl_certificate none.crt; ssl_certificate_key none.key; } }";
    std::fs::write(&file, text).unwrap();
    let looked = support::doorward(&["lint", file.to_str().unwrap()], "");
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(said.contains("cannot load certificate"), "{said}");
    assert!(!said.contains("is defined for"), "{said}");
    let said = objection(
        &format!("{good} ssl_protocols TLSv1 TLSv1.2; ssl_ciphers AES128-SHA:HIGH; ssl_stapling on;"),
        &files,
    );
    assert!(said.contains("\"ssl_protocols\": not offered here: TLSv1"), "{said}");
    assert!(said.contains("\"ssl_ciphers\": not offered here: AES128-SHA"), "{said}");
    let nobody = "\"ssl_stapling\" ignored, issuer certificate not found for certificate \"one.crt\"";
    assert!(said.contains(nobody), "{said}");
    assert!(said.contains("syntax is ok"), "{said}");
}

#[test]
fn a_reload_takes_up_a_renewed_certificate() {
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let http = r#"http {
        ssl_certificate the.crt; ssl_certificate_key the.key;
        server { listen 127.0.0.1:{port} ssl; return 200 "in"; }
    }"#;
    let files = [("the.crt", &*one.certificate), ("the.key", &one.key)];
    let gateway = Gateway::start_as(BEGINNING, http, &files);
    assert_eq!(shown(&Client::new(), gateway.port, "x.test"), "one.test");
    std::fs::write(gateway.path("the.crt"), &two.certificate).unwrap();
    // A key that is not the certificate's: the old ones stay.
    gateway.signal(Signal::SIGHUP);
    gateway.says("key values mismatch");
    assert_eq!(shown(&Client::new(), gateway.port, "x.test"), "one.test");
    std::fs::write(gateway.path("the.key"), &two.key).unwrap();
    gateway.reload();
    assert_eq!(shown(&Client::new(), gateway.port, "x.test"), "two.test");
}

#[test]
fn clients_choose_http2_where_it_is_on() {
    let one = self_signed("one.test");
    let http = r#"http {
        ssl_certificate one.crt; ssl_certificate_key one.key;
        server { listen 127.0.0.1:{port} ssl; server_name one.test; http2 on; return 200 "$http2 $server_protocol $scheme"; }
        server { listen 127.0.0.1:{port} ssl; server_name two.test; return 200 "$server_protocol"; }
    }"#;
    let gateway = Gateway::start_as(BEGINNING, http, &[("one.crt", &one.certificate), ("one.key", &one.key)]);
    let client = Client::new().offering(&["h2", "http/1.1"]);
    let mut connection = client.connect(gateway.port, "one.test").unwrap();
    assert_eq!(connection.conn.alpn_protocol(), Some(&b"h2"[..]));
    // The preface comes by itself, then empty SETTINGS and `GET https://one.test/`.
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    connection.flush().unwrap();
    connection
        .write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\x0d\x01\x05\0\0\0\x01\x82\x87\x84\x01\x08one.test")
        .unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let wanted = b"h2 HTTP/2.0 https";
    while !answer.windows(wanted.len()).any(|window| window == wanted) {
        let read = connection.read(&mut piece).unwrap();
        assert!(read > 0, "{answer:?}");
        answer.extend_from_slice(&piece[..read]);
    }
    let other = client.connect(gateway.port, "two.test").unwrap();
    assert_eq!(other.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(body(&client.offering(&["http/1.1"]).get(gateway.port, "one.test", "/")), " HTTP/1.1 https");
    // A server that the handshake was not for, and that is not served over HTTP/2.
    let mut connection = client.connect(gateway.port, "one.test").unwrap();
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    connection.write_all(b"\0\0\x0d\x01\x05\0\0\0\x01\x82\x87\x84\x01\x08two.test").unwrap();
    gateway.says("the negotiated protocol is disabled");
}
