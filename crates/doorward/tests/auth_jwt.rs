//! Keys of an issuer that change, and many who ask for them at once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

#[path = "support/service.rs"]
mod service;
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use support::Gateway;

/// A set of one secret.
fn keys(name: &str, secret: &[u8]) -> String {
    let secret = URL_SAFE_NO_PAD.encode(secret);
    format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","kid":"{name}","k":"{secret}"}}]}}"#)
}

/// A token that a secret signed, as the field that it is sent in.
fn token(name: &str, secret: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{name}"}}"#));
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"by {name}"}}"#));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, format!("{header}.{claims}").as_bytes());
    format!("Authorization: Bearer {header}.{claims}.{}\r\n", URL_SAFE_NO_PAD.encode(signature))
}

/// Who gives keys out.
#[derive(Default)]
struct Issuer {
    /// What it answers; nothing is an error.
    keys: Mutex<String>,
    /// How long each answer takes, in milliseconds.
    delay: AtomicUsize,
    asked: AtomicUsize,
}

impl Issuer {
    fn start(keys: String) -> (Arc<Issuer>, u16) {
        let issuer = Arc::new(Issuer { keys: Mutex::new(keys), ..Issuer::default() });
        let own = issuer.clone();
        let port = service::listen(move |stream| own.serve(stream));
        (issuer, port)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line == "\r\n" {
                self.asked.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst) as u64));
                let keys = self.keys.lock().unwrap().clone();
                let status = if keys.is_empty() { "503 Service Unavailable" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{keys}", keys.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            line.clear();
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn change(&self, keys: String) {
        *self.keys.lock().unwrap() = keys;
    }
}

/// A gateway that tells whose token it was.
fn start(server: &str, files: &[(&str, &str)]) -> Gateway {
    let http = format!(
        "http {{ access_log off; server {{ listen 127.0.0.1:{{port}};\n\
         auth_jwt test; try_files \"\" @who; location @who {{ return 200 $jwt_claim_sub; }}\n{server}\n}} }}\n"
    );
    Gateway::start_as(support::BEGINNING, &http, files)
}

/// Status and body of a request with that token.
fn get(gateway: &Gateway, token: &str) -> (u16, String) {
    let answer = gateway.get("/", token);
    (answer.status, answer.body)
}

fn asking(port: u16, cache: &str) -> String {
    format!(
        "auth_jwt_key_request /keys; {cache}\n\
         location = /keys {{ internal; proxy_pass http://127.0.0.1:{port}; }}"
    )
}

const OLD: &[u8] = &[1; 32];
const NEW: &[u8] = &[2; 32];

#[test]
fn an_issuer_changes_its_keys() {
    let (issuer, port) = Issuer::start(keys("old", OLD));
    let gateway = start(&asking(port, "auth_jwt_key_cache 1h;"), &[]);
    assert_eq!(get(&gateway, &token("old", OLD)), (200, "by old".to_owned()));
    issuer.change(keys("new", NEW));
    assert_eq!(get(&gateway, &token("old", OLD)), (200, "by old".to_owned()));
    assert_eq!(issuer.asked(), 1);
    // The new key is fetched because a token names it; what the old one signed is right no more.
    assert_eq!(get(&gateway, &token("new", NEW)), (200, "by new".to_owned()));
    assert_eq!(issuer.asked(), 2);
    assert_eq!(get(&gateway, &token("old", OLD)).0, 401);
    for n in 0..20 {
        assert_eq!(get(&gateway, &token(&format!("made up {n}"), NEW)).0, 401);
    }
    assert_eq!(issuer.asked(), 2);
    assert_eq!(get(&gateway, &token("new", OLD)).0, 401);
}

#[test]
fn keys_are_asked_for_once_however_many_wait() {
    let (issuer, port) = Issuer::start(keys("old", OLD));
    issuer.delay.store(300, Ordering::SeqCst);
    let gateway = start(&asking(port, "auth_jwt_key_cache 1h;"), &[]);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..30).map(|_| scope.spawn(|| get(&gateway, &token("old", OLD)))).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap(), (200, "by old".to_owned()));
        }
    });
    assert_eq!(issuer.asked(), 1);
    // The same while the issuer fails: nobody passes, and it is not asked by one after the other.
    issuer.change(String::new());
    gateway.reload();
    assert_eq!(get(&gateway, &token("old", OLD)).0, 500);
    let asked = issuer.asked();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..30).map(|_| scope.spawn(|| get(&gateway, &token("old", OLD)).0)).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap(), 500);
        }
    });
    assert!(issuer.asked() < asked + 15, "{} questions", issuer.asked() - asked);
    issuer.change(keys("old", OLD));
    assert_eq!(get(&gateway, &token("old", OLD)), (200, "by old".to_owned()));
}

#[test]
fn without_a_cache_every_request_asks() {
    let (issuer, port) = Issuer::start(keys("old", OLD));
    let gateway = start(&asking(port, ""), &[]);
    for n in 1..4 {
        assert_eq!(get(&gateway, &token("old", OLD)).0, 200);
        assert_eq!(issuer.asked(), n);
    }
    issuer.change(keys("new", NEW));
    assert_eq!(get(&gateway, &token("old", OLD)).0, 401);
    issuer.change(String::new());
    assert_eq!(get(&gateway, &token("old", OLD)).0, 500);
}

/// The worker process has no part in reading the file: it gets what the master read.
#[test]
fn files_are_read_with_the_configuration() {
    let gateway = start("auth_jwt_key_file keys.json;", &[("keys.json", &keys("old", OLD))]);
    assert_eq!(get(&gateway, &token("old", OLD)), (200, "by old".to_owned()));
    let file = gateway.path("keys.json");
    fs::write(&file, keys("new", NEW)).unwrap();
    assert_eq!(get(&gateway, &token("old", OLD)).0, 200);
    assert_eq!(get(&gateway, &token("new", NEW)).0, 401);
    gateway.reload();
    assert_eq!(get(&gateway, &token("new", NEW)).0, 200);
    assert_eq!(get(&gateway, &token("old", OLD)).0, 401);
    // What is no set of keys is no configuration, and the old one stays in force.
    fs::write(&file, "{").unwrap();
    gateway.signal(Signal::SIGHUP);
    gateway.says("is no set of keys");
    assert_eq!(get(&gateway, &token("new", NEW)), (200, "by new".to_owned()));
}
