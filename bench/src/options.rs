//! The command line of the bench, and where the two servers' binaries are.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::rows::{self, Row};

const USAGE: &str = "bench [ROW ...] [--rounds N] [--seconds S] [--idle N] [--token] [--keys] [--list] [--doorward PATH] [--nginx PATH]";

/// What was asked for.
pub(crate) struct Options {
    names: Vec<String>,
    /// How often each server is loaded; the table shows medians.
    pub(crate) rounds: usize,
    /// How long one load lasts.
    pub(crate) seconds: u32,
    /// Measure the memory of this many idle connections and nothing else.
    pub(crate) idle: Option<usize>,
    /// Measure what a new token costs and nothing else.
    pub(crate) token: bool,
    /// Measure the memory of API keys and nothing else.
    pub(crate) keys: bool,
    /// Name the rows and end.
    pub(crate) list: bool,
    doorward: Option<PathBuf>,
    nginx: Option<PathBuf>,
}

impl Options {
    pub(crate) fn from_arguments() -> Outcome<Self> {
        let mut options = Self {
            names: Vec::new(),
            rounds: 5,
            seconds: 3,
            idle: None,
            token: false,
            keys: false,
            list: false,
            doorward: env::var_os("DOORWARD_BINARY").map(PathBuf::from),
            nginx: env::var_os("DOORWARD_ORACLE").map(PathBuf::from),
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value\n{USAGE}"));
            match argument.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--idle" => options.idle = Some(value()?.parse()?),
                "--doorward" => options.doorward = Some(value()?.into()),
                "--nginx" => options.nginx = Some(value()?.into()),
                "--token" => options.token = true,
                "--keys" => options.keys = true,
                "--list" => options.list = true,
                flag if flag.starts_with('-') => return Err(format!("unknown {flag}\n{USAGE}").into()),
                row => options.names.push(row.to_owned()),
            }
        }
        Ok(options)
    }

    /// The rows that were named, or all of them.
    pub(crate) fn rows(&self) -> Outcome<Vec<&'static Row>> {
        if self.names.is_empty() {
            return Ok(rows::ALL.iter().collect());
        }
        let find = |name: &String| {
            rows::ALL
                .iter()
                .find(|row| row.name == name)
                .ok_or(format!("no row {name}; --list names them").into())
        };
        self.names.iter().map(find).collect()
    }

    /// The Doorward under test: `--doorward`, `DOORWARD_BINARY`, or the release build of this workspace.
    pub(crate) fn doorward(&self) -> Outcome<PathBuf> {
        if let Some(named) = &self.doorward {
            return Ok(named.clone());
        }
        let built = target()?.join("release/doorward");
        if built.exists() { Ok(built) } else { Err("first: cargo build --release -p doorward".into()) }
    }

    /// The nginx to compare with: `--nginx`, `DOORWARD_ORACLE`, or the one that the oracle builds.
    pub(crate) fn nginx(&self) -> Outcome<PathBuf> {
        if let Some(named) = &self.nginx {
            return Ok(named.clone());
        }
        let built = target()?.join("oracle/nginx");
        if built.exists() {
            return Ok(built);
        }
        let output =
            Command::new("cargo").args(["run", "-q", "-p", "oracle"]).stderr(Stdio::inherit()).output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().last().ok_or("the oracle was not built")?.into())
    }
}

fn target() -> Outcome<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).ok_or("this program is not in a target folder")?.to_owned())
}
