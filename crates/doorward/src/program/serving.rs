//! The process that serves: the worker process of a master, or the only one (`master_process off`). Its first thread
//! waits for signals, for the master's word and for the end of the others.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};

use net::process::{self, Pid, Signal, Signals};

use super::flags::Flags;
use super::master::Duty;
use super::parcel::{self, Message};
use super::record::{Read, Record};
use super::serve::{self, Start};
use super::sockets::{self, Sockets};
use super::workers::Workers;
use super::{folders, load};
use crate::config::Config;
use crate::log::{Level, LogFile, system_error};
use crate::zone::Zones;

/// The worker process cannot serve, and the next one could not either (nginx's number).
const FATAL: u8 = 2;

/// What the first thread hears of.
pub enum Event {
    /// A signal, and who sent it.
    Signal(Signal, Pid),
    /// The master's word.
    Message(Message),
    /// The master has ended.
    Orphaned,
    /// A thread that serves has ended, as it should or by an error of this program's own.
    Ended {
        /// Whether it should.
        well: bool,
    },
}

struct Serving {
    flags: Flags,
    config: Arc<Config>,
    zones: Arc<Zones>,
    workers: Workers,
    /// Earlier configurations, of which some connections may still be left.
    past: Vec<Weak<Config>>,
    in_background: bool,
    /// Whether the end has begun.
    ending: bool,
    /// Where the only process of the program keeps what a master would.
    sockets: Option<Sockets>,
    /// Where the master listens.
    master: Option<UnixStream>,
    /// A configuration that waits for the master's word.
    ready: Option<(Arc<Config>, Sockets)>,
}

/// Serves for a master.
pub fn run_worker(duty: Duty) -> ExitCode {
    let Duty { flags, config, sockets, signals, zones, channel: from_master, in_background } = duty;
    if let Err(sentence) = become_user(&config) {
        config.error_log.write(Level::Emerg, format_args!("{sentence}"));
        return ExitCode::from(FATAL);
    }
    let (events, inbox) = channel();
    let log = config.error_log.clone();
    let started = listen_to_signals(signals, events.clone()).and_then(|()| {
        let master = from_master.try_clone()?;
        listen_to_master(from_master, events.clone())?;
        Ok((master, Workers::start(&config, &sockets, events)?))
    });
    drop(sockets);
    match started {
        Ok((master, workers)) => {
            let (past, ending, sockets, master, ready) = (Vec::new(), false, None, Some(master), None);
            Serving { flags, config, zones, workers, past, in_background, ending, sockets, master, ready }
                .run(&inbox)
        }
        Err(error) => {
            log.write(Level::Alert, format_args!("a thread did not start {}", system_error(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Serves alone.
pub fn run_single(start: Start) -> ExitCode {
    let Start { flags, config, sockets, signals, pid_file, zones, origin } = start;
    let (events, inbox) = channel();
    let started =
        listen_to_signals(signals, events.clone()).and_then(|()| Workers::start(&config, &sockets, events));
    let code = match started {
        Ok(workers) => {
            let in_background = origin.in_background;
            let (past, ending, sockets, master, ready) = (Vec::new(), false, Some(sockets), None, None);
            Serving { flags, config, zones, workers, past, in_background, ending, sockets, master, ready }
                .run(&inbox)
        }
        Err(error) => {
            config
                .error_log
                .write(Level::Alert, format_args!("a thread did not start {}", system_error(&error)));
            ExitCode::FAILURE
        }
    };
    pid_file.remove();
    code
}

/// Sets the limit of open files, then gives up root.
fn become_user(config: &Config) -> Result<(), String> {
    limit_open_files(config);
    let Some((user, group)) = &config.main.user else { return Ok(()) };
    process::drop_privileges(user, group).map_err(|error| {
        format!("setuid() and setgid() to \"{user}\" and \"{group}\" failed {}", system_error(&error))
    })
}

fn limit_open_files(config: &Config) {
    if let Some(limit) = config.main.worker_rlimit_nofile
        && let Err(error) = process::set_open_files(limit)
    {
        let why = system_error(&error);
        config.error_log.write(Level::Alert, format_args!("setrlimit(RLIMIT_NOFILE, {limit}) failed {why}"));
    }
}

fn listen_to_signals(signals: Signals, events: Sender<Event>) -> std::io::Result<()> {
    let listen = move || {
        loop {
            match signals.wait(None) {
                Ok(Some((signal, from))) if events.send(Event::Signal(signal, from)).is_err() => return,
                Ok(_) => {}
                // Without signals the process cannot be told to end; with no time in between, it would spin.
                Err(_) => std::thread::sleep(std::time::Duration::from_secs(1)),
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map(drop)
}

fn listen_to_master(channel: UnixStream, events: Sender<Event>) -> std::io::Result<()> {
    let listen = move || {
        while let Ok(Some(message)) = parcel::receive(&channel) {
            if events.send(Event::Message(message)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Orphaned);
    };
    std::thread::Builder::new().name("master".to_owned()).spawn(listen).map(drop)
}

impl Serving {
    fn run(mut self, inbox: &Receiver<Event>) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        while self.workers.are_there() {
            let Ok(event) = inbox.recv() else { break };
            match event {
                Event::Signal(signal, from) => self.obey(signal, from),
                // The next process has it.
                Event::Message(Message::Reload { .. }) if self.ending => self.answer(""),
                Event::Message(Message::Reload { read, generation, sockets, logs }) => {
                    self.reload(read, generation, sockets, logs);
                }
                Event::Message(Message::Serve) => {
                    if let Some((config, sockets)) = self.ready.take()
                        && !self.ending
                    {
                        self.put_in_force(config, &sockets);
                    }
                }
                Event::Message(Message::ReloadFailed) => self.zones.reloads.count(false),
                Event::Message(Message::Reopen(logs)) => self.reopen(&logs),
                Event::Orphaned => {
                    self.master = None;
                    self.log(Level::Notice, "the master process is gone, shutting down");
                    self.quit();
                }
                Event::Ended { well } => {
                    self.workers.one_has_ended();
                    if !well {
                        self.log(Level::Alert, "a thread has ended by an error of this program");
                        // The others stop as well: a new process is sound again.
                        code = ExitCode::FAILURE;
                        self.quit();
                    }
                }
            }
        }
        self.log(Level::Notice, "exit");
        if let Some(sockets) = self.sockets.take() {
            sockets::unlink(&sockets, &Sockets::new(), &self.config.error_log);
        }
        code
    }

    fn log(&self, level: Level, sentence: &str) {
        self.config.error_log.write(level, format_args!("{sentence}"));
    }

    fn obey(&mut self, signal: Signal, from: Pid) {
        let is_single = self.sockets.is_some();
        let action = match signal {
            Signal::SIGTERM | Signal::SIGINT => ", exiting",
            Signal::SIGQUIT => ", shutting down",
            Signal::SIGWINCH if self.in_background => ", shutting down",
            Signal::SIGUSR1 => ", reopening logs",
            Signal::SIGHUP if is_single => ", reconfiguring",
            Signal::SIGHUP | Signal::SIGUSR2 => ", ignoring",
            _ => "",
        };
        let (number, name) = (signal as i32, signal.as_str());
        self.log(Level::Notice, &format!("signal {number} ({name}) received from {from}{action}"));
        match signal {
            Signal::SIGTERM | Signal::SIGINT => {
                self.ending = true;
                self.workers.stop();
            }
            Signal::SIGQUIT => self.quit(),
            Signal::SIGWINCH if self.in_background => self.quit(),
            Signal::SIGUSR1 => {
                self.log(Level::Notice, "reopening logs");
                for config in self.past.iter().filter_map(Weak::upgrade).chain([self.config.clone()]) {
                    folders::reopen_logs(&config);
                }
                serve::redirect(&self.config);
            }
            Signal::SIGHUP if !self.ending => self.reload_alone(),
            _ => {}
        }
    }

    fn quit(&mut self) {
        if !self.ending {
            self.log(Level::Notice, "gracefully shutting down");
        }
        self.ending = true;
        self.workers.quit();
        if let Some(sockets) = &mut self.sockets {
            let sockets = std::mem::take(sockets);
            sockets::unlink(&sockets, &Sockets::new(), &self.config.error_log);
        }
    }

    /// Compiles what the master has read.
    fn reload(&mut self, read: Read, generation: u64, sockets: Sockets, logs: Vec<(PathBuf, std::fs::File)>) {
        let known = logs
            .into_iter()
            .map(|(path, file)| (path.clone(), Arc::new(LogFile::opened(path, file))))
            .collect();
        match load::load(&self.flags, &Record::played_back(read), known, &self.zones) {
            Ok(loaded) => {
                let mut config = loaded.config;
                config.generation = generation;
                self.ready = Some((Arc::new(config), sockets));
                self.answer("");
            }
            // The master has compiled the same bytes; what failed here was the world around them.
            Err(failure) => self.answer(&failure.sentence()),
        }
    }

    /// Gives the master the word it waits for.
    fn answer(&self, refusal: &str) {
        if let Some(master) = &self.master
            && let Err(error) = parcel::answer(master, refusal)
        {
            self.log(Level::Alert, &format!("write() to the master process failed {}", system_error(&error)));
        }
    }

    /// Without a master: reads the configuration anew.
    fn reload_alone(&mut self) {
        let Some(old) = &self.sockets else { return };
        let reloaded = load::reload(&self.flags, &Record::of_disk(), &self.config, old, &self.zones);
        match reloaded {
            Some((config, sockets)) => {
                sockets::unlink(old, &sockets, &config.error_log);
                self.put_in_force(config, &sockets);
                self.sockets = Some(sockets);
            }
            None => self.zones.reloads.count(false),
        }
    }

    fn put_in_force(&mut self, config: Arc<Config>, sockets: &Sockets) {
        self.zones.reloads.count(true);
        if config.main.worker_rlimit_nofile != self.config.main.worker_rlimit_nofile {
            limit_open_files(&config);
        }
        self.past.retain(|config| config.strong_count() > 0);
        self.past.push(Arc::downgrade(&self.config));
        self.config = config;
        serve::redirect(&self.config);
        if let Err(error) = self.workers.serve(&self.config, sockets) {
            self.log(Level::Alert, &format!("a thread did not start {}", system_error(&error)));
        }
    }

    /// Writes to log files that the master has opened.
    fn reopen(&self, logs: &[(PathBuf, std::fs::File)]) {
        for config in self.past.iter().filter_map(Weak::upgrade).chain([self.config.clone()]) {
            for (path, file) in logs {
                if let Some(log) = config.logs.get(path)
                    && let Ok(copy) = file.try_clone()
                {
                    log.replace(copy);
                }
            }
        }
        serve::redirect(&self.config);
    }
}
