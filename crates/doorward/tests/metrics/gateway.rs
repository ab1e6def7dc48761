//! A gateway with everything that is counted in its configuration, and its services in the same process.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A running gateway with its folder.
pub struct Gateway {
    folder: TempDir,
    /// Where clients reach it.
    pub port: u16,
    /// Where its services are.
    service: u16,
    child: Child,
}

/// `{port}`, `{service}` and `{down}` are filled in.
const CONFIGURATION: &str = r#"
daemon off; worker_processes 2; pid nginx.pid; error_log error.log info; events {}
http {
    access_log off;
    otel_exporter { endpoint http://127.0.0.1:{service}/v1/traces; }
    limit_req_zone $http_x_key zone=requests:64k rate=1r/s;
    limit_conn_zone $http_x_key zone=connections:64k;
    auth_limit_zone $http_x_key zone=guesses:64k rate=1r/m;
    proxy_cache_path cache keys_zone=answers:1m max_size=10m;
    upstream service { server 127.0.0.1:{service}; server 127.0.0.1:{down} backup; }
    upstream auth { server 127.0.0.1:{service}; }
    upstream gone { server 127.0.0.1:{down}; }
    upstream named { resolver 127.0.0.1:{down}; server service.test:81 resolve; }
    server {
        listen 127.0.0.1:{service};
        server_name service.example.com;
        location / { return 200 "hello\n"; }
        location /allow { return 204; }
        location /refuse { return 401; }
        location /forbid { return 403; }
        location /missing { return 404; }
    }
    server {
        listen 127.0.0.1:{port} default_server;
        server_name www.example.com;
        location / { auth_request /ask; proxy_pass http://service; }
        location /refused { auth_limit zone=guesses burst=2 ban=10m; auth_request /ask-refused; proxy_pass http://service; }
        location /forbidden { auth_request /ask-forbidden; proxy_pass http://service; }
        location /unreachable { auth_request /ask-gone; proxy_pass http://service; }
        location /password { auth_basic secret; auth_basic_user_file users; proxy_pass http://service/; }
        location /address { deny all; }
        location /cached { proxy_cache answers; proxy_cache_valid 200 1m; proxy_pass http://service/; }
        location /decided { auth_request_cache zone=decisions:64k; auth_request /ask; proxy_pass http://service/; }
        location /missing { proxy_pass http://service; }
        location /down { proxy_pass http://gone; }
        location /limited { limit_req zone=requests; limit_conn connections 1; proxy_pass http://service/; }
        location = /ask { internal; proxy_pass http://auth/allow; }
        location = /ask-refused { internal; proxy_pass http://auth/refuse; }
        location = /ask-forbidden { internal; proxy_pass http://auth/forbid; }
        location = /ask-gone { internal; proxy_pass http://gone; }
        {more}
        location = /metrics { prometheus; }
    }
}
"#;

impl Gateway {
    /// Starts it; `more` is put into the server.
    pub fn start(more: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        // The worker's user must reach its temporary files.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        fs::write(folder.path().join("users"), "alice:{PLAIN}sesame\n").unwrap();
        let [port, service, down] = free_ports();
        let text = CONFIGURATION
            .replace("{port}", &port.to_string())
            .replace("{service}", &service.to_string())
            .replace("{down}", &down.to_string())
            .replace("{more}", more);
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_doorward"))
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Gateway { folder, port, service, child };
        wait_for("it listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        gateway
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks for a path, with more fields: status, head and body.
    pub fn get(&self, path: &str, fields: &str) -> Answer {
        get(self.port, path, fields)
    }

    /// Asks for a path several times.
    pub fn ask(&self, times: usize, path: &str, fields: &str, status: u16) {
        for _ in 0..times {
            assert_eq!(self.get(path, fields).status, status, "{path}");
        }
    }

    /// Some of everything, each request as often as the tests that compare numbers know.
    pub fn load(&self) {
        self.ask(5, "/", "", 200);
        self.ask(3, "/refused", "X-Key: guesser\r\n", 401);
        self.ask(2, "/refused", "X-Key: guesser\r\n", 429);
        self.ask(2, "/forbidden", "", 403);
        self.ask(2, "/unreachable", "", 500);
        self.ask(1, "/password", "", 401);
        self.ask(1, "/password", "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n", 401);
        self.ask(1, "/password", "Authorization: Basic YWxpY2U6c2VzYW1l\r\n", 200);
        self.ask(2, "/address", "", 403);
        self.ask(3, "/cached", "", 200);
        self.ask(3, "/decided", "Authorization: Bearer token\r\n", 200);
        self.ask(2, "/missing", "", 404);
        self.ask(2, "/down", "", 502);
        self.ask(1, "/limited", "X-Key: often\r\n", 200);
        self.ask(1, "/limited", "X-Key: often\r\n", 503);
    }

    /// The metrics page in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.get("/metrics", "").body
    }

    /// Sends a signal to the master process.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// What goes before the names of servers that are services.
    pub fn service_address(&self) -> String {
        format!("127.0.0.1:{}", self.service)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// An answer, as text.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Asks a server on this machine.
pub fn get(port: u16, path: &str, fields: &str) -> Answer {
    send(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"))
}

/// Sends a request as it is.
pub fn send(port: u16, request: &str) -> Answer {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => dechunked(body),
        false => body.to_owned(),
    };
    Answer { status, head: head.to_owned(), body }
}

fn dechunked(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        if length == 0 || length > rest.len() {
            break;
        }
        body.push_str(&rest[..length]);
        text = rest[length..].trim_start_matches("\r\n");
    }
    body
}

/// Ports that nobody has at the moment.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Waits until something is true.
pub fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
