//! What an auth service can do wrong: nobody passes by it, nobody waits longer than the timeouts, and nothing is left behind.
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
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::socket::{Backlog, listen};
use support::wait_for;

/// What bounds a question, in the location that asks: each wait for itself.
const BOUNDS: &str = "proxy_connect_timeout 400ms; proxy_send_timeout 400ms; proxy_read_timeout 400ms;";

/// The longest that an answer may take where the service says nothing more: one timeout, and a machine that has others to
/// serve. What is not bounded takes [`FOR_EVER`].
const ONE_WAIT: Duration = Duration::from_millis(400 + 10_000);

/// Longer than anybody waits here.
const FOR_EVER: Duration = Duration::from_secs(60);

/// A fault by the name that clients send in `X-Fault`, what is done about the question, and what the client gets.
type Fault = (&'static str, fn(&mut TcpStream) -> std::io::Result<()>, u16);

/// All that ends a connection, or should.
const FAULTS: &[Fault] = &[
    ("hangs", |_| wait_for_ever(), 500),
    ("hangs in the head", |s| write_and(s, b"HTTP/1.1 200 OK\r\nX-User: al", wait_for_ever), 500),
    ("closes", |_| Ok(()), 500),
    ("closes in the head", |s| s.write_all(b"HTTP/1.1 200 OK\r\nX-User: al"), 500),
    ("closes behind a line", |s| s.write_all(b"HTTP/1.1 200 OK\r\n"), 500),
    ("resets", reset, 500),
    (
        "resets in the head",
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\nX-User: al")?;
            sleep(Duration::from_millis(20));
            reset(s)
        },
        500,
    ),
    ("garbage", |s| s.write_all(b"\x16\x03\x01\0\xff\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), 500),
    ("garbage without end", |s| repeat(s, b"\0\xff\x80 garbage ", Duration::ZERO), 500),
    ("an empty line first", |s| s.write_all(b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 500),
    ("a status of four digits", |s| s.write_all(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), 500),
    ("a status of two digits", |s| s.write_all(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"), 500),
    ("NUL in a field", |s| s.write_all(b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"), 500),
    (
        "two lengths",
        |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"),
        500,
    ),
    ("a length that is none", |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 500),
    (
        "a length and chunks",
        |s| {
            s.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            )
        },
        500,
    ),
    (
        "another protocol",
        |s| {
            s.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")?;
            wait_for_ever()
        },
        500,
    ),
    (
        "a megabyte of head",
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for _ in 0..16_384 {
                s.write_all(b"X-Long: 0123456789012345678901234567890123456789012345678901\r\n")?;
            }
            s.write_all(b"Content-Length: 0\r\n\r\n")
        },
        500,
    ),
    ("a field without end", |s| write_and_repeat(s, b"HTTP/1.1 200 OK\r\nX-A: ", b"0123456789"), 500),
    ("interim answers without end", |s| repeat(s, b"HTTP/1.1 102 Processing\r\n\r\n", Duration::ZERO), 500),
    (
        "early hints without end",
        |s| repeat(s, b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", Duration::ZERO),
        500,
    ),
    // nginx passes over further status lines, which old servers sent: the first one counts.
    ("two status lines", |s| s.write_all(b"HTTP/1.1 401 No\r\nHTTP/1.1 200 OK\r\n\r\n"), 401),
    // What follows is well enough said to count, and must not hurt what comes behind it.
    (
        "a refusal, and more",
        |s| {
            s.write_all(
                b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            )
        },
        401,
    ),
    ("a refusal cut short", |s| s.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nno"), 403),
    ("a refusal without end", |s| write_and_repeat(s, b"HTTP/1.1 403 No\r\n\r\n", b"no and again no "), 403),
    (
        "a body that 204 cannot have",
        |s| s.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
        200,
    ),
    ("a body cut short", |s| s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), 200),
    ("a body without end", |s| write_and_repeat(s, b"HTTP/1.1 200 OK\r\n\r\n", b"yes and again yes "), 200),
    (
        "a body that does not come",
        |s| write_and(s, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", wait_for_ever),
        200,
    ),
    ("a broken chunk", |s| s.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 200),
    // Each pause is shorter than the timeout, which bounds the head as a whole.
    (
        "an answer in drops",
        |s| {
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".chunks(5).try_for_each(|drop| {
                sleep(Duration::from_millis(2));
                s.write_all(drop)
            })
        },
        200,
    ),
    (
        "a head in drops",
        |s| {
            s.write_all(b"HTTP/1.1 200 OK\r\n")?;
            repeat(
                s,
                b"X-Drop: 0123456789012345678901234567890123456789012345\r\n",
                Duration::from_millis(20),
            )
        },
        500,
    ),
    (
        "interim answers in drops",
        |s| repeat(s, b"HTTP/1.1 100 Continue\r\n\r\n", Duration::from_millis(10)),
        500,
    ),
];

#[test]
fn nobody_passes_by_a_fault_and_nobody_waits_for_long() {
    let (mut gateway, auth) = start();
    each_fault(&gateway, &auth);
    for path in ["/down", "/full"] {
        let began = Instant::now();
        assert_eq!(gateway.get(path, ""), 500, "{path}");
        assert!(began.elapsed() < ONE_WAIT, "{path}: {:?}", began.elapsed());
        assert_eq!(gateway.get("/", "refuses"), 401, "behind: {path}");
        assert_eq!(gateway.get("/", ""), 200, "behind: {path}");
    }
    assert_eq!(
        gateway.app.count(),
        gateway.passed.load(Ordering::Relaxed),
        "requests reached the application"
    );
    let log = gateway.server.end();
    assert!(!log.contains("panicked"), "{log}");
    // The line for a head that is too big names what to raise.
    assert!(
        log.lines().any(|line| line.contains("too big header") && line.contains("proxy_buffer_size")),
        "{log}"
    );
}

fn each_fault(gateway: &Gateway, auth: &Service) {
    for (name, _, status) in FAULTS {
        let asked = auth.count();
        let began = Instant::now();
        assert_eq!(gateway.get("/", name), *status, "{name}\n{}", gateway.log());
        assert!(began.elapsed() < ONE_WAIT, "{name}: {:?}", began.elapsed());
        // Once more at most, where a kept connection was found dead.
        assert!(auth.count() <= asked + 2, "{name}: the service was asked again");
        // And then as ever: a refusal is a refusal and an approval an approval.
        let asked = auth.count();
        assert_eq!(gateway.get("/", "refuses"), 401, "behind: {name}");
        assert_eq!(gateway.get("/", ""), 200, "behind: {name}");
        assert_eq!(auth.count(), asked + 2, "behind: {name}");
    }
}

#[test]
fn faults_leave_nothing_behind() {
    let (gateway, _auth) = start();
    // Those that need no wait, so that there can be many.
    let quick: Vec<_> =
        FAULTS.iter().filter(|(name, ..)| !name.contains("hangs") && !name.contains("drops")).collect();
    let round = || {
        for (name, _, status) in &quick {
            assert_eq!(gateway.get("/", name), *status, "{name}");
        }
    };
    for _ in 0..3 {
        round();
    }
    assert_eq!(gateway.get("/", ""), 200);
    let (files, memory) = (gateway.files(), gateway.memory());
    for _ in 0..12 {
        round();
    }
    assert_eq!(gateway.get("/", ""), 200);
    gateway.lets_go(files + 2);
    let grown = gateway.memory().saturating_sub(memory);
    assert!(grown < 4096, "{memory} KiB grew by {grown} KiB");
}

#[test]
fn who_is_not_asked_about_does_not_wait_for_others() {
    let (gateway, auth) = start();
    let gateway = Arc::new(gateway);
    assert_eq!(gateway.get("/", ""), 200);
    let files = gateway.files();
    let asked = auth.count();
    let others: Vec<_> = (0..40)
        .map(|at| {
            let gateway = gateway.clone();
            let (path, fault) = [
                ("/patient", "is held"),
                ("/", "hangs in the head"),
                ("/", "a megabyte of head"),
                ("/", "garbage without end"),
            ][at % 4];
            thread::spawn(move || gateway.get(path, fault))
        })
        .collect();
    wait_for("all are asked about", || auth.count() >= asked + others.len());
    assert_eq!(gateway.get("/", ""), 200);
    HELD.store(false, Ordering::SeqCst);
    for other in others {
        assert_eq!(other.join().unwrap(), 500);
    }
    // A connection of its own is all that each of the good ones may have left in the pool.
    gateway.lets_go(files + 8);
}

#[test]
fn a_kept_connection_that_dies_is_replaced_as_long_as_nothing_was_answered() {
    let (gateway, auth) = start();
    for path in ["/", "/once"] {
        for fault in ["closes when used again", "resets when used again"] {
            let asked = auth.count();
            for _ in 0..3 {
                assert_eq!(gateway.get(path, fault), 200, "{path} {fault}\n{}", gateway.log());
            }
            // One is new, two are found dead and asked again; the first may have been found dead as well.
            let questions = auth.count() - asked;
            assert!((4..=6).contains(&questions), "{path} {fault}: {questions}");
        }
        for fault in ["half an answer when used again", "an interim answer when used again"] {
            // No connection is left by this, so that the next request has a new one, and keeps it.
            assert_eq!(gateway.get(path, "closes"), 500, "{path}");
            assert_eq!(gateway.get(path, fault), 200, "{path} {fault}");
            let asked = auth.count();
            assert_eq!(gateway.get(path, fault), 500, "{path} {fault}");
            assert_eq!(auth.count(), asked + 1, "{path} {fault}");
        }
    }
    // Nor is the server held to have failed: with one failure it would be left alone for a minute.
    for _ in 0..6 {
        assert_eq!(gateway.get("/strict", "closes when used again"), 200, "{}", gateway.log());
    }
}

#[test]
fn a_refusal_is_not_asked_about_twice() {
    let (gateway, auth) = start();
    for (path, fault, status, questions) in [
        // Before others leave connections that are found dead.
        ("/two", "closes", 500, 2),
        ("/two", "resets", 500, 2),
        ("/two", "a megabyte of head", 500, 1),
        ("/two", "refuses", 401, 1),
        ("/two", "forbids", 403, 1),
        // Who says so in the configuration gets what nginx does.
        ("/two-403", "forbids", 403, 2),
        ("/two-403", "refuses", 401, 1),
        ("/two-invalid", "a megabyte of head", 500, 2),
    ] {
        let asked = auth.count();
        assert_eq!(gateway.get(path, fault), status, "{path} {fault}");
        assert_eq!(auth.count() - asked, questions, "{path} {fault}");
    }
}

/// A gateway and the service that it asks.
fn start() -> (Gateway, Service) {
    let app =
        Service::start(|_, _, stream| answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let auth = Service::start(act);
    let gateway = Gateway::start(app, auth.port);
    (gateway, auth)
}

/// Whether the auth service keeps questions that are to be held.
static HELD: AtomicBool = AtomicBool::new(true);

/// What the auth service does about a question; whether the connection goes on.
fn act(fault: &str, used: usize, stream: &mut TcpStream) -> bool {
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    match fault {
        "" => answer(stream, ok),
        "refuses" => answer(stream, b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"),
        "forbids" => answer(stream, b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
        "is held" => {
            while HELD.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(2));
            }
            false
        }
        again if again.ends_with(" when used again") => {
            if used == 0 {
                return answer(stream, ok);
            }
            let _ = match again.split(' ').next() {
                Some("resets") => reset(stream),
                Some("half") => stream.write_all(b"HTTP/1.1 200 OK\r\nX-A"),
                Some("an") => stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
                _ => Ok(()),
            };
            false
        }
        name => {
            let fault = FAULTS.iter().find(|(own, ..)| *own == name);
            // The gateway may hang up at any time.
            let _ = fault.unwrap().1(stream);
            false
        }
    }
}

fn answer(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

fn wait_for_ever() -> std::io::Result<()> {
    sleep(FOR_EVER);
    Ok(())
}

fn write_and(stream: &mut TcpStream, bytes: &[u8], then: fn() -> std::io::Result<()>) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    then()
}

fn write_and_repeat(stream: &mut TcpStream, start: &[u8], more: &[u8]) -> std::io::Result<()> {
    stream.write_all(start)?;
    repeat(stream, more, Duration::ZERO)
}

fn repeat(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < FOR_EVER {
        stream.write_all(bytes)?;
        sleep(pause);
    }
    Ok(())
}

/// Ends the connection with RST: a socket of which nothing is to be lingered for.
fn reset(stream: &mut TcpStream) -> std::io::Result<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger)?;
    Ok(())
}

/// A server with a thread for each connection.
struct Service {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Service {
    /// `act` gets the fault asked for, how many requests the connection carried before, and the connection.
    fn start(act: fn(&str, usize, &mut TcpStream) -> bool) -> Service {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let port = service::listen(move |stream| {
            let Ok(mut writer) = stream.try_clone() else { return };
            let mut reader = BufReader::new(stream);
            let mut used = 0;
            while let Some(fault) = question(&mut reader) {
                counter.fetch_add(1, Ordering::SeqCst);
                if !act(&fault, used, &mut writer) {
                    return;
                }
                used += 1;
            }
        });
        Service { port, requests }
    }

    fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads a request and gives the value of `X-Fault`.
fn question(reader: &mut impl BufRead) -> Option<String> {
    let mut fault = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(fault),
            field => fault = field.strip_prefix("X-Fault: ").map_or(fault, str::to_owned),
        }
    }
}

/// A running gateway with its service.
struct Gateway {
    server: support::Gateway,
    app: Service,
    /// How many requests the client saw pass.
    passed: AtomicUsize,
    /// Where connections are not accepted, and those that fill its queue.
    _full: (TcpListener, Mutex<Vec<TcpStream>>),
}

impl Gateway {
    fn start(app: Service, auth: u16) -> Gateway {
        let (full, queue) = full_queue();
        let locations: String = [
            ("/", "auth", ""),
            ("/once", "auth", "proxy_next_upstream off;"),
            ("/strict", "strict", ""),
            ("/two", "two", ""),
            ("/two-403", "two", "proxy_next_upstream error http_403;"),
            ("/two-invalid", "two", "proxy_next_upstream error invalid_header;"),
            ("/down", "down", ""),
            ("/full", "full", ""),
            ("/patient", "auth", "proxy_read_timeout 60s;"),
        ]
        .iter()
        .map(|(path, group, more)| {
            let bounds = if more.contains("_timeout") { "" } else { BOUNDS };
            format!(
                "location = /ask{path} {{ internal; {bounds} {more} proxy_pass http://{group}; }}\n\
                 location {path} {{ auth_request /ask{path}; proxy_pass http://127.0.0.1:{}; }}\n",
                app.port
            )
        })
        .collect();
        let full_port = full.local_addr().unwrap().port();
        let beginning = "daemon off; master_process off; error_log error.log info;\n\
                         events { worker_connections 512; }";
        // Nobody is on `{port2}`.
        let text = format!(
            "http {{ access_log off;\n\
             upstream auth {{ server 127.0.0.1:{auth}; }}\n\
             upstream strict {{ server 127.0.0.1:{auth} max_fails=1 fail_timeout=60s;\n\
             server 127.0.0.1:{{port2}} backup; }}\n\
             upstream two {{ server 127.0.0.1:{auth} max_fails=0; server localhost:{auth} max_fails=0; }}\n\
             upstream down {{ server 127.0.0.1:{{port2}}; }}\n\
             upstream full {{ server 127.0.0.1:{full_port}; }}\n\
             server {{ listen 127.0.0.1:{{port}};\n{locations}}} }}\n"
        );
        let server = support::Gateway::start_as(beginning, &text, &[]);
        Gateway { server, app, passed: AtomicUsize::new(0), _full: (full, Mutex::new(queue)) }
    }

    /// The status of the answer, on a connection of its own.
    fn get(&self, path: &str, fault: &str) -> u16 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server.port)).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let fault = if fault.is_empty() { String::new() } else { format!("X-Fault: {fault}\r\n") };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n{fault}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        assert!(read.is_ok(), "{read:?} after {answer:?}\n{}", self.log());
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {answer:?}\n{}", self.log()));
        self.passed.fetch_add(usize::from(status == 200), Ordering::Relaxed);
        status
    }

    fn log(&self) -> String {
        self.server.log()
    }

    /// Its open descriptors, when those of connections that ended are closed.
    fn files(&self) -> usize {
        sleep(Duration::from_millis(200));
        self.open_files()
    }

    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.server.id())).unwrap().count()
    }

    /// Waits until it has no more open descriptors than these.
    fn lets_go(&self, most: usize) {
        wait_for(&format!("no more than {most} descriptors are open"), || self.open_files() <= most);
    }

    /// Its resident memory in KiB.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// A listener whose queue is full: the kernel answers no further connection.
fn full_queue() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listen(&listener.as_fd(), Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(stream);
    }
    (listener, queue)
}
