//! JSON Web Tokens of users who are in no store, and tokens that an authorization server is asked about.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;

use crate::support::{Answer, Gateway, doorward, wait_for};
use crate::{UPSTREAM, service};

const SECRET: &[u8] = &[7; 32];

/// A token of the issuer, with more claims.
fn jwt(claims: &str) -> String {
    signed_by(SECRET, &format!(r#"{{"iss":"https://issuer.example"{claims}}}"#))
}

fn signed_by(secret: &[u8], claims: &str) -> String {
    let (header, claims) =
        (URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"a"}"#), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, format!("{header}.{claims}").as_bytes());
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Who is asked about tokens.
#[derive(Default)]
struct AuthorizationServer {
    /// Status and body for a token; of others it says that they are not active.
    answers: Mutex<HashMap<String, (u16, String)>>,
    /// How long each answer takes, in milliseconds.
    delay: AtomicU64,
    /// Heads and bodies.
    asked: Mutex<Vec<(String, String)>>,
}

impl AuthorizationServer {
    fn start() -> (Arc<AuthorizationServer>, u16) {
        let server = Arc::new(AuthorizationServer::default());
        let own = server.clone();
        let port = service::listen(move |stream| own.serve(stream));
        (server, port)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if !reader.read_line(&mut head).is_ok_and(|read| read > 0) {
                    return;
                }
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let token = body.strip_prefix("token=").and_then(|rest| rest.split('&').next());
            let known = token.and_then(|token| self.answers.lock().unwrap().get(token).cloned());
            self.asked.lock().unwrap().push((head, body));
            thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
            let (status, body) = known.unwrap_or((200, r#"{"active":false}"#.to_owned()));
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn says(&self, token: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(token.to_owned(), (status, body.to_owned()));
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// A gateway with services that take tokens, and who is asked about them.
struct Place {
    gateway: Gateway,
    server: Arc<AuthorizationServer>,
    _keys: TempDir,
}

impl Place {
    fn start() -> Place {
        let (server, port) = AuthorizationServer::start();
        let keys = tempfile::tempdir().unwrap();
        let secret = URL_SAFE_NO_PAD.encode(SECRET);
        let set = format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","kid":"a","k":"{secret}"}}]}}"#);
        fs::write(keys.path().join("keys.json"), set).unwrap();
        let http = HTTP.replace("{upstream}", UPSTREAM).replace("{server}", &port.to_string());
        let http = http.replace("{keys}", &keys.path().join("keys.json").display().to_string());
        Place { gateway: Gateway::start(&http), server, _keys: keys }
    }

    fn get(&self, path: &str, token: &str) -> Answer {
        self.gateway.get(path, &format!("Authorization: Bearer {token}\r\n"))
    }
}

const HTTP: &str = r#"
http {
    log_format all "$request $status $request_body $http_authorization_none";
    log_subrequest on;
    access_log {dir}/access.log all;
    auth_service tokens {
        auth_jwt; auth_jwt_key_file {keys}; auth_issuer https://other.example https://issuer.example; auth_audience api;
        auth_rule /jwt/orders scope=orders:write;
    }
    auth_service opaque { auth_introspection /introspection cache=1h negative=1h; }
    auth_service uncached { auth_introspection /introspection cache=0 negative=0; auth_audience api; }
    auth_service all {
        auth_store sqlite:{dir}/auth.db; auth_api_key; auth_session;
        auth_jwt; auth_jwt_key_file {keys}; auth_issuer https://issuer.example;
        auth_introspection /introspection;
    }
    {upstream}
    server {
        listen 127.0.0.1:{port};
        location /jwt { auth tokens; add_header Who "$auth_user $auth_method" always; proxy_pass http://127.0.0.1:{port2}; }
        location /opaque { auth opaque; add_header Who "$auth_user $auth_method" always; proxy_pass http://127.0.0.1:{port2}; }
        location /uncached { auth uncached; add_header Why "$auth_reason" always; proxy_pass http://127.0.0.1:{port2}; }
        location /all { auth all; proxy_pass http://127.0.0.1:{port2}; }
        location /asked { auth_request /auth; auth_request_set $id $upstream_http_x_user_id; add_header Id $id; proxy_pass http://127.0.0.1:{port2}; }
        location = /auth { internal; auth_service opaque; }
        location = /metrics { prometheus; }
        location = /introspection {
            internal;
            proxy_set_header Authorization "Basic Z2F0ZXdheTpzZWNyZXQ=";
            proxy_read_timeout 3s;
            proxy_pass http://127.0.0.1:{server}/oauth2/introspect;
        }
    }
}
"#;

/// Whether a text stands in a file of a folder, or of one in it.
fn stands_in(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return stands_in(&path, text);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_json_web_token_lets_a_user_in_who_is_in_no_store() {
    let place = Place::start();
    let token = jwt(
        r#","aud":["web","api"],"sub":"7","preferred_username":"ann","email":"ann@example.com","scope":"orders:read","groups":["staff","dev"]"#,
    );
    for _ in 0..2 {
        let answer = place.get("/jwt", &token);
        assert_eq!((answer.status, answer.field("Who")), (200, Some("ann jwt")), "{}", place.gateway.log());
        let saw = "id=7 name=ann email=ann@example.com scope=orders:read groups=staff,dev";
        assert_eq!(answer.field("Saw"), Some(saw));
    }
    let refused = place.get("/jwt/orders", &token);
    assert_eq!(refused.status, 403);
    let challenge = "Bearer realm=\"tokens\", error=\"insufficient_scope\", scope=\"orders:write\"";
    assert_eq!(refused.field("WWW-Authenticate"), Some(challenge));
    // A token is what is sent as one.
    for fields in [format!("X-API-Key: {token}\r\n"), format!("Cookie: __Host-session={token}\r\n")] {
        assert_eq!(place.gateway.get("/jwt", &fields).status, 401);
        assert_eq!(place.gateway.get("/all", &fields).status, 401);
    }
    assert_eq!(place.get("/all", &token).status, 200);
    assert!(!stands_in(&place.gateway.path(""), &token));
}

#[test]
fn a_json_web_token_for_others_or_of_others_is_refused() {
    let place = Place::start();
    let made_by_others = signed_by(&[8; 32], r#"{"iss":"https://issuer.example","aud":"api","sub":"7"}"#);
    let elsewhere = signed_by(SECRET, r#"{"iss":"https://elsewhere.example","aud":"api","sub":"7"}"#);
    for (token, why) in [
        (made_by_others, "bad_token (jwt: the signature of the token is wrong)"),
        (elsewhere, "bad_token (jwt: the token is of another issuer (iss))"),
        (jwt(r#","aud":"web","sub":"7""#), "bad_token (jwt: the token is meant for others (aud))"),
        (jwt(r#","sub":"7""#), "bad_token (jwt: the token is meant for others (aud))"),
        (jwt(r#","aud":"api""#), "bad_token (jwt: the token names nobody (sub))"),
        (jwt(r#","aud":"api","sub":"7","exp":1000000000"#), "token_expired (jwt: the token has expired)"),
        ("opaque".to_owned(), "bad_token (jwt: the token is malformed)"),
    ] {
        let answer = place.get("/jwt", &token);
        let challenge = answer.field("WWW-Authenticate");
        assert_eq!(
            (answer.status, challenge),
            (401, Some("Bearer realm=\"tokens\", error=\"invalid_token\""))
        );
        place.gateway.says(&format!("authentication refused: {why}"));
    }
    let missing = place.gateway.get("/jwt", "");
    assert_eq!((missing.status, missing.field("WWW-Authenticate")), (401, Some("Bearer realm=\"tokens\"")));
}

#[test]
fn the_authorization_server_is_asked_about_a_token_and_nothing_else() {
    let place = Place::start();
    place.server.says(
        "opaque%2Btoken-1%3D",
        200,
        r#"{"active":true,"sub":"7","username":"ann","scope":"read write","client_id":"app"}"#,
    );
    let fields = "Authorization: Bearer opaque+token-1=\r\nCookie: a=b\r\nX-Secret: c\r\nX-User-ID: root\r\n";
    for _ in 0..3 {
        let answer = place.gateway.get("/opaque?d=e", fields);
        let who = Some("ann introspection");
        assert_eq!((answer.status, answer.field("Who")), (200, who), "{}", place.gateway.log());
        assert_eq!(answer.field("Saw"), Some("id=7 name=ann email= scope=read write groups="));
    }
    assert_eq!(place.gateway.get("/asked", fields).field("Id"), Some("7"));
    let asked = place.server.asked.lock().unwrap().clone();
    let [(head, body)] = &*asked else { panic!("{asked:?}") };
    assert_eq!(body, "token=opaque%2Btoken-1%3D&token_type_hint=access_token");
    assert!(head.starts_with("POST /oauth2/introspect HTTP/1.1\r\n"), "{head}");
    for line in [
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: application/json",
        "Authorization: Basic Z2F0ZXdheTpzZWNyZXQ=",
    ] {
        assert!(head.lines().any(|known| known == line), "{line}: {head}");
    }
    for none in ["opaque", "a=b", "X-Secret", "d=e", "X-Auth-Partial-Body", "X-User-ID"] {
        assert!(!head.contains(none), "{none}: {head}");
    }
    for text in ["opaque+token-1", "opaque%2Btoken-1"] {
        assert!(!stands_in(&place.gateway.path(""), text));
    }
}

#[test]
fn a_token_that_is_not_active_is_refused_and_not_asked_about_again() {
    let place = Place::start();
    for _ in 0..2 {
        let answer = place.get("/opaque", "revoked");
        let challenge = Some("Bearer realm=\"opaque\", error=\"invalid_token\"");
        assert_eq!((answer.status, answer.field("WWW-Authenticate")), (401, challenge));
    }
    assert_eq!(place.server.asked(), 1);
    place.gateway.says("bad_token (introspection: the token is not active)");
    // What cannot be a token is none.
    assert_eq!(place.get("/opaque", "a b&active=true").status, 401);
    assert_eq!(place.get("/opaque", "").status, 401);
    assert_eq!(place.server.asked(), 1);
    place.server.says("good", 200, r#"{"active":true,"sub":"7"}"#);
    place.server.says("bad", 500, "");
    assert_eq!((place.get("/opaque", "good").status, place.get("/opaque", "bad").status), (200, 503));
    let page = place.gateway.get("/metrics", "").body;
    for line in [
        "doorward_auth_introspections_total{service=\"opaque\",result=\"active\"} 1",
        "doorward_auth_introspections_total{service=\"opaque\",result=\"refused\"} 1",
        "doorward_auth_introspections_total{service=\"opaque\",result=\"failed\"} 1",
        "doorward_auth_service_answers_total{service=\"opaque\",method=\"introspection\",answer=\"refused\"} 3",
        "doorward_auth_service_answers_total{service=\"opaque\",method=\"introspection\",answer=\"unavailable\"} 1",
    ] {
        assert!(page.lines().any(|known| known == line), "{line}: {page}");
    }
}

#[test]
fn an_answer_that_decides_nothing_lets_nobody_in() {
    let place = Place::start();
    let good = r#"{"active":true,"sub":"7","aud":"api"}"#;
    place.server.says("good", 200, good);
    assert_eq!(place.get("/uncached", "good").status, 200);
    let large = format!(r#"{{"active":true,"sub":"7","aud":"api","more":"{}"}}"#, "x".repeat(70_000));
    for (status, body) in [
        (200, "<html>"),
        (200, ""),
        (200, r#"{"active":"true","sub":"7","aud":"api"}"#),
        (200, r#"{"active":true,"active":true,"sub":"7","aud":"api"}"#),
        (200, r#"{"active":true,"sub":"7","aud":"api","exp":"never"}"#),
        (200, r#"{"active":true,"aud":"api"}"#),
        (200, &*large),
        (201, good),
        (401, good),
        (500, good),
    ] {
        place.server.says("bad", status, body);
        let answer = place.get("/uncached", "bad");
        let why = answer.field("Why");
        assert_eq!((answer.status, why), (503, Some("introspection_unavailable")), "{status} {body}");
    }
    for (body, why) in [
        (r#"{"active":true,"sub":"7","aud":"api","exp":1000000000}"#, "token_expired"),
        (r#"{"active":true,"sub":"7","aud":"api","nbf":4000000000}"#, "token_not_yet_valid"),
        (r#"{"active":true,"sub":"7","aud":"web"}"#, "bad_token"),
        (r#"{"active":false,"sub":"7","aud":"api"}"#, "bad_token"),
    ] {
        place.server.says("bad", 200, body);
        let answer = place.get("/uncached", "bad");
        assert_eq!((answer.status, answer.field("Why")), (401, Some(why)), "{body}");
    }
    // Later than the location waits for it.
    place.server.delay.store(20_000, Ordering::SeqCst);
    assert_eq!(place.get("/uncached", "good").status, 503);
}

#[test]
fn an_answer_is_used_no_longer_than_the_token_is_valid() {
    let place = Place::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    place.server.says("short", 200, &format!(r#"{{"active":true,"sub":"7","exp":{}}}"#, now + 5));
    place.server.says("long", 200, r#"{"active":true,"sub":"7"}"#);
    assert_eq!((place.get("/opaque", "short").status, place.get("/opaque", "long").status), (200, 200));
    place.server.answers.lock().unwrap().clear();
    wait_for("the token is over", || place.get("/opaque", "short").status == 401);
    assert_eq!(place.get("/opaque", "long").status, 200);
    assert_eq!(place.server.asked(), 3);
}

#[test]
fn one_request_asks_however_many_wait() {
    let place = Place::start();
    place.server.says("many", 200, r#"{"active":true,"sub":"7"}"#);
    place.server.delay.store(500, Ordering::SeqCst);
    let all = |path: &str, status: u16| {
        thread::scope(|scope| {
            let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| place.get(path, "many").status)).collect();
            for answer in asking {
                assert_eq!(answer.join().unwrap(), status);
            }
        });
    };
    all("/opaque", 200);
    assert_eq!(place.server.asked(), 1);
    // Who waits for an answer that fails does not ask again.
    place.server.says("many", 500, "");
    all("/uncached", 503);
    assert!(place.server.asked() < 20, "{}", place.server.asked());
}

#[test]
fn what_is_no_opaque_token_is_not_told_to_the_authorization_server() {
    let place = Place::start();
    let store = format!("sqlite:{}", place.gateway.path("auth.db").display());
    let run = |words: &str, input: &str| {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend(["--json", "--store", &store]);
        let output = doorward(&words, input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    run("user add ada --password-stdin", "correct horse\n");
    let made: serde_json::Value = serde_json::from_slice(&run("key create ada", "")).unwrap();
    let key = made["key"].as_str().unwrap();
    assert_eq!(place.get("/all", key).status, 200);
    assert_eq!(place.get("/all", &key[..key.len() - 1]).status, 401);
    assert_eq!(place.get("/all", &jwt(r#","sub":"7""#)).status, 200);
    assert_eq!(place.get("/all", &format!("{}x", jwt(r#","sub":"7""#))).status, 401);
    assert_eq!(place.server.asked(), 0);
    place.server.says("opaque", 200, r#"{"active":true,"client_id":"batch","iss":"https://issuer.example"}"#);
    assert_eq!(place.get("/all", "opaque").field("Saw"), Some("id=batch name=batch email= scope= groups="));
}
