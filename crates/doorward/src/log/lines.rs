//! Lines on their way to their files: gathered while a worker is busy, written before it waits.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::LogFile;

/// How lines are packed (`gzip`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pack {
    /// 1 to 9.
    pub level: u32,
    /// How many bytes of lines are packed together.
    pub size: usize,
    /// The longest that a line waits for others, in milliseconds.
    pub flush: u64,
}

/// Lines of one turn of a worker's event loop, by file: they are written together before it waits again. Those that are
/// packed wait for more of their kind.
#[derive(Default)]
pub struct Lines {
    pending: RefCell<Vec<Pending>>,
}

struct Pending {
    file: Arc<LogFile>,
    pack: Option<Pack>,
    lines: Vec<u8>,
    /// When packed lines are to be written, in milliseconds of [`net::clock::now`].
    due: u64,
}

/// More than this is not gathered, but written at once.
const FULL: usize = 64 << 10;

/// Files that have nothing pending are forgotten when there are more than this: those with variables in their names
/// come and go.
const KNOWN: usize = 64;

impl Lines {
    /// Adds a line, which ends with a line feed.
    pub fn push(&self, file: &Arc<LogFile>, pack: Option<Pack>, line: &[u8]) {
        let mut all = self.pending.borrow_mut();
        let found = all.iter().position(|p| Arc::ptr_eq(&p.file, file) && p.pack == pack);
        let at = found.unwrap_or_else(|| {
            all.push(Pending { file: file.clone(), pack, lines: Vec::new(), due: 0 });
            all.len() - 1
        });
        let Some(pending) = all.get_mut(at) else { return };
        if let Some(pack) = pack {
            if !pending.lines.is_empty() && pending.lines.len() + line.len() > pack.size {
                pending.write();
            }
            if pending.lines.is_empty() {
                pending.due = net::clock::now() + pack.flush;
                // Only to wake the worker: it writes what is due whenever it is about to wait.
                tokio::task::spawn_local(tokio::time::sleep(Duration::from_millis(pack.flush + 10)));
            }
        }
        pending.lines.extend_from_slice(line);
        if pack.is_none() && pending.lines.len() > FULL {
            pending.write();
        }
    }

    /// Writes what is due.
    pub fn flush(&self) {
        let mut all = self.pending.borrow_mut();
        if all.iter().all(|pending| pending.lines.is_empty()) {
            return;
        }
        let now = net::clock::now();
        for pending in all.iter_mut().filter(|p| p.pack.is_none() || p.due <= now) {
            pending.write();
        }
        if all.len() > KNOWN {
            all.retain(|pending| !pending.lines.is_empty());
        }
    }

    /// Writes everything: nobody will come back to it.
    pub fn finish(&self) {
        self.pending.borrow_mut().drain(..).for_each(|mut pending| pending.write());
    }
}

impl Pending {
    fn write(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        match self.pack {
            None => self.file.write(&self.lines),
            Some(pack) => {
                let mut packed =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(pack.level));
                // Writing to memory does not fail.
                if packed.write_all(&self.lines).is_ok()
                    && let Ok(packed) = packed.finish()
                {
                    self.file.write(&packed);
                }
            }
        }
        self.lines.clear();
    }
}
