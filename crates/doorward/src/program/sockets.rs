//! The listening sockets of a configuration: taken over where they are open, opened where not, unlinked at the end.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use net::Address;

use super::say::Complaints;
use crate::config::{Config, Listener};
use crate::log::{ErrorLog, Level, system_error};

/// Listening sockets by address: one, or with `reuseport` one for each thread that serves.
pub type Sockets = HashMap<Address, Vec<Arc<OwnedFd>>>;

/// How often a taken address is tried, as in nginx, and how long lies in between.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Opens what is not open yet. Failures are said on `log`; a taken address is tried again for a while.
pub fn open(config: &Config, known: &Sockets, log: &Complaints<'_>) -> Option<Sockets> {
    let mut sockets = Sockets::new();
    for left in (0..TRIES).rev() {
        let mut taken = false;
        for listener in &config.listeners {
            if !sockets.contains_key(&listener.address) {
                match open_one(config, listener, known.get(&listener.address)) {
                    Ok(fds) => drop(sockets.insert(listener.address.clone(), fds)),
                    Err(failed) => {
                        let why = system_error(&failed.error);
                        log.say(
                            Level::Emerg,
                            &format!("{} to {} failed {why}", failed.call, listener.address),
                        );
                        if failed.error.kind() != ErrorKind::AddrInUse {
                            return None;
                        }
                        taken = true;
                    }
                }
            }
        }
        if !taken {
            return Some(sockets);
        }
        if left > 0 {
            log.say(Level::Notice, "try again to bind() after 500ms");
            std::thread::sleep(PAUSE);
        }
    }
    log.say(Level::Emerg, "still could not bind()");
    None
}

/// Whether the sockets could be opened; an address that is in use was good enough to be used (`-t`).
pub fn test(config: &Config, log: &Complaints<'_>) -> bool {
    config.listeners.iter().all(|listener| {
        // A file that a running program listens on, or left behind: binding would find it in the way.
        if matches!(listener.address, Address::Unix(_)) {
            return true;
        }
        match net::listen::bind(&listener.address, &listener.options) {
            Err(failed) if failed.error.kind() != ErrorKind::AddrInUse => {
                let why = system_error(&failed.error);
                log.say(Level::Emerg, &format!("{} to {} failed {why}", failed.call, listener.address));
                false
            }
            _ => true,
        }
    })
}

fn open_one(
    config: &Config,
    listener: &Listener,
    known: Option<&Vec<Arc<OwnedFd>>>,
) -> Result<Vec<Arc<OwnedFd>>, net::listen::BindError> {
    let wanted = if listener.options.reuseport { config.main.worker_processes } else { 1 };
    let mut fds: Vec<Arc<OwnedFd>> = known.into_iter().flatten().take(wanted).cloned().collect();
    for fd in &fds {
        // What cannot be tuned on an open socket stays as it was.
        let _ = net::listen::reconfigure(fd.as_fd(), &listener.address, &listener.options);
    }
    while fds.len() < wanted {
        fds.push(Arc::new(net::listen::bind(&listener.address, &listener.options)?));
    }
    Ok(fds)
}

/// Takes away the files of unix sockets that `kept` does not have.
pub fn unlink(sockets: &Sockets, kept: &Sockets, log: &ErrorLog) {
    for address in sockets.keys().filter(|address| !kept.contains_key(address)) {
        if let Address::Unix(path) = address
            && let Err(error) = std::fs::remove_file(path)
        {
            let (path, why) = (path.display(), system_error(&error));
            log.write(Level::Alert, format_args!("unlink() \"{path}\" failed {why}"));
        }
    }
}
