//! Requests that come before the handshake has ended (`ssl_early_data`).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;

use nix::sys::signal::Signal;
use rustls::{ClientConnection, StreamOwned};

use super::authority::{Authority, self_signed};
use super::client::{Client, ask, body};
use super::objection;
use super::support::{self, BEGINNING, Gateway, PATIENCE, wait_for};

const SEEN: &str = r#"return 200 "early=$ssl_early_data reused=$ssl_session_reused $server_protocol\n";"#;

fn gateway(http: &str, files: &[(&str, &str)]) -> Gateway {
    let pair = self_signed("one.test");
    let mut all = vec![("the.crt", &*pair.certificate), ("the.key", &*pair.key)];
    all.extend_from_slice(files);
    let http = http.replace("{seen}", SEEN);
    Gateway::start_as(
        BEGINNING,
        &format!("http {{ ssl_certificate the.crt; ssl_certificate_key the.key; {http} }}"),
        &all,
    )
}

/// A request with these fields.
fn request(name: &str, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {name}\r\n{fields}\r\n")
}

/// A client that has a ticket for early data.
fn known(port: u16, name: &str) -> Client {
    let client = Client::new().in_a_hurry();
    client.get(port, name, "/").unwrap();
    client
}

/// A connection whose handshake the client takes no further than it must: it hears, and says no more.
struct Early {
    connection: ClientConnection,
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Early {
    /// Sends hello and data; none where the client has no ticket for it.
    fn send(client: &Client, port: u16, name: &str, data: impl AsRef<[u8]>) -> Option<Early> {
        let mut connection = client.begin(name, data.as_ref())?;
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&flight(&mut connection)).unwrap();
        Some(Early { connection, socket, answer: Vec::new() })
    }

    /// Reads on until this, and as far as this.
    fn read_until(&mut self, end: &str) -> String {
        loop {
            let found = self.answer.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let read: Vec<u8> = self.answer.drain(..at + end.len()).collect();
                return String::from_utf8_lossy(&read).into_owned();
            }
            let read = self.connection.read_tls(&mut self.socket).unwrap();
            let state = self.connection.process_new_packets().unwrap();
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.connection.reader().read_exact(&mut plain).unwrap();
            self.answer.extend_from_slice(&plain);
            assert!(read > 0, "{}", String::from_utf8_lossy(&self.answer));
        }
    }

    /// Ends the handshake, and goes on.
    fn finish(self) -> StreamOwned<ClientConnection, TcpStream> {
        let Early { mut connection, mut socket, .. } = self;
        while connection.is_handshaking() || connection.wants_write() {
            connection.complete_io(&mut socket).unwrap();
        }
        StreamOwned::new(connection, socket)
    }
}

/// What a client has to send.
fn flight(connection: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn a_request_is_answered_before_hands_are_shaken() {
    let gateway = gateway(
        "server { listen 127.0.0.1:{port} ssl; server_name one.test; ssl_early_data on; {seen} }
         server { listen 127.0.0.1:{port2}; location /metrics { prometheus; } }",
        &[],
    );
    let client = known(gateway.port, "one.test");
    // Several in one flight, then more on the same connection.
    let both = request("one.test", "") + &request("one.test", "X: y\r\n");
    let mut early = Early::send(&client, gateway.port, "one.test", &both).unwrap();
    for _ in 0..2 {
        assert!(early.read_until("HTTP/1.1\n").contains("\r\n\r\nearly=1 reused=r HTTP/1.1\n"));
    }
    assert!(early.connection.is_early_data_accepted());
    let mut connection = early.finish();
    assert_eq!(body(&ask(&mut connection, "one.test", "/")), "early= reused=r HTTP/1.1\n");
    // Where the first answer is the last, it comes whole, and with tickets for the next time.
    for _ in 0..3 {
        let last = request("one.test", "Connection: close\r\n");
        let mut early = Early::send(&client, gateway.port, "one.test", &last).unwrap();
        assert!(early.read_until("HTTP/1.1\n").ends_with("\r\n\r\nearly=1 reused=r HTTP/1.1\n"));
        let mut rest = Vec::new();
        assert_eq!(early.finish().read_to_end(&mut rest).unwrap(), 0, "{}", String::from_utf8_lossy(&rest));
    }
    let page = support::get(gateway.port2, "/metrics", "").body;
    assert!(page.contains("doorward_ssl_early_data_total{server_zone=\"one.test\"} 4\n"), "{page}");
}

#[test]
fn what_is_not_whole_waits_for_the_rest() {
    let gateway = gateway(
        r#"server { listen 127.0.0.1:{port} ssl; ssl_early_data on; large_client_header_buffers 4 32k;
                    return 200 "early=$ssl_early_data $http_x\n"; }"#,
        &[],
    );
    let client = known(gateway.port, "one.test");
    let long: String = (0..3000).map(|n: u32| format!("{n},")).collect();
    let whole = request("one.test", &format!("X: {long}\r\nConnection: close\r\n"));
    for cut in [1, 20, 4000, 12_000] {
        let (first, second) = whole.split_at(cut);
        let mut connection = Early::send(&client, gateway.port, "one.test", first).unwrap().finish();
        connection.write_all(second.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert_eq!(body(&Ok(answer)), format!("early= {long}\n"), "{cut}");
    }
}

#[test]
fn upstreams_are_told_and_a_request_can_be_refused() {
    let gateway = gateway(
        r#"server { listen 127.0.0.1:{port} ssl; ssl_early_data on;
                    set $unsafe $arg_unsafe$ssl_early_data; if ($unsafe = 11) { return 425; }
                    location / { proxy_pass http://127.0.0.1:{port2}; proxy_set_header Early-Data $ssl_early_data; } }
           server { listen 127.0.0.1:{port2}; return 200 "upstream saw \"$http_early_data\"\n"; }"#,
        &[],
    );
    let client = known(gateway.port, "one.test");
    let forged = request("one.test", "Early-Data: 1\r\n");
    let mut early = Early::send(&client, gateway.port, "one.test", &forged).unwrap();
    assert!(early.read_until("\"\n").contains("upstream saw \"1\"\n"));
    let mut connection = early.finish();
    connection.write_all(request("one.test", "Early-Data: 1\r\nConnection: close\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert_eq!(body(&Ok(answer)), "upstream saw \"\"\n");

    let unsafe_one = "POST /?unsafe=1 HTTP/1.1\r\nHost: one.test\r\nContent-Length: 0\r\n\r\n";
    let mut early = Early::send(&client, gateway.port, "one.test", unsafe_one).unwrap();
    assert!(early.read_until("\r\n\r\n").starts_with("HTTP/1.1 425 "));
    assert!(body(&ask(&mut early.finish(), "one.test", "/?unsafe=1")).contains("upstream saw"));
}

#[test]
fn a_ticket_is_good_for_one_use() {
    let http = r#"log_format early "$ssl_early_data$request_uri"; access_log seen.log early;
                  server { listen 127.0.0.1:{port} ssl; ssl_early_data on; return 200 "in\n"; }"#;
    let mut gateway = gateway(http, &[]);
    let client = known(gateway.port, "one.test");
    let recorded = |path: &str| {
        let data = format!("GET {path} HTTP/1.1\r\nHost: one.test\r\n\r\n");
        flight(&mut client.begin("one.test", data.as_bytes()).unwrap())
    };
    let (first, kept) = (recorded("/first"), recorded("/kept"));
    let port = gateway.port;
    // Whoever has recorded it sends it many times at once, to all workers: how many hear more than a handshake.
    let replay = move |recorded: &[u8]| {
        let senders = (0..16).map(|_| {
            let recorded = recorded.to_vec();
            thread::spawn(move || {
                let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                socket.write_all(&recorded).unwrap();
                // Without the rest of the handshake this is all; then the server sees an end.
                socket.shutdown(std::net::Shutdown::Write).unwrap();
                let _ = socket.read_to_end(&mut Vec::new());
            })
        });
        let senders: Vec<_> = senders.collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    };
    let log = gateway.path("seen.log");
    let seen = |line: &str| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter(|known| *known == line).count()
    };
    replay(&first);
    wait_for("it is logged", || seen("1/first") > 0);
    // A reload forgets no ticket, and makes none good again.
    reload(&gateway);
    replay(&first);
    replay(&kept);
    replay(&kept);
    wait_for("it is logged", || seen("1/kept") > 0);
    gateway.end();
    assert_eq!((seen("1/first"), seen("1/kept")), (1, 1));
    // Nor was it taken behind a handshake that nobody has ended.
    assert_eq!((seen("/first"), seen("/kept")), (0, 0));
}

/// Reloads with a change, and waits until it serves.
fn reload(gateway: &Gateway) {
    let configuration = std::fs::read_to_string(gateway.path("nginx.conf")).unwrap();
    let changed = configuration.replace("return 200", "add_header X-New yes; return 200");
    std::fs::write(gateway.path("nginx.conf"), changed).unwrap();
    gateway.signal(Signal::SIGHUP);
    let is_new = |answer: Result<String, String>| answer.is_ok_and(|answer| answer.contains("X-New"));
    wait_for("the new configuration serves", || is_new(Client::new().get(gateway.port, "one.test", "/")));
}

#[test]
fn a_reload_lets_the_client_end_its_handshake() {
    let gateway = gateway("server { listen 127.0.0.1:{port} ssl; ssl_early_data on; {seen} }", &[]);
    let client = known(gateway.port, "one.test");
    let mut early = Early::send(&client, gateway.port, "one.test", request("one.test", "")).unwrap();
    early.read_until("early=1 reused=r HTTP/1.1\n");
    while client.begin("one.test", b"").is_some() {}
    reload(&gateway);
    // Then the connection is closed as one that is idle; nothing is reset, and tickets have come.
    assert_eq!(early.finish().read_to_end(&mut Vec::new()).unwrap(), 0);
    assert!(client.begin("one.test", b"").is_some());
}

#[test]
fn what_is_not_taken_is_repeated() {
    let pair = self_signed("one.test");
    let http = r#"http { ssl_certificate the.crt; ssl_certificate_key the.key; large_client_header_buffers 4 32k;
        server { listen 127.0.0.1:{port} ssl; ssl_early_data on; return 200 "early=$ssl_early_data $ssl_session_reused\n"; } }"#;
    let files = [("the.crt", &*pair.certificate), ("the.key", &*pair.key)];
    let [here, there] = [(); 2].map(|()| Gateway::start_as(BEGINNING, http, &files));
    for length in [10, 6_000, 15_000] {
        let long = "x".repeat(length);
        let request = request("one.test", &format!("X: {long}\r\nConnection: close\r\n"));
        // The ticket is one of another gateway.
        let early = Early::send(&known(here.port, "one.test"), there.port, "one.test", &request).unwrap();
        let mut connection = early.finish();
        assert!(!connection.conn.is_early_data_accepted());
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert_eq!(body(&Ok(answer)), "early= .\n", "{length}");
    }
}

#[test]
fn the_server_that_is_asked_for_says_whether_it_takes_early_data() {
    let gateway = gateway(
        "server { listen 127.0.0.1:{port} ssl; server_name one.test; {seen} }
         server { listen 127.0.0.1:{port} ssl; server_name two.test; ssl_early_data on; {seen} }",
        &[],
    );
    let early = |name: &str| Early::send(&known(gateway.port, name), gateway.port, name, request(name, ""));
    assert!(early("one.test").is_none());
    assert!(early("two.test").unwrap().read_until("HTTP/1.1\n").contains("early=1"));
    // Nor does one take it that the handshake was not about.
    let client = known(gateway.port, "two.test");
    let mut early = Early::send(&client, gateway.port, "two.test", request("one.test", "")).unwrap();
    assert!(early.read_until("\r\n\r\n").starts_with("HTTP/1.1 425 "));
    let mut connection = early.finish();
    assert_eq!(body(&ask(&mut connection, "one.test", "/")), "early= reused=r HTTP/1.1\n");
}

#[test]
fn what_has_no_effect_beside_it_is_said() {
    let pair = self_signed("one.test");
    let key = "k".repeat(80);
    let files = [("the.crt", &*pair.certificate), ("the.key", &*pair.key), ("ticket.key", &*key)];
    let said = |settings: &str| {
        let pair = "ssl_certificate the.crt; ssl_certificate_key the.key;";
        let said = objection(&format!("{pair} ssl_early_data on; {settings}"), &files);
        assert!(said.contains("syntax is ok"), "{said}");
        said
    };
    assert!(!said("").contains("ignored"));
    assert!(!said("ssl_session_tickets off; ssl_session_cache shared:A:1m;").contains("ignored"));
    assert!(said("ssl_session_ticket_key ticket.key;").contains("\"ssl_session_ticket_key\" ignored"));
    assert!(
        said("ssl_session_tickets off;")
            .contains("\"ssl_early_data\" ignored, there are neither tickets nor")
    );
    assert!(said("ssl_protocols TLSv1.2;").contains("\"ssl_early_data\" ignored, \"ssl_protocols\" lacks"));
}

#[test]
fn a_clients_certificate_is_judged_before_its_early_data_is_served() {
    let authority = Authority::new("ca");
    let (good, bad) = (authority.issue("good", 1), Authority::new("another").issue("bad", 1));
    let gateway = gateway(
        r#"server { listen 127.0.0.1:{port} ssl; ssl_early_data on; ssl_verify_client on; ssl_client_certificate ca.crt;
                    return 200 "early=$ssl_early_data $ssl_client_verify $ssl_client_s_dn\n"; }"#,
        &[("ca.crt", &*authority.certificate)],
    );
    for (pair, status, expected) in
        [(&good, "200", "early=1 SUCCESS"), (&bad, "400", "The SSL certificate error")]
    {
        let client = Client::known_as(pair).in_a_hurry();
        client.get(gateway.port, "one.test", "/").unwrap();
        let mut early = Early::send(&client, gateway.port, "one.test", request("one.test", "")).unwrap();
        assert!(early.read_until(expected).starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

#[test]
fn over_http2_too() {
    let gateway = gateway("server { listen 127.0.0.1:{port} ssl; http2 on; ssl_early_data on; {seen} }", &[]);
    let client = Client::new().offering(&["h2"]).in_a_hurry();
    // An empty SETTINGS; the server's come behind its tickets.
    let beginning = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0][..]].concat();
    let mut first = client.connect(gateway.port, "one.test").unwrap();
    first.write_all(&beginning).unwrap();
    first.read_exact(&mut [0; 9]).unwrap();
    // GET / as stream 1 and 3 (RFC 7541, appendix A: fields by number, but for the authority).
    let get = |stream: u8| {
        let fields = b"\x82\x87\x84\x41\x08one.test";
        [&[0, 0, fields.len() as u8, 1, 5, 0, 0, 0, stream][..], fields].concat()
    };
    let mut early = Early::send(&client, gateway.port, "one.test", [beginning, get(1)].concat()).unwrap();
    early.read_until("early=1 reused=r HTTP/2.0\n");
    let mut connection = early.finish();
    connection.write_all(&get(3)).unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("early= reused=r HTTP/2.0\n") {
        let mut piece = [0; 4096];
        let read = connection.read(&mut piece).unwrap();
        assert!(read > 0);
        answer.extend_from_slice(&piece[..read]);
    }
}
