//! The error log: nginx's levels, sentences and format; and the files that every log is written to.

mod file;
mod lines;
mod syslog;

pub use file::{LogFile, Logs};
pub use lines::{Lines, Pack};
pub use syslog::Syslog;

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use crate::deliver::itoa;
use crate::exchange::{Exchange, Visit};

/// nginx's levels, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The program cannot go on.
    Emerg,
    /// Something must be done at once.
    Alert,
    /// A critical condition.
    Crit,
    /// A request failed.
    Error,
    /// Something strange.
    Warn,
    /// Something worth knowing.
    Notice,
    /// What happened.
    Info,
    /// What happened in detail.
    Debug,
}

const NAMES: [(Level, &str); 8] = [
    (Level::Emerg, "emerg"),
    (Level::Alert, "alert"),
    (Level::Crit, "crit"),
    (Level::Error, "error"),
    (Level::Warn, "warn"),
    (Level::Notice, "notice"),
    (Level::Info, "info"),
    (Level::Debug, "debug"),
];

impl Level {
    /// The level of that name; `debug_http` and the like are `debug`.
    pub fn of(name: &[u8]) -> Option<Level> {
        let known = NAMES.iter().find(|(_, n)| n.as_bytes() == name).map(|(level, _)| *level);
        known.or_else(|| name.starts_with(b"debug_").then_some(Level::Debug))
    }

    /// As written in the log.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

/// An error of the system as nginx writes it: `(111: Connection refused)`.
pub fn system_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.raw_os_error() {
        Some(code) => format!("({code}: {text})"),
        None => format!("({text})"),
    }
}

/// One place that messages go to.
#[derive(Clone)]
pub enum Target {
    /// A file, or the standard error output.
    File(Arc<LogFile>),
    /// A syslog server.
    Syslog(Arc<Syslog>),
}

/// Where a message goes that is severe enough.
#[derive(Clone)]
pub struct ErrorLog {
    targets: Arc<[(Level, Target)]>,
    /// The least severe level that any target wants.
    most: Level,
}

impl Default for ErrorLog {
    fn default() -> Self {
        ErrorLog { targets: Arc::new([]), most: Level::Emerg }
    }
}

impl ErrorLog {
    /// A log of one file.
    pub fn file(file: Arc<LogFile>, level: Level) -> ErrorLog {
        ErrorLog { targets: Arc::new([(level, Target::File(file))]), most: level }
    }

    /// Adds another target.
    pub fn add(&mut self, level: Level, target: Target) {
        let mut targets = self.targets.to_vec();
        targets.push((level, target));
        self.most = targets.iter().map(|(l, _)| *l).max().unwrap_or(level);
        self.targets = targets.into();
    }

    /// The first of its files, where it is one.
    pub fn first_file(&self) -> Option<&Arc<LogFile>> {
        self.targets.iter().find_map(|(_, target)| match target {
            Target::File(file) if file.path().is_some() => Some(file),
            _ => None,
        })
    }

    /// Whether all that is written goes to the standard error output.
    pub fn is_stderr(&self) -> bool {
        self.targets.iter().all(|(_, target)| matches!(target, Target::File(file) if file.path().is_none()))
    }

    /// Whether anyone wants messages of that level.
    pub fn wants(&self, level: Level) -> bool {
        level <= self.most && !self.targets.is_empty()
    }

    /// Writes a message that belongs to no connection.
    pub fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        if self.wants(level) {
            self.put(level, None, message, None, |_| {});
        }
    }

    /// Writes a message that belongs to a connection: `client` is `, client: 127.0.0.1, server: ...`.
    #[cold]
    pub fn write_on(&self, level: Level, connection: u64, message: fmt::Arguments<'_>, client: &str) {
        if self.wants(level) {
            self.put(level, Some(connection), message, None, |line| {
                line.extend_from_slice(client.as_bytes());
            });
        }
    }

    /// Writes a message of a request, with what nginx says of it: client, server, request, upstream, host.
    #[cold]
    pub fn write_for(&self, level: Level, message: fmt::Arguments<'_>, ex: &Exchange<'_>) {
        if self.wants(level) {
            let visit = ex.visit;
            let gathered = Some(&visit.worker.log_lines);
            self.put(level, Some(visit.client.number), message, gathered, |line| append_context(ex, line));
        }
    }

    /// The same where only the client's request is known, not what became of it.
    #[cold]
    pub fn write_of(&self, level: Level, message: fmt::Arguments<'_>, visit: &Visit<'_>) {
        if self.wants(level) {
            let gathered = Some(&visit.worker.log_lines);
            self.put(level, Some(visit.client.number), message, gathered, |line| {
                append_beginning(visit, line);
                append_end(visit, line);
            });
        }
    }

    /// Who guesses passwords makes a line each time: one is put together in place, and written together with the others
    /// of this turn of the event loop (`gathered`), unless it says that something is wrong with the machine.
    fn put(
        &self,
        level: Level,
        connection: Option<u64>,
        message: fmt::Arguments<'_>,
        gathered: Option<&Lines>,
        append_context: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut line = Vec::with_capacity(512);
        let (seconds, _) = net::clock::wall();
        crate::time::error_log(seconds, &mut line);
        line.extend_from_slice(b" [");
        line.extend_from_slice(level.name().as_bytes());
        line.extend_from_slice(b"] ");
        append_number(u64::from(std::process::id()), &mut line);
        line.push(b'#');
        append_number(u64::from(net::thread_id().unsigned_abs()), &mut line);
        line.extend_from_slice(b": ");
        if let Some(number) = connection {
            line.push(b'*');
            append_number(number, &mut line);
            line.push(b' ');
        }
        let _ = line.write_fmt(message);
        append_context(&mut line);
        // A line stays a line: what clients sent is quoted by who logs it, the rest cannot hold a newline.
        if line.contains(&b'\n') {
            line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        }
        line.push(b'\n');
        for (_, target) in self.targets.iter().filter(|(wanted, _)| level <= *wanted) {
            match target {
                Target::File(file) => match gathered {
                    Some(lines) if level >= Level::Error => lines.push(file, None, &line),
                    Some(lines) => {
                        lines.flush();
                        file.write(&line);
                    }
                    None => file.write(&line),
                },
                Target::Syslog(syslog) => syslog.send_error(level, &line),
            }
        }
    }
}

fn append_context(ex: &Exchange<'_>, line: &mut Vec<u8>) {
    append_beginning(ex.visit, line);
    if !ex.is_main() {
        append_quoted(", subrequest", &ex.uri, line);
    }
    if let Some(upstream) = ex.upstream.address_in_use() {
        append_quoted(", upstream", upstream.as_bytes(), line);
    }
    append_end(ex.visit, line);
}

fn append_beginning(visit: &Visit<'_>, line: &mut Vec<u8>) {
    let realip = visit.realip.borrow();
    let address = realip.as_ref().unwrap_or(&visit.client.peer);
    line.extend_from_slice(b", client: ");
    address.append_ip(line);
    line.extend_from_slice(b", server: ");
    line.extend_from_slice(lossy(&visit.server.name).as_bytes());
    let request = visit.head.line.of(visit.bytes);
    if !request.is_empty() {
        append_quoted(", request", request, line);
    }
}

fn append_end(visit: &Visit<'_>, line: &mut Vec<u8>) {
    for (what, id) in [(", host", wire::Name::Host), (", referrer", wire::Name::Referer)] {
        if let Some(field) = visit.head.fields.iter().find(|field| field.id == id) {
            append_quoted(what, field.value.of(visit.bytes), line);
        }
    }
}

fn append_quoted(what: &str, value: &[u8], line: &mut Vec<u8>) {
    line.extend_from_slice(what.as_bytes());
    line.extend_from_slice(b": \"");
    line.extend_from_slice(lossy(value).as_bytes());
    line.push(b'"');
}

fn append_number(number: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa(number, &mut [0; 20]));
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
