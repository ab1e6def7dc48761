//! Starts serving: one process, or a master that watches over a worker process.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use net::process::{Signal, Signals};
use net::{Address, inherited};

use super::flags::Flags;
use super::load::{self, Loaded};
use super::master;
use super::pid_file::PidFile;
use super::workers::Workers;
use crate::config::Config;
use crate::log::Level;
use crate::zone::Zones;

/// The signals that the program obeys.
pub const SIGNALS: [Signal; 10] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCHLD,
    Signal::SIGALRM,
    Signal::SIGPIPE,
];

/// Listening sockets by address.
pub type Sockets = HashMap<Address, Arc<OwnedFd>>;

/// Reads the configuration, opens the sockets and serves until it is told to end.
pub fn run(flags: &Flags) -> ExitCode {
    let taken = inherited::take();
    let zones: Arc<Zones> = Arc::default();
    let loaded = match load::load(flags, &mut conf::Disk, HashMap::new(), &zones) {
        Ok(loaded) => loaded,
        Err(failure) => {
            load::show(&failure.diagnostic, &failure.sources);
            return ExitCode::FAILURE;
        }
    };
    let Loaded { config, sources, warnings } = loaded;
    for warning in &warnings {
        load::show(warning, &sources);
        config.error_log.write(Level::Warn, format_args!("{}", warning.plain(&sources)));
    }
    if let Err(sentence) = make_folders(&config) {
        return give_up(&config, &sentence);
    }
    let sockets =
        match open_sockets(&config, taken.sockets.into_iter().map(|(a, fd)| (a, Arc::new(fd))).collect()) {
            Ok(sockets) => sockets,
            Err(sentence) => return give_up(&config, &sentence),
        };
    if config.main.daemon
        && !super::is_upgrade()
        && let Err(error) = net::process::daemonize()
    {
        return give_up(&config, &format!("fork() failed ({error})"));
    }
    let signals = match Signals::block(SIGNALS) {
        Ok(signals) => signals,
        Err(error) => return give_up(&config, &format!("sigprocmask() failed ({error})")),
    };
    let pid_file = match PidFile::write(&config.main.pid) {
        Ok(pid_file) => pid_file,
        Err(sentence) => return give_up(&config, &sentence),
    };
    config.error_log.write(Level::Notice, format_args!("using the \"epoll\" event method"));
    config.error_log.write(Level::Notice, format_args!("doorward/{}", crate::product::VERSION));
    if config.main.master_process {
        return master::run(flags, Arc::new(config), sockets, signals, pid_file, zones);
    }
    single(flags, Arc::new(config), &sockets, signals, &pid_file, &zones)
}

fn give_up(config: &Config, sentence: &str) -> ExitCode {
    eprintln!("nginx: [emerg] {sentence}");
    config.error_log.write(Level::Emerg, format_args!("{sentence}"));
    ExitCode::FAILURE
}

/// Makes the folders that the configuration writes to (nginx makes the last one of each path).
pub fn make_folders(config: &Config) -> Result<(), String> {
    for folder in &config.folders {
        match std::fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("mkdir() \"{}\" failed ({error})", folder.display())),
        }
    }
    match config.log_failure.as_deref() {
        Some(sentence) => Err(sentence.to_owned()),
        None => Ok(()),
    }
}

/// Opens what is not open yet; a taken address is tried again for a while, as nginx does.
pub fn open_sockets(config: &Config, mut known: Sockets) -> Result<Sockets, String> {
    let mut sockets = Sockets::new();
    for listener in &config.listeners {
        let fd = match known.remove(&listener.address) {
            Some(fd) => {
                // What cannot be tuned on an open socket stays as it was.
                let _ = net::listen::reconfigure(fd.as_fd(), &listener.address, &listener.options);
                fd
            }
            None => Arc::new(bind(config, listener)?),
        };
        sockets.insert(listener.address.clone(), fd);
    }
    Ok(sockets)
}

fn bind(config: &Config, listener: &crate::config::Listener) -> Result<OwnedFd, String> {
    const TRIES: usize = 5;
    for left in (0..TRIES).rev() {
        match net::listen::bind(&listener.address, &listener.options) {
            Ok(fd) => return Ok(fd),
            Err(failed) => {
                let sentence = format!("{} to {} failed ({})", failed.call, listener.address, failed.error);
                if failed.error.kind() != std::io::ErrorKind::AddrInUse || left == 0 {
                    return Err(sentence);
                }
                eprintln!("nginx: [emerg] {sentence}");
                config.error_log.write(Level::Emerg, format_args!("{sentence}"));
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    }
    Err("still could not bind()".to_owned())
}

/// `master_process off`: one process does everything.
pub fn single(
    flags: &Flags,
    config: Arc<Config>,
    sockets: &Sockets,
    signals: Signals,
    pid_file: &PidFile,
    zones: &Arc<Zones>,
) -> ExitCode {
    let mut sockets = sockets.clone();
    let mut workers = match Workers::start(config.clone(), &sockets) {
        Ok(workers) => workers,
        Err(error) => return give_up(&config, &format!("the workers did not start ({error})")),
    };
    let mut config = config;
    loop {
        if workers.have_ended() {
            break;
        }
        let Ok(Some((signal, _))) = signals.wait(Some(Duration::from_millis(200))) else { continue };
        match signal {
            Signal::SIGTERM | Signal::SIGINT => workers.stop(),
            Signal::SIGQUIT => workers.quit(),
            Signal::SIGUSR1 => reopen(&config),
            Signal::SIGHUP => {
                if let Some((new, opened)) = reload(flags, &config, &sockets, zones) {
                    config = new;
                    sockets = opened;
                    workers.serve(config.clone(), &sockets);
                }
            }
            _ => {}
        }
    }
    pid_file.remove();
    ExitCode::SUCCESS
}

/// Reads the configuration anew; what is wrong is logged, and changes nothing.
pub fn reload(
    flags: &Flags,
    old: &Config,
    sockets: &Sockets,
    zones: &Arc<Zones>,
) -> Option<(Arc<Config>, Sockets)> {
    old.error_log.write(Level::Notice, format_args!("signal 1 (SIGHUP) received, reconfiguring"));
    let loaded = match load::load(flags, &mut conf::Disk, old.logs.clone(), zones) {
        Ok(loaded) => loaded,
        Err(failure) => {
            let sentence = failure.diagnostic.plain(&failure.sources);
            old.error_log.write(Level::Emerg, format_args!("{sentence}"));
            return None;
        }
    };
    for warning in &loaded.warnings {
        old.error_log.write(Level::Warn, format_args!("{}", warning.plain(&loaded.sources)));
    }
    let mut config = loaded.config;
    config.generation = old.generation + 1;
    let opened = make_folders(&config).and_then(|()| open_sockets(&config, sockets.clone()));
    match opened {
        Ok(opened) => Some((Arc::new(config), opened)),
        Err(sentence) => {
            old.error_log.write(Level::Emerg, format_args!("{sentence}"));
            None
        }
    }
}

/// Opens every log file anew.
pub fn reopen(config: &Config) {
    config.error_log.write(Level::Notice, format_args!("reopening logs"));
    for log in config.logs.values() {
        if let Err(error) = log.reopen() {
            let path = log.path().map(|p| p.display().to_string()).unwrap_or_default();
            config.error_log.write(Level::Emerg, format_args!("open() \"{path}\" failed ({error})"));
        }
    }
}
