//! Services that are asked over TLS (`proxy_ssl_*`): who is refused and why, whose connections serve whom, and that everything
//! else is as without TLS.
#![allow(clippy::unwrap_used, reason = "a test may assume")]

mod certificates;
mod server;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use certificates::Holder;
use rcgen::date_time_ymd;
use rustls::version::{TLS12, TLS13};
use support::{BEGINNING, Gateway, beginning_as_nobody};

/// One worker, so that there is one pool of connections.
const ALONE: &str = "daemon off; worker_processes 1; error_log error.log info; events {}";

/// What a gateway needs that trusts `authority`.
fn trusting(beginning: &str, http: &str, authority: &Holder, more: &[(&str, &str)]) -> Gateway {
    let root = authority.certificate.pem();
    let files: Vec<_> = [("root.pem", &*root)].into_iter().chain(more.iter().copied()).collect();
    Gateway::start_as(beginning, http, &files)
}

#[test]
fn servers_that_are_not_who_was_meant_are_refused_with_the_reason() {
    let (root, other) = (Holder::authority("root"), Holder::authority("other"));
    let unchanged = |_: &mut rcgen::CertificateParams| {};
    let right = server::listen(&root.issue("api.test", unchanged), &[&TLS13]);
    let right12 = server::listen(&root.issue("api.test", unchanged), &[&TLS12]);
    let expired = root.issue("api.test", |params| params.not_after = date_time_ymd(2025, 1, 1));
    let to_come = root.issue("api.test", |params| params.not_before = date_time_ymd(4000, 1, 1));
    let revoked = root.issue("api.test", |params| params.serial_number = Some(77.into()));
    let servers = [
        ("expired", server::listen(&expired, &[&TLS13])),
        ("to_come", server::listen(&to_come, &[&TLS13])),
        ("revoked", server::listen(&revoked, &[&TLS13])),
        ("revoked12", server::listen(&revoked, &[&TLS12])),
        ("stranger", server::listen(&other.issue("api.test", unchanged), &[&TLS13])),
        ("wrong_name", server::listen(&root.issue("www.test", unchanged), &[&TLS13])),
        ("self_signed", server::listen(&Holder::authority("api.test"), &[&TLS12])),
    ];
    // Without a list of its issuer that would be what is said of the others.
    let lists = |name: &str| if name.starts_with("revoked") { "" } else { "proxy_ssl_crl \"\";" };
    let location = |(name, port): &(&str, u16)| {
        format!("location = /{name} {{ proxy_pass https://127.0.0.1:{port}; {} }}", lists(name))
    };
    let locations: String = servers.iter().map(location).collect();
    let http = format!(
        "http {{ proxy_ssl_verify on; proxy_ssl_trusted_certificate root.pem; proxy_ssl_crl root.crl; proxy_ssl_name api.test;
         upstream several {{ server 127.0.0.1:{}; server 127.0.0.1:{right}; }}
         server {{ listen 127.0.0.1:{{port}}; {locations}
             location = /right {{ proxy_pass https://127.0.0.1:{right}; }}
             location = /right12 {{ proxy_pass https://127.0.0.1:{right12}; }}
             location = /several {{ proxy_pass https://several; }}
             location /guarded {{ auth_request /expired; proxy_pass https://127.0.0.1:{right}; }}
         }} }}",
        servers[0].1
    );
    let mut gateway = trusting(BEGINNING, &http, &root, &[("root.crl", &root.revoke(77))]);
    assert_eq!(gateway.get("/right", "").status, 200);
    assert_eq!(gateway.get("/right12", "").status, 200);
    assert_eq!(gateway.get("/several", "").status, 200, "the next server is asked");
    for (name, _) in &servers {
        assert_eq!(gateway.get(&format!("/{name}"), "").status, 502, "{name}");
    }
    assert_eq!(gateway.get("/guarded", "").status, 500, "an auth service that nobody knows says nothing");
    let log = gateway.end();
    let refused = |reason: &str, path: &str| {
        let said = log.lines().any(|line| {
            line.contains(&format!("upstream SSL certificate {reason} while SSL handshaking to upstream"))
                && line.contains(&format!("\"GET {path} HTTP/1.1\""))
        });
        assert!(said, "{reason}: {log}");
    };
    refused("verify error: (10:certificate has expired)", "/expired");
    refused("verify error: (10:certificate has expired)", "/several");
    refused("verify error: (10:certificate has expired)", "/guarded");
    refused("verify error: (9:certificate is not yet valid)", "/to_come");
    refused("verify error: (23:certificate revoked)", "/revoked");
    refused("verify error: (23:certificate revoked)", "/revoked12");
    refused("verify error: (21:unable to verify the first certificate)", "/stranger");
    refused("does not match \"api.test\"", "/wrong_name");
    refused("verify error: (18:self-signed certificate)", "/self_signed");
}

#[test]
fn a_connection_serves_one_identity() {
    let root = Holder::authority("root");
    let port = server::listen(&root.issue("*.api.test", |_| {}), &[&TLS13]);
    let client = |name: &str| root.issue(name, |_| {});
    let (one, two) = (client("one.client"), client("two.client"));
    let files: Vec<(String, String)> = [("one", &one), ("two", &two)]
        .iter()
        .flat_map(|(name, holder)| {
            [
                (format!("{name}.pem"), holder.certificate.pem()),
                (format!("{name}.key"), holder.key.serialize_pem()),
            ]
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    // Whatever differs in what a location asks of TLS is another identity; the last two are the first again.
    let settings = [
        ("/nobody", ""),
        ("/name-a", "proxy_ssl_server_name on; proxy_ssl_name a.api.test;"),
        ("/name-b", "proxy_ssl_server_name on; proxy_ssl_name b.api.test;"),
        (
            "/verified-a",
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate root.pem; proxy_ssl_name a.api.test;",
        ),
        (
            "/verified-b",
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate root.pem; proxy_ssl_name b.api.test;",
        ),
        (
            "/deeper",
            "proxy_ssl_verify on; proxy_ssl_verify_depth 2; proxy_ssl_trusted_certificate root.pem; proxy_ssl_name a.api.test;",
        ),
        ("/one", "proxy_ssl_certificate one.pem; proxy_ssl_certificate_key one.key;"),
        ("/two", "proxy_ssl_certificate two.pem; proxy_ssl_certificate_key two.key;"),
        ("/var?who=one", "proxy_ssl_certificate $arg_who.pem; proxy_ssl_certificate_key $arg_who.key;"),
        ("/var?who=two", ""),
        ("/version", "proxy_ssl_protocols TLSv1.3;"),
    ];
    let location = |(path, settings): &(&str, &str)| {
        let path = path.split('?').next().unwrap();
        format!("location = {path} {{ proxy_pass https://api; {settings} }}")
    };
    let locations: String =
        settings.iter().filter(|(path, _)| *path != "/var?who=two").map(location).collect();
    let http = format!(
        "http {{ upstream api {{ server 127.0.0.1:{port}; keepalive 32; }}
         server {{ listen 127.0.0.1:{{port}}; {locations}
             location = /again {{ proxy_pass https://api; }}
             location = /again-a {{ proxy_pass https://api; proxy_ssl_name a.api.test:443; proxy_ssl_server_name on; }}
         }} }}"
    );
    let gateway = trusting(ALONE, &http, &root, &files);
    // Number of the connection, kind of handshake, name, client.
    let ask =
        |path: &str| -> Vec<String> { gateway.get(path, "").body.split(' ').map(str::to_owned).collect() };
    let seen: Vec<Vec<String>> = settings.iter().map(|(path, _)| ask(path)).collect();
    for (at, (path, _)) in settings.iter().enumerate() {
        assert_eq!(seen[at][0], (at + 1).to_string(), "{path} has a connection of its own");
        assert_eq!(seen[at][1], "full", "{path} begins a session of its own");
        assert_eq!(ask(path)[0], seen[at][0], "{path} keeps it");
    }
    let told = |at: usize| (&*seen[at][2], &*seen[at][3]);
    assert_eq!(told(0), ("-", "-"));
    assert_eq!([told(1), told(2)], [("a.api.test", "-"), ("b.api.test", "-")]);
    assert_eq!([told(6), told(7)], [("-", "one.client"), ("-", "two.client")]);
    assert_eq!([told(8), told(9)], [("-", "one.client"), ("-", "two.client")]);
    assert_eq!(ask("/again")[0], seen[0][0], "equal settings are the same identity");
    assert_eq!(ask("/again-a")[0], seen[1][0]);
}

#[test]
fn sessions_are_taken_up_again_also_after_a_reload_and_verified_again() {
    let root = Holder::authority("root");
    for version in [&TLS12, &TLS13] {
        let port = server::listen(&root.issue("api.test", |_| {}), &[version]);
        let http = format!(
            "http {{ proxy_set_header Connection close; server {{ listen 127.0.0.1:{{port}};
                 location = /kept {{ proxy_pass https://127.0.0.1:{port}; }}
                 location = /new {{ proxy_pass https://127.0.0.1:{port}; proxy_ssl_session_reuse off; }}
                 location = /verified {{ proxy_pass https://127.0.0.1:{port}; proxy_ssl_verify on;
                     proxy_ssl_trusted_certificate trusted.pem; proxy_ssl_name api.test; }}
             }} }}"
        );
        let trusted = root.certificate.pem();
        let gateway = trusting(ALONE, &http, &root, &[("trusted.pem", &trusted)]);
        let kind = |path: &str| gateway.get(path, "").body.split(' ').nth(1).map(str::to_owned);
        assert_eq!(kind("/kept").as_deref(), Some("full"));
        assert_eq!(kind("/kept").as_deref(), Some("resumed"));
        assert_eq!(kind("/new").as_deref(), Some("full"));
        assert_eq!(kind("/new").as_deref(), Some("full"));
        assert_eq!(kind("/verified").as_deref(), Some("full"), "another identity has another session");
        assert_eq!(kind("/verified").as_deref(), Some("resumed"));
        gateway.reload();
        assert_eq!(kind("/kept").as_deref(), Some("resumed"));
        assert_eq!(kind("/verified").as_deref(), Some("resumed"));
    }
}

#[test]
fn a_reload_takes_up_files_that_only_root_reads() {
    let (root, other) = (Holder::authority("root"), Holder::authority("other"));
    let port =
        server::listen(&root.issue("api.test", |params| params.serial_number = Some(77.into())), &[&TLS13]);
    let (one, two) = (root.issue("one.client", |_| {}), root.issue("two.client", |_| {}));
    let http = format!(
        "http {{ server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass https://127.0.0.1:{port}; proxy_ssl_name api.test;
             proxy_ssl_verify on; proxy_ssl_trusted_certificate root.pem; proxy_ssl_crl list.pem;
             proxy_ssl_certificate client.pem; proxy_ssl_certificate_key client.key; }} }} }}"
    );
    let files = [
        ("list.pem", &*root.revoke(5)),
        ("client.pem", &*one.certificate.pem()),
        ("client.key", &*one.key.serialize_pem()),
    ];
    let gateway = trusting(&beginning_as_nobody(), &http, &root, &files);
    let shown = || gateway.get("/", "").body.split(' ').nth(3).map(str::to_owned);
    let renew = |files: &[(&str, &str)]| {
        files.iter().for_each(|(name, text)| std::fs::write(gateway.path(name), text).unwrap());
        gateway.reload();
    };
    assert_eq!(shown().as_deref(), Some("one.client"));
    renew(&[("client.pem", &two.certificate.pem()), ("client.key", &two.key.serialize_pem())]);
    assert_eq!(shown().as_deref(), Some("two.client"));
    // A connection that is kept does not outlive the trust in who is at its end.
    renew(&[("list.pem", &root.revoke(77))]);
    assert_eq!(gateway.get("/", "").status, 502);
    gateway.says("upstream SSL certificate verify error: (23:certificate revoked)");
    renew(&[("list.pem", &other.revoke(5)), ("root.pem", &other.certificate.pem())]);
    assert_eq!(gateway.get("/", "").status, 502);
    gateway.says("upstream SSL certificate verify error: (21:unable to verify the first certificate)");
    renew(&[("list.pem", &root.revoke(5)), ("root.pem", &root.certificate.pem())]);
    assert_eq!(shown().as_deref(), Some("two.client"));
    assert!(gateway.is_served_by_nobody());
}

#[test]
fn a_tunnel_goes_through_tls() {
    let root = Holder::authority("root");
    let port = server::listen(&root.issue("api.test", |_| {}), &[&TLS13]);
    let http = format!(
        "http {{ server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass https://127.0.0.1:{port};
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}"
    );
    let gateway = trusting(BEGINNING, &http, &root, &[]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    assert!(line().starts_with("HTTP/1.1 101"));
    while !line().trim().is_empty() {}
    // Longer than what TLS puts into one record.
    for length in [5, 100_000] {
        let text = "x".repeat(length) + "\n";
        stream.write_all(text.as_bytes()).unwrap();
        assert!(line() == text, "{length} bytes come back");
    }
}

#[test]
fn long_bodies_pass_in_both_directions() {
    let root = Holder::authority("root");
    let port = server::listen(&root.issue("api.test", |_| {}), &[&TLS12, &TLS13]);
    let http = format!(
        "http {{ server {{ listen 127.0.0.1:{{port}};
             location /kept {{ proxy_pass https://127.0.0.1:{port}; }}
             location /passed {{ proxy_pass https://127.0.0.1:{port}; proxy_request_buffering off; proxy_buffering off; }}
         }} }}"
    );
    let gateway = trusting(BEGINNING, &http, &root, &[]);
    let body: String = (0..60_000).map(|number| format!("{number:06} ")).collect();
    for path in ["/kept", "/passed"] {
        let answer = support::send(
            gateway.port,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        assert_eq!((answer.status, answer.body.len()), (200, body.len()), "{path}");
        assert!(answer.body == body, "{path}");
    }
}

#[test]
fn what_cannot_be_begun_is_said() {
    let plain = service::listen(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let silent = service::listen(hold);
    let gone = service::listen(drop);
    let http = format!(
        "http {{ server {{ listen 127.0.0.1:{{port}};
             location = /plain {{ proxy_pass https://127.0.0.1:{plain}; }}
             location = /silent {{ proxy_pass https://127.0.0.1:{silent}; proxy_connect_timeout 300ms; }}
             location = /gone {{ proxy_pass https://127.0.0.1:{gone}; }}
             location = /no-name {{ proxy_pass https://127.0.0.1:{plain}; proxy_ssl_server_name on; proxy_ssl_name \"a b\"; }}
             location = /no-file {{ proxy_pass https://127.0.0.1:{plain}; proxy_ssl_certificate $arg_a.pem; proxy_ssl_certificate_key $arg_a.key; }}
         }} }}"
    );
    let gateway = Gateway::start(&http);
    let status = |path: &str| gateway.get(path, "").status;
    assert_eq!(status("/plain"), 502);
    assert_eq!(status("/silent"), 504);
    assert_eq!(status("/gone"), 502);
    assert_eq!(status("/no-name"), 500);
    assert_eq!(status("/no-file?a=x"), 500);
    for said in [
        "SSL_do_handshake() failed (SSL: ",
        "upstream timed out (110: Connection timed out) while SSL handshaking to upstream",
        "peer closed connection in SSL handshake",
        "SSL_set_tlsext_host_name(\"a b\") failed",
        "x.pem\": open() failed (2: No such file or directory) while connecting to upstream",
    ] {
        gateway.says(said);
    }
}

/// Reads what comes and says nothing.
fn hold(mut stream: TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}
