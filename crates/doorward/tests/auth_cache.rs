//! Decisions that are kept, and failures that are counted, while many ask at once: nobody gets another's decision, and nobody
//! gets more guesses than there are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

#[path = "support/service.rs"]
mod service;
#[path = "support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use support::wait_for;

/// The head of a request that a service got.
struct Head {
    target: String,
    fields: HashMap<String, String>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> Option<Head> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let target = lines.first()?.split(' ').nth(1)?.to_owned();
        let fields = lines[1..].iter().filter_map(|line| line.split_once(": "));
        Some(Head { target, fields: fields.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect() })
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value)
    }
}

/// A service; `answer` makes all of an answer.
fn service(answer: impl Fn(&Head) -> String + Send + Sync + 'static) -> u16 {
    service::listen(move |stream| {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Some(head) = Head::read(&mut reader) {
            if writer.write_all(answer(&head).as_bytes()).is_err() {
                return;
            }
        }
    })
}

fn answered(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A running gateway.
struct Gateway(support::Gateway);

impl Gateway {
    /// `{auth}` and `{app}` are the services' ports; the upstream answers with the `X-User` that it got.
    fn start(http: &str, server: &str, auth: u16) -> Gateway {
        let app = service(|head| answered("200 OK", "", head.field("x-user")));
        let beginning = "daemon off; master_process off; worker_processes 4; error_log error.log crit;\n\
                         events { worker_connections 1024; }";
        let text = format!(
            "http {{ access_log off; keepalive_requests 1000000;\n{http}\n\
             server {{ listen 127.0.0.1:{{port}};\n{server}\n}} }}\n"
        );
        let text = text.replace("{auth}", &auth.to_string()).replace("{app}", &app.to_string());
        Gateway(support::Gateway::start_as(beginning, &text, &[]))
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0.port)).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    /// Status and body of one request on a connection of its own.
    fn get(&self, path: &str, fields: &str) -> (u16, String) {
        self.client().ask("GET", path, "a", fields)
    }
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn ask(&mut self, method: &str, path: &str, host: &str, fields: &str) -> (u16, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "closed before it answered {request}");
            match line.trim_end().split_once(' ') {
                Some((start, rest)) if start.starts_with("HTTP/") => {
                    status = rest.split(' ').next().unwrap().parse().unwrap();
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length:") => {
                    length = value.parse().unwrap();
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

/// All that a decision depends on.
#[derive(Clone, Debug, Hash)]
struct Asked {
    question: &'static str,
    method: &'static str,
    host: &'static str,
    uri: String,
    authorization: &'static str,
    cookie: &'static str,
    key: &'static str,
}

impl Asked {
    /// What the service makes of it: a number nobody else has, but for the same question.
    fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn status(&self) -> u16 {
        [200, 200, 200, 200, 401, 403][(self.number() % 6) as usize]
    }

    fn user(&self) -> String {
        format!("{:016x}", self.number())
    }

    /// What the service says of keeping the answer.
    fn says(&self) -> &'static str {
        match self.number() >> 8 & 7 {
            0 => "Cache-Control: no-store\r\n",
            1 => "Cache-Control: max-age=1\r\n",
            2 => "Vary: Cookie\r\n",
            3 => "Vary: X-Unknown\r\n",
            4 => "Set-Cookie: session=new\r\n",
            _ => "",
        }
    }
}

/// One of a few, so that the same comes again and again, also in another place.
fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(values)
}

fn asked() -> impl Strategy<Value = Asked> {
    let secrets =
        &["", "a", "b", "Bearer a", "Bearer b", "Basic YTpi", "a=1", "a=1; b=2", "b=2; a=1", "a=1;b=2"];
    let paths = &[
        "/set/x",
        "/set/X",
        "/set/x?k=a",
        "/set/x?k=b",
        "/set//x",
        "/set/%78",
        "/copy/x",
        "/copy/x?a",
        "/admin/x",
    ];
    let ways = (one_of(&["GET", "POST", "DELETE"]), one_of(&["a.test", "b.test"]), one_of(paths));
    (ways, one_of(secrets), one_of(secrets), one_of(secrets)).prop_map(
        |((method, host, path), authorization, cookie, key)| {
            let question = if path.starts_with("/admin") { "/admin" } else { "/user" };
            Asked { question, method, host, uri: path.to_owned(), authorization, cookie, key }
        },
    )
}

/// What the service was asked, as it sees that; `known` gives words of the test their place.
fn seen(head: &Head, known: impl Fn(&str) -> &'static str) -> Asked {
    Asked {
        question: known(&head.target),
        method: known(head.field("x-original-method")),
        host: known(head.field("x-original-host")),
        uri: head.field("x-original-uri").to_owned(),
        authorization: known(head.field("authorization")),
        cookie: known(head.field("cookie")),
        key: known(head.field("x-api-key")),
    }
}

const WORDS: &[&str] = &[
    "",
    "a",
    "b",
    "Bearer a",
    "Bearer b",
    "Basic YTpi",
    "a=1",
    "a=1; b=2",
    "b=2; a=1",
    "a=1;b=2",
    "GET",
    "POST",
    "DELETE",
    "a.test",
    "b.test",
    "/admin",
    "/user",
];

/// A gateway whose service decides by all that it sees, and the number of questions.
fn deciding() -> (Gateway, Arc<AtomicUsize>) {
    let questions = Arc::new(AtomicUsize::new(0));
    let count = questions.clone();
    let auth = service(move |head| {
        count.fetch_add(1, Ordering::SeqCst);
        let known = |text: &str| *WORDS.iter().find(|word| **word == text).unwrap_or(&"unknown");
        let asked = seen(head, known);
        let fields = format!("X-User: {}\r\n{}", asked.user(), asked.says());
        answered(&format!("{} Decided", asked.status()), &fields, "")
    });
    let gateway = Gateway::start(
        "",
        "auth_request_cache zone=decisions:1m ttl=1m negative=1m;\n\
         location /set/ { auth_request /ask/user; auth_request_set $user $upstream_http_x_user;\n\
             proxy_set_header X-User $user; proxy_pass http://127.0.0.1:{app}; }\n\
         location /copy/ { auth_request /ask/user; auth_request_copy_headers X-User; proxy_pass http://127.0.0.1:{app}; }\n\
         location /admin/ { auth_request /ask/admin; auth_request_copy_headers X-User; proxy_pass http://127.0.0.1:{app}; }\n\
         location /ask/ { internal; proxy_pass http://127.0.0.1:{auth}/; proxy_pass_request_body off;\n\
             proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri;\n\
             proxy_set_header X-Original-Host $host; proxy_set_header X-Original-Method $request_method; }",
        auth,
    );
    (gateway, questions)
}

impl Asked {
    /// Asks as a client that also says who it is, and holds the answer against what the service makes of it.
    fn check(&self, client: &mut Client) -> Result<(), String> {
        let mut fields = String::from("X-User: root\r\n");
        for (name, value) in
            [("Authorization", self.authorization), ("Cookie", self.cookie), ("X-API-Key", self.key)]
        {
            if !value.is_empty() {
                fields.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let (status, user) = client.ask(self.method, &self.uri, self.host, &fields);
        if status != self.status() || status == 200 && user != self.user() {
            return Err(format!("{status} {user} for {self:?}, which is {} {}", self.status(), self.user()));
        }
        Ok(())
    }
}

#[test]
fn nobody_gets_the_decision_of_another_who_asks_at_the_same_time() {
    let (gateway, questions) = deciding();
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    // Few, so that the same question is often in flight on several connections.
    let mix = prop::collection::vec(asked(), 64).new_tree(&mut runner).unwrap().current();
    thread::scope(|scope| {
        for at in 0..8 {
            let (mix, gateway) = (&mix, &gateway);
            scope.spawn(move || {
                let mut client = gateway.client();
                for turn in 0..640 {
                    mix[(turn / 2 + at % 2) % mix.len()].check(&mut client).unwrap();
                }
            });
        }
    });
    let questions = questions.load(Ordering::SeqCst);
    assert!(questions < 8 * 640, "{questions} questions: nothing was kept");
}

#[test]
fn nobody_gets_the_decision_of_another() {
    let (gateway, questions) = deciding();
    let mut asks = 0;
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let runs = prop::collection::vec((asked(), 0..4_usize), 40);
    let clients = std::cell::RefCell::new(&mut clients);
    let total = std::cell::RefCell::new(&mut asks);
    runner
        .run(&runs, |run| {
            for (asked, client) in run {
                let checked = asked.check(&mut clients.borrow_mut()[client]);
                prop_assert!(checked.is_ok(), "{:?}", checked);
                **total.borrow_mut() += 1;
            }
            Ok(())
        })
        .unwrap();
    let questions = questions.load(Ordering::SeqCst);
    assert!(questions < asks, "{questions} questions for {asks} requests: nothing was kept");
}

/// A gateway with a cache, whose service counts the questions and answers 200 after a pause; the number of questions.
fn counting(pause: Duration, more: &str) -> (Gateway, Arc<AtomicUsize>) {
    let questions = Arc::new(AtomicUsize::new(0));
    let count = questions.clone();
    let auth = service(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        sleep(pause);
        answered("200 OK", "X-User: ann\r\n", "")
    });
    let server = format!(
        "location / {{ auth_request /ask; auth_request_cache zone=decisions:1m ttl=10m {more}; proxy_pass http://127.0.0.1:{{app}}; }}\n\
         location = /ask {{ internal; proxy_pass http://127.0.0.1:{{auth}}; }}"
    );
    (Gateway::start("", &server, auth), questions)
}

#[test]
fn ten_thousand_requests_with_one_token_are_one_question() {
    let (gateway, questions) = counting(Duration::ZERO, "");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for _ in 0..2_500 {
                    assert_eq!(client.ask("GET", "/", "a", "Authorization: Bearer token\r\n").0, 200);
                }
            });
        }
    });
    assert_eq!(questions.load(Ordering::SeqCst), 1);
}

#[test]
fn two_hundred_first_requests_at_once_are_one_question() {
    let (gateway, questions) = counting(Duration::from_millis(700), "");
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| assert_eq!(gateway.get("/", "Authorization: Bearer token\r\n").0, 200));
        }
    });
    assert_eq!(questions.load(Ordering::SeqCst), 1);
}

/// What a service is told while it runs, and how often it was asked.
#[derive(Default)]
struct Told {
    /// It answers when it is not held any more.
    held: AtomicBool,
    /// It answers that it does not work.
    fails: AtomicBool,
    questions: AtomicUsize,
}

impl Told {
    /// Counts a question, and waits until it may be answered.
    fn question(&self) {
        self.questions.fetch_add(1, Ordering::SeqCst);
        while self.held.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(2));
        }
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

/// A gateway whose service does as it is told; `purge` forgets.
fn purged(purge: &str, ttl: &str) -> (Gateway, Arc<Told>) {
    let told = Arc::new(Told::default());
    let own = told.clone();
    let auth = service(move |_| {
        own.question();
        match own.fails.load(Ordering::SeqCst) {
            true => answered("503 Service Unavailable", "", ""),
            false => answered("200 OK", "X-User: ann\r\n", ""),
        }
    });
    let server = format!(
        "location / {{ auth_request /ask; auth_request_cache zone=decisions:1m ttl={ttl} grace=10m user=$upstream_http_x_user;\n\
             proxy_pass http://127.0.0.1:{{app}}; }}\n\
         location /purge {{ auth_cache_purge zone=decisions {purge}; }}\n\
         location = /ask {{ internal; proxy_pass http://127.0.0.1:{{auth}}; }}"
    );
    (Gateway::start("", &server, auth), told)
}

const TOKEN: &str = "Authorization: Bearer token\r\n";

/// A request, and a purge while it is being asked about.
fn purged_while_asked(gateway: &Gateway, told: &Told) -> u16 {
    let before = told.questions();
    told.held.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.get("/", TOKEN).0);
        wait_for("it is asked", || told.questions() > before);
        let (status, said) = gateway.client().ask("POST", "/purge?user=ann", "a", "Content-Length: 0\r\n");
        told.held.store(false, Ordering::SeqCst);
        assert!(matches!(status, 200 | 204), "{status} {said}");
        waiting.join().unwrap()
    })
}

#[test]
fn what_is_purged_while_the_service_fails_lets_nobody_in() {
    for purge in ["user=$arg_user", "all"] {
        let (gateway, told) = purged(purge, "100ms");
        assert_eq!(gateway.get("/", TOKEN).0, 200);
        // Its time is over, and the service fails: grace goes on with it ...
        sleep(Duration::from_millis(150));
        told.fails.store(true, Ordering::SeqCst);
        assert_eq!(gateway.get("/", TOKEN).0, 200, "{purge}");
        // ... but not when it is taken back meanwhile.
        assert_eq!(purged_while_asked(&gateway, &told), 500, "{purge}");
        assert_eq!(gateway.get("/", TOKEN).0, 500, "{purge}");
    }
}

#[test]
fn what_is_purged_while_it_is_asked_for_is_not_kept() {
    for purge in ["user=$arg_user", "all"] {
        let (gateway, told) = purged(purge, "10m");
        assert_eq!(purged_while_asked(&gateway, &told), 200);
        let asked = told.questions();
        assert_eq!(gateway.get("/", TOKEN).0, 200);
        assert_eq!(told.questions(), asked + 1, "{purge}");
    }
}

#[test]
fn who_waits_for_a_service_that_fails_does_not_ask_it_once_more() {
    let told = Arc::new(Told::default());
    told.held.store(true, Ordering::SeqCst);
    let own = told.clone();
    let auth = service(move |_| {
        own.question();
        answered("503 Service Unavailable", "", "")
    });
    let gateway = Gateway::start(
        "",
        "location / { auth_request /ask; auth_request_cache zone=decisions:1m; proxy_pass http://127.0.0.1:{app}; }\n\
         location = /ask { internal; proxy_pass http://127.0.0.1:{auth}; }\n\
         location = /connections { stub_status; }",
        auth,
    );
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(gateway.get("/", TOKEN).0, 500));
        }
        // Theirs and the one that asks.
        wait_for("all of them wait", || gateway.get("/connections", "").1.contains("Writing: 21 "));
        told.held.store(false, Ordering::SeqCst);
    });
    assert_eq!(told.questions(), 1);
}

#[test]
fn guesses_at_once_are_as_many_as_guesses_one_after_the_other() {
    const ALLOWED: usize = 5;
    let auth = service(|head| match head.field("authorization") {
        "Bearer right" => answered("200 OK", "", ""),
        _ => {
            sleep(Duration::from_millis(300));
            answered("401 Unauthorized", "", "")
        }
    });
    let gateway = Gateway::start(
        "auth_limit_zone $arg_who zone=guesses:1m rate=1r/m;",
        "location / { auth_limit zone=guesses burst=4; auth_request /ask; proxy_pass http://127.0.0.1:{app}; }\n\
         location /banned { auth_limit zone=guesses burst=4 ban=10m; auth_request /ask; proxy_pass http://127.0.0.1:{app}; }\n\
         location = /ask { internal; proxy_pass http://127.0.0.1:{auth}; }",
        auth,
    );
    for round in 0..12 {
        let path = format!("/{}?who={round}", if round % 2 == 0 { "" } else { "banned" });
        let statuses: Vec<u16> = thread::scope(|scope| {
            let guesses: Vec<_> = (0..50)
                .map(|_| scope.spawn(|| gateway.get(&path, "Authorization: Bearer wrong\r\n").0))
                .collect();
            guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
        });
        let seen = statuses.iter().filter(|status| **status == 401).count();
        assert_eq!(seen, ALLOWED, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
        // Whether a guess is right is not told any more.
        assert_eq!(gateway.get(&path, "Authorization: Bearer right\r\n").0, 429);
    }
}
