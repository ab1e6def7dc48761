//! Log files: each open once, written whole lines at a time, opened anew on request.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use crate::compile::Paths;

/// One log file, or the standard error output.
pub struct LogFile {
    path: Option<PathBuf>,
    file: RwLock<Option<File>>,
}

impl LogFile {
    /// Appends a line; what cannot be written is lost, as a full disk must not stop requests.
    pub fn write(&self, line: &[u8]) {
        let guard = self.file.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*guard {
            Some(file) => drop((&*file).write_all(line)),
            None if self.path.is_none() => drop(std::io::stderr().write_all(line)),
            // A file that is only named, by a configuration that is only looked at.
            None => {}
        }
    }

    /// A file that is open already: handed over by a process that may open it.
    pub fn opened(path: PathBuf, file: File) -> LogFile {
        LogFile { path: Some(path), file: RwLock::new(Some(file)) }
    }

    /// Lends the open file, where there is one.
    pub fn with_file<T>(&self, lend: impl FnOnce(&File) -> T) -> Option<T> {
        let guard = self.file.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.as_ref().map(lend)
    }

    /// A file that is opened for one line: its name has variables.
    pub fn at(path: &Path) -> std::io::Result<LogFile> {
        Ok(LogFile { path: Some(path.to_owned()), file: RwLock::new(Some(open(path)?)) })
    }

    /// The path, where it is a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Writes to another file from now on.
    pub fn replace(&self, file: File) {
        *self.file.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
    }

    /// Opens the file at its path anew, after it was moved away.
    pub fn reopen(&self) -> std::io::Result<()> {
        if let Some(path) = &self.path {
            self.replace(open(path)?);
        }
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    // A daemon's umask forbids nothing.
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// The log files of a configuration while it is compiled.
#[derive(Default)]
pub struct Logs {
    files: HashMap<PathBuf, Arc<LogFile>>,
    /// Files that are open already: an earlier configuration's, or handed over by a privileged process.
    known: HashMap<PathBuf, Arc<LogFile>>,
    failures: Vec<(PathBuf, std::io::Error)>,
    default_error_log: Option<PathBuf>,
    stderr: Option<Arc<LogFile>>,
    /// Whether files are only named: nothing is going to be logged.
    unopened: bool,
}

impl Logs {
    /// Log files that take over those already open.
    pub fn new(known: HashMap<PathBuf, Arc<LogFile>>, default_error_log: PathBuf) -> Logs {
        Logs { known, default_error_log: Some(default_error_log), ..Logs::default() }
    }

    /// Log files that stay closed, of a configuration that is only looked at.
    pub fn unopened() -> Logs {
        Logs { unopened: true, ..Logs::default() }
    }

    /// The file at `path`, opened when this is its first mention. A failure is kept for [`Logs::failure`].
    pub fn open(&mut self, path: &Path) -> Arc<LogFile> {
        if let Some(file) = self.files.get(path) {
            return file.clone();
        }
        let file = self.known.get(path).cloned().unwrap_or_else(|| {
            let opened = (!self.unopened)
                .then(|| open(path))
                .transpose()
                .map_err(|error| self.failures.push((path.to_owned(), error)))
                .ok()
                .flatten();
            Arc::new(LogFile { path: Some(path.to_owned()), file: RwLock::new(opened) })
        });
        self.files.insert(path.to_owned(), file.clone());
        file
    }

    /// Opens a file that errors go to before a configuration is read.
    pub fn open_first(path: &Path) -> std::io::Result<Arc<LogFile>> {
        Ok(Arc::new(LogFile::opened(path.to_owned(), open(path)?)))
    }

    /// The first file that could not be opened.
    pub fn failure(&self) -> Option<&(PathBuf, std::io::Error)> {
        self.failures.first()
    }

    /// The target that `error_log` names.
    pub fn error_target(&mut self, name: &[u8], paths: &Paths) -> Arc<LogFile> {
        match name {
            b"stderr" => self.stderr(),
            _ => self.open(&paths.in_prefix(name)),
        }
    }

    /// The log where no `error_log` is written: `-e`, or what the program was built with.
    pub fn default_error_log(&mut self) -> super::ErrorLog {
        let file = match self.default_error_log.clone() {
            Some(path) if path.as_os_str() == "stderr" => self.stderr(),
            Some(path) => self.open(&path),
            None => self.stderr(),
        };
        super::ErrorLog::file(file, super::Level::Error)
    }

    fn stderr(&mut self) -> Arc<LogFile> {
        self.stderr.get_or_insert_with(|| Arc::new(LogFile { path: None, file: RwLock::new(None) })).clone()
    }

    /// Whether anything is logged to the standard error output, which then stays what it is.
    pub fn uses_stderr(&self) -> bool {
        self.stderr.is_some()
    }

    /// The files, for the configuration to keep.
    pub fn into_files(self) -> HashMap<PathBuf, Arc<LogFile>> {
        self.files
    }
}
