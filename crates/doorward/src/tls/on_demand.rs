//! Certificates and keys that variables name: loaded while requests are served, and kept as `proxy_ssl_certificate_cache` says.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use conf::{Diagnostic, Node};
use net::tls::files::{self, FileError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::files::Place;
use crate::compile::as_path;
use crate::log::system_error;

/// Where they are loaded from.
pub struct Source {
    /// Where relative paths begin.
    pub folder: PathBuf,
    /// What opens encrypted keys.
    pub passwords: Arc<[Vec<u8>]>,
    /// What keeps them.
    pub cache: Option<Arc<Cache>>,
}

/// What is kept of files, shared by the workers and by the locations that inherit the directive.
pub struct Cache {
    /// How many chains and keys.
    max: usize,
    /// Seconds after which the file is looked at again.
    valid: u64,
    /// Seconds without use after which there is nothing kept.
    inactive: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<(Kind, Vec<u8>), Entry>,
    uses: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Chain,
    Key,
}

impl Kind {
    /// As nginx names it.
    fn words(self) -> &'static str {
        match self {
            Kind::Chain => "certificate",
            Kind::Key => "certificate key",
        }
    }
}

struct Entry {
    object: Object,
    /// When it was read, or found unchanged.
    checked: u64,
    stamp: Option<Stamp>,
    /// When it was used last, in seconds, and which use of the cache that was.
    used: (u64, u64),
}

#[derive(Clone)]
enum Object {
    Chain(Arc<[CertificateDer<'static>]>),
    Key(Arc<PrivateKeyDer<'static>>),
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
}

impl Cache {
    /// Reads the directive; none for `off`.
    pub fn compile(node: &Node) -> Result<Option<Arc<Cache>>, Diagnostic> {
        let (mut max, mut valid, mut inactive, mut off) = (0, 60, 10, false);
        for word in &node.args {
            let text = &*word.text;
            let invalid = || Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()));
            if let Some(number) = text.strip_prefix(b"max=") {
                let number = conf::value::number(number).filter(|number| *number > 0);
                max = number.and_then(|number| usize::try_from(number).ok()).ok_or_else(invalid)?;
            } else if let Some(time) = text.strip_prefix(b"inactive=") {
                inactive = conf::value::sec(time).ok_or_else(invalid)?;
            } else if let Some(time) = text.strip_prefix(b"valid=") {
                valid = conf::value::sec(time).ok_or_else(invalid)?;
            } else if text == b"off" {
                off = true;
            } else {
                return Err(invalid());
            }
        }
        if off {
            return Ok(None);
        }
        if max == 0 {
            let sentence = format!("\"{}\" must have the \"max\" parameter", node.name.lossy());
            return Err(Diagnostic::at(node.span, sentence).instead("write how many are kept: max=100"));
        }
        Ok(Some(Arc::new(Cache { max, valid, inactive, kept: Mutex::default() })))
    }
}

impl Source {
    /// Loads a chain with its key; what goes wrong is said in nginx's words, and never with what stands behind `data:`.
    pub fn load(&self, certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
        match self.pair(certificate, key, false) {
            // Of a pair that was renewed, one half may have been kept from before.
            Err(Unfit::Mismatch(_)) if self.cache.is_some() => self.pair(certificate, key, true),
            result => result,
        }
        .map_err(|unfit| match unfit {
            Unfit::Mismatch(sentence) | Unfit::Other(sentence) => sentence,
        })
    }

    fn pair(&self, certificate: &[u8], key: &[u8], anew: bool) -> Result<CertifiedKey, Unfit> {
        let chain = self.object(Kind::Chain, certificate, anew).map_err(Unfit::Other)?;
        let private = self.object(Kind::Key, key, anew).map_err(Unfit::Other)?;
        let (Object::Chain(chain), Object::Key(private)) = (chain, private) else {
            return Err(Unfit::Other("a certificate is no key".to_owned()));
        };
        files::certified(chain.to_vec(), &private).map_err(|error| {
            let shown = Place::of(key).shown(&self.folder);
            match error {
                FileError::Mismatch => {
                    Unfit::Mismatch(format!("SSL_use_PrivateKey(\"{shown}\") failed (SSL: {error})"))
                }
                error => Unfit::Other(format!("cannot load certificate key \"{shown}\": {error}")),
            }
        })
    }

    fn object(&self, kind: Kind, name: &[u8], anew: bool) -> Result<Object, String> {
        let Some(cache) = &self.cache else { return self.read(kind, name).map(|(object, _)| object) };
        let (now, _) = net::clock::wall();
        let key = (kind, name.to_vec());
        let mut kept = cache.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = (now, kept.uses);
        if let Some(entry) = kept.entries.get_mut(&key) {
            entry.used = used;
            let is_data = matches!(Place::of(name), Place::Data(_));
            if is_data || (!anew && now.saturating_sub(entry.checked) <= cache.valid) {
                return Ok(entry.object.clone());
            }
            let stamp = self.stamp(name);
            if !anew && stamp.is_some() && stamp == entry.stamp {
                entry.checked = now;
                return Ok(entry.object.clone());
            }
            kept.entries.remove(&key);
        }
        let stamp = self.stamp(name);
        let (object, keeps) = self.read(kind, name)?;
        if keeps {
            kept.make_room(cache, now);
            kept.entries.insert(key, Entry { object: object.clone(), checked: now, stamp, used });
        }
        Ok(object)
    }

    /// Reads a file; and whether it may be kept, which an encrypted key may not.
    fn read(&self, kind: Kind, name: &[u8]) -> Result<(Object, bool), String> {
        let place = Place::of(name);
        let cannot = |why: &dyn std::fmt::Display| {
            format!("cannot load {} \"{}\": {why}", kind.words(), place.shown(&self.folder))
        };
        let text = match place {
            Place::Data(data) => data.to_vec(),
            Place::File(path) => std::fs::read(self.folder.join(as_path(path)))
                .map_err(|error| cannot(&format_args!("open() failed {}", system_error(&error))))?,
            Place::Foreign(scheme) => return Err(cannot(&format_args!("{scheme} is OpenSSL's"))),
        };
        match kind {
            Kind::Chain => {
                let chain = files::certificates(&text).map_err(|error| cannot(&error))?;
                Ok((Object::Chain(chain.into()), true))
            }
            Kind::Key => {
                let (key, keeps) = match files::private_key(&text, &[]) {
                    Err(FileError::NeedsPassword) => (files::private_key(&text, &self.passwords), false),
                    key => (key, true),
                };
                Ok((Object::Key(Arc::new(key.map_err(|error| cannot(&error))?)), keeps))
            }
        }
    }

    fn stamp(&self, name: &[u8]) -> Option<Stamp> {
        let Place::File(path) = Place::of(name) else { return None };
        let metadata = std::fs::metadata(self.folder.join(as_path(path))).ok()?;
        Some(Stamp { inode: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

impl Kept {
    /// Drops what was not used for long, and where that is not enough what was used least recently.
    fn make_room(&mut self, cache: &Cache, now: u64) {
        self.entries.retain(|_, entry| now.saturating_sub(entry.used.0) <= cache.inactive);
        while self.entries.len() >= cache.max {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            match oldest {
                Some(key) => drop(self.entries.remove(&key)),
                None => return,
            }
        }
    }
}

/// Why a pair is of no use.
enum Unfit {
    Mismatch(String),
    Other(String),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A folder with pairs for these names.
    fn folder(names: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| renew(&folder, name));
        folder
    }

    /// Writes another pair for a name.
    fn renew(folder: &TempDir, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        for (ending, text) in [("pem", made.cert.pem()), ("key", made.signing_key.serialize_pem())] {
            let path = folder.path().join(format!("{name}.{ending}"));
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
    }

    fn source(folder: &TempDir, max: usize, valid: u64) -> Source {
        let cache = Cache { max, valid, inactive: 60, kept: Mutex::default() };
        Source {
            folder: folder.path().to_owned(),
            passwords: Arc::default(),
            cache: (max > 0).then(|| Arc::new(cache)),
        }
    }

    fn load(source: &Source, name: &str) -> Result<Vec<u8>, String> {
        let loaded = source.load(format!("{name}.pem").as_bytes(), format!("{name}.key").as_bytes())?;
        Ok(loaded.cert[0].to_vec())
    }

    #[test]
    fn what_is_kept_does_not_change_until_it_is_looked_at_again() {
        let folder = folder(&["a"]);
        let (none, kept, looked_at) = (source(&folder, 0, 60), source(&folder, 4, 60), source(&folder, 4, 0));
        let all = [&none, &kept, &looked_at];
        let first = all.map(|source| load(source, "a").unwrap());
        renew(&folder, "a");
        let second = all.map(|source| load(source, "a").unwrap());
        assert_ne!(first[0], second[0]);
        assert_eq!(first[1], second[1]);
        // Some time later.
        let kept = &looked_at.cache.as_ref().unwrap().kept;
        kept.lock().unwrap().entries.values_mut().for_each(|entry| entry.checked = 0);
        assert_eq!(load(&looked_at, "a").unwrap(), second[0]);
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = folder(&["a", "b", "c"]);
        let source = source(&folder, 4, 60);
        for name in ["a", "b", "a", "c"] {
            load(&source, name).unwrap();
        }
        for name in ["a", "b", "c"] {
            fs::remove_file(folder.path().join(format!("{name}.pem"))).unwrap();
        }
        assert!(load(&source, "a").is_ok() && load(&source, "c").is_ok());
        let gone = load(&source, "b").unwrap_err();
        assert!(gone.ends_with("b.pem\": open() failed (2: No such file or directory)"), "{gone}");
    }

    #[test]
    fn half_a_pair_that_was_kept_is_read_anew_with_the_other() {
        let folder = folder(&["a"]);
        let source = source(&folder, 4, 60);
        load(&source, "a").unwrap();
        renew(&folder, "a");
        let forget_key = |kept: &mut Kept| kept.entries.retain(|(kind, _), _| *kind == Kind::Chain);
        forget_key(&mut source.cache.as_ref().unwrap().kept.lock().unwrap());
        let whole = load(&source, "a").unwrap();
        assert_eq!(whole, load(&source, "a").unwrap());
    }

    #[test]
    fn what_stands_in_place_of_a_file_is_not_shown() {
        let folder = folder(&[]);
        let wrong = source(&folder, 0, 0).load(b"data:secret", b"data:secret").unwrap_err();
        assert!(wrong.starts_with("cannot load certificate \"data:\""), "{wrong}");
    }
}
