//! The file that says which process to send signals to.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::log::{ErrorLog, Level, system_error};

/// A pid file that this process wrote.
pub struct PidFile {
    path: PathBuf,
    /// Whether it has another name for the time of an upgrade.
    is_old: bool,
}

impl PidFile {
    /// Writes this process's id.
    pub fn write(path: &Path) -> Result<PidFile, String> {
        // A daemon's umask forbids nothing.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(path)
            .and_then(|mut file| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .map_err(|error| format!("open() \"{}\" failed {}", path.display(), system_error(&error)))?;
        Ok(PidFile { path: path.to_owned(), is_old: false })
    }

    /// Whether it could be written (`-t`); an empty one is not left behind, for it would mislead.
    pub fn test(path: &Path) -> Result<(), String> {
        let is_new = !path.exists();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path);
        opened.map_err(|error| format!("open() \"{}\" failed {}", path.display(), system_error(&error)))?;
        if is_new {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
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
        let _ = if self.is_old {
            std::fs::remove_file(self.old_name())
        } else {
            std::fs::remove_file(&self.path)
        };
    }

    fn old_name(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".oldbin");
        name.into()
    }
}
