//! A body that is stored while it is passed on. It counts only when all of it was received.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use wire::h1::ResponseHead;

use super::entry::{Entry, Stored, fingerprint};
use super::freshness::Times;
use super::keeper;
use super::state::{Key, Open};
use super::zone::{blocks, name_of};
use crate::body::Truncated;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::proxy::UpstreamBody;

/// A server's body on its way to the client and into the cache.
pub struct Fill {
    body: Box<UpstreamBody>,
    open: Open,
    entry: Entry,
    kept: Kept,
    ended: bool,
}

/// What was received so far.
enum Kept {
    Memory(Vec<u8>),
    File(Temporary),
    /// It cannot be kept.
    Nothing,
}

/// A file that vanishes unless it gets its name.
struct Temporary {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It has its name by now, or is of no use.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Fill {
    /// An entry whose body is still to come.
    pub fn entry(
        head: ResponseHead,
        bytes: Arc<[u8]>,
        times: Times,
        vary: Vec<u8>,
        variant: Vec<u8>,
        key: &Key,
    ) -> Entry {
        let body = Stored::Memory(Arc::from([]));
        let fingerprint = fingerprint(key.bytes());
        Entry { fingerprint, head, bytes, body, times, vary: vary.into(), variant: variant.into() }
    }

    /// A body that becomes that of the entry.
    pub fn new(body: Box<UpstreamBody>, open: Open, entry: Entry) -> Fill {
        let room = entry.head.content_length.unwrap_or(0).min(open.zone.in_memory() as u64);
        Fill { body, open, entry, kept: Kept::Memory(Vec::with_capacity(room as usize)), ended: false }
    }

    /// Stores an entry anew whose times changed.
    pub fn renew(open: &Open, entry: Entry) {
        let size = match &entry.body {
            Stored::Memory(_) => None,
            Stored::File { .. } => {
                let path = open.zone.path(&name_of(&entry.fingerprint));
                let front = entry.front();
                let written = File::options().write(true).open(path).and_then(|f| f.write_all_at(&front, 0));
                if written.is_err() {
                    return;
                }
                Some(blocks(entry.file_len()))
            }
        };
        open.zone.store(open.key.bytes(), Arc::new(entry), size);
    }

    /// Appends the next piece, and keeps it; false at the end.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        let before = out.len();
        let more = self.body.next(ex, out, most).await;
        match more {
            Ok(more) => {
                if let Err(error) = self.keep(out.get(before..).unwrap_or_default()) {
                    ex.log(Level::Crit, format_args!("writing a cache file failed ({error})"));
                    self.kept = Kept::Nothing;
                }
                if !more || self.body.is_done() {
                    self.commit(ex);
                }
            }
            Err(Truncated) => {
                self.kept = Kept::Nothing;
                self.end();
            }
        }
        more
    }

    /// Whether everything was handed out.
    pub fn is_done(&self) -> bool {
        self.ended
    }

    /// The server's body, for its trailers.
    pub fn upstream(&self) -> &UpstreamBody {
        &self.body
    }

    /// Reads the rest for the cache alone.
    pub async fn drain(&mut self, ex: &mut Exchange<'_>) {
        let mut piece = ex.visit.worker.buffers.take(16 << 10);
        while !self.ended {
            piece.clear();
            match self.next(ex, &mut piece, 32 << 10).await {
                Ok(true) => {}
                _ => break,
            }
        }
        ex.visit.worker.buffers.put(piece);
    }

    fn keep(&mut self, piece: &[u8]) -> io::Result<()> {
        match &mut self.kept {
            Kept::Nothing => Ok(()),
            Kept::Memory(memory) if memory.len() + piece.len() <= self.open.zone.in_memory() => {
                memory.extend_from_slice(piece);
                Ok(())
            }
            Kept::Memory(memory) => {
                let (file, path) = keeper::create(&self.open.zone.path(&name_of(&self.entry.fingerprint)))?;
                let mut kept = Temporary { file, path, length: (memory.len() + piece.len()) as u64 };
                kept.file.write_all(&self.entry.front())?;
                kept.file.write_all(memory)?;
                kept.file.write_all(piece)?;
                self.kept = Kept::File(kept);
                Ok(())
            }
            Kept::File(kept) => {
                kept.length += piece.len() as u64;
                kept.file.write_all(piece)
            }
        }
    }

    fn commit(&mut self, ex: &Exchange<'_>) {
        if self.ended {
            return;
        }
        let zone = &self.open.zone;
        let mut entry = self.entry.clone();
        match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Nothing => {}
            Kept::Memory(memory) => {
                entry.body = Stored::Memory(memory.into());
                zone.store(self.open.key.bytes(), Arc::new(entry), None);
            }
            Kept::File(kept) => {
                let path = zone.path(&name_of(&entry.fingerprint));
                entry.body = Stored::File { offset: entry.front().len() as u64, length: kept.length };
                match std::fs::rename(&kept.path, &path) {
                    Ok(()) => {
                        let size = Some(blocks(entry.file_len()));
                        zone.store(self.open.key.bytes(), Arc::new(entry), size);
                    }
                    Err(error) => {
                        ex.log(
                            Level::Crit,
                            format_args!("rename() to \"{}\" failed ({error})", path.display()),
                        );
                    }
                }
            }
        }
        self.end();
    }

    fn end(&mut self) {
        self.ended = true;
        // Whoever waits for it may look now.
        self.open.claim = None;
    }
}
