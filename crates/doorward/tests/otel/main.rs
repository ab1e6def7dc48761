//! Traces: what a collector is sent, what upstreams are told, and that a collector in trouble is nobody else's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

mod gateway;
mod mock;
mod otlp;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use prost::Message;

use gateway::Gateway;
use mock::{Asked, Mock, answer};
use otlp::{Kind, Span, show};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `otel_exporter` for a collector; spans do not wait.
fn exporter(collector: &Mock, more: &str) -> String {
    format!(
        "otel_exporter {{ endpoint http://127.0.0.1:{}/v1/traces; interval 10ms; {more} }}",
        collector.port
    )
}

fn one<'a>(spans: &'a [Span], kind: Kind, parent: &[u8]) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.kind() == kind && span.parent_span_id == parent);
    let span = found.next().unwrap_or_else(|| panic!("no {kind:?} below {} in {spans:#?}", hex(parent)));
    assert!(found.next().is_none(), "several {kind:?} below {}", hex(parent));
    span
}

#[test]
fn a_request_its_question_and_its_upstream_are_one_trace() {
    let collector = Mock::answering("200 OK");
    let auth = Mock::answering("204 No Content");
    let upstream = Mock::answering("503 Service Unavailable");
    let gateway = Gateway::start(&format!(
        "{} otel_service_name shop; otel_resource_attr env test; otel_resource_attr env prod;
         otel_trace $otel_parent_sampled; otel_trace_context propagate;
         upstream backend {{ server 127.0.0.1:{}; }}
         server {{ listen 127.0.0.1:{{port}}; server_name shop.example;
            location /api/ {{ auth_request /auth; otel_span_name \"api $request_method\";
                otel_span_attr user $http_user; otel_span_attr http.request.header.user $http_user;
                proxy_pass http://backend; }}
            location = /auth {{ internal; proxy_pass http://127.0.0.1:{}; }} }}",
        exporter(&collector, "header X-Key \"a b\";"),
        upstream.port,
        auth.port,
    ));
    let parent = format!("traceparent: 00-{TRACE}-{CLIENT}-01\r\ntracestate: a=1,b=2\r\n");
    let got = gateway.get("/api/x?y", format!("{parent}User: me \u{e9}\r\nUser-Agent: ua\r\n"));
    assert!(got.starts_with("HTTP/1.1 503"), "{got}");
    let spans = collector.spans(4);
    assert_eq!(spans.len(), 4);
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.trace_state, "a=1,b=2");
        assert!(span.start <= span.end);
    }

    let server = spans.iter().find(|span| span.kind() == Kind::Server).unwrap();
    assert_eq!(hex(&server.parent_span_id), CLIENT);
    assert_eq!(server.name, "api GET");
    assert_eq!(server.flags, 0x301);
    assert!(server.failed());
    for (key, value) in [
        ("http.method", "GET"),
        ("http.target", "/api/x?y"),
        ("http.route", "/api/"),
        ("http.scheme", "http"),
        ("http.flavor", "1.1"),
        ("http.user_agent", "ua"),
        ("http.status_code", "503"),
        ("net.host.name", "shop.example"),
        ("net.host.port", &gateway.port.to_string()),
        ("net.sock.peer.addr", "127.0.0.1"),
        ("user", "me \u{e9}"),
        ("http.request.header.user", "[me \u{e9}]"),
    ] {
        assert_eq!(server.attribute(key), value, "{key}");
    }

    let question = one(&spans, Kind::Internal, &server.span_id);
    assert_eq!((&*question.name, question.attribute("http.status_code")), ("/auth", "204".to_owned()));
    let asked = one(&spans, Kind::Client, &question.span_id);
    assert_eq!(asked.attribute("net.sock.peer.port"), auth.port.to_string());
    let attempt = one(&spans, Kind::Client, &server.span_id);
    assert_eq!(attempt.name, "GET backend");
    assert_eq!(attempt.attribute("http.status_code"), "503");
    assert!(attempt.failed() && !asked.failed() && !question.failed());

    // Each is told of its own span.
    for (mock, span) in [(&auth, asked), (&upstream, attempt)] {
        let told = &mock.asked()[0];
        assert_eq!(told.field("traceparent"), format!("00-{TRACE}-{}-01", hex(&span.span_id)));
        assert_eq!(told.field("tracestate"), "a=1,b=2");
    }

    let sent = &collector.asked()[0];
    assert!(sent.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", sent.head);
    assert_eq!(sent.field("content-type"), "application/x-protobuf");
    assert_eq!(sent.field("x-key"), "a b");
    let resource = otlp::Request::decode(&*sent.body).unwrap().resource_spans.remove(0);
    assert_eq!(show(&resource.resource.unwrap().attributes, "service.name"), "shop");
    assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().name, "doorward");

    // The client does not record its own: nothing is recorded, and the trace goes on.
    gateway.get("/api/x", format!("traceparent: 00-{TRACE}-{CLIENT}-00\r\n"));
    let told = upstream.asked()[1].field("traceparent");
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    assert!(!told.contains(CLIENT));
    gateway.get("/api/x", &parent);
    assert_eq!(collector.spans(8).len(), 8);
}

#[test]
fn a_question_that_is_cut_off_ends_with_its_spans() {
    let collector = Mock::answering("200 OK");
    let auth = Mock::start(|_, _| {
        std::thread::sleep(gateway::PATIENCE);
        Some(answer("204 No Content"))
    });
    let gateway = Gateway::start(&format!(
        "{} otel_trace on; otel_trace_context inject;
         server {{ listen 127.0.0.1:{{port}};
            location /asked {{ auth_request /auth; auth_request_timeout 100ms; }}
            location = /auth {{ internal; proxy_pass http://127.0.0.1:{}; }} }}",
        exporter(&collector, ""),
        auth.port,
    ));
    let got = gateway.get("/asked", "");
    assert!(got.starts_with("HTTP/1.1 500"), "{got}");
    let spans = collector.spans(3);
    let server = spans.iter().find(|span| span.kind() == Kind::Server).unwrap();
    let question = one(&spans, Kind::Internal, &server.span_id);
    let asked = one(&spans, Kind::Client, &question.span_id);
    for span in [server, question, asked] {
        assert!(span.failed() && span.start <= span.end && span.end <= server.end, "{}", span.name);
    }
    assert_eq!(question.attribute("http.status_code"), "504");
}

#[test]
fn each_attempt_is_a_span_and_what_is_no_text_is_replaced() {
    let collector = Mock::answering("200 OK");
    let upstream = Mock::start(|number, _| (number > 0).then(|| answer("200 OK")));
    let (exporter, port) = (exporter(&collector, ""), upstream.port);
    let gateway = Gateway::start(&format!(
        "{exporter} otel_trace on; otel_trace_context inject;
         upstream two {{ server 127.0.0.1:{port}; server 127.0.0.1:{port}; }}
         server {{ listen 127.0.0.1:{{port}}; location /a/ {{ proxy_pass http://two; }} }}",
    ));
    let client = format!("traceparent: 00-{TRACE}-{CLIENT}-01\r\ntracestate: a=1\r\nUser-Agent: ");
    let got = gateway.get("/a/b", [client.as_bytes(), b"me \xff\r\n"].concat());
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    let spans = collector.spans(3);
    let server = spans.iter().find(|span| span.kind() == Kind::Server).unwrap();
    assert!(server.parent_span_id.is_empty() && hex(&server.trace_id) != TRACE);
    assert_eq!((server.name.as_str(), server.flags), ("/a/", 0x101));
    assert_eq!(server.attribute("http.user_agent"), "me \u{fffd}");
    let mut attempts: Vec<_> = spans.iter().filter(|span| span.kind() == Kind::Client).collect();
    attempts.sort_by_key(|span| span.attribute("http.resend_count"));
    let seen: Vec<_> =
        attempts.iter().map(|span| (span.attribute("http.status_code"), span.failed())).collect();
    assert_eq!(seen, [("502".to_owned(), true), ("200".to_owned(), false)]);
    for (attempt, asked) in attempts.iter().zip(upstream.asked()) {
        assert_eq!(attempt.parent_span_id, server.span_id);
        let parent = format!("00-{}-{}-01", hex(&server.trace_id), hex(&attempt.span_id));
        assert_eq!((asked.field("traceparent"), asked.field("tracestate")), (parent, String::new()));
    }
}

#[test]
fn the_context_is_dealt_with_as_configured() {
    let collector = Mock::answering("200 OK");
    let upstream = Mock::answering("200 OK");
    let show = "$otel_trace_id $otel_span_id $otel_parent_id $otel_parent_sampled";
    let locations: String = ["ignore", "extract", "inject", "propagate"]
        .iter()
        .map(|mode| format!("location /{mode} {{ otel_trace_context {mode}; add_header Seen \"{show}\"; proxy_pass http://up; }}"))
        .collect();
    let gateway = Gateway::start(&format!(
        "{} upstream up {{ server 127.0.0.1:{}; }}
         split_clients $otel_trace_id $all {{ 100% on; }}
         server {{ listen 127.0.0.1:{{port}}; {locations}
             location /none {{ add_header Seen \"{show}\"; proxy_pass http://up; }}
             location /own {{ otel_trace_context inject; proxy_set_header traceparent mine; proxy_pass http://up; }}
             location /share {{ otel_trace $all; return 204; }}
             location /moved {{ otel_trace off; otel_trace_context inject; try_files /x /share; }} }}",
        exporter(&collector, ""),
        upstream.port,
    ));
    let sent = format!("00-{TRACE}-{CLIENT}-01");
    let ask = |path: &str, parent: &str| {
        let got = gateway.get(path, format!("traceparent: {parent}\r\ntracestate: a=1\r\n"));
        let seen = got.lines().find_map(|line| line.strip_prefix("Seen: ")).unwrap_or_default().to_owned();
        let seen: Vec<String> = seen.split(' ').map(str::to_owned).collect();
        (seen, upstream.asked().last().cloned().unwrap())
    };
    let told = |asked: &Asked| (asked.field("traceparent"), asked.field("tracestate"));
    for path in ["/ignore", "/none"] {
        let (seen, asked) = ask(path, &sent);
        assert_eq!(told(&asked), (sent.clone(), "a=1".to_owned()), "{path}");
        assert!(seen[0].len() == 32 && seen[0] != TRACE && seen[1].len() == 16, "{seen:?}");
        assert_eq!(seen[2..], ["", "0"]);
    }
    let (seen, asked) = ask("/extract", &sent);
    assert_eq!(told(&asked), (sent.clone(), "a=1".to_owned()));
    assert_eq!((&*seen[0], &*seen[2], &*seen[3]), (TRACE, CLIENT, "1"));
    let (seen, asked) = ask("/inject", &sent);
    assert_eq!(told(&asked), (format!("00-{}-{}-00", seen[0], seen[1]), String::new()));
    assert!(seen[0] != TRACE && seen[2].is_empty());
    let (seen, asked) = ask("/propagate", &sent);
    assert_eq!(told(&asked), (format!("00-{TRACE}-{}-00", seen[1]), "a=1".to_owned()));
    // What cannot be believed is not passed on, nor what belongs to it.
    let (seen, asked) = ask("/propagate", "00-0af7-1-01");
    assert_eq!(told(&asked), (format!("00-{}-{}-00", seen[0], seen[1]), String::new()));
    assert_eq!(told(&ask("/own", &sent).1), ("mine".to_owned(), String::new()));
    // Nothing was to be recorded so far; a redirect within the server decides nothing anew.
    gateway.get("/moved", "");
    gateway.get("/share", "");
    let spans = collector.spans(1);
    assert_eq!((spans.len(), &*spans[0].name), (1, "/share"));
}

#[test]
fn a_fastcgi_server_is_told_too() {
    let collector = Mock::answering("200 OK");
    // Its records are no HTTP; what it was sent is found in the error of a server that closes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let read = std::io::Read::read(&mut stream, &mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    });
    let gateway = Gateway::start(&format!(
        "{} otel_trace on; otel_trace_context propagate;
         server {{ listen 127.0.0.1:{{port}}; location / {{ fastcgi_pass 127.0.0.1:{port}; }} }}",
        exporter(&collector, ""),
    ));
    gateway.get("/", format!("traceparent: 00-{TRACE}-{CLIENT}-01\r\ntracestate: a=1\r\n"));
    let told = server.join().unwrap();
    let spans = collector.spans(2);
    let attempt = spans.iter().find(|span| span.kind() == Kind::Client).unwrap();
    let parent = format!("HTTP_TRACEPARENT00-{TRACE}-{}-01", hex(&attempt.span_id));
    assert_eq!((told.matches("TRACEPARENT").count(), told.contains(&parent)), (1, true), "{told}");
    assert!(told.contains("HTTP_TRACESTATEa=1"));
}

#[test]
fn a_collector_in_trouble_is_nobody_elses() {
    // One is not there, one never answers; where one takes spans slowly, those beyond the bounds are lost.
    // A port that was only given back could be another test's next.
    let down = 1;
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [down, hanging.local_addr().unwrap().port()] {
        let mut gateway = Gateway::start(&format!(
            "otel_exporter {{ endpoint http://localhost:{port}/v1/traces; interval 100ms; batch_size 4; batch_count 2; }}
             otel_trace on; server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 ok; }} }}"
        ));
        let start = Instant::now();
        for _ in 0..60 {
            assert!(gateway.get("/", "").starts_with("HTTP/1.1 200"));
        }
        // A collector is given ten seconds.
        assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
        gateway.wait_for_log("OTel dropped records: ");
        let lines = gateway.log().matches("OTel dropped").count();
        assert!(lines <= start.elapsed().as_millis() as usize / 100 + 1, "{}", gateway.log());
        if port == down {
            gateway.wait_for_log("OTel export failure: connect() failed (111: Connection refused)");
        }
        assert!(gateway.end(Signal::SIGQUIT) < Duration::from_secs(9));
    }
}

#[test]
fn a_collector_is_asked_again_when_it_says_so() {
    let collector = Mock::start(|number, _| {
        Some(match number {
            0 => "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 3\r\n\r\nno\n".to_owned(),
            1 => answer("200 OK"),
            2 => answer("400 Bad Request"),
            _ => answer("200 OK"),
        })
    });
    let gateway = Gateway::start(&format!(
        "{} otel_trace on; server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 ok; }} }}",
        exporter(&collector, ""),
    ));
    let first = Instant::now();
    gateway.get("/", "");
    let asked = collector.wait(2);
    assert!(first.elapsed() >= Duration::from_millis(900), "{:?}", first.elapsed());
    assert_eq!(asked[0].body, asked[1].body);
    gateway.wait_for_log("OTel export failure: the collector answered 503, collector: ");
    // What is refused is not sent again.
    gateway.get("/", "");
    gateway.wait_for_log("OTel export failure: the collector answered 400");
    gateway.get("/", "");
    let asked = collector.wait(4);
    assert!(asked[2].body != asked[3].body);
    gateway.wait_for_log("OTel dropped records: 1");
}

#[test]
fn a_reload_and_an_end_lose_no_span() {
    let collector = Mock::answering("200 OK");
    for signal in [Signal::SIGQUIT, Signal::SIGTERM] {
        let before = collector.received().len();
        let mut gateway = Gateway::start(&format!(
            "otel_exporter {{ endpoint http://127.0.0.1:{}/v1/traces; interval 1h; }} otel_trace on;
             server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 ok; }} }}",
            collector.port
        ));
        gateway.get("/", "");
        gateway.reload();
        assert_eq!(collector.spans(before + 1).len(), before + 1);
        gateway.get("/", "");
        gateway.end(signal);
        assert_eq!(collector.received().len(), before + 2);
    }
}

#[test]
fn what_cannot_work_is_said_before_the_start() {
    let with = |exporter: &str| Gateway::test(&format!("otel_exporter {{ {exporter} }}"));
    for (exporter, sentence, instead) in [
        ("endpoint localhost:4317;", "one of OTLP over gRPC", "http://localhost:4318/v1/traces"),
        ("endpoint http://c:4317;", "one of OTLP over gRPC", "http://c:4318/v1/traces"),
        ("endpoint http://c:9000;", "one of OTLP over gRPC", "http://c:9000/v1/traces"),
        (
            "endpoint https://c:4318/v1/traces;",
            "TLS to a collector is not built yet",
            "http://HOST:4318/v1/traces",
        ),
        ("interval 5s;", "\"otel_exporter\" requires \"endpoint\"", ""),
        (
            "endpoint http://c:4318; endpoint http://c:4318;",
            "\"endpoint\" directive of \"otel_exporter\" is duplicate",
            "",
        ),
        ("endpoint http://c:4318; sugar 1;", "unknown directive \"sugar\" in \"otel_exporter\"", ""),
        ("endpoint http://c:4318; header a;", "invalid number of arguments in \"header\" directive", ""),
        ("endpoint http://c:4318; header \"a:\" b;", "has invalid header name", ""),
        ("endpoint http://c:4318; header Content-Length 1;", "has invalid header name", "leave it out"),
        ("endpoint http://c:4318; batch_size 0;", "\"batch_size\" must not be zero", ""),
    ] {
        let said = with(exporter);
        assert!(said.contains(sentence) && said.contains(instead), "{exporter}: {said}");
        assert!(said.contains("test failed"), "{exporter}: {said}");
    }
    assert!(with("endpoint http://c:4318;").contains("test is successful"));
    let said = Gateway::test("server { location / { otel_trace on; } }");
    assert!(said.contains("\"otel_exporter\" block is missing"), "{said}");
}
