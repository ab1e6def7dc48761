//! A password from whoever administers: never from the command line, which everyone on the machine can read.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read, Write as _};

use auth::password;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Asks for a new password, and gives what is kept of it.
pub fn new(from_stdin: bool) -> Result<String, String> {
    let password = if from_stdin { line(std::io::stdin())? } else { twice()? };
    password::hash(password.as_bytes()).map_err(|error| error.to_string())
}

/// The first line.
fn line(input: impl Read) -> Result<String, String> {
    let mut line = Vec::new();
    // What is longer is no password, whatever follows.
    let most = password::LONGEST as u64 + 3;
    BufReader::new(input.take(most))
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("the password cannot be read: {error}"))?;
    if line.ends_with(b"\n") {
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
    }
    String::from_utf8(line).map_err(|_| "the password is not UTF-8".into())
}

fn twice() -> Result<String, String> {
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| "there is no terminal to ask for the password: give it by --password-stdin")?;
    let first = ask(&terminal, "Password: ")?;
    if ask(&terminal, "The same again: ")? != first {
        return Err("the two passwords differ: nothing was changed".into());
    }
    Ok(first)
}

fn ask(mut terminal: &File, question: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("the terminal cannot be asked: {error}");
    let silence = Silence::begin(terminal)?;
    terminal.write_all(question.as_bytes()).map_err(failed)?;
    let answer = line(terminal);
    drop(silence);
    terminal.write_all(b"\n").map_err(failed)?;
    answer
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence<'t> {
    terminal: &'t File,
    before: Termios,
}

impl Silence<'_> {
    fn begin(terminal: &File) -> Result<Silence<'_>, String> {
        let failed = |error: nix::Error| format!("the terminal shows what is typed: {error}");
        let before = tcgetattr(terminal).map_err(failed)?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &silent).map_err(failed)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing any more.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}
