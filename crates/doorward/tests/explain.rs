//! `-t --explain`: what it says, and that the running gateway does it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

#[allow(dead_code, reason = "each test uses its part of it")]
#[path = "tls/authority.rs"]
mod authority;

use authority::{Authority, self_signed};
use tempfile::TempDir;

const CONFIGURATION: &str = r#"daemon off; master_process off; error_log error.log; pid nginx.pid;
events {}
http {
    access_log off;
    upstream app { server 127.0.0.1:{app}; server 127.0.0.1:1 backup; }
    limit_req_zone $remote_addr zone=req:64k rate=1000r/s;
    server { listen 127.0.0.1:{port}; return 404; }
    server {
        listen 127.0.0.1:{port};
        server_name api.example.com *.wild.example ~^(?<tenant>.+)\.tenants\.example$;
        auth_identity_headers X-Groups;
        rewrite ^/old/(.*)$ /api/$1 last;
        location /api/ {
            limit_req zone=req burst=5;
            allow 127.0.0.0/8; deny all;
            auth_request /auth;
            auth_request_set $user $upstream_http_x_user;
            auth_request_copy_headers X-Scope;
            proxy_set_header X-User $user;
            proxy_set_header X-Tenant $tenant;
            error_page 403 = @sorry;
            proxy_pass http://app/v1/;
        }
        location = /auth { internal; proxy_pass http://127.0.0.1:{app}/validate; proxy_set_header X-Original-URI $request_uri; }
        location ^~ /open { try_files $uri @app; }
        location ~ \.php$ { return 301 /api/; }
        location @app { proxy_pass http://app; }
        location @sorry { return 403; }
        location /loop { rewrite ^ /loop last; }
        location /outer { proxy_pass http://app; location /outer/inner { } }
        location /any { satisfy any; allow 192.0.2.1; auth_basic who; auth_basic_user_file users; proxy_pass http://app; }
        location /token { auth_jwt who; auth_jwt_key_file key.json; proxy_set_header X-Sub $jwt_claim_sub; proxy_pass http://app; }
        location /tokens { auth_jwt who; auth_jwt_key_request /keys; auth_jwt_key_cache 1m; }
        location = /keys { internal; proxy_pass http://app; }
    }
}
"#;

const KEY: &str =
    r#"{"kty":"oct","kid":"hs","alg":"HS256","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}"#;
const TOKEN: &str = "Authorization: Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6ImhzIn0.eyJzdWIiOiJhbm4ifQ.__h5XG-cvimvTr78kvntTcc3j9yoJMxLns5Qhrxry5s";

struct Place {
    folder: TempDir,
    port: u16,
    app: TcpListener,
}

impl Place {
    fn new() -> Place {
        Place::of(CONFIGURATION)
    }

    fn of(configuration: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let text = configuration
            .replace("{port}", &port.to_string())
            .replace("{app}", &app.local_addr().unwrap().port().to_string());
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        fs::write(folder.path().join("key.json"), KEY).unwrap();
        Place { folder, port, app }
    }

    fn doorward(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command
            .arg("-p")
            .arg(self.folder.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .args(arguments);
        command
    }

    /// What is said of a request, with ports and folders left out, one space between words.
    fn explain(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text
            .replace(&format!("{}/", self.folder.path().display()), "")
            .replace(&self.port.to_string(), "PORT")
            .replace(&self.app.local_addr().unwrap().port().to_string(), "APP");
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.doorward(&["-t", "--explain"]).args(arguments).output().unwrap()
    }
}

#[test]
fn every_step_is_told_with_its_place() {
    let place = Place::new();
    let told = place.explain(&[
        "http://api.example.com:{port}/old/users?id=1".replace("{port}", &place.port.to_string()).as_str(),
        "-H",
        "Cookie: a=b",
        "-H",
        "X_Groups: root",
        "-H",
        "X-Scope: all",
    ]);
    assert_eq!(
        told,
        "GET http://api.example.com:PORT/old/users?id=1 from 127.0.0.1\n\
         \n\
         server \"api.example.com\" on 127.0.0.1:PORT: it has the name \"api.example.com\" nginx.conf:8\n\
         removes auth_identity_headers X-Groups nginx.conf:11\n\
         rewrite rewrite ^/old/(.*)$ /api/$1 last nginx.conf:12\n\
         the path is now /api/users?id=1\n\
         location /api/ takes /api/users nginx.conf:13\n\
         limits limit_req zone=req burst=5 nginx.conf:14\n\
         zone req: $remote_addr is \"127.0.0.1\"\n\
         access all of these must let it pass (satisfy all)\n\
         1. allow 127.0.0.0/8 nginx.conf:15\n\
         deny all nginx.conf:15\n\
         127.0.0.1 may pass\n\
         2. auth_request /auth nginx.conf:16\n\
         asks location = /auth nginx.conf:24\n\
         to 127.0.0.1:APP\n\
         GET /validate HTTP/1.1\n\
         Host: 127.0.0.1:APP\n\
         X-Original-URI: /old/users?id=1\n\
         Cookie: a=b\n\
         X-Scope: all\n\
         answer proxy_pass http://app/v1/ nginx.conf:22\n\
         to 127.0.0.1:APP, 127.0.0.1:1\n\
         GET /v1/users?id=1 HTTP/1.1\n\
         Host: app\n\
         X-User: ${upstream_http_x_user}\n\
         Cookie: a=b\n\
         X-Scope: (as the auth service answers it)\n\
         errors error_page 403 = @sorry nginx.conf:21\n\
         log access_log off nginx.conf:4"
    );
}

#[test]
fn what_ends_a_request_is_told() {
    let place = Place::new();
    for (arguments, told) in [
        (
            &["http://tenant.example/"][..],
            "server \"\" on 127.0.0.1:PORT: the default one of 127.0.0.1:PORT nginx.conf:7\nanswer 404 Not Found",
        ),
        (
            &["http://api.example.com/api/x", "--from", "192.0.2.9"],
            "192.0.2.9 may not\nanswer 403 Forbidden\nunless error_page 403 = @sorry nginx.conf:21",
        ),
        (
            &["http://api.example.com/x.php"],
            "location ~ \\.php$ takes /x.php nginx.conf:26\nrewrite return 301 /api/ nginx.conf:26\nruns before any access rule\nanswer 301 Moved Permanently\nLocation: /api/",
        ),
        (&["http://api.example.com/auth"], "answer 404 Not Found"),
        (
            &["http://api.example.com/open/x"],
            "files try_files $uri @app nginx.conf:25\ngoes on in the location @app\nlocation @app takes /open/x nginx.conf:27",
        ),
        (&["http://api.example.com/loop"], "goes round in a circle: 500"),
        (
            &["http://api.example.com/any", "--from", "192.0.2.1"],
            "192.0.2.1 may pass\nand so nobody else is asked\nanswer proxy_pass http://app",
        ),
        (&["http://api.example.com/any"], "nothing is said of 127.0.0.1\n2. auth_basic who nginx.conf:31"),
        (
            &["http://a.tenants.example/api/", "--method", "POST"],
            "POST /v1/ HTTP/1.1\nHost: app\nX-User: ${upstream_http_x_user}\nX-Tenant: a",
        ),
    ] {
        let all = place.explain(arguments);
        assert!(all.contains(told), "{arguments:?}: wanted\n{told}\nin\n{all}");
    }
}

#[test]
fn what_cannot_be_explained_is_said() {
    let place = Place::new();
    for (arguments, sentence) in [
        (&["example.com"][..], "\"example.com\" is no URL of a request: https://HOST/PATH, or a path"),
        (
            &["ftp://example.com/"],
            "\"ftp://example.com/\" is no URL of a request: https://HOST/PATH, or a path",
        ),
        (&["https://example.com/"], "nothing listens on port 443"),
        (&["/", "--http2"], "no HTTP/2 is spoken there (http2 on): explain it without --http2"),
        (&["/", "--cert", "/none"], "cannot load certificate \"/none\": (2: No such file or directory)"),
        (&["http://example.com:1/"], "nothing listens on port 1"),
        (&["/", "-H", "no field"], "\"no field\" is no field: -H 'Name: value'"),
        (&["/", "-H", "Content-Length: x"], "it would be refused with 400"),
        (&["/", "--from", "here"], "--from wants an IP address"),
        (&["/", "--method", "get"], "it would be refused with 400"),
    ] {
        let output = place.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(sentence), "{arguments:?}: {said}");
    }
}

/// The head of one request that comes to a service, which is answered.
fn one_request(service: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = service.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    stream.write_all(answer.as_bytes()).unwrap();
    head
}

#[test]
fn the_gateway_does_what_is_told() {
    let place = Place::new();
    let mut server = place.doorward(&[]).stdin(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut client = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)) {
            Ok(stream) => break stream,
            Err(_) => assert!(Instant::now() < end, "it does not listen"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    client
        .write_all(b"GET /old/a%20b?c HTTP/1.1\r\nHost: a.tenants.example\r\nX-Groups: root\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .unwrap();
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let asked = one_request(&place.app, closing);
    let passed = one_request(&place.app, closing);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Nobody has answered a name here, and so none is passed on.
    let told =
        place.explain(&["http://a.tenants.example/old/a%20b?c", "-H", "X-Groups: root", "-H", "Accept: */*"]);
    let told = told
        .replace("X-User: ${upstream_http_x_user}\n", "")
        .replace("X-Scope: (as the auth service answers it)\n", "");
    for head in [asked, passed] {
        let seen = head
            .trim_end()
            .replace("\r\n", "\n")
            .replace(&place.app.local_addr().unwrap().port().to_string(), "APP");
        assert!(told.contains(&seen), "wanted\n{seen}\nin\n{told}");
    }
}

#[test]
fn a_token_is_looked_at_with_the_keys_that_are_there() {
    let place = Place::new();
    let url = |path: &str| format!("http://api.example.com:{}{path}", place.port);
    let told = place.explain(&[&url("/token"), "-H", TOKEN]);
    assert!(told.contains("1. auth_jwt who nginx.conf:"), "{told}");
    assert!(told.contains("the token that it has is right"), "{told}");
    assert!(told.contains("X-Sub: ann"), "{told}");
    let cut = TOKEN.get(..TOKEN.len() - 1).unwrap();
    let told = place.explain(&[&url("/token"), "-H", cut]);
    assert!(told.contains("the token is malformed: 401"), "{told}");
    assert!(!told.contains("X-Sub"), "{told}");
    assert!(place.explain(&[&url("/token")]).contains("it has none: 401"));
    let told = place.explain(&[&url("/tokens"), "-H", TOKEN]);
    assert!(told.contains("the keys have to be asked for"), "{told}");
    assert!(told.contains("asks location = /keys for keys"), "{told}");
}

const OVER_TLS: &str = r#"daemon off; master_process off; error_log error.log; pid nginx.pid;
events {}
http {
    access_log off;
    error_log error.log;
    server { listen 127.0.0.1:{port} ssl; server_name one.test; http2 on; ssl_certificate one.crt; ssl_certificate_key one.key; error_page 497 =301 https://$host$request_uri; return 404; }
    server {
        listen 127.0.0.1:{port} ssl;
        server_name two.test *.two.test;
        http2 on;
        ssl_certificate two.crt; ssl_certificate_key two.key;
        ssl_verify_client on; ssl_client_certificate ca.crt;
        error_page 496 /why;
        location / {
            proxy_set_header X-Subject $ssl_client_s_dn;
            proxy_set_header X-Spoken "$scheme $server_protocol $http2 $ssl_protocol";
            proxy_pass http://127.0.0.1:{app};
        }
    }
    server { listen 127.0.0.1:{port} ssl; server_name bare.test; return 204; }
    server { listen 127.0.0.1:{port} ssl; server_name no.test; ssl_reject_handshake on; }
}
"#;

#[test]
fn over_tls_the_handshake_is_told_first() {
    let place = Place::of(OVER_TLS);
    let (one, two) = (self_signed("one.test"), self_signed("two.test"));
    let authority = Authority::new("Authority");
    let known = authority.issue("known.test", 5).certificate;
    let expired = authority.issue_expired("known.test").certificate;
    for (name, text) in [
        ("one.crt", &one.certificate),
        ("one.key", &one.key),
        ("two.crt", &two.certificate),
        ("two.key", &two.key),
        ("ca.crt", &authority.certificate),
        ("known.crt", &known),
        ("expired.crt", &expired),
    ] {
        fs::write(place.folder.path().join(name), text).unwrap();
    }
    let file = |name: &str| place.folder.path().join(name).display().to_string();
    let (known, expired) = (file("known.crt"), file("expired.crt"));
    assert_eq!(
        place.explain(&["https://a.two.test/x", "--cert", &known, "--http2", "-H", "X-Case: kept"]),
        "GET https://a.two.test/x from 127.0.0.1\n\
         \n\
         tls asks for \"two.test\": it has the name \"a.two.test\" nginx.conf:7\n\
         ssl_certificate two.crt nginx.conf:11\n\
         ssl_verify_client on nginx.conf:12\n\
         the client's certificate is trusted\n\
         the client chooses HTTP/2\n\
         server \"two.test\" on 127.0.0.1:PORT: it has the name \"a.two.test\" nginx.conf:7\n\
         location / takes /x nginx.conf:14\n\
         access nobody is asked\n\
         answer proxy_pass http://127.0.0.1:APP nginx.conf:17\n\
         to 127.0.0.1:APP\n\
         GET /x HTTP/1.1\n\
         Host: 127.0.0.1:APP\n\
         X-Subject: O=Doorward\\, Inc.,CN=known.test\n\
         X-Spoken: https HTTP/2.0 h2 ${ssl_protocol}\n\
         x-case: kept\n\
         errors error_page 496 /why nginx.conf:13\n\
         log access_log off nginx.conf:4"
    );
    for (arguments, told) in [
        (
            &["https://two.test/"][..],
            "the client may choose HTTP/2, which this one does not\n\
             server \"two.test\" on 127.0.0.1:PORT: it has the name \"two.test\" nginx.conf:7\n\
             wants a certificate, and the client shows none\nanswer 400 Bad Request\nunless error_page 496 /why nginx.conf:13",
        ),
        (
            &["https://two.test/", "--cert", &expired],
            "the client's certificate is not trusted: (10:certificate has expired)",
        ),
        (&["https://two.test/", "--cert", &expired], "does not trust the client's certificate\nanswer 400"),
        // Nobody asks for it there.
        (
            &["https://one.test/", "--cert", &expired, "-H", "Host: two.test"],
            "verifies clients, and the handshake was for \"one.test\"\nanswer 421 Misdirected Request",
        ),
        (
            &["https://bare.test/"],
            "tls asks for \"bare.test\": it has the name \"bare.test\" nginx.conf:20\n\
             has no certificate: \"one.test\" shakes hands nginx.conf:6\n\
             ssl_certificate one.crt nginx.conf:6",
        ),
        (
            &["https://bare.test/", "--http2"],
            "has no HTTP/2, which the client speaks\nanswer 421 Misdirected Request",
        ),
        (
            &["https://no.test/"],
            "ssl_reject_handshake on nginx.conf:21\nanswer none: the handshake is refused (unrecognized_name)",
        ),
        (&["https://[::1]/"], "since no name is asked for nginx.conf:6"),
        (
            &["http://two.test:{port}/a"],
            "speaks TLS on this port, and the request is plain HTTP\nanswer 400 Bad Request",
        ),
        (
            &["http://one.test:{port}/a"],
            "answer 400 Bad Request\nunless error_page 497 =301 https://$host$request_uri nginx.conf:6",
        ),
        (&["/a", "-H", "Host: one.test"], "GET https://one.test/a from"),
    ] {
        let arguments: Vec<_> =
            arguments.iter().map(|word| word.replace("{port}", &place.port.to_string())).collect();
        let all = place.explain(&arguments.iter().map(|word| &**word).collect::<Vec<_>>());
        assert!(all.contains(told), "{arguments:?}: wanted\n{told}\nin\n{all}");
    }
    for (url, sentence) in [
        ("http://one.test/", "nothing listens on port 80"),
        ("https://one.test:1/", "nothing listens on port 1"),
    ] {
        let said = place.output(&[url]).stderr;
        assert!(String::from_utf8_lossy(&said).contains(sentence), "{url}");
    }
}
