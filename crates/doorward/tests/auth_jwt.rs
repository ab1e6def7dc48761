//! Keys of an issuer that change, and many who ask for them at once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::TempDir;

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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = Arc::new(Issuer { keys: Mutex::new(keys), ..Issuer::default() });
        let own = issuer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let issuer = own.clone();
                thread::spawn(move || issuer.serve(stream));
            }
        });
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

/// A running gateway with its folder; it ends with the test.
struct Gateway {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Gateway {
    fn start(server: &str, files: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let text = format!(
            "daemon off; worker_processes 2; pid gateway.pid; error_log error.log info;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; server {{ listen 127.0.0.1:{port};\n\
             auth_jwt test; try_files \"\" @who; location @who {{ return 200 $jwt_claim_sub; }}\n{server}\n}} }}\n"
        );
        fs::create_dir(folder.path().join("logs")).unwrap();
        for (name, text) in [("gateway.conf", &*text)].iter().chain(files) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.arg("-p").arg(folder.path()).args(["-c", "gateway.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let gateway = Gateway { folder, port, child };
        gateway.until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        gateway
    }

    fn until(&self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let log = fs::read_to_string(self.path().join("error.log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(8), "{log}");
            sleep(Duration::from_millis(5));
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Status and body of a request with that token.
    fn get(&self, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{token}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn reload(&self) {
        let pid = fs::read_to_string(self.path().join("gateway.pid")).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
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
    let gateway = Gateway::start(&asking(port, "auth_jwt_key_cache 1h;"), &[]);
    assert_eq!(gateway.get(&token("old", OLD)), (200, "by old".to_owned()));
    issuer.change(keys("new", NEW));
    assert_eq!(gateway.get(&token("old", OLD)), (200, "by old".to_owned()));
    assert_eq!(issuer.asked(), 1);
    // The new key is fetched because a token names it; what the old one signed is right no more.
    assert_eq!(gateway.get(&token("new", NEW)), (200, "by new".to_owned()));
    assert_eq!(issuer.asked(), 2);
    assert_eq!(gateway.get(&token("old", OLD)).0, 401);
    for n in 0..20 {
        assert_eq!(gateway.get(&token(&format!("made up {n}"), NEW)).0, 401);
    }
    assert_eq!(issuer.asked(), 2);
    assert_eq!(gateway.get(&token("new", OLD)).0, 401);
}

#[test]
fn keys_are_asked_for_once_however_many_wait() {
    let (issuer, port) = Issuer::start(keys("old", OLD));
    issuer.delay.store(300, Ordering::SeqCst);
    let gateway = Gateway::start(&asking(port, "auth_jwt_key_cache 1h;"), &[]);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..30).map(|_| scope.spawn(|| gateway.get(&token("old", OLD)))).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap(), (200, "by old".to_owned()));
        }
    });
    assert_eq!(issuer.asked(), 1);
    // The same while the issuer fails: nobody passes, and it is not asked by one after the other.
    issuer.change(String::new());
    gateway.reload();
    gateway.until(|| gateway.get(&token("old", OLD)).0 == 500);
    let asked = issuer.asked();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..30).map(|_| scope.spawn(|| gateway.get(&token("old", OLD)).0)).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap(), 500);
        }
    });
    assert!(issuer.asked() < asked + 15, "{} questions", issuer.asked() - asked);
    issuer.change(keys("old", OLD));
    assert_eq!(gateway.get(&token("old", OLD)), (200, "by old".to_owned()));
}

#[test]
fn without_a_cache_every_request_asks() {
    let (issuer, port) = Issuer::start(keys("old", OLD));
    let gateway = Gateway::start(&asking(port, ""), &[]);
    for n in 1..4 {
        assert_eq!(gateway.get(&token("old", OLD)).0, 200);
        assert_eq!(issuer.asked(), n);
    }
    issuer.change(keys("new", NEW));
    assert_eq!(gateway.get(&token("old", OLD)).0, 401);
    issuer.change(String::new());
    assert_eq!(gateway.get(&token("old", OLD)).0, 500);
}

/// The worker process has no part in reading the file: it gets what the master read.
#[test]
fn files_are_read_with_the_configuration() {
    let gateway = Gateway::start("auth_jwt_key_file keys.json;", &[("keys.json", &keys("old", OLD))]);
    assert_eq!(gateway.get(&token("old", OLD)), (200, "by old".to_owned()));
    let file = gateway.path().join("keys.json");
    fs::write(&file, keys("new", NEW)).unwrap();
    assert_eq!(gateway.get(&token("old", OLD)).0, 200);
    assert_eq!(gateway.get(&token("new", NEW)).0, 401);
    gateway.reload();
    gateway.until(|| gateway.get(&token("new", NEW)).0 == 200);
    assert_eq!(gateway.get(&token("old", OLD)).0, 401);
    // What is no set of keys is no configuration, and the old one stays in force.
    fs::write(&file, "{").unwrap();
    gateway.reload();
    let said = || fs::read_to_string(gateway.path().join("error.log")).unwrap().contains("is no set of keys");
    gateway.until(said);
    assert_eq!(gateway.get(&token("new", NEW)), (200, "by new".to_owned()));
}
