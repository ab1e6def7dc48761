//! A server under test: started on its core, asked for a right answer, watched through /proc, ended by its id.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use tempfile::TempDir;

use crate::Outcome;
use crate::backend::Ports;
use crate::rows::{Row, Setting};
use crate::tokens::Bearer;

/// The part of a configuration before `http`: one process with one worker, in the foreground.
pub(crate) const MAIN: &str = "daemon off;
master_process off;
worker_processes 1;
pid server.pid;
error_log error.log error;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }";

/// Of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Doorward,
    Nginx,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Doorward => "doorward",
            Self::Nginx => "nginx",
        }
    }
}

/// A binary to measure.
pub(crate) struct Gateway {
    pub(crate) kind: Kind,
    pub(crate) binary: PathBuf,
    /// What `-v` says.
    pub(crate) version: String,
}

impl Gateway {
    pub(crate) fn new(kind: Kind, binary: &Path) -> Outcome<Self> {
        let binary = fs::canonicalize(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
        let output = Command::new(&binary).arg("-v").output()?;
        let text = [output.stdout, output.stderr].concat();
        let version = String::from_utf8_lossy(&text).lines().next().unwrap_or("").to_owned();
        Ok(Self { kind, binary, version })
    }

    /// Whether connections to upstreams are kept without being told: since nginx 1.29.7, and in Doorward.
    pub(crate) fn keeps_by_default(&self) -> bool {
        let Some((_, number)) = self.version.split_once("nginx/") else { return true };
        let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next()) >= (1, 29, 7)
    }
}

/// Which core a process runs on, where the machine has more than one.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    /// The server under test.
    Server,
    /// wrk and the services.
    Load,
}

impl Core {
    /// A command that runs pinned to this core.
    pub(crate) fn command(self, program: &Path) -> Command {
        if thread::available_parallelism().map_or(1, usize::from) < 2 {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.arg("-c").arg(match self {
            Self::Server => "0",
            Self::Load => "1",
        });
        command.arg(program);
        command
    }
}

/// A process that ends with its owner.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server with this configuration in this folder and waits until it takes connections.
    pub(crate) fn start(
        binary: &Path,
        folder: &Path,
        configuration: &str,
        core: Core,
        port: u16,
    ) -> Outcome<Self> {
        fs::create_dir_all(folder.join("logs"))?;
        // A server that was started by root would give its files to nobody.
        let owner =
            if fs::metadata("/proc/self").is_ok_and(|own| is_root(&own)) { "user root;\n" } else { "" };
        fs::write(folder.join("server.conf"), format!("{owner}{configuration}\n"))?;
        let child = core
            .command(binary)
            .args(["-e", "error.log", "-c", "server.conf", "-p"])
            .arg(folder)
            .stdin(Stdio::null())
            .spawn()?;
        let mut process = Self { child };
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if process.child.try_wait()?.is_some() || Instant::now() > end {
                let said = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
                return Err(format!("{} did not start: {said}", binary.display()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// CPU time of the process and its children so far.
    pub(crate) fn cpu(&self) -> Outcome<Cpu> {
        let mut total = Cpu { user: 0.0, system: 0.0 };
        for id in self.family() {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // The second field is the name in brackets, which may hold spaces: count from behind it.
            let (_, rest) = stat.rsplit_once(')').ok_or("/proc/PID/stat without a name")?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let seconds = |at: usize| -> Outcome<f64> {
                Ok(fields.get(at).ok_or("/proc/PID/stat is short")?.parse::<f64>()? / TICKS)
            };
            total.user += seconds(11)?;
            total.system += seconds(12)?;
        }
        Ok(total)
    }

    /// Resident memory of the process and its children, in bytes.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        let mut total = 0;
        for id in self.family() {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
            total += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
        }
        Ok(total)
    }

    fn family(&self) -> Vec<u32> {
        let mut ids = vec![self.child.id()];
        let mut at = 0;
        while let Some(id) = ids.get(at) {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            ids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            at += 1;
        }
        ids
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for id in self.family() {
            let _ = Command::new("kill").arg(id.to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.child.wait();
    }
}

/// The kernel counts CPU time in hundredths of a second on every Linux that is in use.
const TICKS: f64 = 100.0;

/// CPU time in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

/// A gateway that runs with the configuration of a row.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    /// The field that its requests bring.
    pub(crate) authorization: String,
    name: &'static str,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start(
        gateway: &Gateway,
        http: fn(&Setting<'_>) -> String,
        bearer: Bearer,
        backend: &Ports,
    ) -> Outcome<Self> {
        let folder = TempDir::new()?;
        let port = free_port()?;
        let http = http(&Setting { gateway, port, backend });
        // The load asks over kept connections for as long as it lasts.
        let kept = "keepalive_requests 1000000000; keepalive_timeout 1h;";
        let configuration = format!("{MAIN}\nhttp {{\n{kept}\n{http}\n}}");
        // What they name is there before the server is.
        let authorization = bearer.field(&backend.files)?;
        let process = Process::start(&gateway.binary, folder.path(), &configuration, Core::Server, port)?;
        Ok(Self { process, port, authorization, name: gateway.kind.name(), folder })
    }

    /// Fails when the server does not give the row's status: fast wrong answers are worth nothing.
    pub(crate) fn answers(&self, row: &Row) -> Outcome<()> {
        let output = Command::new("curl")
            .args(["-sk", "-m5", "-o", "/dev/null", "-w", "%{http_code}", row.over.curl()])
            .args(["-H", "Host: example.com", "-H", &self.authorization, &self.url(row)])
            .output()
            .map_err(|error| format!("curl (package curl): {error}"))?;
        let status = String::from_utf8_lossy(&output.stdout);
        if status == row.status.to_string() {
            return Ok(());
        }
        Err(format!("{}: {} answers {status} instead of {}", row.name, self.name, row.status).into())
    }

    /// Its error log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// What a row asks for.
    pub(crate) fn url(&self, row: &Row) -> String {
        format!("{}://127.0.0.1:{}{}", row.over.scheme(), self.port, row.path)
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Raises the limit of open files for this process and those it starts.
pub(crate) fn allow_many_files() -> Outcome<()> {
    let own = process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &own, "--nofile=20000:20000"]).status()?;
    if status.success() { Ok(()) } else { Err("prlimit does not allow 20000 open files".into()) }
}

fn is_root(own: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    own.uid() == 0
}
