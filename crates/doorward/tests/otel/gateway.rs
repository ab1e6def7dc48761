//! A running gateway.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The longest that anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

const PROGRAM: &str = env!("CARGO_BIN_EXE_doorward");

/// A gateway with its folder.
pub struct Gateway {
    folder: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Gateway {
    /// Starts it with what is in its `http` block; `{port}` is where it listens.
    pub fn start(http: &str) -> Gateway {
        let mut gateway = Gateway::prepare(http);
        gateway.child = Some(gateway.command().spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "it does not listen:\n{}", gateway.log());
            sleep(Duration::from_millis(5));
        }
        gateway
    }

    /// What `-t` says of it.
    pub fn test(http: &str) -> String {
        let gateway = Gateway::prepare(http);
        let output = gateway.command().arg("-t").stderr(Stdio::piped()).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn prepare(http: &str) -> Gateway {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gateway = Gateway { folder: tempfile::tempdir().unwrap(), port, child: None };
        let http = http.replace("{port}", &port.to_string());
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log info; events {{}}\n\
             http {{ access_log off; {http} }}"
        );
        fs::write(gateway.folder.path().join("nginx.conf"), text).unwrap();
        gateway
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("-p").arg(self.folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        command.stdin(Stdio::null());
        command
    }

    /// The error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    pub fn wait_for_log(&self, words: &str) {
        let start = Instant::now();
        while !self.log().contains(words) {
            assert!(start.elapsed() < PATIENCE, "waited for {words}:\n{}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    /// The answer to a request on a connection of its own; `fields` are whole lines.
    pub fn get(&self, path: &str, fields: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let start = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        stream.write_all(&[start.as_bytes(), fields.as_ref(), b"\r\n"].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a signal and waits for the end: how long it took.
    pub fn end(&mut self, signal: Signal) -> Duration {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }

    pub fn reload(&self) {
        let pid = self.child.as_ref().unwrap().id() as i32;
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
