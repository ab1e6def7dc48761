//! Reads and compiles a configuration, and says what is wrong with it.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use conf::{Diagnostic, Severity, Sources, Tree};
use net::process::{Pid, Signal};

use super::flags::{Flags, Order};
use super::folders;
use super::pid_file::PidFile;
use super::record::Record;
use super::say::{Complaints, say};
use super::serve;
use super::sockets::{self, Sockets};
use crate::compile::{Paths, compile};
use crate::config::Config;
use crate::log::{ErrorLog, Level, LogFile, Logs, system_error};
use crate::zone::Zones;

/// A configuration that compiled.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files it was read from.
    pub sources: Sources,
    /// What is strange about it.
    pub warnings: Vec<Diagnostic>,
}

/// What went wrong, with the text it stands in.
pub struct Failure {
    /// What.
    pub diagnostic: Diagnostic,
    /// Where.
    pub sources: Sources,
}

impl Failure {
    /// The sentence for the error log.
    pub fn sentence(&self) -> String {
        self.diagnostic.plain(&self.sources)
    }
}

/// Reads and compiles the configuration that the flags name. Log files are opened unless `known_logs` has them.
pub fn load(
    flags: &Flags,
    record: &Record,
    known_logs: HashMap<PathBuf, Arc<LogFile>>,
    zones: &Arc<Zones>,
) -> Result<Loaded, Box<Failure>> {
    let path = flags.configuration();
    let fail = |diagnostic, sources| Box::new(Failure { diagnostic, sources });
    let tree = conf::load_with_globals(&flags.globals, &path, &mut record.clone())
        .map_err(|(diagnostic, sources)| fail(diagnostic, sources))?;
    let paths = Paths {
        prefix: flags.prefix(),
        conf_prefix: path.parent().map(PathBuf::from).unwrap_or_default(),
        packaged: flags.prefix.is_none(),
        as_root: flags.as_root,
    };
    let logs = Logs::new(known_logs, flags.error_log());
    match compile(&tree, paths, Box::new(record.clone()), zones.clone(), logs) {
        Ok((config, warnings)) => Ok(Loaded { config, sources: tree.sources, warnings }),
        Err(diagnostic) => {
            let Tree { sources, .. } = tree;
            Err(fail(diagnostic, sources))
        }
    }
}

/// The log of what goes wrong before a configuration says where to log: `-e`, or what the program was built with.
pub fn first_log(flags: &Flags) -> ErrorLog {
    let path = flags.error_log();
    if path.as_os_str() == "stderr" {
        return ErrorLog::default();
    }
    match Logs::open_first(&path) {
        Ok(file) => ErrorLog::file(file, Level::Notice),
        Err(error) => {
            let (path, why) = (path.display(), system_error(&error));
            say!("nginx: [alert] could not open error log file: open() \"{path}\" failed {why}");
            ErrorLog::default()
        }
    }
}

/// As [`load`]; what is wrong or strange is said on the standard error output and logged.
pub fn load_aloud(
    flags: &Flags,
    record: &Record,
    known_logs: HashMap<PathBuf, Arc<LogFile>>,
    zones: &Arc<Zones>,
    log: &ErrorLog,
) -> Option<Loaded> {
    match load(flags, record, known_logs, zones) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                show(warning, &loaded.sources, log);
            }
            Some(loaded)
        }
        Err(failure) => {
            show(&failure.diagnostic, &failure.sources, log);
            None
        }
    }
}

/// Shows what is wrong or strange: with the source line for people, plainly for programs and in the log.
fn show(diagnostic: &Diagnostic, sources: &Sources, log: &ErrorLog) {
    let level = match diagnostic.severity {
        Severity::Error => Level::Emerg,
        Severity::Warning => Level::Warn,
        Severity::Note => Level::Notice,
    };
    let sentence = diagnostic.plain(sources);
    if !log.is_stderr() {
        log.write(level, format_args!("{sentence}"));
    }
    if std::io::stderr().is_terminal() {
        say!("{}", diagnostic.rich(sources));
        return;
    }
    say!("nginx: [{}] {sentence}", level.name());
    if let Some(remedy) = &diagnostic.remedy {
        say!("doorward: {remedy}");
    }
}

/// Reads the configuration anew for a running program and opens what it needs; what is wrong is logged by `old`.
pub fn reload(
    flags: &Flags,
    record: &Record,
    old: &Config,
    sockets: &Sockets,
    zones: &Arc<Zones>,
) -> Option<(Arc<Config>, Sockets)> {
    let log = Complaints { log: &old.error_log, aloud: false };
    // Log files are opened anew: they may have been moved away, as before SIGUSR1.
    let loaded = match load(flags, record, HashMap::new(), zones) {
        Ok(loaded) => loaded,
        Err(failure) => {
            log.say(Level::Emerg, &failure.sentence());
            return None;
        }
    };
    for warning in &loaded.warnings {
        log.say(Level::Warn, &warning.plain(&loaded.sources));
    }
    let mut config = loaded.config;
    config.generation = old.generation + 1;
    // As in nginx, these stay what they were: the processes are as they are.
    config.main.daemon = old.main.daemon;
    config.main.master_process = old.main.master_process;
    let opened = serve::open(&config, sockets, &log)?;
    Some((Arc::new(config), opened))
}

/// `-t` and `-T`.
pub fn test(flags: &Flags, dump: bool) -> ExitCode {
    let path = flags.configuration();
    let shown = path.display();
    let log = first_log(flags);
    if let Some(loaded) = load_aloud(flags, &Record::of_disk(), HashMap::new(), &Arc::default(), &log) {
        if !flags.quiet {
            say!("nginx: the configuration file {shown} syntax is ok");
        }
        let strange = if flags.strict { loaded.warnings.len() } else { 0 };
        if opens(&loaded.config) {
            if strange == 0 && !flags.quiet {
                say!("nginx: configuration file {shown} test is successful");
            }
            if dump {
                print_sources(&loaded.sources);
            }
            if strange == 0 {
                return ExitCode::SUCCESS;
            }
            say!("doorward: warnings that --strict does not let pass: {strange}");
        }
    }
    say!("nginx: configuration file {shown} test failed");
    ExitCode::FAILURE
}

/// Whether what a configuration needs can be opened.
fn opens(config: &Config) -> bool {
    let complaints = Complaints { log: &config.error_log, aloud: true };
    if let Some(sentence) = &config.log_failure {
        complaints.say(Level::Emerg, sentence);
        return false;
    }
    if !folders::make(config, &complaints) || !sockets::test(config, &complaints) {
        return false;
    }
    PidFile::test(&config.main.pid).map_err(|sentence| complaints.say(Level::Emerg, &sentence)).is_ok()
}

fn print_sources(sources: &Sources) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for file in &sources.files {
        let Some(path) = &file.path else { continue };
        // A reader that closed the pipe has seen enough.
        let _ = writeln!(out, "# configuration file {}:", path.display());
        let _ = out.write_all(&file.bytes);
        let _ = writeln!(out);
    }
}

/// `-s`.
pub fn send_signal(flags: &Flags, order: Order) -> ExitCode {
    let signal = match order {
        Order::Stop => Signal::SIGTERM,
        Order::Quit => Signal::SIGQUIT,
        Order::Reopen => Signal::SIGUSR1,
        Order::Reload => Signal::SIGHUP,
    };
    let log = first_log(flags);
    let Some(loaded) = load_aloud(flags, &Record::of_disk(), HashMap::new(), &Arc::default(), &log) else {
        return ExitCode::FAILURE;
    };
    let complaints = Complaints { log: &loaded.config.error_log, aloud: true };
    complaints.say(Level::Notice, "signal process started");
    let path = &loaded.config.main.pid;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            complaints
                .say(Level::Error, &format!("open() \"{}\" failed {}", path.display(), system_error(&error)));
            return ExitCode::FAILURE;
        }
    };
    let text = text.trim_end();
    let Some(pid) = text.parse::<i32>().ok().filter(|pid| *pid > 0) else {
        complaints.say(Level::Error, &format!("invalid PID number \"{text}\" in \"{}\"", path.display()));
        return ExitCode::FAILURE;
    };
    match net::process::kill(Pid::from_raw(pid), signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complaints.say(
                Level::Alert,
                &format!("kill({pid}, {}) failed {}", signal as i32, system_error(&error)),
            );
            ExitCode::FAILURE
        }
    }
}
