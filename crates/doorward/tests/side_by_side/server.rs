//! A server under test: its folder, its ports, its process.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io, thread};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use tempfile::TempDir;

use crate::case::{Case, placeholders};
use crate::mock::Mock;
use crate::names;
use crate::over::{self, Over};
use crate::room;
use crate::script::Script;
use crate::tls;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of a case on one side, with everything the configuration names.
pub(crate) struct Ground {
    pub(crate) folder: TempDir,
    pub(crate) mocks: BTreeMap<String, Mock>,
    /// What the placeholders stand for.
    pub(crate) values: BTreeMap<String, String>,
    /// The ports where nothing listens: as long as these are bound, nobody else's service gets one of them.
    _refusing: Vec<OwnedFd>,
}

impl Ground {
    pub(crate) fn prepare(case: &Case) -> Result<Self, String> {
        Self::build(case).map_err(|error| format!("preparing: {error}"))
    }

    fn build(case: &Case) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = TempDir::new()?;
        let at = folder.path().display().to_string();
        fs::create_dir(folder.path().join("logs"))?;
        let mut values = BTreeMap::from([("dir".to_owned(), at), ("user".to_owned(), owner().to_owned())]);
        let services = case.services();
        values.insert("guide".to_owned(), concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guide").to_owned());
        let hosts = case.hosts();
        let mut named = Vec::new();
        if !hosts.is_empty() {
            values.insert("listen".to_owned(), room::LISTEN.to_owned());
            named = room::furnish(&hosts)?;
        }
        let mut listeners = Vec::new();
        for (name, _) in &services {
            let listener = match named.iter().position(|(service, _)| service == name) {
                Some(at) => named.swap_remove(at).1,
                None => TcpListener::bind(("127.0.0.1", 0))?,
            };
            values.insert(name.clone(), listener.local_addr()?.to_string());
            listeners.push(listener);
        }
        if let Some(text) = case.names() {
            values.insert("names".to_owned(), names::start(&fill(&values, text))?);
        }
        let configuration = case.configuration();
        // The listeners of free ports are held together, so that no port is given twice.
        let (mut held, mut refusing) = (Vec::new(), Vec::new());
        for name in placeholders(&configuration) {
            if values.contains_key(&name) {
                continue;
            }
            if name.starts_with("listen") {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                values.insert(name, listener.local_addr()?.to_string());
                held.push(listener);
            } else if name.starts_with("down") {
                let (socket, address) = refusing_port()?;
                values.insert(name, address);
                refusing.push(socket);
            }
        }
        let mut ground = Self { folder, mocks: BTreeMap::new(), values, _refusing: refusing };
        // Only now every address is known, and a script may name them all.
        for ((name, script), listener) in services.into_iter().zip(listeners) {
            let script = Script::read(&ground.fill(script))?;
            let mock = Mock::start(&name, listener, script, ground.folder.path())?;
            ground.mocks.insert(name, mock);
        }
        for (name, text) in case.files() {
            ground.write(name, &ground.fill(text))?;
        }
        if case.over == Over::Tls {
            let (certificate, key) = tls::certificate()?;
            ground.write(over::CERTIFICATE, certificate)?;
            ground.write(over::KEY, key)?;
        }
        ground.write("server.conf", &ground.fill(&configuration))?;
        Ok(ground)
    }

    /// Replaces the placeholders.
    pub(crate) fn fill(&self, text: &str) -> String {
        fill(&self.values, text)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.folder.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // `@1000` alone makes a file of a thousand bytes, as it makes a body.
        let content = match text.trim_end().strip_prefix('@') {
            Some(_) => crate::quoted::body(text.trim_end()).map_err(io::Error::other)?,
            None => text.as_bytes().to_vec(),
        };
        fs::write(&path, content)?;
        // The same age on both sides: ETag and Last-Modified are made from it.
        fs::File::options()
            .write(true)
            .open(&path)?
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    }

    /// A file of the folder, empty when there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The names of the access logs.
    pub(crate) fn logs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        if room::is_here() {
            // Where a configuration that does not say it has it.
            names.push("logs/access.log".to_owned());
            let entries = room::FOLDERS.iter().flat_map(fs::read_dir).flatten().flatten();
            names.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        names.retain(|name| name.ends_with(".log") && name != "error.log");
        names.sort();
        names
    }

    /// Whether `-t` accepts the configuration, and what it says.
    pub(crate) fn check(&self, binary: &Path) -> Result<(bool, String), String> {
        let output = self.command(binary).arg("-t").output().map_err(|error| said(binary, &error))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.arg("-p").arg(self.folder.path()).args(["-e", "error.log", "-c", "server.conf"]);
        command.stdin(Stdio::null());
        command
    }
}

/// A socket that is bound and does not listen: who connects to its address is refused.
fn refusing_port() -> nix::Result<(OwnedFd, String)> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    let address: SockaddrIn = getsockname(socket.as_raw_fd())?;
    Ok((socket, address.to_string()))
}

fn fill(values: &BTreeMap<String, String>, text: &str) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        let port = value.rsplit_once(':').map_or("", |(_, port)| port);
        text.replace(&format!("%{name}%"), value).replace(&format!("%{name}:port%"), port)
    })
}

/// A running server; it ends with its owner.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    pub(crate) fn start(binary: &Path, ground: &Ground) -> Result<Self, String> {
        let path = ground.folder.path().join("stderr.txt");
        let stderr = fs::File::create(path).map_err(|error| said(binary, &error))?;
        let child = ground
            .command(binary)
            .stdout(Stdio::null())
            .stderr(Stdio::from(stderr))
            .spawn()
            .map_err(|error| said(binary, &error))?;
        let mut server = Self { child };
        let end = Instant::now() + PATIENCE;
        // The pid file is written once the ports are open; no connection of ours is needed to find out.
        while ground.text("server.pid").trim().is_empty() {
            let over = server.child.try_wait().map_err(|error| said(binary, &error))?.is_some();
            if over || Instant::now() > end {
                let said = ground.text("error.log") + &ground.text("stderr.txt");
                return Err(format!("did not start (no server.pid): {said}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Ends the server as an operator does, so that it completes its logs.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        thread::sleep(Duration::from_millis(10));
        let died = self.child.try_wait().map_err(|error| error.to_string())?;
        if let Some(status) = died {
            return Err(format!("it ended by itself: {status}"));
        }
        let id = self.child.id().to_string();
        Command::new("kill").arg(&id).status().map_err(|error| error.to_string())?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().map_err(|error| error.to_string())?.is_none() {
            if Instant::now() > end {
                return Err("it does not end on TERM".to_owned());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(binary: &Path, error: &io::Error) -> String {
    format!("{}: {error}", binary.display())
}

/// A server that root starts would otherwise serve as nobody, who may not read the folder.
fn owner() -> &'static str {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) { "user root;\n" } else { "" }
}
