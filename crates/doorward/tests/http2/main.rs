//! Connections of HTTP/2: what is between the requests. What a request itself becomes is compared with nginx by the cases of
//! `side_by_side`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function is one part of it"
)]

mod abuse;
mod malformed;
mod raw;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, StatusCode};
use nix::sys::signal::Signal;
use support::{Gateway, wait_for};
use tokio::task::JoinHandle;

/// A connection, and the task that drives it.
struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn open(port: u16) -> Connection {
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        Connection { requests: requests.ready().await.unwrap(), driver: tokio::spawn(connection) }
    }

    /// Sends a request without a body.
    fn get(&mut self, path: &str) -> ResponseFuture {
        let request = Request::get(format!("http://localhost{path}")).body(()).unwrap();
        self.requests.send_request(request, true).unwrap().0
    }
}

/// A whole response: status, body, trailers.
async fn whole(response: ResponseFuture) -> (StatusCode, Vec<u8>, Option<HeaderMap>) {
    let response = response.await.unwrap();
    let status = response.status();
    let mut body: RecvStream = response.into_body();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (status, bytes, body.trailers().await.unwrap())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(support::PATIENCE, test).await.unwrap() })
}

/// A service that answers one request when it is told to.
fn patient_service() -> (u16, Sender<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        told.recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").unwrap();
    });
    (port, tell)
}

#[test]
fn requests_of_a_connection_do_not_wait_for_each_other() {
    let (service, tell) = patient_service();
    let gateway = Gateway::start(&format!(
        "http {{ http2 on; server {{ listen 127.0.0.1:{{port}};
            location / {{ return 200 quick; }}
            location /slow {{ proxy_pass http://127.0.0.1:{service}; }} }} }}"
    ));
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        let slow = connection.get("/slow");
        assert_eq!(whole(connection.get("/")).await.1, b"quick");
        tell.send(()).unwrap();
        assert_eq!(whole(slow).await.1, b"slow");
    });
}

#[test]
fn a_body_goes_up_and_trailers_come_down() {
    let gateway = Gateway::start(
        "http { http2 on; http2_body_preread_size 0;
          server { listen 127.0.0.1:{port}; client_max_body_size 0;
            location / { proxy_pass http://127.0.0.1:{port2}/; proxy_request_buffering off; add_trailer X-End $status; }
            location /buffered { proxy_pass http://127.0.0.1:{port2}/; } }
          server { listen 127.0.0.1:{port2}; client_max_body_size 0; client_body_buffer_size 2m;
            location / { proxy_pass http://127.0.0.1:{port3}; proxy_set_body $request_body; } }
          server { listen 127.0.0.1:{port3}; client_max_body_size 0;
            location / { return 200 $content_length; } } }",
    );
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        for path in ["/", "/buffered"] {
            let request = Request::put(format!("http://localhost{path}")).body(()).unwrap();
            let (response, mut body) = connection.requests.send_request(request, false).unwrap();
            // More than the window that a client has at first.
            for _ in 0..10 {
                body.reserve_capacity(100_000);
                while body.capacity() < 100_000 {
                    std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
                    if body.capacity() >= 50_000 {
                        break;
                    }
                }
                body.send_data(Bytes::from(vec![b'x'; 100_000]), false).unwrap();
            }
            body.send_data(Bytes::new(), true).unwrap();
            let (status, bytes, trailers) = whole(response).await;
            assert_eq!((status, &*bytes), (StatusCode::OK, &b"1000000"[..]), "{path}");
            let end = trailers.as_ref().and_then(|trailers| trailers.get("x-end"));
            assert_eq!(end.map(http::HeaderValue::as_bytes), (path == "/").then_some(&b"200"[..]));
        }
    });
}

#[test]
fn a_reload_finishes_what_runs_and_closes_the_connection() {
    let (service, tell) = patient_service();
    let gateway = Gateway::start(&format!(
        "http {{ http2 on; server {{ listen 127.0.0.1:{{port}};
            location / {{ return 200 quick; }}
            location /slow {{ proxy_pass http://127.0.0.1:{service}; }} }} }}"
    ));
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        let slow = connection.get("/slow");
        assert_eq!(whole(connection.get("/")).await.1, b"quick");
        gateway.signal(Signal::SIGHUP);
        let requests = &mut connection.requests;
        // No request is lost: either it is answered, or the client knows that it was not begun.
        let refused = loop {
            let request = Request::get("http://localhost/").body(()).unwrap();
            let Ok((response, _)) = requests.send_request(request, true) else { break true };
            match response.await {
                Ok(response) => assert_eq!(response.status(), StatusCode::OK),
                Err(error) => break error.is_go_away() || error.is_reset(),
            }
        };
        assert!(refused);
        tell.send(()).unwrap();
        assert_eq!(whole(slow).await.1, b"slow");
        connection.driver.await.unwrap().unwrap();
        assert_eq!(whole(Connection::open(gateway.port).await.get("/")).await.1, b"quick");
    });
    gateway.says("exited with code 0");
}

#[test]
fn the_last_request_of_a_connection_is_answered_and_then_it_is_closed() {
    let gateway = Gateway::start(
        "http { http2 on; keepalive_requests 2; log_format short '$request $status $body_bytes_sent $connection_requests';
          server { listen 127.0.0.1:{port}; access_log access.log short; location / { return 200 quick; } } }",
    );
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        for _ in 0..2 {
            assert_eq!(whole(connection.get("/")).await.1, b"quick");
        }
        connection.driver.await.unwrap().unwrap();
    });
    let log = || std::fs::read_to_string(gateway.path("access.log")).unwrap_or_default();
    wait_for("both are logged", || log().lines().count() == 2);
    assert_eq!(log(), "GET / HTTP/2.0 200 5 1\nGET / HTTP/2.0 200 5 2\n");
}

#[test]
fn a_graceful_end_waits_for_what_runs() {
    let (service, tell) = patient_service();
    let gateway = Gateway::start(&format!(
        "http {{ http2 on; server {{ listen 127.0.0.1:{{port}};
            location / {{ return 200 quick; }}
            location /slow {{ proxy_pass http://127.0.0.1:{service}; }} }} }}"
    ));
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        let slow = connection.get("/slow");
        // Behind a later request's answer, the one before it has begun too.
        assert_eq!(whole(connection.get("/")).await.1, b"quick");
        let mut idle = Connection::open(gateway.port).await;
        assert_eq!(whole(idle.get("/")).await.1, b"quick");
        gateway.signal(Signal::SIGQUIT);
        idle.driver.await.unwrap().unwrap();
        tell.send(()).unwrap();
        assert_eq!(whole(slow).await.1, b"slow");
        connection.driver.await.unwrap().unwrap();
    });
}

#[test]
fn a_graceful_end_has_its_time_and_what_it_cuts_off_is_logged() {
    // One service takes no connection, the other does not end its answer.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stalling = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let [silent_port, stalling_port] = [&silent, &stalling].map(|it| it.local_addr().unwrap().port());
    let (keep, kept) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = stalling.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").unwrap();
        keep.send(stream).unwrap();
    });
    let gateway = Gateway::start(&format!(
        "worker_shutdown_timeout 100ms;
         http {{ http2 on; log_format short '$uri $status $body_bytes_sent $request_completion';
           server {{ listen 127.0.0.1:{{port}}; access_log access.log short;
             location /silent {{ proxy_pass http://127.0.0.1:{silent_port}; }}
             location /stalling {{ proxy_buffering off; proxy_pass http://127.0.0.1:{stalling_port}; }} }} }}"
    ));
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        let silent = connection.get("/silent");
        let stalling = connection.get("/stalling").await.unwrap();
        let mut body = stalling.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        gateway.signal(Signal::SIGHUP);
        assert!(body.data().await.unwrap().is_err());
        assert!(silent.await.is_err());
        assert!(connection.driver.await.is_ok());
    });
    wait_for("the old configuration is gone", || gateway.log().contains("exited with code 0"));
    let log = std::fs::read_to_string(gateway.path("access.log")).unwrap();
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/silent 499 0 ", "/stalling 200 4 "]);
    drop(kept);
}

/// Reads until something has come.
fn read_until(stream: &mut std::net::TcpStream, wanted: &[u8]) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while !bytes.windows(wanted.len()).any(|window| window == wanted) {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "it has not come");
        bytes.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn a_body_goes_to_a_fastcgi_server_as_it_comes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let service = listener.local_addr().unwrap().port();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for wanted in ["REQUEST_URI", "first", "second"] {
            read_until(&mut stream, wanted.as_bytes());
            tell.send(()).unwrap();
        }
        let answer = b"Status: 200\r\n\r\ndone";
        let record = |kind, length: usize| [1, kind, 0, 1, 0, length as u8, 0, 0];
        let bytes = [&record(6, answer.len())[..], answer, &record(6, 0), &record(3, 8), &[0; 8]].concat();
        stream.write_all(&bytes).unwrap();
    });
    let gateway = Gateway::start(&format!(
        "http {{ http2 on; server {{ listen 127.0.0.1:{{port}}; fastcgi_request_buffering off;
            location / {{ fastcgi_pass 127.0.0.1:{service}; fastcgi_param REQUEST_URI $request_uri; }} }} }}"
    ));
    run(async {
        let mut connection = Connection::open(gateway.port).await;
        let request = Request::put("http://localhost/").body(()).unwrap();
        let (response, mut body) = connection.requests.send_request(request, false).unwrap();
        told.recv().await.unwrap();
        body.send_data(Bytes::from_static(b"first"), false).unwrap();
        told.recv().await.unwrap();
        body.send_data(Bytes::from_static(b"second"), true).unwrap();
        told.recv().await.unwrap();
        assert_eq!(whole(response).await.1, b"done");
    });
}
