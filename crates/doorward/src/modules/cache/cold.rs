//! What a cache has in files only: memory knows no more of it than names, sizes and times.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Half a fingerprint: what a file is called by.
pub type Name = [u8; 16];

/// The files of one cache that are not in memory, and how far its folder has been read.
pub struct Cold {
    listed: Mutex<Listed>,
    /// How many are listed, to be seen without a lock.
    len: AtomicUsize,
    loading: AtomicBool,
    loader: AtomicBool,
}

#[derive(Default)]
struct Listed {
    files: HashMap<Name, ColdFile>,
    /// While the folder is being read: what got into memory or was written meanwhile.
    known: HashSet<Name>,
}

/// A file that memory knows only the name of.
#[derive(Clone, Copy)]
pub struct ColdFile {
    /// Bytes that it takes of its file system.
    pub size: u64,
    /// When it is forgotten, in milliseconds of the clock.
    pub expire: u64,
}

impl Default for Cold {
    /// Nothing is listed, and the folder is still to be read.
    fn default() -> Cold {
        Cold {
            listed: Mutex::default(),
            len: AtomicUsize::new(0),
            loading: AtomicBool::new(true),
            loader: AtomicBool::new(false),
        }
    }
}

impl Cold {
    /// How many are listed.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether a key may have a file.
    pub fn may_hold_any(&self) -> bool {
        self.len() > 0 || self.is_loading()
    }

    /// Whether this file may be there.
    pub fn may_hold(&self, name: &Name) -> bool {
        self.is_loading() || self.listed().files.contains_key(name)
    }

    /// Lists what memory has let go; how many are listed then.
    pub fn put(&self, name: Name, file: ColdFile) -> usize {
        let mut listed = self.listed();
        listed.files.insert(name, file);
        self.count(&listed)
    }

    /// Lists a file that was found in the folder; false where it is known already.
    pub fn add_found(&self, name: Name, file: ColdFile) -> bool {
        let mut listed = self.listed();
        let is_new = !listed.known.contains(&name) && listed.files.insert(name, file).is_none();
        self.count(&listed);
        is_new
    }

    /// Takes a file from the list.
    pub fn take(&self, name: &Name) -> Option<ColdFile> {
        if self.len() == 0 {
            return None;
        }
        let mut listed = self.listed();
        let file = listed.files.remove(name);
        self.count(&listed);
        file
    }

    /// Takes the one that nobody asked for longest, if that is before `before`.
    pub fn take_oldest(&self, before: u64) -> Option<(Name, ColdFile)> {
        let mut listed = self.listed();
        let (name, file) = listed.files.iter().min_by_key(|(_, file)| file.expire)?;
        let oldest = (*name, *file);
        if file.expire > before {
            return None;
        }
        listed.files.remove(&oldest.0);
        self.count(&listed);
        Some(oldest)
    }

    /// Remembers, while the folder is being read, that a file is in memory's care.
    pub fn note_known(&self, name: Name) {
        if self.is_loading() {
            self.listed().known.insert(name);
        }
    }

    /// Whether the folder is to be read, and nobody does so yet.
    pub fn start_loading(&self) -> bool {
        self.is_loading() && !self.loader.swap(true, Ordering::Relaxed)
    }

    /// Whether the folder is still being read.
    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Relaxed)
    }

    /// The folder has been read.
    pub fn loaded(&self) {
        self.loading.store(false, Ordering::Relaxed);
        self.loader.store(false, Ordering::Relaxed);
        self.listed().known = HashSet::new();
    }

    /// Forgets all of it: the folder is to be read anew.
    pub fn retire(&self) {
        let mut listed = self.listed();
        *listed = Listed::default();
        self.count(&listed);
        self.loading.store(true, Ordering::Relaxed);
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, listed: &Listed) -> usize {
        self.len.store(listed.files.len(), Ordering::Relaxed);
        listed.files.len()
    }
}
