//! The master process: it owns the pid file and the signals, and watches over the worker process.

use std::process::ExitCode;
use std::sync::Arc;

use net::process::Signals;

use super::flags::Flags;
use super::pid_file::PidFile;
use super::serve::Sockets;
use crate::config::Config;
use crate::zone::Zones;

/// Runs until it is told to end.
pub fn run(
    flags: &Flags,
    config: Arc<Config>,
    sockets: Sockets,
    signals: Signals,
    pid_file: PidFile,
    zones: Arc<Zones>,
) -> ExitCode {
    super::serve::single(flags, config, &sockets, signals, &pid_file, &zones)
}
