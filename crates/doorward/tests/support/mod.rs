//! A gateway of its own for a test, and what is asked of it.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The longest that anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What stands before the test's own part of the configuration, unless it says otherwise.
pub const BEGINNING: &str = "daemon off; worker_processes 2; error_log error.log info; events {}";

/// The same with a worker of another user, who reads none of the files: their folder is its maker's alone. Without root both
/// processes are the same user, and the files are theirs.
pub fn beginning_as_nobody() -> String {
    if !nix::unistd::geteuid().is_root() {
        return BEGINNING.to_owned();
    }
    let is_there = |name: &&str| nix::unistd::Group::from_name(name).unwrap().is_some();
    let group = ["nogroup", "nobody"].into_iter().find(is_there).unwrap();
    format!("user nobody {group}; {BEGINNING}")
}

/// A running gateway with its folder; it ends with the test.
pub struct Gateway {
    folder: TempDir,
    /// Where `{port}` of the configuration is.
    pub port: u16,
    /// Where `{port2}` is.
    pub port2: u16,
    child: Child,
}

impl Gateway {
    /// Starts one with that `http` block, and waits until it listens. `{port}`, `{port2}` and `{port3}` are
    /// free ports, `{dir}` is the folder.
    pub fn start(http: &str) -> Gateway {
        Gateway::start_as(BEGINNING, http, &[])
    }

    /// The same with another beginning of the configuration, and with files in its folder: name and content.
    pub fn start_as(beginning: &str, http: &str, files: &[(&str, &str)]) -> Gateway {
        // Another server can be asked the same.
        let program = env::var_os("DOORWARD_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_doorward").into());
        Gateway::start_program(program.as_ref(), beginning, http, files)
    }

    /// The same with another program.
    pub fn start_program(program: &Path, beginning: &str, http: &str, files: &[(&str, &str)]) -> Gateway {
        let mut attempts = 0;
        loop {
            let mut gateway = Gateway::spawn(program, beginning, http, files);
            if gateway.listens() {
                return gateway;
            }
            attempts += 1;
            assert!(attempts < 3, "others take every port that is free");
        }
    }

    fn spawn(program: &Path, beginning: &str, http: &str, files: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let [port, port2, port3] = free_ports();
        let text = http
            .replace("{port}", &port.to_string())
            .replace("{port2}", &port2.to_string())
            .replace("{port3}", &port3.to_string())
            .replace("{dir}", &folder.path().display().to_string());
        // Who makes a store beside it must be who reads it, unless the test names a user itself.
        let names_one = beginning.starts_with("user ");
        let user = if nix::unistd::geteuid().is_root() && !names_one { "user root;\n" } else { "" };
        let text = format!("{user}pid nginx.pid; {beginning}\n{text}");
        for (name, text) in [("nginx.conf", &*text)].iter().chain(files) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let child = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Gateway { folder, port, port2, child }
    }

    /// Waits until it listens; false where somebody else took one of its ports meanwhile.
    fn listens(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        // The file is written once the sockets are open.
        while fs::read_to_string(self.path("nginx.pid")).unwrap_or_default().trim().is_empty() {
            if self.child.try_wait().unwrap().is_some() {
                assert!(self.log().contains("Address already in use"), "it does not start: {}", self.log());
                return false;
            }
            assert!(Instant::now() < end, "it does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// The number of its first process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it wrote to its error log so far: lines about a request are written behind its answer.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    /// Waits until its error log says this.
    pub fn says(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < end, "waited in vain for \"{words}\" in\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Takes the configuration anew, and waits until the one of before serves nobody: until then each of the threads has its
    /// own moment.
    pub fn reload(&self) {
        let ended = || self.log().matches("exited with code 0").count();
        let before = ended();
        self.signal(Signal::SIGHUP);
        wait_for("the configuration of before is gone", || ended() > before);
    }

    /// Ends it: all that its error log will ever say.
    pub fn end(&mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        self.log()
    }

    /// Asks for a path, with more fields.
    pub fn get(&self, path: &str, fields: &str) -> Answer {
        get(self.port, path, fields)
    }

    /// Whether its worker is the user of [`beginning_as_nobody`].
    pub fn is_served_by_nobody(&self) -> bool {
        if !nix::unistd::geteuid().is_root() {
            return true;
        }
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid.as_raw();
        let workers = fs::read_dir("/proc").unwrap().flatten().filter(|process| {
            let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
            let of_ours = status.contains(&format!("\nPPid:\t{}\n", self.id()));
            of_ours && status.contains(&format!("\nUid:\t{nobody}\t{nobody}\t"))
        });
        workers.count() == 1
    }

    /// Waits until its first process has ended.
    pub fn wait_for_end(&mut self) {
        wait_for("it ends", || self.child.try_wait().unwrap().is_some());
    }

    /// Sends a signal to the master process.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

/// Runs the program to its end.
pub fn doorward(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// An answer, as text.
#[derive(Debug)]
pub struct Answer {
    /// The status, 0 where there is no answer.
    pub status: u16,
    /// The head.
    pub head: String,
    /// The body, without its framing.
    pub body: String,
}

impl Answer {
    /// The values of a field.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The value of a field that occurs once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields(name);
        assert!(fields.len() < 2, "{name}: {fields:?}");
        fields.first().copied()
    }
}

/// Asks a server on this machine for a path, with more fields.
pub fn get(port: u16, path: &str, fields: &str) -> Answer {
    send(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"))
}

/// Sends a request as it is, and reads until the connection is closed.
pub fn send(port: u16, request: &str) -> Answer {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
