//! Servers of other makers, each started for a test in a folder of its own and ended with it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A server that runs.
pub struct Server {
    folder: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    process: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

/// The user `nobody`: some servers refuse to run as root.
const NOBODY: u32 = 65534;

impl Server {
    /// Starts a program in a folder; `arguments` are given the folder and the port.
    pub fn start(folder: TempDir, program: PathBuf, arguments: impl Fn(&Path, u16) -> Vec<String>) -> Server {
        // The port is free a moment before the server takes it; on loss of that race the server does not start.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments(folder.path(), port);
        let process = spawn(&folder, &program, &arguments);
        Server { folder, program, arguments, process, port }
    }

    /// Ends it as a power cut does, and starts it again.
    pub fn kill_and_start_again(&mut self) {
        self.kill();
        self.process = spawn(&self.folder, &self.program, &self.arguments);
    }

    /// Ends it without a chance to tidy up.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it once more when it has ended: the parts of one that was killed may still be there for a moment.
    pub fn revive(&mut self) {
        if self.process.try_wait().unwrap().is_some() {
            std::thread::sleep(Duration::from_millis(100));
            self.process = spawn(&self.folder, &self.program, &self.arguments);
        }
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir, program: &Path, arguments: &[String]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    as_nobody(Command::new(program).args(arguments))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Runs it as somebody else where root asks.
pub fn as_nobody(command: &mut Command) -> &mut Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 { command.uid(NOBODY).gid(NOBODY) } else { command }
}

/// A folder for [`as_nobody`].
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    folder
}

/// Makes `server.pem` and `server.key` in a folder, for this name, and gives the file of who has issued it: itself.
pub fn certificate(folder: &TempDir, name: &str) -> PathBuf {
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout server.key -out server.pem";
    let made = as_nobody(
        Command::new(program(&["openssl"], Vec::new(), "openssl"))
            .args(words.split(' '))
            .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"]),
    )
    .current_dir(folder.path())
    .output()
    .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder.path().join("server.pem")
}

/// Finds the first of these programs in `PATH` and in these folders.
pub fn program(names: &[&str], also: Vec<PathBuf>, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(also);
    let found = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{names:?} is not installed: apt-get install {package}"))
}
