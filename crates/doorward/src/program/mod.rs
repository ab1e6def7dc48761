//! The program: its flags, its processes, its signals.

mod flags;
mod load;
mod master;
mod pid_file;
mod serve;
mod workers;

use std::process::ExitCode;

use flags::{Action, Flags};

/// Does what the command line says.
pub fn main() -> ExitCode {
    let flags = match Flags::read() {
        Ok(flags) => flags,
        Err(sentence) => {
            eprintln!("doorward: {sentence}");
            return ExitCode::FAILURE;
        }
    };
    match flags.action {
        Action::Help => flags::print_help(),
        Action::Version => flags::print_version(),
        Action::Configuration => flags::print_build(),
        Action::Test { dump } => return load::test(&flags, dump),
        Action::Signal(signal) => return load::send_signal(&flags, signal),
        Action::Serve => return serve::run(&flags),
    }
    ExitCode::SUCCESS
}

/// Whether another program of this kind started this one to take its place: then it is in the background already.
fn is_upgrade() -> bool {
    std::env::var_os(net::inherited::VARIABLE).is_some()
}
