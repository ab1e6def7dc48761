//! The thread that works on files of caches: it writes and deletes them, reads folders at the start, and keeps sizes
//! within their bounds. Requests never wait for it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::cold::Name;
use super::entry::{Entry, Stored};
use super::zone::{Removed, Zone, blocks, name_of};
use crate::log::{ErrorLog, Level};

/// How much work may wait. What does not fit is left out: an answer then stays in memory only.
const BACKLOG: usize = 4096;

/// A piece of work.
pub enum Job {
    /// Write the file of an answer.
    Write { zone: Arc<Zone>, hash: u64, key: Arc<[u8]>, entry: Arc<Entry> },
    /// Delete a file.
    Delete { path: PathBuf },
    /// A zone has more keys than it has room for.
    Sweep { zone: Arc<Zone> },
    /// These are the caches from now on, and this is where failures are logged.
    Caches(Vec<CachePath>, ErrorLog),
}

/// Where a zone sends work.
#[derive(Default)]
pub struct Orders {
    sender: OnceLock<SyncSender<Job>>,
}

impl Orders {
    /// Sends work, if there is room for it.
    pub fn send(&self, job: Job) {
        if let Some(sender) = self.sender.get() {
            // A full queue, or no thread: the answer is served from memory all the same.
            let _ = sender.try_send(job);
        }
    }
}

/// One `proxy_cache_path`.
#[derive(Clone)]
pub struct CachePath {
    /// The cache.
    pub zone: Arc<Zone>,
    /// Bytes of files at most.
    pub max_size: u64,
    /// Bytes that the file system keeps free.
    pub min_free: u64,
    /// Milliseconds after which what nobody asks for is forgotten.
    pub inactive: u64,
    /// How many files are deleted in one go.
    pub manager_files: u64,
    /// Milliseconds at most that this takes.
    pub manager_threshold: u64,
    /// Milliseconds between two goes.
    pub manager_sleep: u64,
    /// How many files are read in one go.
    pub loader_files: u64,
    /// Milliseconds between two goes.
    pub loader_sleep: u64,
}

/// Puts the caches of a configuration in force; the thread is started by the first.
pub fn keep(caches: &[CachePath], log: &ErrorLog) {
    if caches.is_empty() {
        return;
    }
    for cache in caches {
        cache.zone.inactive.store(cache.inactive, Ordering::Relaxed);
    }
    let sender = caches.iter().find_map(|cache| cache.zone.orders.sender.get().cloned()).or_else(|| {
        let (sender, jobs) = sync_channel(BACKLOG);
        let thread = std::thread::Builder::new().name("cache manager".to_owned());
        match thread.spawn(move || Keeper::default().run(&jobs)) {
            Ok(_) => Some(sender),
            Err(error) => {
                log.write(Level::Alert, format_args!("the cache manager did not start ({error})"));
                None
            }
        }
    });
    let Some(sender) = sender else { return };
    for cache in caches {
        // A zone that was kept over a reload has it already.
        let _ = cache.zone.orders.sender.set(sender.clone());
    }
    let _ = sender.send(Job::Caches(caches.to_vec(), log.clone()));
}

#[derive(Default)]
struct Keeper {
    caches: Vec<(CachePath, u64)>,
    log: ErrorLog,
}

impl Keeper {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let now = net::clock::now();
            let next = self.caches.iter().map(|(_, due)| due.saturating_sub(now)).min().unwrap_or(60_000);
            match jobs.recv_timeout(Duration::from_millis(next)) {
                Ok(Job::Write { zone, hash, key, entry }) => self.write(&zone, hash, &key, &entry),
                Ok(Job::Delete { path }) => self.delete(&path),
                Ok(Job::Sweep { zone }) => {
                    for (cache, due) in self.caches.iter_mut().filter(|(c, _)| Arc::ptr_eq(&c.zone, &zone)) {
                        *due = (*due).min(now + cache.manager_sleep);
                    }
                }
                Ok(Job::Caches(caches, log)) => {
                    self.log = log;
                    let due = net::clock::now();
                    let caches = caches.into_iter().map(|cache| (cache, due)).collect();
                    let old: Vec<(CachePath, u64)> = std::mem::replace(&mut self.caches, caches);
                    for (gone, _) in old.iter().filter(|(old, _)| !self.keeps(&old.zone)) {
                        gone.zone.retire();
                    }
                    self.load();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for at in 0..self.caches.len() {
                if self.caches[at].1 <= net::clock::now() {
                    let wait = self.sweep(&self.caches[at].0);
                    self.caches[at].1 = net::clock::now() + wait.max(1);
                }
            }
        }
    }

    fn keeps(&self, zone: &Arc<Zone>) -> bool {
        self.caches.iter().any(|(cache, _)| Arc::ptr_eq(&cache.zone, zone))
    }

    fn write(&self, zone: &Arc<Zone>, hash: u64, key: &[u8], entry: &Arc<Entry>) {
        if !zone.is_current(hash, key, entry) || matches!(entry.body, Stored::File { .. }) {
            return;
        }
        let path = zone.path(&name_of(&entry.fingerprint));
        let written = write_file(&path, |file| {
            let mut file = BufWriter::new(file);
            entry.write(&mut file)?;
            file.flush()
        });
        match written {
            Ok(()) => {
                if !zone.written(hash, key, entry, blocks(entry.file_len())) && !zone.has(hash, key) {
                    self.delete(&path);
                }
            }
            Err(error) => {
                self.log.write(
                    Level::Crit,
                    format_args!("writing cache file \"{}\" failed ({error})", path.display()),
                );
            }
        }
    }

    fn delete(&self, path: &Path) {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.log.write(Level::Crit, format_args!("unlink() \"{}\" failed ({error})", path.display()));
            }
        }
    }

    /// Takes out what is too old or too much; the milliseconds until this is due again.
    fn sweep(&self, cache: &CachePath) -> u64 {
        let zone = &cache.zone;
        let began = net::clock::now();
        let mut files = 0;
        let mut remove = |before: u64| {
            match zone.remove_oldest(before) {
                Removed::Nothing => return None,
                Removed::Key => {}
                Removed::File(name) => self.delete(&zone.path(&name)),
            }
            files += 1;
            Some(files >= cache.manager_files || net::clock::now() - began >= cache.manager_threshold)
        };
        while let Some(enough) = remove(net::clock::now()) {
            if enough {
                return cache.manager_sleep;
            }
        }
        // Once there are too many keys, an eighth goes, so that this is not due again at once.
        let mut most = zone.capacity();
        if zone.count() > most {
            most -= most / 8;
        }
        while zone.file_bytes.load(Ordering::Relaxed) >= cache.max_size
            || zone.count() > most
            || (cache.min_free > 0 && free(&zone.folder).is_some_and(|free| free <= cache.min_free))
        {
            match remove(u64::MAX) {
                None => break,
                Some(true) => return cache.manager_sleep,
                Some(false) => {}
            }
        }
        10_000
    }

    /// Reads the folders of caches that were not read yet, in a thread of its own: it takes its time.
    fn load(&self) {
        let known = self.caches.iter().map(|(cache, _)| cache);
        let caches: Vec<CachePath> = known.filter(|cache| cache.zone.start_loading()).cloned().collect();
        if caches.is_empty() {
            return;
        }
        let thread = std::thread::Builder::new().name("cache loader".to_owned());
        let started = thread.spawn(move || {
            for cache in &caches {
                load_folder(cache, &cache.zone.folder, &mut 0);
                cache.zone.loaded();
            }
        });
        if let Err(error) = started {
            self.log.write(Level::Alert, format_args!("the cache loader did not start ({error})"));
        }
    }
}

fn load_folder(cache: &CachePath, folder: &Path, files: &mut u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(data) = entry.metadata() else { continue };
        if data.is_dir() {
            // Folders of levels have one or two digits; nothing else in there is ours.
            if name.len() <= 2 {
                load_folder(cache, &path, files);
            }
            continue;
        }
        let name = name.to_str().unwrap_or_default();
        match parse_name(name) {
            Some(name) if data.is_file() => cache.zone.add_file(name, blocks(data.len())),
            // What was being written when an earlier process ended.
            _ if is_temporary(name) && is_old(&data) => {
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
        *files += 1;
        if files.is_multiple_of(cache.loader_files.max(1)) {
            std::thread::sleep(Duration::from_millis(cache.loader_sleep.min(1000)));
        }
    }
}

fn is_old(data: &fs::Metadata) -> bool {
    data.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age.as_secs() > 3600)
}

/// Writes a file under another name first, so that it is there as a whole or not at all.
pub fn write_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (mut file, temporary) = create(path)?;
    let written = write(&mut file).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes a file beside the one it will become, readable by its owner alone, and the folders above it.
pub fn create(path: &Path) -> io::Result<(File, PathBuf)> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:010}", u64::from_le_bytes(crate::random::bytes()) % 10_000_000_000));
    let temporary = PathBuf::from(name);
    let open = || File::options().write(true).read(true).create_new(true).mode(0o600).open(&temporary);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            Ok((open()?, temporary))
        }
        other => Ok((other?, temporary)),
    }
}

fn parse_name(name: &str) -> Option<Name> {
    if name.len() != 32 || !name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(name, 16).ok().map(u128::to_be_bytes)
}

fn is_temporary(name: &str) -> bool {
    name.split_once('.').is_some_and(|(front, digits)| {
        parse_name(front).is_some() && digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn free(folder: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_told_from_others() {
        let digits = "0123456789abcdef0123456789abcdef";
        let name = parse_name(digits).unwrap();
        assert_eq!(name[..2], [0x01, 0x23]);
        let zone = Zone::new("z".to_owned(), PathBuf::from("/c"), vec![1, 2], 1 << 20);
        assert_eq!(zone.path(&name), PathBuf::from(format!("/c/f/de/{digits}")));
        assert_eq!(parse_name(&digits.to_uppercase()), None);
        assert_eq!(parse_name("t.html"), None);
        assert!(is_temporary(&format!("{digits}.0000000001")));
        assert!(!is_temporary(&format!("{digits}.bak")));
    }
}
