//! Starts serving: everything that can fail is done first, then come the daemon, the pid file and the processes.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use net::inherited;
use net::process::{Pid, Signal, Signals, parent, redirect_stderr};

use super::flags::Flags;
use super::load::{self, Loaded};
use super::master::{Master, Next};
use super::pid_file::PidFile;
use super::record::Record;
use super::say::Complaints;
use super::sockets::{self, Sockets};
use super::{folders, serving};
use crate::config::Config;
use crate::log::{Level, system_error};
use crate::zone::Zones;

/// The signals that the program obeys.
const SIGNALS: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCHLD,
    Signal::SIGALRM,
];

/// What the program starts with, whether it becomes a master or serves by itself.
pub struct Start {
    /// The command line.
    pub flags: Flags,
    /// What to serve.
    pub config: Arc<Config>,
    /// Where.
    pub sockets: Sockets,
    /// The signals to obey, blocked.
    pub signals: Signals,
    /// The file to take away at the end.
    pub pid_file: PidFile,
    /// What outlives a configuration.
    pub zones: Arc<Zones>,
    /// How the program came to be.
    pub origin: Origin,
}

/// How the program came to be.
#[derive(Clone, Copy)]
pub struct Origin {
    /// Whether it is in the background, by itself or because another program put it there.
    pub in_background: bool,
    /// Whether another program handed it its sockets, and may go on if this one fails.
    pub is_upgrade: bool,
    /// The process that started it.
    pub parent: Pid,
}

/// Reads the configuration, opens the sockets and serves until it is told to end.
pub fn run(flags: Flags) -> ExitCode {
    let is_upgrade = std::env::var_os(inherited::VARIABLE).is_some();
    let mut known = Sockets::new();
    let taken = inherited::take();
    for (address, fd) in taken.sockets {
        known.entry(address).or_default().push(Arc::new(fd));
    }
    let first_log = load::first_log(&flags);
    let zones: Arc<Zones> = Arc::default();
    let Some(Loaded { config, .. }) =
        load::load_aloud(&flags, &Record::of_disk(), HashMap::new(), &zones, &first_log)
    else {
        return ExitCode::FAILURE;
    };
    let aloud = Complaints { log: &config.error_log, aloud: true };
    for refused in &taken.refused {
        aloud.say(Level::Emerg, refused);
    }
    let Some(sockets) = open(&config, &known, &aloud) else { return ExitCode::FAILURE };
    let daemon = config.main.daemon && !is_upgrade;
    let mut origin = Origin { in_background: daemon || is_upgrade, is_upgrade, parent: parent() };
    if daemon {
        if let Err(error) = net::process::daemonize() {
            aloud.say(Level::Emerg, &format!("fork() failed {}", system_error(&error)));
            return ExitCode::FAILURE;
        }
        // Who started the program has ended.
        origin.parent = Pid::this();
    }
    let signals = match Signals::block(SIGNALS) {
        Ok(signals) => signals,
        Err(error) => {
            aloud.say(Level::Emerg, &format!("sigprocmask() failed {}", system_error(&error)));
            return ExitCode::FAILURE;
        }
    };
    let pid_file = match PidFile::write(&config.main.pid) {
        Ok(pid_file) => pid_file,
        Err(sentence) => {
            aloud.say(Level::Emerg, &sentence);
            return ExitCode::FAILURE;
        }
    };
    let config = Arc::new(config);
    redirect(&config);
    config.error_log.write(Level::Notice, format_args!("using the \"epoll\" event method"));
    config.error_log.write(Level::Notice, format_args!("doorward/{}", crate::product::VERSION));
    let start = Start { flags, config, sockets, signals, pid_file, zones, origin };
    if start.config.main.master_process {
        match Master::new(start).run() {
            Next::Over => ExitCode::SUCCESS,
            Next::Serve(duty) => serving::run_worker(*duty),
        }
    } else {
        serving::run_single(start)
    }
}

/// Makes and opens what a configuration needs beside its log files, which must be open already.
pub fn open(config: &Config, known: &Sockets, complaints: &Complaints<'_>) -> Option<Sockets> {
    if let Some(sentence) = &config.log_failure {
        complaints.say(Level::Emerg, sentence);
        return None;
    }
    if !folders::make(config, complaints) {
        return None;
    }
    sockets::open(config, known, complaints)
}

/// Sends the standard error output to the error log, as nginx does, unless the log is the standard error output.
pub fn redirect(config: &Config) {
    if config.keeps_stderr {
        return;
    }
    if let Some(file) = config.error_log.first_file() {
        // Without it, words of last resort go where the program was started from.
        let _ = file.with_file(|file| redirect_stderr(file.as_fd()));
    }
}
