//! Words on the standard error output, which may be closed or broken: then nobody wants to hear them.

use std::fmt::Arguments;
use std::io::Write;

use crate::log::{ErrorLog, Level};

/// Writes a line.
pub fn line(words: Arguments<'_>) {
    // One write for the whole line: several processes may share the output.
    let mut text = words.to_string();
    text.push('\n');
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Where what goes wrong is said: in the error log, and at the start also on the standard error output.
pub struct Complaints<'a> {
    /// The log.
    pub log: &'a ErrorLog,
    /// Whether someone may still read the standard error output.
    pub aloud: bool,
}

impl Complaints<'_> {
    /// Says a sentence.
    pub fn say(&self, level: Level, sentence: &str) {
        if self.aloud && level <= Level::Warn {
            line(format_args!("nginx: [{}] {sentence}", level.name()));
            if self.log.is_stderr() {
                return;
            }
        }
        self.log.write(level, format_args!("{sentence}"));
    }
}

/// `say!("...", ...)`: a line on the standard error output.
macro_rules! say {
    ($($words:tt)*) => { $crate::program::say::line(format_args!($($words)*)) };
}

pub(super) use say;
