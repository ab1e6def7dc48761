//! The file that says which process to send signals to.

use std::path::{Path, PathBuf};

use crate::log::{ErrorLog, Level, reason};

/// A pid file that this process wrote.
pub struct PidFile {
    path: PathBuf,
    /// Whether it has another name for the time of an upgrade.
    is_old: bool,
}

impl PidFile {
    /// Writes this process's id.
    pub fn write(path: &Path) -> Result<PidFile, String> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("open() \"{}\" failed ({})", path.display(), reason(&error)))?;
        Ok(PidFile { path: path.to_owned(), is_old: false })
    }

    /// Another name for the time of an upgrade: `.oldbin`.
    pub fn make_old(&mut self) -> std::io::Result<()> {
        std::fs::rename(&self.path, self.old_name())?;
        self.is_old = true;
        Ok(())
    }

    /// The name again that it had before the upgrade, which failed.
    pub fn restore(&mut self) -> std::io::Result<()> {
        if self.is_old {
            std::fs::rename(self.old_name(), &self.path)?;
            self.is_old = false;
        }
        Ok(())
    }

    /// A new configuration wants it elsewhere.
    pub fn move_to(&mut self, path: &Path, log: &ErrorLog) {
        if path == self.path {
            return;
        }
        match PidFile::write(path) {
            Ok(new) => {
                self.remove();
                *self = new;
            }
            Err(sentence) => log.write(Level::Emerg, format_args!("{sentence}")),
        }
    }

    /// Takes the file away at the end.
    pub fn remove(&self) {
        // Someone may have been quicker; there is nothing left to do about it.
        let _ = if self.is_old { std::fs::remove_file(self.old_name()) } else { std::fs::remove_file(&self.path) };
    }

    fn old_name(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".oldbin");
        name.into()
    }
}
