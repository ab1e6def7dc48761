//! The file that says which process to send signals to.

use std::path::{Path, PathBuf};

/// A pid file that this process wrote.
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes this process's id.
    pub fn write(path: &Path) -> Result<PidFile, String> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("open() \"{}\" failed ({error})", path.display()))?;
        Ok(PidFile { path: path.to_owned() })
    }

    /// Another name for the time of an upgrade: `.oldbin`.
    pub fn make_old(&mut self) -> std::io::Result<()> {
        let old = Self::old_name(&self.path);
        std::fs::rename(&self.path, &old)?;
        self.path = old;
        Ok(())
    }

    /// The name again that it had before the upgrade, which failed.
    pub fn restore(&mut self) -> std::io::Result<()> {
        let name = self.path.as_os_str().to_string_lossy();
        if let Some(name) = name.strip_suffix(".oldbin") {
            let name = PathBuf::from(name);
            std::fs::rename(&self.path, &name)?;
            self.path = name;
        }
        Ok(())
    }

    fn old_name(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".oldbin");
        name.into()
    }

    /// Takes the file away at the end.
    pub fn remove(&self) {
        // Someone may have been quicker; there is nothing left to do about it.
        let _ = std::fs::remove_file(&self.path);
    }
}
