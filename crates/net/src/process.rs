//! Processes: becoming a daemon, starting workers, hearing of their end, signals, and giving up root.

use crate::sys;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{self, SigSet};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    Group, User, chown, dup2_stderr, dup2_stdin, dup2_stdout, geteuid, gettid, initgroups, setgid, setsid,
    setuid,
};
use std::cell::Cell;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

pub use nix::sys::signal::Signal;
pub use nix::unistd::{Pid, Uid};

/// Leaves the terminal as nginx does: a new process in a session of its own, with standard input and output at
/// `/dev/null` and a umask of 0. The calling process exits with 0; the new one returns. Needs a single thread.
pub fn daemonize() -> io::Result<()> {
    if fork()?.is_some() {
        std::process::exit(0);
    }
    setsid()?;
    umask(Mode::empty());
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(())
}

/// Starts a worker: `run` in a new process, which exits with what it returns (101 if it panics).
///
/// The calling process must have a single thread, which is looked up in `/proc` and refused with an error otherwise.
/// The worker inherits blocked signals: see [`Signals::unblock`].
pub fn fork_worker(run: impl FnOnce() -> i32) -> io::Result<Pid> {
    if let Some(worker) = fork()? {
        return Ok(worker);
    }
    let code = catch_unwind(AssertUnwindSafe(run)).unwrap_or(101);
    std::process::exit(code)
}

/// Splits the process in two: the new one's id in the calling process, `None` in the new one. Needs a single thread, as
/// [`fork_worker`] does, and is for a caller who returns to its own beginning in the new process.
pub fn fork() -> io::Result<Option<Pid>> {
    let forked = sys::fork()?;
    if forked.is_none() {
        THREAD_ID.set(gettid().as_raw());
    }
    Ok(forked)
}

/// The process that started this one; 1, or that of a reaper, once it is gone.
pub fn parent() -> Pid {
    nix::unistd::getppid()
}

/// Sends what is written to the standard error output to a file from now on, as daemons do.
pub fn redirect_stderr(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(dup2_stderr(file)?)
}

/// Gives a file to a user, as who a worker process will open it; its group stays.
pub fn give_to(path: &Path, user: Uid) -> io::Result<()> {
    Ok(chown(path, Some(user), None)?)
}

thread_local! {
    static THREAD_ID: Cell<i32> = Cell::new(gettid().as_raw());
}

/// The system's number of this thread, as error logs show it.
pub fn thread_id() -> i32 {
    THREAD_ID.get()
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with a code.
    Exited(Pid, i32),
    /// By a signal; `true` if it left a core file.
    Killed(Pid, Signal, bool),
}

/// The next child that has ended, if any has; never waits.
pub fn reap() -> io::Result<Option<Ended>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Ok(Some(Ended::Exited(pid, code))),
            Ok(WaitStatus::Signaled(pid, signal, core)) => return Ok(Some(Ended::Killed(pid, signal, core))),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends a signal to a process.
pub fn kill(pid: Pid, signal: Signal) -> io::Result<()> {
    Ok(signal::kill(pid, signal)?)
}

/// Signals that wait until they are asked for, instead of interrupting.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Blocks `signals` in this thread and those it starts, and in the processes forked from it.
    pub fn block(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
        let set: SigSet = signals.into_iter().collect();
        set.thread_block()?;
        Ok(Signals { set })
    }

    /// Lets them through again, with their default effect unless something else is arranged: for a worker after its fork.
    pub fn unblock(&self) -> io::Result<()> {
        Ok(self.set.thread_unblock()?)
    }

    /// The next signal and the process that sent it. `None` when `timeout` is over (`None` is no limit), and sometimes
    /// earlier.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<(Signal, Pid)>> {
        let Some((number, from)) = sys::wait_signal(&self.set, timeout)? else { return Ok(None) };
        Ok(Some((Signal::try_from(number)?, Pid::from_raw(from))))
    }
}

/// Gives up root for good: the group, the supplementary groups of the user, then the user. Does nothing if not root, as
/// nginx does.
///
/// # Errors
/// An unknown user or group, or the system's refusal; the caller must not go on then.
pub fn drop_privileges(user: &str, group: &str) -> io::Result<()> {
    let gid = find_group(group)?;
    let uid = find_user(user)?;
    if !geteuid().is_root() {
        return Ok(());
    }
    let name = std::ffi::CString::new(user)?;
    setgid(gid)?;
    initgroups(&name, gid)?;
    setuid(uid)?;
    Ok(())
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The user's number, by name.
pub fn find_user(name: &str) -> io::Result<Uid> {
    let found = User::from_name(name)?;
    found.map(|user| user.uid).ok_or_else(|| missing(&format!("user \"{name}\" not found")))
}

/// The group's number, by name.
pub fn find_group(name: &str) -> io::Result<nix::unistd::Gid> {
    let found = Group::from_name(name)?;
    found.map(|group| group.gid).ok_or_else(|| missing(&format!("group \"{name}\" not found")))
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// Lets the process leave a core file again, which changing the user forbids.
pub fn allow_core() -> io::Result<()> {
    Ok(prctl::set_dumpable(true)?)
}

/// Sets how many files may be open (`worker_rlimit_nofile`).
pub fn set_open_files(limit: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?)
}

/// How many files may be open.
pub fn open_files() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}
