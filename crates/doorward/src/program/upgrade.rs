//! A new version of the program takes the place of the running one: it inherits the listening sockets, as in nginx.

use std::os::fd::AsFd;
use std::process::Command;

use net::inherited::{Passed, VARIABLE};
use net::process::Pid;

use super::pid_file::PidFile;
use super::say::Complaints;
use super::sockets::Sockets;
use crate::log::{Level, system_error};

/// Starts the program that stands where this one was started from, with the same command line.
pub fn start(pid_file: &mut PidFile, sockets: &Sockets, log: &Complaints<'_>) -> Option<Pid> {
    let mut arguments = std::env::args_os();
    let program = arguments.next()?;
    let shown = program.to_string_lossy().into_owned();
    let passed = match Passed::new(sockets.values().flatten().map(|fd| fd.as_fd()).collect()) {
        Ok(passed) => passed,
        Err(error) => {
            log.say(Level::Emerg, &format!("fcntl() of a listening socket failed {}", system_error(&error)));
            return None;
        }
    };
    if let Err(error) = pid_file.make_old() {
        log.say(Level::Alert, &format!("rename() of the pid file failed {}", system_error(&error)));
        return None;
    }
    match Command::new(program).args(arguments).env(VARIABLE, passed.variable()).spawn() {
        Ok(child) => {
            log.say(Level::Notice, &format!("start new binary process {}", child.id()));
            i32::try_from(child.id()).ok().map(Pid::from_raw)
        }
        Err(error) => {
            log.say(
                Level::Alert,
                &format!(
                    "execve() failed while executing new binary process \"{shown}\" {}",
                    system_error(&error)
                ),
            );
            if let Err(error) = pid_file.restore() {
                log.say(Level::Alert, &format!("rename() of the pid file failed {}", system_error(&error)));
            }
            None
        }
    }
}
