//! API keys: in place, and what rules say of who has one.

use crate::Place;
use crate::support::wait_for;

#[test]
fn a_key_lets_its_user_in_and_the_upstream_is_told_who_it_is() {
    let place = Place::start();
    let key = place.key("");
    for fields in [format!("X-API-Key: {key}\r\n"), format!("Authorization: Bearer {key}\r\n")] {
        let answer = place.gateway.get("/in-place", &fields);
        assert_eq!((answer.status, answer.body.as_str()), (200, "served"), "{}", place.gateway.log());
        assert_eq!(answer.field("Who"), Some("ada api_key orders:read orders:write"));
        let saw = format!(
            "id={} name=ada email=ada@example.org scope=orders:read orders:write groups=staff",
            place.ada
        );
        assert_eq!(answer.field("Saw"), Some(saw.as_str()));
    }
}

#[test]
fn nobody_says_who_he_is_himself() {
    let place = Place::start();
    let key = place.key(" --scope orders:read");
    let forged =
        "X-User-ID: 1\r\nx_user_id: 1\r\nX-User-Groups: admins\r\nX-User-Scope: all\r\nX-User-Name: root\r\n";
    let saw = format!("id={} name=ada email=ada@example.org scope=orders:read groups=staff", place.ada);
    // Also where the request goes on to a location that asks nobody.
    for path in ["/in-place", "/again"] {
        let answer = place.gateway.get(path, &format!("X-API-Key: {key}\r\n{forged}"));
        assert_eq!(answer.field("Saw"), Some(saw.as_str()), "{path}");
    }
}

#[test]
fn what_is_no_key_or_no_more_is_refused_with_a_challenge() {
    let mut place = Place::start();
    let key = place.key("");
    let gateway = &place.gateway;
    let missing = gateway.get("/keys", "");
    assert_eq!(missing.status, 401);
    assert_eq!(missing.field("WWW-Authenticate"), Some("Bearer realm=\"the keys\""));
    let id = key.split('_').nth(1).unwrap();
    let other = place.key("");
    let stolen = format!("dw_{id}_{}", other.rsplit('_').next().unwrap());
    for wrong in ["", "x", "dw_", &key[..key.len() - 1], &stolen, &key.to_lowercase()] {
        let answer = gateway.get("/keys", &format!("X-Token: {wrong}\r\n"));
        assert_eq!(answer.status, 401, "{wrong}");
        let challenge = answer.field("WWW-Authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"the keys\", error=\"invalid_token\""), "{wrong}");
    }
    // Twice can be read in two ways.
    assert_eq!(gateway.get("/keys", &format!("X-Token: {key}\r\nX-Token: {stolen}\r\n")).status, 401);
    // In a field that it is not taken from, it is none.
    assert_eq!(gateway.get("/keys", &format!("X-API-Key: {key}\r\n")).status, 401);
    assert_eq!(gateway.get("/keys", &format!("X-Token: {key}\r\n")).status, 200);
    let log = place.gateway.end();
    assert!(log.contains("authentication refused: bad_credentials (api_key: wrong secret)"), "{log}");
    let secret = key.rsplit('_').next().unwrap();
    assert!(!log.contains(secret), "{log}");
}

#[test]
fn a_revoked_key_and_a_disabled_user_are_refused_within_a_second() {
    let place = Place::start();
    let (one, other) = (place.key(""), place.key(""));
    let status = |key: &str| place.gateway.get("/in-place", &format!("X-API-Key: {key}\r\n")).status;
    assert_eq!((status(&one), status(&other)), (200, 200));
    place.admin(&format!("key revoke {}", one.split('_').nth(1).unwrap()), "");
    wait_for("the key is refused", || status(&one) == 401);
    assert_eq!(status(&other), 200);
    place.admin("user disable ada", "");
    wait_for("the user is refused", || status(&other) == 401);
}

#[test]
fn rules_decide_by_path_method_host_scope_and_group() {
    let place = Place::start();
    let reader = place.key(" --scope orders:read");
    let ask = |method: &str, path: &str, host: &str| {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {reader}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        crate::support::send(place.gateway.port, &text)
    };
    for (method, path, host, status) in [
        ("GET", "/in-place/orders", "localhost", 200),
        ("GET", "/in-place/orders/7?x=/in-place/never", "localhost", 200),
        ("POST", "/in-place/orders", "localhost", 403),
        ("GET", "/in-place/ordersx", "localhost", 200),
        ("GET", "/in-place/admin", "localhost", 403),
        ("GET", "/in-place/adm%69n/x", "localhost", 403),
        ("GET", "/in-place//x/../admin", "localhost", 403),
        ("GET", "/in-place/never", "localhost", 403),
        ("GET", "/in-place", "Closed.Example:80", 403),
    ] {
        assert_eq!(ask(method, path, host).status, status, "{method} {path} {host}");
    }
    let refused = ask("POST", "/in-place/orders", "localhost");
    let challenge = "Bearer realm=\"main\", error=\"insufficient_scope\", scope=\"orders:write\"";
    assert_eq!(refused.field("WWW-Authenticate"), Some(challenge));
    place.gateway.says("forbidden (user \"ada\": scope \"orders:write\" is required)");
    place.gateway.says("group \"admins\" is required");
}

#[test]
fn a_location_requires_scopes_and_groups_of_whom_the_service_knows() {
    let place = Place::start();
    let (reader, writer) = (place.key(" --scope orders:read"), place.key(""));
    let refused = place.gateway.get("/scoped", &format!("X-API-Key: {reader}\r\n"));
    assert_eq!(refused.status, 403);
    let challenge = "Bearer realm=\"main\", error=\"insufficient_scope\", scope=\"orders:write\"";
    assert_eq!(refused.field("WWW-Authenticate"), Some(challenge));
    let refused = place.gateway.get("/scoped", &format!("X-API-Key: {writer}\r\n"));
    assert_eq!((refused.status, refused.field("WWW-Authenticate")), (404, None));
    place.gateway.says("required, not all of scope \"orders:write\" is there");
    place.gateway.says("required, group \"admins\" is not there");
}

#[test]
fn guesses_are_limited_whatever_the_method() {
    let place = Place::start();
    let key = place.key("");
    let status = |fields: &str| place.gateway.get("/limited", fields).status;
    // Who shows nothing guesses nothing.
    for _ in 0..5 {
        assert_eq!(status(""), 401);
    }
    assert_eq!(status("X-API-Key: dw_1\r\n"), 401);
    assert_eq!(status("Authorization: Basic YWRhOndyb25n\r\n"), 401);
    // A browser with an old session neither.
    let old = auth::session::NewSession::generate().unwrap().text;
    for _ in 0..5 {
        assert_eq!(status(&format!("Cookie: __Host-session={old}\r\n")), 401);
    }
    assert_eq!(status("Cookie: __Host-session=made-up\r\n"), 401);
    assert_eq!(status("X-API-Key: dw_1\r\n"), 429);
    assert_eq!(status(&format!("X-API-Key: {key}\r\n")), 429);
}

#[test]
fn a_store_that_is_not_named_is_made_in_the_prefix() {
    let mut place = Place::start();
    place.address = format!("sqlite:{}", place.gateway.path("auth_store/auth.db").display());
    place.admin("user add ada --no-password", "");
    let key = place.key("");
    let answer = place.gateway.get("/unnamed", &format!("X-API-Key: {key}\r\n"));
    assert_eq!(answer.status, 200, "{}", place.gateway.log());
}
