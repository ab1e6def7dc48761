//! Processes and signals: reloads, ends, logs opened anew, upgrades, and what happens when a process dies.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The longest that anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

const PROGRAM: &str = env!("CARGO_BIN_EXE_doorward");

/// A running program with its folder. It is killed with its worker processes if a test fails.
struct Gateway {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Gateway {
    /// Starts it in the foreground; `{port}` and `{folder}` in the configuration are filled in.
    fn start(configuration: &str) -> Gateway {
        let mut gateway = Gateway::prepare(&format!("daemon off; {configuration}"));
        gateway.child = Some(gateway.command().spawn().unwrap());
        gateway.wait("it listens", |gateway| gateway.pid_file("nginx.pid").is_some());
        gateway
    }

    fn prepare(configuration: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        // The worker's user must reach its temporary files.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let gateway = Gateway { folder, port: free_port(), child: None };
        gateway.configure(configuration);
        gateway
    }

    fn configure(&self, configuration: &str) {
        let text = configuration
            .replace("{port}", &self.port.to_string())
            .replace("{folder}", &self.folder.path().display().to_string());
        let text = format!("pid nginx.pid; error_log error.log info; events {{}} {text}");
        fs::write(self.path("nginx.conf"), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("-p").arg(self.folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        command.stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn pid_file(&self, name: &str) -> Option<Pid> {
        self.read(name).trim().parse().ok().map(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid_file("nginx.pid").unwrap(), signal).unwrap();
    }

    /// The worker processes in the order in which they were started.
    fn workers(&self) -> Vec<Pid> {
        let log = self.read("error.log");
        log.lines()
            .filter_map(|line| line.split_once("start worker process "))
            .filter_map(|(_, pid)| pid.parse().ok().map(Pid::from_raw))
            .collect()
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut(&Gateway) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "waited for: {what}\n{}", self.read("error.log"));
            sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_log(&self, words: &str) {
        self.wait(words, |gateway| gateway.read("error.log").contains(words));
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// The body of the answer on a connection of its own.
    fn get(&self, path: &str) -> std::io::Result<String> {
        get(&mut self.connect()?, path)
    }

    fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        self.wait("the end", |_| {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for name in ["nginx.pid", "nginx.pid.oldbin"] {
            if let Some(pid) = self.pid_file(name) {
                let _ = kill(pid, Signal::SIGTERM);
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn get(stream: &mut TcpStream, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::new(ErrorKind::InvalidData, answer)),
    }
}

/// A server that answers no request before it is told to.
struct SlowServer {
    port: u16,
    asked: Receiver<()>,
    over: Arc<AtomicBool>,
}

impl SlowServer {
    fn start() -> SlowServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, asked) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (tell, is_over) = (tell.clone(), is_over.clone());
                thread::spawn(move || {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request);
                    let _ = tell.send(());
                    while !is_over.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(5));
                    }
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow");
                });
            }
        });
        SlowServer { port, asked, over }
    }

    /// Sends a request through the gateway: when this returns, the server has got it.
    fn ask(&self, gateway: &Gateway, path: &'static str) -> JoinHandle<std::io::Result<String>> {
        let mut busy = gateway.connect().unwrap();
        let request = thread::spawn(move || get(&mut busy, path));
        self.asked.recv_timeout(PATIENCE).unwrap();
        request
    }

    /// Lets it answer.
    fn answer(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn answers(text: &str) -> String {
    format!("http {{ server {{ listen 127.0.0.1:{{port}}; location / {{ return 200 {text}; }} }} }}")
}

fn exists(pid: Pid) -> bool {
    // A process that has ended and was not waited for yet does not count.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn an_idle_connection_to_an_upstream_is_closed_when_its_time_is_over() {
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = upstream.local_addr().unwrap();
    let gateway = Gateway::start(&format!(
        "http {{ access_log off; upstream u {{ server {address}; keepalive 2; keepalive_timeout 100ms; }}
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://u; }} }} }}"
    ));
    let mut client = gateway.connect().unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut server, _) = upstream.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = [0; 4096];
    assert!(server.read(&mut head).unwrap() > 0);
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert_eq!(server.read(&mut head).unwrap(), 0, "nobody asked for it again");
}

#[test]
fn reloads_under_load_lose_no_request() {
    const RELOADS: usize = 20;
    let gateway = Arc::new(Gateway::start(&answers("0")));
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (gateway, over, served) = (gateway.clone(), over.clone(), served.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    gateway.get("/").unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 1..=RELOADS {
        let workers = 1 + number % 3;
        gateway
            .configure(&format!("daemon off; worker_processes {workers}; {}", answers(&number.to_string())));
        gateway.signal(Signal::SIGHUP);
        gateway.wait("the new answer", |gateway| gateway.get("/").unwrap() == number.to_string());
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 100);
    let ends = |gateway: &Gateway| gateway.read("error.log").matches("exited with code 0").count();
    gateway.wait("the ends of configurations", |gateway| ends(gateway) >= RELOADS);
    sleep(Duration::from_millis(100));
    assert_eq!(ends(&gateway), RELOADS);
    assert_eq!(gateway.workers().len(), 1);
}

#[test]
fn a_reload_closes_idle_connections_and_lets_requests_end() {
    let backend = SlowServer::start();
    let slow = format!("location /slow {{ proxy_pass http://127.0.0.1:{}; }}", backend.port);
    let gateway = Gateway::start(&answers("old").replace("location /", &format!("{slow} location /")));
    let mut idle = gateway.connect().unwrap();
    write!(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = [0; 4096];
    assert!(idle.read(&mut answer).unwrap() > 0);
    let request = backend.ask(&gateway, "/slow");

    gateway.configure(&format!("daemon off; {}", answers("new")));
    gateway.signal(Signal::SIGHUP);
    assert_eq!(idle.read(&mut answer).unwrap(), 0);
    assert_eq!(gateway.get("/slow").unwrap(), "new");
    assert!(!gateway.read("error.log").contains("exited with code 0"));
    backend.answer();
    assert_eq!(request.join().unwrap().unwrap(), "slow");
    gateway.wait_for_log("exited with code 0");
}

/// A server that changes to another protocol and sends back what it gets.
fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                let _ = stream.read(&mut bytes);
                let upgraded =
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n";
                let _ = stream.write_all(upgraded);
                while let Ok(read) = stream.read(&mut bytes)
                    && read > 0
                    && stream.write_all(&bytes[..read]).is_ok()
                {}
            });
        }
    });
    port
}

#[test]
fn a_tunnel_outlives_reloads() {
    let echo = echo_server();
    let upgrade = format!(
        "location /echo {{ proxy_pass http://127.0.0.1:{echo}; proxy_http_version 1.1; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}"
    );
    let gateway = Gateway::start(&answers("old").replace("location /", &format!("{upgrade} location /")));
    let mut tunnel = gateway.connect().unwrap();
    write!(tunnel, "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n").unwrap();
    let mut head = [0; 4096];
    let read = tunnel.read(&mut head).unwrap();
    assert!(head[..read].starts_with(b"HTTP/1.1 101"));
    for round in ["new", "newer"] {
        gateway.configure(&format!("daemon off; {}", answers(round)));
        gateway.signal(Signal::SIGHUP);
        gateway.wait("the new configuration answers", |gateway| {
            gateway.get("/").is_ok_and(|text| text == round)
        });
        tunnel.write_all(round.as_bytes()).unwrap();
        let mut bytes = vec![0; round.len()];
        tunnel.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, round.as_bytes());
    }
    // The configuration that the tunnel began with is in force for it, until it ends.
    let ended = || gateway.read("error.log").matches("exited with code 0").count();
    gateway.wait("the one in between ends", |_| ended() == 1);
    tunnel.write_all(b"still").unwrap();
    let mut bytes = [0; 5];
    tunnel.read_exact(&mut bytes).unwrap();
    assert_eq!(ended(), 1);
    drop(tunnel);
    gateway.wait("the first configuration ends", |_| ended() == 2);
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let gateway = Gateway::start(&answers("old"));
    gateway.configure("daemon off; http { server { listen 127.0.0.1:{port}; nonsense on; } }");
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log("[emerg]");
    assert!(gateway.read("error.log").contains("unknown directive \"nonsense\" in "));
    assert_eq!(gateway.get("/").unwrap(), "old");
    // An address of documentation (RFC 5737) is nobody's.
    let elsewhere = answers("new").replace("listen", "listen 192.0.2.1:{port}; listen");
    gateway.configure(&format!("daemon off; {elsewhere}"));
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log("bind() to 192.0.2.1:");
    assert_eq!(gateway.get("/").unwrap(), "old");
    assert!(!gateway.read("error.log").contains("exited"));
}

#[test]
fn a_configuration_that_the_worker_does_not_take_changes_nothing() {
    let mut gateway = Gateway::prepare(&format!("daemon off; {}", answers("old")));
    let known = "127.0.0.1 backend.invalid\n";
    fs::write(gateway.path("hosts"), known).unwrap();
    let mut command = Command::new("unshare");
    command.arg("--mount").env("RES_OPTIONS", "timeout:1 attempts:1").current_dir(gateway.folder.path());
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command.args(["sh", "-c", "mount --bind hosts /etc/hosts && exec \"$@\"", "sh", PROGRAM]);
    gateway.child = Some(command.args(gateway.command().get_args()).spawn().unwrap());
    gateway.wait("it listens", |gateway| gateway.pid_file("nginx.pid").is_some());
    gateway.wait("its answer", |gateway| gateway.get("/").is_ok_and(|answer| answer == "old"));
    let (master, worker) = (gateway.pid_file("nginx.pid").unwrap(), gateway.workers()[0]);
    let next = |text: &str| {
        let socket = format!("listen unix:{{folder}}/{text}; listen");
        let upstream = "http { upstream u { server backend.invalid; } ";
        gateway.configure(&answers(text).replace("listen", &socket).replace("http {", upstream));
        // The worker's part begins when the master's is done, which has opened the new socket by then.
        kill(worker, Signal::SIGSTOP).unwrap();
        gateway.signal(Signal::SIGHUP);
        gateway.wait("the new socket", |gateway| gateway.path(text).exists());
    };

    next("refused");
    fs::write(gateway.path("hosts"), "").unwrap();
    kill(worker, Signal::SIGCONT).unwrap();
    let reason = "host not found in upstream \"backend.invalid\" in ";
    let is_said = |line: &str| line.contains(&format!(" {master}#")) && line.contains(reason);
    gateway.wait(reason, |gateway| gateway.read("error.log").lines().any(is_said));
    gateway.wait("the socket's end", |gateway| !gateway.path("refused").exists());
    assert_eq!(gateway.get("/").unwrap(), "old");

    fs::write(gateway.path("hosts"), known).unwrap();
    next("taken");
    kill(worker, Signal::SIGCONT).unwrap();
    gateway.wait("the new answer", |gateway| gateway.get("/").unwrap() == "taken");
    assert_eq!(gateway.workers(), [worker]);

    // One that dies before it says anything is followed by one that begins with the new configuration.
    next("inherited");
    kill(worker, Signal::SIGKILL).unwrap();
    gateway
        .wait("the answer of the next", |gateway| gateway.get("/").is_ok_and(|answer| answer == "inherited"));
    assert!(!gateway.path("taken").exists());
}

#[test]
fn logs_are_opened_anew() {
    let gateway = Gateway::start(&answers("x").replace("server {", "access_log access.log; server {"));
    gateway.get("/before").unwrap();
    gateway.wait("the line", |gateway| gateway.read("access.log").contains("/before"));
    for name in ["access.log", "error.log"] {
        fs::rename(gateway.path(name), gateway.path(&format!("{name}.1"))).unwrap();
    }
    gateway.signal(Signal::SIGUSR1);
    gateway.wait("the new files", |gateway| gateway.path("access.log").exists());
    gateway.wait("a line in the new file", |gateway| {
        gateway.get("/after").unwrap();
        gateway.read("access.log").contains("/after")
    });
    let old = gateway.read("access.log.1");
    gateway.get("/last").unwrap();
    gateway.wait("the last line", |gateway| gateway.read("access.log").contains("/last"));
    assert_eq!(gateway.read("access.log.1"), old);
    gateway.signal(Signal::SIGQUIT);
    gateway.wait_for_log("gracefully shutting down");
}

#[test]
fn quit_lets_a_slow_request_end_and_takes_no_other() {
    let backend = SlowServer::start();
    let mut gateway = Gateway::start(&format!(
        "worker_processes 2; http {{ server {{ listen 127.0.0.1:{{port}}; listen unix:{{folder}}/socket; \
         location / {{ proxy_pass http://127.0.0.1:{}; }} }} }}",
        backend.port
    ));
    assert!(gateway.path("socket").exists());
    let request = backend.ask(&gateway, "/");
    gateway.signal(Signal::SIGQUIT);
    gateway.wait("no one listens", |gateway| gateway.connect().is_err());
    assert!(gateway.child.as_mut().unwrap().try_wait().unwrap().is_none());
    backend.answer();
    assert_eq!(request.join().unwrap().unwrap(), "slow");
    assert!(gateway.end().success());
    assert!(!gateway.path("nginx.pid").exists());
    assert!(!gateway.path("socket").exists());
}

#[test]
fn a_graceful_end_has_its_time_and_what_it_cuts_off_is_logged() {
    let backend = SlowServer::start();
    let server =
        format!("listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://127.0.0.1:{}; }}", backend.port);
    let mut gateway = Gateway::start(&format!(
        "worker_shutdown_timeout 200ms; http {{ access_log access.log; server {{ {server} }} }}"
    ));
    let first = backend.ask(&gateway, "/reload");
    gateway.signal(Signal::SIGHUP);
    assert!(first.join().unwrap().is_err());
    gateway.wait_for_log("exited with code 0");
    let second = backend.ask(&gateway, "/quit");
    gateway.signal(Signal::SIGQUIT);
    assert!(second.join().unwrap().is_err());
    assert!(gateway.end().success());
    let log = gateway.read("access.log");
    let cut: Vec<_> = log.lines().filter(|line| line.contains("\" 499 ")).collect();
    assert_eq!(cut.len(), 2, "{log}");
}

#[test]
fn a_zone_outlives_a_reload() {
    let limited = "http { limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m; server { listen 127.0.0.1:{port}; \
                   location / { limit_req zone=one; } } }";
    let gateway = Gateway::start(limited);
    fs::create_dir(gateway.path("html")).unwrap();
    fs::write(gateway.path("html/a"), "a").unwrap();
    assert_eq!(gateway.get("/a").unwrap(), "a");
    gateway.configure(&format!("daemon off; worker_processes 2; {limited}"));
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log("exited with code 0");
    assert!(gateway.get("/a").unwrap_err().to_string().starts_with("HTTP/1.1 503"));
}

#[test]
fn with_a_socket_for_each_thread_none_is_forgotten() {
    let listening = answers("x").replace("{port}", "{port} reuseport");
    let gateway = Gateway::start(&format!("worker_processes 2; {listening}"));
    for (number, workers) in [3, 1, 2].into_iter().enumerate() {
        gateway.configure(&format!("daemon off; worker_processes {workers}; {listening}"));
        gateway.signal(Signal::SIGHUP);
        gateway.wait_for_log(&format!("configuration {number} of"));
        // Each lands on the socket of any thread.
        for _ in 0..30 {
            assert_eq!(gateway.get("/").unwrap(), "x");
        }
    }
}

#[test]
fn term_ends_at_once_even_while_it_quits() {
    let backend = SlowServer::start();
    let server =
        format!("listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://127.0.0.1:{}; }}", backend.port);
    for processes in ["on", "off"] {
        let mut gateway =
            Gateway::start(&format!("master_process {processes}; http {{ server {{ {server} }} }}"));
        let request = backend.ask(&gateway, "/");
        gateway.signal(Signal::SIGQUIT);
        gateway.wait_for_log("gracefully shutting down");
        gateway.signal(Signal::SIGTERM);
        assert!(gateway.end().success());
        assert!(request.join().unwrap().is_err());
        assert!(!gateway.path("nginx.pid").exists());
    }
}

#[test]
fn a_worker_that_dies_is_replaced_and_one_without_master_ends() {
    let gateway = Gateway::start(&answers("x"));
    gateway.get("/").unwrap();
    let first = gateway.workers()[0];
    kill(first, Signal::SIGKILL).unwrap();
    gateway.wait_for_log(&format!("worker process {first} exited on signal 9"));
    // The socket is the master's: who connects meanwhile waits for the next worker.
    assert_eq!(gateway.get("/").unwrap(), "x");
    gateway.wait("its follower", |gateway| gateway.workers().len() == 2);
    // One that died early is not replaced at once each time.
    kill(gateway.workers()[1], Signal::SIGKILL).unwrap();
    assert_eq!(gateway.get("/").unwrap(), "x");
    gateway.wait("the next follower", |gateway| gateway.workers().len() == 3);

    let last = gateway.workers()[2];
    gateway.signal(Signal::SIGKILL);
    gateway.wait("the worker ends", |_| !exists(last));
    gateway.wait_for_log("the master process is gone");
}

#[test]
fn an_upgrade_can_be_rolled_back_and_completed() {
    let gateway = Gateway::prepare(&answers("x"));
    assert!(gateway.command().status().unwrap().success());
    gateway.wait("it listens", |gateway| gateway.pid_file("nginx.pid").is_some());
    gateway.get("/").unwrap();
    let old = gateway.pid_file("nginx.pid").unwrap();
    let files = |pid: Pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let upgrade = || {
        kill(old, Signal::SIGUSR2).unwrap();
        gateway.wait("both pid files", |gateway| {
            gateway.pid_file("nginx.pid.oldbin") == Some(old)
                && gateway.pid_file("nginx.pid").is_some_and(|pid| pid != old)
        });
        gateway.pid_file("nginx.pid").unwrap()
    };
    let new = upgrade();
    // Each has one worker, once the new one has let go of its worker's end of their channel.
    gateway.wait("nothing but the listening socket went over", |_| files(new) == files(old));
    let workers = gateway.workers();
    kill(old, Signal::SIGWINCH).unwrap();
    gateway.wait("the old worker's end", |_| !exists(workers[0]));
    assert_eq!(gateway.get("/").unwrap(), "x");

    // Back again.
    kill(old, Signal::SIGHUP).unwrap();
    gateway.wait("a worker of the old program", |gateway| gateway.workers().len() == 3);
    kill(new, Signal::SIGQUIT).unwrap();
    gateway.wait("the old pid file", |gateway| gateway.pid_file("nginx.pid") == Some(old));
    assert!(!gateway.path("nginx.pid.oldbin").exists());
    assert_eq!(gateway.get("/").unwrap(), "x");

    // And once more, to the end.
    let new = upgrade();
    kill(old, Signal::SIGQUIT).unwrap();
    gateway.wait("the old program's end", |_| !exists(old));
    assert_eq!(gateway.get("/").unwrap(), "x");
    assert_eq!(gateway.pid_file("nginx.pid"), Some(new));
    assert!(!gateway.path("nginx.pid.oldbin").exists());
    kill(new, Signal::SIGQUIT).unwrap();
    gateway.wait("the new program's end", |_| !exists(new));
    assert!(!gateway.path("nginx.pid").exists());
}

#[test]
fn a_worker_gives_up_root_and_still_serves_what_only_root_may_read() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let gateway = Gateway::start(&format!("user daemon; {}", answers("x")));
    fs::create_dir(gateway.path("private")).unwrap();
    let server = answers("private").replace("http {", "http { access_log private/access.log;");
    let server = server.replace("{port}", &gateway.port.to_string());
    fs::write(gateway.path("private/server.conf"), server).unwrap();
    fs::set_permissions(gateway.path("private/server.conf"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(gateway.path("private"), fs::Permissions::from_mode(0o700)).unwrap();
    gateway.configure("daemon off; user daemon; include private/*.conf;");
    gateway.signal(Signal::SIGHUP);
    gateway.wait("the new answer", |gateway| gateway.get("/").unwrap() == "private");
    gateway.wait("its line", |gateway| gateway.read("private/access.log").contains("GET"));
    let worker = fs::metadata(format!("/proc/{}", gateway.workers()[0])).unwrap();
    let user = nix::unistd::User::from_name("daemon").unwrap().unwrap();
    assert_eq!(worker.uid(), user.uid.as_raw());
    assert_eq!(fs::metadata(gateway.path("client_body_temp")).unwrap().uid(), user.uid.as_raw());
}

#[test]
fn a_test_of_the_configuration_leaves_nothing_behind() {
    let gateway = Gateway::prepare(&format!("daemon off; {}", answers("x")));
    let test = || gateway.command().args(["-t", "-q"]).output().unwrap();
    assert!(test().status.success());
    assert!(test().stderr.is_empty());
    assert!(!gateway.path("nginx.pid").exists());
    assert!(gateway.connect().is_err());
    // A running program and its pid file are left alone, too.
    let mut gateway = gateway;
    gateway.child = Some(gateway.command().spawn().unwrap());
    gateway.wait("it listens", |gateway| gateway.pid_file("nginx.pid").is_some());
    let pid = gateway.pid_file("nginx.pid");
    assert!(gateway.command().args(["-t", "-q"]).status().unwrap().success());
    assert_eq!(gateway.pid_file("nginx.pid"), pid);
    assert_eq!(gateway.get("/").unwrap(), "x");
}

#[test]
fn a_closed_or_broken_error_output_is_no_reason_to_fail() {
    let gateway = Gateway::prepare(&format!("daemon off; nonsense; {}", answers("x")));
    let folder = gateway.folder.path().display();
    for output in ["2>&-", "2>/dev/full"] {
        for flags in ["-t", "", "-s stop"] {
            let line = format!("exec {PROGRAM} -p {folder} -c nginx.conf -e error.log {flags} {output}");
            assert_eq!(Command::new("sh").args(["-c", &line]).status().unwrap().code(), Some(1), "{line}");
        }
        for flags in ["-v", "-V", "-h"] {
            let line = format!("exec {PROGRAM} {flags} {output}");
            assert_eq!(Command::new("sh").args(["-c", &line]).status().unwrap().code(), Some(0), "{line}");
        }
    }
    // What could not be said there is in the log.
    assert!(gateway.read("error.log").contains("[emerg]"));
}
