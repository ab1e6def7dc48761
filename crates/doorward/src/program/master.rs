//! The master process: it owns the pid file and the signals, opens what only root may open, and watches over the worker
//! process.

use std::collections::{HashMap, VecDeque};
use std::io::Error;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::handoff;
use net::process::{self, Ended, Pid, Signal, Signals};
use nix::errno::Errno;

use super::flags::Flags;
use super::load;
use super::parcel;
use super::pending::{self, Pending, Verdict};
use super::pid_file::PidFile;
use super::record::Record;
use super::respawn::Brake;
use super::say::Complaints;
use super::serve::{self, Origin, Start};
use super::sockets::{self, Sockets};
use super::{folders, upgrade};
use crate::config::Config;
use crate::log::{Level, system_error};
use crate::zone::Zones;

/// After a fast end was asked for, the worker process is killed when so much time is over (nginx's).
const PATIENCE: Duration = Duration::from_millis(1000);

/// A worker process that does not take what it is told for so long is replaced.
const HEARING: Duration = Duration::from_secs(5);

/// The master process.
pub struct Master {
    flags: Flags,
    config: Arc<Config>,
    sockets: Sockets,
    signals: Signals,
    pid_file: PidFile,
    zones: Arc<Zones>,
    origin: Origin,
    /// The worker process that serves.
    worker: Option<Child>,
    /// Earlier ones, which end with their last request.
    leaving: Vec<Child>,
    /// Whether a worker process should be there.
    wanted: bool,
    brake: Brake,
    /// The configuration that the worker process is about to take.
    pending: Option<Pending>,
    /// Signals that came meanwhile.
    postponed: VecDeque<(Signal, Pid)>,
    /// The program that is to take this one's place.
    successor: Option<Pid>,
    ending: Option<Ending>,
}

/// A worker process as the master sees it.
struct Child {
    pid: Pid,
    channel: UnixStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Every request is answered first.
    Graceful,
    /// At once; by force from the moment on.
    Fast(Instant),
}

/// What a process does after the master's part in it is over.
pub enum Next {
    /// It ends.
    Over,
    /// It is the worker process.
    Serve(Box<Duty>),
}

/// What a new worker process gets from its master.
pub struct Duty {
    /// The command line.
    pub flags: Flags,
    /// What to serve.
    pub config: Arc<Config>,
    /// Where.
    pub sockets: Sockets,
    /// The signals, blocked.
    pub signals: Signals,
    /// What outlives a configuration.
    pub zones: Arc<Zones>,
    /// Where the master speaks.
    pub channel: UnixStream,
    /// Whether the program is in the background.
    pub in_background: bool,
}

impl Master {
    /// A master that has no worker process yet.
    pub fn new(start: Start) -> Master {
        let Start { flags, config, sockets, signals, pid_file, zones, origin } = start;
        Master {
            flags,
            config,
            sockets,
            signals,
            pid_file,
            zones,
            origin,
            worker: None,
            leaving: Vec::new(),
            wanted: true,
            brake: Brake::default(),
            pending: None,
            postponed: VecDeque::new(),
            successor: None,
            ending: None,
        }
    }

    /// Runs until it is told to end. Returns in the worker processes, too, which have their own way from there.
    pub fn run(mut self) -> Next {
        self.log(Level::Notice, "start worker processes");
        loop {
            if self.wanted && self.worker.is_none() && self.brake.is_off() {
                match self.fork() {
                    Some((None, channel)) => return Next::Serve(Box::new(self.into_duty(channel))),
                    Some((Some(pid), channel)) => {
                        self.log(Level::Notice, &format!("start worker process {pid}"));
                        self.worker = Some(Child { pid, channel });
                    }
                    None => {}
                }
            }
            if self.ending.is_some() && self.worker.is_none() && self.leaving.is_empty() {
                break;
            }
            let signal = self.signals.wait(self.pause());
            if let Some(Ending::Fast(end)) = self.ending
                && Instant::now() >= end
            {
                self.tell(Signal::SIGKILL);
                self.ending = Some(Ending::Fast(Instant::now() + PATIENCE));
            }
            if let Ok(Some((signal, from))) = signal {
                self.obey(signal, from);
            }
            self.hear();
        }
        self.end();
        Next::Over
    }

    fn log(&self, level: Level, sentence: &str) {
        self.config.error_log.write(level, format_args!("{sentence}"));
    }

    /// How long to wait for a signal.
    fn pause(&self) -> Option<Duration> {
        match self.ending {
            Some(Ending::Fast(end)) => Some(end.saturating_duration_since(Instant::now())),
            _ if self.pending.is_some() => Some(pending::LOOK),
            _ if self.wanted && self.worker.is_none() => Some(self.brake.left()),
            _ => None,
        }
    }

    /// Splits off a worker process: `None` as its id in the new process. A failure is tried again after a while.
    fn fork(&mut self) -> Option<(Option<Pid>, UnixStream)> {
        let forked = handoff::pair().and_then(|(ours, theirs)| {
            // A worker process that is stopped must not stop its master.
            ours.set_write_timeout(Some(HEARING))?;
            let pid = process::fork()?;
            Ok((pid, if pid.is_some() { ours } else { theirs }))
        });
        self.brake.started();
        match forked {
            Ok(forked) => Some(forked),
            Err(error) => {
                self.log(
                    Level::Alert,
                    &format!("fork() failed while spawning \"worker process\" {}", system_error(&error)),
                );
                self.brake.ended();
                None
            }
        }
    }

    /// What the new process needs; all else of the master's is closed in it.
    fn into_duty(self, channel: UnixStream) -> Duty {
        let Master { flags, config, sockets, signals, zones, origin, .. } = self;
        let in_background = origin.in_background;
        Duty { flags, config, sockets, signals, zones, channel, in_background }
    }

    fn obey(&mut self, signal: Signal, from: Pid) {
        if self.pending.is_some() && !matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGCHLD) {
            if !self.postponed.iter().any(|(known, _)| *known == signal) {
                self.postponed.push_back((signal, from));
            }
            return;
        }
        let action = match signal {
            Signal::SIGTERM | Signal::SIGINT => ", exiting",
            Signal::SIGQUIT => ", shutting down",
            Signal::SIGHUP => ", reconfiguring",
            Signal::SIGUSR1 => ", reopening logs",
            Signal::SIGUSR2 if self.may_upgrade() => ", changing binary",
            Signal::SIGUSR2 => ", ignoring",
            Signal::SIGWINCH if self.origin.in_background => ", stop accepting connections",
            _ => "",
        };
        let (number, name) = (signal as i32, signal.as_str());
        self.log(Level::Notice, &format!("signal {number} ({name}) received from {from}{action}"));
        match signal {
            Signal::SIGTERM | Signal::SIGINT => {
                if !matches!(self.ending, Some(Ending::Fast(_))) {
                    self.ending = Some(Ending::Fast(Instant::now() + PATIENCE));
                }
                self.wanted = false;
                self.tell(Signal::SIGTERM);
                self.drop_pending();
            }
            Signal::SIGCHLD => self.reap(),
            // Once the end has begun, nothing else is.
            _ if self.ending.is_some() => {}
            Signal::SIGQUIT => {
                self.ending = Some(Ending::Graceful);
                self.wanted = false;
                self.tell(Signal::SIGQUIT);
                self.close_sockets();
            }
            Signal::SIGHUP => self.reload(),
            Signal::SIGUSR1 => self.reopen(),
            Signal::SIGUSR2 => self.upgrade(),
            Signal::SIGWINCH if self.origin.in_background => {
                self.wanted = false;
                if let Some(worker) = self.worker.take() {
                    let _ = process::kill(worker.pid, Signal::SIGQUIT);
                    self.leaving.push(worker);
                }
            }
            _ => {}
        }
    }

    /// Sends a signal to every worker process.
    fn tell(&self, signal: Signal) {
        for child in self.worker.iter().chain(&self.leaving) {
            // One that is gone will be reaped.
            let _ = process::kill(child.pid, signal);
        }
    }

    /// Hears of processes that have ended.
    fn reap(&mut self) {
        while let Ok(Some(ended)) = process::reap() {
            let (pid, how, level, fatal) = match ended {
                Ended::Exited(pid, 2) => {
                    (pid, "exited with fatal code 2 and cannot be respawned".to_owned(), Level::Alert, true)
                }
                Ended::Exited(pid, code) => (pid, format!("exited with code {code}"), Level::Notice, false),
                Ended::Killed(pid, signal, core) => {
                    let core = if core { " (core dumped)" } else { "" };
                    (pid, format!("exited on signal {}{core}", signal as i32), Level::Alert, false)
                }
            };
            let is_successor = self.successor == Some(pid);
            let name = if is_successor { "new binary process" } else { "worker process" };
            self.log(level, &format!("{name} {pid} {how}"));
            if is_successor {
                self.successor = None;
                if let Err(error) = self.pid_file.restore() {
                    self.log(
                        Level::Alert,
                        &format!("rename() of the pid file failed {}", system_error(&error)),
                    );
                }
                // The rollback is complete: whoever was told to stop accepting goes on.
                self.wanted = self.ending.is_none();
            } else if self.worker.as_ref().is_some_and(|worker| worker.pid == pid) {
                self.worker = None;
                self.brake.ended();
                // What kept it from serving would keep the next one, too.
                self.wanted &= !fatal;
            } else {
                self.leaving.retain(|child| child.pid != pid);
            }
        }
    }

    /// Reads the configuration anew and puts it in force; what is wrong is logged and changes nothing.
    fn reload(&mut self) {
        if self.successor.is_some() {
            // Back from an upgrade: the configuration in force serves again.
            self.wanted = true;
            return;
        }
        let record = Record::of_disk();
        let Some((config, sockets)) =
            load::reload(&self.flags, &record, &self.config, &self.sockets, &self.zones)
        else {
            return self.reload_failed();
        };
        if let Some(worker) = &self.worker {
            let sent = parcel::send_reload(&worker.channel, &config, &record, &sockets);
            self.pending = Some(Pending::new(config, sockets));
            if let Err(error) = sent {
                self.put_in_force();
                self.replace_worker("sendmsg() to", &error);
            }
        } else {
            self.pending = Some(Pending::new(config, sockets));
            self.put_in_force();
        }
    }

    /// Counts a reload that changed nothing, here for worker processes to come, and in the one that serves.
    fn reload_failed(&mut self) {
        self.zones.reloads.count(false);
        if let Some(worker) = &self.worker
            && let Err(error) = parcel::send_reload_failed(&worker.channel)
        {
            self.replace_worker("sendmsg() to", &error);
        }
    }

    /// Hears whether the worker process has taken the configuration that it was told of.
    fn hear(&mut self) {
        let Some(pending) = &mut self.pending else { return };
        let verdict = match &self.worker {
            Some(worker) => pending.word.hear(&worker.channel),
            None => Some(Verdict::Gone),
        };
        let Some(verdict) = verdict else { return };
        match verdict {
            Verdict::Refused(sentence) => {
                self.log(Level::Emerg, &sentence);
                self.log(Level::Emerg, "the worker process keeps the old configuration");
                self.drop_pending();
                self.reload_failed();
            }
            Verdict::Taken => {
                // First the sockets that are to be closed: the last to hold one empties its queue.
                self.put_in_force();
                if let Some(worker) = &self.worker
                    && let Err(error) = parcel::send_serve(&worker.channel)
                {
                    self.replace_worker("sendmsg() to", &error);
                }
            }
            // The next one begins with what this one has not taken.
            Verdict::Gone => {
                self.put_in_force();
                self.replace_worker("recvmsg() from", &Errno::ECONNRESET.into());
            }
            Verdict::Late => {
                self.put_in_force();
                self.replace_worker("recvmsg() from", &Errno::ETIMEDOUT.into());
            }
        }
        while self.pending.is_none()
            && let Some((signal, from)) = self.postponed.pop_front()
        {
            self.obey(signal, from);
        }
    }

    /// Makes the new configuration the master's own.
    fn put_in_force(&mut self) {
        let Some(Pending { config, sockets, .. }) = self.pending.take() else { return };
        sockets::unlink(&self.sockets, &sockets, &config.error_log);
        self.pid_file.move_to(&config.main.pid, &config.error_log);
        self.zones.reloads.count(true);
        (self.config, self.sockets) = (config, sockets);
        serve::redirect(&self.config);
        self.wanted = true;
    }

    /// Lets go of the new configuration.
    fn drop_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            sockets::unlink(&pending.sockets, &self.sockets, &self.config.error_log);
        }
    }

    /// A worker process that does not listen to its master is left to itself; the next one has all that was to be said.
    fn replace_worker(&mut self, call: &str, error: &Error) {
        if let Some(worker) = self.worker.take() {
            self.log(Level::Alert, &format!("{call} the worker process failed {}", system_error(error)));
            let _ = process::kill(worker.pid, Signal::SIGQUIT);
            self.leaving.push(worker);
        }
    }

    fn reopen(&mut self) {
        self.log(Level::Notice, "reopening logs");
        folders::reopen_logs(&self.config);
        serve::redirect(&self.config);
        for child in &self.leaving {
            let _ = parcel::send_reopen(&child.channel, &self.config);
        }
        if let Some(worker) = &self.worker
            && let Err(error) = parcel::send_reopen(&worker.channel, &self.config)
        {
            self.replace_worker("sendmsg() to", &error);
        }
    }

    /// Whether neither this program is the new one of an upgrade that goes on, nor has started one.
    fn may_upgrade(&self) -> bool {
        process::parent() != self.origin.parent && self.successor.is_none()
    }

    /// Starts the program anew, perhaps in a newer version, with the sockets of this one.
    fn upgrade(&mut self) {
        if !self.may_upgrade() {
            self.log(
                Level::Crit,
                "the changing binary signal is ignored: you should shutdown or terminate before either old or new \
                 binary's process",
            );
            return;
        }
        let log = Complaints { log: &self.config.error_log, aloud: false };
        self.successor = upgrade::start(&mut self.pid_file, &self.sockets, &log);
    }

    /// Lets go of the sockets, and of unix sockets' files unless another program uses them.
    fn close_sockets(&mut self) {
        let shared = self.origin.is_upgrade && process::parent() == self.origin.parent;
        let sockets = std::mem::take(&mut self.sockets);
        if self.successor.is_none() && !shared {
            sockets::unlink(&sockets, &HashMap::new(), &self.config.error_log);
        }
    }

    fn end(&mut self) {
        self.close_sockets();
        self.pid_file.remove();
        self.log(Level::Notice, "exit");
    }
}
