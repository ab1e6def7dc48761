//! `ssl_session_cache`: sessions that clients take up again by their number.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use conf::{Diagnostic, Node, Word};
use rustls::server::{NoServerSessionStorage, StoresServerSessions};

use crate::compile::Compiler;
use crate::zone::Table;

/// The least size of a zone: eight pages, as in nginx.
const LEAST: u64 = 8 * 4096;

/// Sessions of `builtin` without a number.
const BUILTIN: u64 = 20480;

/// What a session takes, about.
const SESSION: u64 = 512;

/// The size of what keeps sessions for early data where no other is written, in bytes.
const EARLY_DATA: u64 = 10 << 20;

/// Where sessions are kept.
#[derive(Clone)]
pub enum Sessions {
    /// Nowhere.
    None,
    /// In a zone, or in a table of the configuration's own.
    Kept(Arc<SessionCache>),
}

impl Sessions {
    /// The store of a server. Only sessions of the same context are taken up again.
    pub fn storage(&self, context: [u8; 32], lifetime: u32) -> Arc<dyn StoresServerSessions> {
        match self {
            Sessions::None => Arc::new(NoServerSessionStorage {}),
            Sessions::Kept(cache) => Arc::new(Storage { cache: cache.clone(), context, lifetime }),
        }
    }
}

/// Sessions by context and number, with the second when each was made.
pub struct SessionCache(Mutex<Table<(u64, Vec<u8>)>>);

impl SessionCache {
    fn new(size: u64) -> SessionCache {
        SessionCache(Mutex::new(Table::new(usize::try_from(size).unwrap_or(usize::MAX))))
    }
}

/// Reads `ssl_session_cache`.
pub fn cache(cx: &mut Compiler, node: &Node) -> Result<Sessions, Diagnostic> {
    let mut found = Sessions::None;
    for word in &node.args {
        let text = word.lossy();
        let invalid = || Diagnostic::at(word.span, format!("invalid session cache \"{text}\""));
        match text.split_once(':') {
            None if matches!(&*text, "off" | "none") => {}
            None if text == "builtin" => found = builtin(BUILTIN),
            Some(("builtin", number)) => found = builtin(number.parse().map_err(|_| invalid())?),
            Some(("shared", zone)) => {
                let (name, size) =
                    zone.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(invalid)?;
                let size = conf::value::size(size.as_bytes()).ok_or_else(invalid)?;
                // Beside a zone, the one of the server's own has nothing to do.
                return shared(cx, word, name, size);
            }
            _ => return Err(invalid()),
        }
    }
    Ok(found)
}

fn builtin(sessions: u64) -> Sessions {
    Sessions::Kept(Arc::new(SessionCache::new(sessions.saturating_mul(SESSION))))
}

fn shared(cx: &mut Compiler, word: &Word, name: &str, size: u64) -> Result<Sessions, Diagnostic> {
    if size < LEAST {
        let sentence = format!("session cache \"{}\" is too small", word.lossy());
        return Err(Diagnostic::at(word.span, sentence).instead("give it 32k or more"));
    }
    let declared = *cx.session_zones.entry(name.to_owned()).or_insert(size);
    if declared != size {
        let sentence = format!(
            "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {declared}"
        );
        return Err(Diagnostic::at(word.span, sentence));
    }
    let zone = format!("ssl sessions {name} {size}");
    Ok(Sessions::Kept(cx.zones.get_or_make(&zone, || SessionCache::new(size))))
}

/// What keeps sessions of servers that take early data and have no cache.
pub fn of_early_data(cx: &Compiler) -> Sessions {
    Sessions::Kept(cx.zones.get_or_make("ssl sessions for early data", || SessionCache::new(EARLY_DATA)))
}

/// The sessions of one server.
struct Storage {
    cache: Arc<SessionCache>,
    context: [u8; 32],
    lifetime: u32,
}

impl Storage {
    fn with<T>(&self, number: &[u8], act: impl FnOnce(&mut Table<(u64, Vec<u8>)>, &[u8]) -> T) -> T {
        let key = [&self.context[..], number].concat();
        let mut table = self.cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut table, &key)
    }

    fn is_fresh(&self, made: u64) -> bool {
        let (now, _) = net::clock::wall();
        now < made.saturating_add(self.lifetime.into())
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}

impl StoresServerSessions for Storage {
    fn put(&self, number: Vec<u8>, session: Vec<u8>) -> bool {
        let (now, _) = net::clock::wall();
        let length = session.len();
        self.with(&number, |table, key| table.insert_sized(key, (now, session), length, |_| true).is_some())
    }

    fn get(&self, number: &[u8]) -> Option<Vec<u8>> {
        self.with(number, |table, key| {
            let (made, session) = table.get(key)?;
            self.is_fresh(*made).then(|| session.clone())
        })
    }

    fn take(&self, number: &[u8]) -> Option<Vec<u8>> {
        self.with(number, |table, key| {
            let (made, session) = table.remove(key)?;
            self.is_fresh(made).then_some(session)
        })
    }

    fn can_cache(&self) -> bool {
        true
    }
}
