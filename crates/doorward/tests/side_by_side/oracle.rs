//! The nginx to compare with: the one the environment names, or the one that `cargo run -p oracle` builds.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A version as nginx counts: 1.28.3.
pub(crate) type Version = (u32, u32, u32);

/// An nginx and what it says of itself.
#[derive(Clone)]
pub(crate) struct Oracle {
    pub(crate) binary: PathBuf,
    pub(crate) version: Version,
}

impl Oracle {
    /// Whether connections to upstreams are HTTP/1.1 and kept without being told.
    pub(crate) fn keeps_by_default(&self) -> bool {
        self.version >= (1, 29, 7)
    }
}

/// Finds the oracle once for all cases.
pub(crate) fn nginx() -> Result<Oracle, String> {
    static FOUND: OnceLock<Result<Oracle, String>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> Result<Oracle, String> {
    let binary = match env::var_os("DOORWARD_ORACLE") {
        Some(named) => named.into(),
        None => built()?,
    };
    let output =
        Command::new(&binary).arg("-v").output().map_err(|error| format!("{}: {error}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let number = said.split_once("nginx/").map(|(_, number)| number).ok_or("the oracle is no nginx")?;
    Ok(Oracle { version: version(number), binary })
}

fn built() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_BIN_EXE_doorward")).ancestors().nth(2).ok_or("no target folder")?;
    let binary = target.join("oracle/nginx");
    if binary.exists() {
        return Ok(binary);
    }
    let output = Command::new("cargo")
        .args(["run", "-q", "-p", "oracle"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().map(PathBuf::from).ok_or_else(|| "cargo run -p oracle built nothing".to_owned())
}

/// Reads the number at the start of `1.28.3 (with words behind it)`; what is missing is 0.
pub(crate) fn version(text: &str) -> Version {
    let mut parts = text.trim().split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}
