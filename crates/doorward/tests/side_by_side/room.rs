//! A room of its own for a case that names hosts, ports and folders as a whole machine has them: the test program runs
//! again in there, for this one case.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, io};

/// Set for the test program in the room.
const INSIDE: &str = "DOORWARD_IN_A_ROOM";

/// Where a configuration without `listen` is reached.
pub(crate) const LISTEN: &str = "127.0.0.1:80";

/// The folders that the guide's configurations write to.
pub(crate) const FOLDERS: [&str; 2] = ["/var/log/nginx", "/path/to"];

/// Whether this program runs in a room.
pub(crate) fn is_here() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs the test of this name in a room.
pub(crate) fn enter(test: &str) -> Result<(), String> {
    let output = run(test).map_err(|error| format!("unshare (of util-linux) does not run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() && said.contains("1 passed") {
        return Ok(());
    }
    if said.contains("running 1 test") {
        return Err(format!("in a room of its own:\n{said}"));
    }
    Err(format!(
        "this case needs network and mount namespaces of its own, as root or as a user who may make them, `ip` of \
         iproute2, and IPv6; this machine refuses with {:?}:\n{said}",
        output.status.code().or(output.status.signal())
    ))
}

fn run(test: &str) -> io::Result<std::process::Output> {
    let folder = tempfile::tempdir()?;
    let (root, hosts) = (folder.path().join("root"), folder.path().join("hosts"));
    fs::create_dir(&root)?;
    fs::write(&hosts, "")?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/side_by_side/alone"));
    command.args([&root, &hosts]).arg(env::current_exe()?).args(["--exact", test]).env(INSIDE, "").output()
}

/// In the room: empties the folders that the last server wrote to, and lets names lead to new listeners on port 80.
pub(crate) fn furnish(names: &[(String, String)]) -> io::Result<Vec<(String, TcpListener)>> {
    for folder in FOLDERS {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
    }
    // Listeners of before are still there. None is of IPv4, where `listen 80` takes the port of every address.
    static LAST: AtomicUsize = AtomicUsize::new(0x100);
    let (mut hosts, mut listeners) = (String::new(), Vec::new());
    for (name, service) in names {
        let address = format!("fd00::{:x}", LAST.fetch_add(1, Ordering::Relaxed));
        let words = format!("-6 address add {address}/128 dev lo nodad");
        let added = Command::new("ip").args(words.split(' ')).status()?;
        if !added.success() {
            return Err(io::Error::other(format!("ip {words}: {added}; the case needs IPv6")));
        }
        hosts += &format!("{address} {name}\n");
        listeners.push((service.clone(), TcpListener::bind((address.as_str(), 80))?));
    }
    fs::write("/etc/hosts", hosts)?;
    Ok(listeners)
}
