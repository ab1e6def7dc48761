//! nginx's core module: the process, its user, its files; and `error_log`, which stands in every block.

use std::sync::Arc;

use conf::Arg::{Flag, Many, Number, Optional, Text, Time};
use conf::{Diagnostic, Node, once};
use net::process::{find_group, find_user};

use crate::compile::{Compiler, Paths};
use crate::directives;
use crate::log::{ErrorLog, Level, Syslog, Target};
use crate::module::{Directive, Scope, Settings};
use crate::product;

/// What the main context says, as written.
#[derive(Clone, Default)]
pub struct MainSettings {
    daemon: Option<bool>,
    master_process: Option<bool>,
    worker_processes: Option<usize>,
    user: Option<(String, Option<String>)>,
    pid: Option<Vec<u8>>,
    worker_shutdown_timeout: Option<u64>,
    worker_rlimit_nofile: Option<u64>,
}

impl Settings for MainSettings {
    fn inherit(&mut self, _: &Self) {}
}

/// What the main context says of the process.
#[derive(Clone, Debug)]
pub struct Main {
    /// Whether it goes to the background.
    pub daemon: bool,
    /// Whether a master watches over a worker process.
    pub master_process: bool,
    /// Threads that serve.
    pub worker_processes: usize,
    /// User and group of the worker process, where the program was started by root.
    pub user: Option<(String, String)>,
    /// The folder that relative paths start from.
    pub prefix: std::path::PathBuf,
    /// Where the process id is written.
    pub pid: std::path::PathBuf,
    /// Longest graceful end in milliseconds, if any.
    pub worker_shutdown_timeout: Option<u64>,
    /// How many files the worker process may have open, unless as many as the master's.
    pub worker_rlimit_nofile: Option<u64>,
}

/// The groups of systems that have a user `nobody`.
const NOBODYS_GROUPS: [&str; 2] = ["nobody", "nogroup"];

impl Main {
    /// Fills in the defaults.
    pub fn settle(scope: &mut Scope, paths: &Paths) -> Result<Main, Diagnostic> {
        let s = scope.get_mut::<MainSettings>().clone();
        let user = match s.user {
            _ if !paths.as_root => None,
            None => Some(nobody()?),
            Some((user, group)) => {
                let group = group.unwrap_or_else(|| user.clone());
                Some((user, group))
            }
        };
        Ok(Main {
            daemon: s.daemon.unwrap_or(true),
            master_process: s.master_process.unwrap_or(true),
            worker_processes: s.worker_processes.unwrap_or(1),
            user,
            prefix: paths.prefix.clone(),
            pid: s.pid.map_or_else(|| paths.unnamed(&product::PID), |path| paths.in_prefix(&path)),
            worker_shutdown_timeout: s.worker_shutdown_timeout,
            worker_rlimit_nofile: s.worker_rlimit_nofile,
        })
    }
}

/// Who serves when nobody is named.
fn nobody() -> Result<(String, String), Diagnostic> {
    if find_user("nobody").is_err() {
        return Err(Diagnostic::nowhere("getpwnam(\"nobody\") failed"));
    }
    match NOBODYS_GROUPS.iter().find(|group| find_group(group).is_ok()) {
        Some(group) => Ok(("nobody".to_owned(), (*group).to_owned())),
        None => Err(Diagnostic::nowhere("getgrnam(\"nobody\") failed")),
    }
}

/// `user`: both must exist, unless root is missing, which makes the directive meaningless.
fn user(settings: &mut MainSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let name = node.str(0)?.to_owned();
    let group = if node.args.len() > 1 { Some(node.str(1)?.to_owned()) } else { None };
    once(&mut settings.user, (name.clone(), group.clone()), node)?;
    if !cx.paths.as_root {
        let sentence = "the \"user\" directive makes sense only if the master process runs with super-user \
                        privileges, ignored";
        cx.warn(Diagnostic::at(node.span, sentence).warning());
        return Ok(());
    }
    if find_user(&name).is_err() {
        return Err(Diagnostic::at(node.span, format!("getpwnam(\"{name}\") failed"))
            .instead("name a user that this machine has, or add this one"));
    }
    let group = group.unwrap_or(name);
    find_group(&group)
        .map(drop)
        .map_err(|_| Diagnostic::at(node.span, format!("getgrnam(\"{group}\") failed")))
}

pub(super) const DIRECTIVES: &[Directive] = directives! { MainSettings;
    /// Whether the program goes to the background.
    "daemon" in [MAIN] (Flag) = "on" => |c, _, n| once(&mut c.daemon, n.flag(0)?, n);
    /// Whether a master process watches over a worker process.
    "master_process" in [MAIN] (Flag) = "on" => |c, _, n| once(&mut c.master_process, n.flag(0)?, n);
    /// Threads that serve; `auto` for one per core.
    "worker_processes" in [MAIN] (Text("number | auto")) = "1" => |c, _, n| {
        let count = match n.bytes(0) {
            b"auto" => std::thread::available_parallelism().map_or(1, usize::from),
            _ => n.number(0)? as usize,
        };
        once(&mut c.worker_processes, count.max(1), n)
    };
    /// The user (and group) that requests are served as, when started by root.
    "user" in [MAIN] (Text("user"), Optional(&Text("group"))) = "nobody nobody" => user;
    /// Where the process id is written.
    "pid" in [MAIN] (Text("file")) = "logs/nginx.pid" => |c, _, n| once(&mut c.pid, n.bytes(0).to_vec(), n);
    /// Longest time of a graceful end; then open connections are closed.
    "worker_shutdown_timeout" in [MAIN] (Time) = "" => |c, _, n| once(&mut c.worker_shutdown_timeout, n.msec(0)?, n);
    /// How many files the worker process may have open: two for each request that is passed on, and some more.
    "worker_rlimit_nofile" in [MAIN] (Number) = "" => |c, _, n| once(&mut c.worker_rlimit_nofile, n.number(0)? as u64, n);
    /// How connections are taken up.
    "events": Block in [MAIN] () = "" => |_, cx, n| {
        if std::mem::replace(&mut cx.has_events, true) {
            return Err(n.duplicate());
        }
        let mut scope = Scope::default();
        cx.block(n.block.as_deref().unwrap_or_default(), conf::Contexts::EVENTS, &mut scope)
    };
};

/// Error logs of a block: its own, or else the enclosing block's.
#[derive(Clone, Default)]
pub struct ErrorLogs {
    /// All of them.
    pub log: Option<ErrorLog>,
}

impl Settings for ErrorLogs {
    fn inherit(&mut self, outer: &Self) {
        if self.log.is_none() {
            self.log.clone_from(&outer.log);
        }
    }
}

pub(super) const ERROR_LOG: &[Directive] = directives! { ErrorLogs;
    /// Where errors are logged, from which level on.
    "error_log" in [MAIN] (Many(&Text("file | stderr | syslog:... [level]"))) = "logs/error.log error" => error_log;
    /// Where errors are logged, from which level on.
    "error_log" in [HTTP SERVER LOCATION] (Many(&Text("file | stderr | syslog:... [level]"))) = "logs/error.log error" => error_log;
};

fn error_log(settings: &mut ErrorLogs, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let level = match node.args.get(1) {
        None => Level::Error,
        Some(word) => Level::of(&word.text).ok_or_else(|| {
            let text = String::from_utf8_lossy(&word.text);
            Diagnostic::at(word.span, format!("invalid log level \"{text}\""))
        })?,
    };
    let word = node.word(0)?;
    let target = if let Some(parameters) = word.text.strip_prefix(b"syslog:") {
        let syslog = Syslog::read(&String::from_utf8_lossy(parameters));
        Target::Syslog(Arc::new(syslog.map_err(|sentence| Diagnostic::at(word.span, sentence))?))
    } else if word.text.starts_with(b"memory:") {
        return Err(Diagnostic::at(word.span, "nginx was built without debug support".to_owned())
            .instead("log to a file"));
    } else {
        Target::File(cx.logs.error_target(&word.text, &cx.paths))
    };
    settings.log.get_or_insert_default().add(level, target);
    Ok(())
}
