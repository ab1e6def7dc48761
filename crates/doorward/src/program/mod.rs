//! The program: its flags, its processes, its signals.

mod admin;
mod explain;
mod flags;
mod folders;
mod lint;
mod load;
mod master;
mod parcel;
mod pending;
mod pid_file;
mod record;
mod reference;
mod respawn;
mod say;
mod serve;
mod serving;
mod sockets;
mod upgrade;
mod workers;

use std::process::ExitCode;

use flags::{Action, Flags};
use say::say;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let flags = match Flags::read() {
        Ok(flags) => flags,
        Err(sentence) => {
            say!("nginx: {sentence}");
            return ExitCode::FAILURE;
        }
    };
    match flags.action.clone() {
        Action::Explain(name) => return reference::show(name.as_deref()),
        Action::Lint { file, json } => return lint::run(&flags, file, json),
        Action::Administer { subject, words } => return admin::run(&flags, &subject, words),
        Action::Help => flags::print_help(),
        Action::Version => flags::print_version(),
        Action::Configuration => flags::print_build(),
        Action::Test { .. } | Action::Serve if flags.request.url.is_some() => return explain::run(&flags),
        Action::Test { dump } => return load::test(&flags, dump),
        Action::Signal(signal) => return load::send_signal(&flags, signal),
        Action::Serve => return serve::run(flags),
    }
    ExitCode::SUCCESS
}
