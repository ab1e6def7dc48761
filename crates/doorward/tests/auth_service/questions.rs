//! The service as what `auth_request` and other gateways ask.

use crate::Place;
use crate::support::{send, wait_for};

#[test]
fn auth_request_asks_it_as_any_other() {
    let place = Place::start();
    let key = place.key("");
    let let_in = place.gateway.get("/asked", &format!("X-API-Key: {key}\r\nX-User-ID: 1\r\n"));
    assert_eq!(
        (let_in.status, let_in.field("Id")),
        (200, Some(place.ada.as_str())),
        "{}",
        place.gateway.log()
    );
    let saw = format!("id={} name= email= scope= groups=", place.ada);
    assert_eq!(let_in.field("Saw"), Some(saw.as_str()));
    let refused = place.gateway.get("/asked", "X-API-Key: dw_x\r\n");
    assert_eq!((refused.status, refused.field("Why")), (401, None));
    let browser = place.gateway.get("/asked", "Accept: text/html\r\n");
    assert_eq!((browser.status, browser.field("Login")), (401, Some("/login?return=/asked")));
}

#[test]
fn a_question_is_about_the_clients_request_whatever_its_fields_say() {
    let place = Place::start();
    let key = place.key("");
    let forged = "X-Forwarded-Uri: /\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: a\r\nX-Original-URI: /\r\nX-Original-Method: GET\r\n";
    // The rule for /asked is none; that of the host counts.
    let ask = |host: &str| {
        send(
            place.gateway.port,
            &format!(
                "GET /asked HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\n{forged}Connection: close\r\n\r\n"
            ),
        )
        .status
    };
    assert_eq!((ask("localhost"), ask("closed.example")), (200, 403));
}

#[test]
fn the_answer_says_who_it_is_or_why_not() {
    let place = Place::start();
    let key = place.key(" --scope orders:read");
    let known = place.gateway.get("/open-auth", &format!("X-API-Key: {key}\r\n"));
    assert_eq!(known.status, 204);
    for (name, value) in [
        ("X-User-ID", place.ada.as_str()),
        ("X-User-Name", "ada"),
        ("X-User-Email", "ada@example.org"),
        ("X-User-Scope", "orders:read"),
        ("X-User-Groups", "staff"),
        ("X-Auth-Method", "api_key"),
        ("Cache-Control", "no-store"),
    ] {
        assert_eq!(known.field(name), Some(value), "{name}");
    }
    let unknown = place.gateway.get("/open-auth", "X-API-Key: x\r\n");
    assert_eq!((unknown.status, unknown.field("X-Auth-Reason")), (401, Some("bad_credentials")));
    assert_eq!(unknown.fields("WWW-Authenticate").len(), 2);
    assert!(unknown.fields("X-User-ID").is_empty());
}

/// Other gateways as they ask: Traefik's forwardAuth and Caddy's forward_auth with GET and the client's fields, Envoy with the
/// client's method and path behind a prefix, nginx as its users write it.
#[test]
fn other_gateways_name_the_request_in_their_own_way() {
    let place = Place::start();
    let key = place.key("");
    let ask = |request: &str, fields: &str| {
        let text = format!(
            "{request} HTTP/1.1\r\nHost: gateway\r\nX-API-Key: {key}\r\n{fields}Connection: close\r\n\r\n"
        );
        send(place.gateway.port, &text).status
    };
    let forwarded = |method: &str, host: &str, uri: &str| {
        let fields = format!(
            "X-Forwarded-Method: {method}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {uri}\r\nX-Forwarded-For: 192.0.2.1\r\n"
        );
        ask("GET /forwarded", &fields)
    };
    assert_eq!(forwarded("GET", "app.example", "/orders?x=1"), 204);
    assert_eq!(forwarded("GET", "app.example", "/adm%69n"), 403);
    assert_eq!(forwarded("GET", "app.example", "/x/../admin/y"), 403);
    assert_eq!(forwarded("GET", "CLOSED.example:8443", "/"), 403);
    assert_eq!(forwarded("GE T", "app.example", "/"), 400);
    assert_eq!(forwarded("GET", "app.example", "/%zz"), 400);
    // What does not say what it is about is not answered.
    assert_eq!(ask("GET /forwarded", ""), 400);
    assert_eq!(ask("GET /forwarded", "X-Original-Method: GET\r\nX-Original-URI: /\r\n"), 400);
    let twice =
        "X-Forwarded-Method: GET\r\nX-Forwarded-Host: a\r\nX-Forwarded-Uri: /\r\nX-Forwarded-Uri: /admin\r\n";
    assert_eq!(ask("GET /forwarded", twice), 400);

    let original = |fields: &str| ask("GET /original", &format!("X-Original-Method: GET\r\n{fields}"));
    assert_eq!(original("X-Original-URI: /orders\r\n"), 204);
    assert_eq!(original("X-Original-URI: /admin?a\r\n"), 403);
    assert_eq!(original("X-Original-URL: https://app.example/admin\r\n"), 403);
    assert_eq!(original("X-Original-URL: https://closed.example/\r\n"), 403);
    assert_eq!(original("X-Original-URL: https://app.example/orders\r\n"), 204);
    assert_eq!(original("X-Original-URL: https://app.example/\r\nX-Original-URI: /\r\n"), 400);
    assert_eq!(original("X-Original-URL: app.example\r\n"), 400);

    wait_for("the log says which fields are meant", || {
        let log = place.gateway.log();
        log.contains("unclear: fields X-Forwarded-*") && log.contains("unclear: fields X-Original-*")
    });

    assert_eq!(ask("POST /envoy/orders", "Content-Length: 0\r\n"), 204);
    assert_eq!(ask("GET /envoy/admin", ""), 403);
    assert_eq!(ask("GET /envoy/x/..%2fadmin", ""), 403);
}

#[test]
fn other_gateways_pass_the_login_on_to_browsers() {
    let place = Place::start();
    let fields = "X-Forwarded-Method: GET\r\nX-Forwarded-Host: app.example\r\nX-Forwarded-Uri: /page\r\nAccept: text/html\r\n";
    let answer = place.gateway.get("/forwarded", fields);
    assert_eq!((answer.status, answer.field("Location")), (302, Some("/login?return=/page")));
}
