//! The files of a configuration as they were read, so that a process that may not read them compiles the very same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use conf::{Disk, Files};

/// Reads files and remembers what it read; or gives back what another process has read. A copy is the same record.
#[derive(Clone)]
pub struct Record {
    read: Rc<RefCell<Read>>,
    /// Whether what is not remembered is looked up on the disk.
    live: bool,
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Bytes by path.
    pub files: HashMap<PathBuf, Vec<u8>>,
    /// What patterns found.
    pub globs: HashMap<PathBuf, Vec<PathBuf>>,
}

impl Record {
    /// A new record of what is on the disk.
    pub fn of_disk() -> Record {
        Record { read: Rc::default(), live: true }
    }

    /// A record made by another process.
    pub fn played_back(read: Read) -> Record {
        Record { read: Rc::new(RefCell::new(read)), live: false }
    }

    /// What was read so far.
    pub fn with<T>(&self, look: impl FnOnce(&Read) -> T) -> T {
        look(&self.read.borrow())
    }
}

impl Files for Record {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.read.borrow().files.get(path) {
            return Ok(bytes.clone());
        }
        if !self.live {
            return Err(io::ErrorKind::NotFound.into());
        }
        let bytes = Disk.read(path)?;
        self.read.borrow_mut().files.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn glob(&mut self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        if let Some(found) = self.read.borrow().globs.get(pattern) {
            return Ok(found.clone());
        }
        if !self.live {
            return Ok(Vec::new());
        }
        let found = Disk.glob(pattern)?;
        self.read.borrow_mut().globs.insert(pattern.to_owned(), found.clone());
        Ok(found)
    }
}
