//! Reads and compiles a configuration, and says what is wrong with it.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use conf::{Diagnostic, Files, Severity, Sources, Tree};
use net::process::{Pid, Signal};

use super::flags::{Flags, Order};
use crate::compile::{Paths, compile};
use crate::config::Config;
use crate::log::{LogFile, Logs};
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

/// Reads and compiles the configuration that the flags name.
pub fn load(
    flags: &Flags,
    files: &mut dyn Files,
    known_logs: HashMap<PathBuf, Arc<LogFile>>,
    zones: &Arc<Zones>,
) -> Result<Loaded, Box<Failure>> {
    let path = flags.configuration();
    let fail = |diagnostic, sources| Box::new(Failure { diagnostic, sources });
    let tree = conf::load_with_globals(&flags.globals, &path, files)
        .map_err(|(diagnostic, sources)| fail(diagnostic, sources))?;
    let paths =
        Paths { prefix: flags.prefix(), conf_prefix: path.parent().map(PathBuf::from).unwrap_or_default() };
    let logs = Logs::new(known_logs, flags.error_log());
    match compile(&tree, paths, zones.clone(), logs) {
        Ok((config, warnings)) => Ok(Loaded { config, sources: tree.sources, warnings }),
        Err(diagnostic) => {
            let Tree { sources, .. } = tree;
            Err(fail(diagnostic, sources))
        }
    }
}

/// Shows what is wrong or strange on the standard error output: with the source line for people, plainly for programs.
pub fn show(diagnostic: &Diagnostic, sources: &Sources) {
    if std::io::stderr().is_terminal() {
        eprintln!("{}", diagnostic.rich(sources));
        return;
    }
    let level = match diagnostic.severity {
        Severity::Error => "emerg",
        Severity::Warning => "warn",
    };
    eprintln!("nginx: [{level}] {}", diagnostic.plain(sources));
    if let Some(remedy) = &diagnostic.remedy {
        eprintln!("doorward: {remedy}");
    }
}

/// `-t` and `-T`.
pub fn test(flags: &Flags, dump: bool) -> ExitCode {
    let path = flags.configuration();
    let shown = path.display();
    match load(flags, &mut conf::Disk, HashMap::new(), &Arc::default()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                show(warning, &loaded.sources);
            }
            if !flags.quiet {
                eprintln!("nginx: the configuration file {shown} syntax is ok");
                eprintln!("nginx: configuration file {shown} test is successful");
            }
            if dump {
                print_sources(&loaded.sources);
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            show(&failure.diagnostic, &failure.sources);
            eprintln!("nginx: configuration file {shown} test failed");
            ExitCode::FAILURE
        }
    }
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
    let loaded = match load(flags, &mut conf::Disk, HashMap::new(), &Arc::default()) {
        Ok(loaded) => loaded,
        Err(failure) => {
            show(&failure.diagnostic, &failure.sources);
            return ExitCode::FAILURE;
        }
    };
    let path = &loaded.config.main.pid;
    let pid = std::fs::read_to_string(path)
        .map_err(|error| format!("open() \"{}\" failed ({error})", path.display()));
    let pid = pid.and_then(|text| {
        let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
        pid.ok_or_else(|| format!("invalid PID number \"{}\" in \"{}\"", text.trim(), path.display()))
    });
    let sent = pid.and_then(|pid| {
        net::process::kill(Pid::from_raw(pid), signal)
            .map_err(|error| format!("kill({pid}) failed ({error})"))
    });
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("nginx: [error] {sentence}");
            ExitCode::FAILURE
        }
    }
}
