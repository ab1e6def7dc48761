//! WebSocket through `auth_request`, over TLS and without, and over reloads. Each test is met by nginx, too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

#[allow(dead_code, reason = "each test uses its part of it")]
#[path = "../tls/authority.rs"]
mod authority;
#[allow(dead_code, reason = "each test uses its part of it")]
#[path = "../tls/client.rs"]
mod client;
#[allow(dead_code, reason = "each test uses its part of it")]
#[path = "../side_by_side/oracle.rs"]
mod oracle;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;
#[path = "service.rs"]
mod websocket;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use authority::{Pair, self_signed};
use client::Client;
use nix::sys::signal::Signal;
use support::{Gateway, PATIENCE, wait_for};
use websocket::Service;

/// A connection, whatever it is made of.
trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

/// Where TLS is spoken, and by which server.
struct Place {
    gateway: Gateway,
    service: Service,
    client_tls: bool,
    /// What failed, for the reader.
    name: String,
}

impl Place {
    /// The server with nothing between it and both ends, then with TLS on one side, on the other, on both.
    fn all(main: &str) -> Vec<Place> {
        let nginx = oracle::nginx().unwrap_or_else(|error| panic!("{error}")).binary;
        let programs = [PathBuf::from(env!("CARGO_BIN_EXE_doorward")), nginx];
        let pair = self_signed("one.test");
        let with = |program: &PathBuf, client_tls, service_tls| {
            let service = websocket::listen(Some(&pair).filter(|_| service_tls));
            let http = configuration(client_tls, service_tls, service.port);
            let Pair { certificate, key } = &pair;
            let beginning =
                format!("daemon off; worker_processes 1; error_log error.log info; {main} events {{}}");
            let files = [("one.crt", &**certificate), ("one.key", key)];
            let gateway = Gateway::start_program(program, &beginning, &http, &files);
            let name = format!("{} tls: {client_tls} {service_tls}", program.display());
            Place { gateway, service, client_tls, name }
        };
        let ways = [(false, false), (true, false), (false, true), (true, true)];
        programs
            .iter()
            .flat_map(|program| ways.map(|(client, service)| with(program, client, service)))
            .collect()
    }

    fn connect(&self) -> Box<dyn Duplex> {
        match self.client_tls {
            true => Box::new(Client::new().connect(self.gateway.port, "one.test").unwrap()),
            false => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.gateway.port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
        }
    }

    /// Asks for a tunnel: the head of the answer, and what is then spoken on the connection.
    fn ask(&self, fields: &str) -> (String, Tunnel) {
        let mut stream = BufReader::new(self.connect());
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: one.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        stream.get_mut().flush().unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).unwrap() > 0, "{}: {head:?}", self.name);
        }
        (head, Tunnel(stream))
    }

    fn tunnel(&self) -> Tunnel {
        let (head, mut tunnel) = self.ask("Cookie: session=ann\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{}: {head}", self.name);
        assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        assert_eq!(tunnel.line(), "welcome ann\n", "{}", self.name);
        tunnel
    }

    /// What a request is answered that asks for no tunnel.
    fn answer(&self) -> String {
        let mut stream = self.connect();
        let request = "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Reloads with a configuration that lets nobody in any more.
    fn reload(&self) {
        let path = self.gateway.path("nginx.conf");
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = text.replace("return 200 old", "return 200 new").replace("internal;", "return 401;");
        std::fs::write(path, changed).unwrap();
        self.gateway.signal(Signal::SIGHUP);
        wait_for("the new configuration serves", || self.answer() == "new");
    }

    fn ended(&self) -> usize {
        self.gateway.log().matches("exited with code 0").count()
    }
}

fn configuration(client_tls: bool, service_tls: bool, port: u16) -> String {
    let ssl = if client_tls { "ssl" } else { "" };
    let service = format!("{}://127.0.0.1:{port}", if service_tls { "https" } else { "http" });
    format!(
        r#"http {{
            ssl_certificate one.crt; ssl_certificate_key one.key;
            proxy_ssl_verify on; proxy_ssl_trusted_certificate one.crt; proxy_ssl_name one.test;
            log_format tunnel "$status $scheme $uri"; access_log access.log tunnel;
            server {{
                listen 127.0.0.1:{{port}} {ssl};
                location / {{ return 200 old; }}
                location /ws {{
                    auth_request /auth; auth_request_set $user $upstream_http_x_user;
                    proxy_pass {service}; proxy_http_version 1.1; proxy_set_header X-User $user;
                    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
                }}
                location = /auth {{ internal; proxy_pass {service}/validate; }}
            }}
        }}"#
    )
}

/// What is spoken behind a 101.
struct Tunnel(BufReader<Box<dyn Duplex>>);

impl Tunnel {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Whether this goes to the service and comes back.
    fn echoes(&mut self, text: &str) -> bool {
        let sent = format!("{text}\n");
        self.0.get_mut().write_all(sent.as_bytes()).unwrap();
        self.0.get_mut().flush().unwrap();
        self.line() == sent
    }

    /// Whether nothing comes any more. Some ends of TLS are not announced, and that is all there is to them here.
    fn is_cut(&mut self) -> bool {
        match self.0.read(&mut [0; 16]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

#[test]
fn who_may_pass_gets_a_tunnel_and_others_an_answer() {
    for place in Place::all("") {
        let (head, mut refused) = place.ask("");
        assert!(head.starts_with("HTTP/1.1 401 "), "{}: {head}", place.name);
        assert!(head.contains("\r\nWWW-Authenticate: Test\r\n"), "{}: {head}", place.name);
        assert!(!head.to_ascii_lowercase().contains("upgrade"), "{}: {head}", place.name);
        let mut page = String::new();
        refused.0.read_line(&mut page).unwrap();
        assert_eq!(page, "<html>\r\n", "{}", place.name);
        assert_eq!(place.service.asked.load(Ordering::SeqCst), 0, "{}", place.name);

        let mut tunnel = place.tunnel();
        // Longer than what TLS puts into one record.
        for length in [0, 5, 100_000] {
            assert!(tunnel.echoes(&"x".repeat(length)), "{}: {length} bytes come back", place.name);
        }
        assert!(!tunnel.echoes("bye") && tunnel.is_cut(), "{}: the service has closed", place.name);

        let mut tunnel = place.tunnel();
        assert!(tunnel.echoes("still there"), "{}", place.name);
        drop(tunnel);
        wait_for("the service sees the end", || place.service.open.load(Ordering::SeqCst) == 0);
        let scheme = if place.client_tls { "https" } else { "http" };
        let line = format!("101 {scheme} /ws\n");
        let log = || std::fs::read_to_string(place.gateway.path("access.log")).unwrap_or_default();
        wait_for("both tunnels are logged", || log().matches(&line).count() == 2);
        assert!(log().contains(&format!("401 {scheme} /ws\n")), "{}: {}", place.name, log());
    }
}

#[test]
fn a_tunnel_outlives_a_reload_and_a_graceful_end() {
    for mut place in Place::all("") {
        let mut tunnel = place.tunnel();
        place.reload();
        assert!(tunnel.echoes("after the reload"), "{}", place.name);
        // For a moment nginx's old worker goes on to take connections.
        wait_for("nobody else gets in by what was in force", || {
            place.ask("Cookie: session=ann\r\n").0.starts_with("HTTP/1.1 401 ")
        });
        assert_eq!(place.ended(), 0, "{}: what serves the tunnel is there", place.name);
        place.gateway.signal(Signal::SIGQUIT);
        wait_for("nobody else is served", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, place.gateway.port)).is_err()
        });
        assert!(tunnel.echoes("after the end"), "{}", place.name);
        drop(tunnel);
        wait_for("the service sees the end", || place.service.open.load(Ordering::SeqCst) == 0);
        place.gateway.wait_for_end();
    }
}

#[test]
fn what_served_a_tunnel_ends_with_it() {
    for place in Place::all("") {
        let tunnel = place.tunnel();
        place.reload();
        assert_eq!(place.ended(), 0, "{}", place.name);
        drop(tunnel);
        wait_for("it ends", || place.ended() == 1);
        assert_eq!(place.answer(), "new", "{}", place.name);
    }
}

#[test]
fn a_tunnel_is_cut_when_the_time_for_a_graceful_end_is_over() {
    for signal in [Signal::SIGHUP, Signal::SIGQUIT] {
        for place in Place::all("worker_shutdown_timeout 200ms;") {
            let mut tunnel = place.tunnel();
            place.gateway.signal(signal);
            assert!(tunnel.is_cut(), "{} {signal}", place.name);
            wait_for("the service sees the end", || place.service.open.load(Ordering::SeqCst) == 0);
            wait_for("what served it ends", || place.ended() > 0);
            let log = std::fs::read_to_string(place.gateway.path("access.log")).unwrap();
            assert!(log.contains("101 "), "{}: {log}", place.name);
        }
    }
}
