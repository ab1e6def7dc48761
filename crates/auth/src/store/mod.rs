//! Where users, API keys, sessions and what is revoked are kept, behind one trait.
//!
//! Gateways keep records in memory and ask [`Store::changes_since`] several times a second what has changed, so that a
//! revocation holds on each of them within a second.

mod link;
mod postgres;
mod record;
mod redis;
mod sqlite;
mod tls;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use record::{ApiKey, Session, Time, User};

use crate::secret::{self, Digest};

/// How long a call may take.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// Changes that a store remembers; who asks for older ones is told [`What::Everything`].
pub const CHANGES: u64 = 10_000;

/// Most records that are asked for at once.
pub const PAGE: u32 = 1000;

/// Why a store does not do what it was asked. No sentence contains a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be asked, or did not answer in time. Whether it did what was asked is not known then.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It has something that the new does not go with; nothing was changed.
    #[error("{0}")]
    Conflict(String),
    /// What was given is nothing that a store takes; nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// What is in it cannot be understood.
    #[error("the store is damaged, or is not Doorward's: {0}")]
    Corrupt(String),
    /// A later version of the program has written it.
    #[error("the store has version {found}, and this program knows up to {known}: use a newer Doorward")]
    Newer {
        /// The version it has.
        found: i64,
        /// The last that is known here.
        known: i64,
    },
    /// Its address cannot be understood.
    #[error("{0}")]
    Address(String),
}

/// An answer that takes a while, at most [`TIMEOUT`]. It is awaited in a Tokio runtime that has timers.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// What to ask from next time. Grows, and means nothing else.
    pub revision: u64,
    /// What it was.
    pub what: What,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// These, the oldest first.
    These(Vec<Change>),
    /// Nobody knows: forget all that you keep of the store.
    Everything,
}

/// What to forget. New keys and sessions are not told: their ids are random, so nobody can have asked for them before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The user of this id, also that there was none of its name, and all its sessions.
    User(String),
    /// The key of this id.
    Key(String),
    /// The session of this digest.
    Session(Digest),
}

/// A place where records are kept. What is acknowledged survives the death of every process.
pub trait Store: Send + Sync {
    /// Adds a user; a [`StoreError::Conflict`] when the name is taken.
    fn add_user(&self, user: User) -> Answer<()>;
    /// The user of a name.
    fn user_by_name(&self, name: &str) -> Answer<Option<User>>;
    /// The user of an id.
    fn user_by_id(&self, id: &str) -> Answer<Option<User>>;
    /// Up to `limit` users behind the name `after`, by their names.
    fn users(&self, after: Option<&str>, limit: u32) -> Answer<Vec<User>>;
    /// Sets address, scopes and groups of the user of this id, and nothing else; whether there is such a user.
    fn change_user(&self, user: User) -> Answer<bool>;
    /// Sets what is kept of a password; whether there is such a user. Sessions stay: [`Store::delete_sessions`].
    fn set_password(&self, user: &str, password: Option<String>) -> Answer<bool>;
    /// Disables a user, or enables it again; whether there is such a user.
    fn set_disabled(&self, user: &str, disabled: bool) -> Answer<bool>;

    /// Adds a key; a [`StoreError::Conflict`] when there is no such user or the id is taken.
    fn add_key(&self, key: ApiKey) -> Answer<()>;
    /// The key of an id.
    fn key_by_id(&self, id: &str) -> Answer<Option<ApiKey>>;
    /// Up to `limit` keys behind the id `after`, by their ids: those of a user, or all.
    fn keys(&self, user: Option<&str>, after: Option<&str>, limit: u32) -> Answer<Vec<ApiKey>>;
    /// Revokes a key for good; whether there is such a key.
    fn revoke_key(&self, id: &str) -> Answer<bool>;
    /// Adds `new` and lets `old` expire at `until`, unless it does so earlier: both or nothing. Whether there is such an old
    /// key; a [`StoreError::Conflict`] when it is revoked.
    fn rotate_key(&self, old: &str, new: ApiKey, until: Time) -> Answer<bool>;
    /// Notes when keys, by their ids, were used: a later time than is known counts.
    fn touch_keys(&self, used: Vec<(String, Time)>) -> Answer<()>;

    /// Adds a session; a [`StoreError::Conflict`] when there is no such user.
    fn add_session(&self, session: Session) -> Answer<()>;
    /// The session of a digest, also an expired one that is not purged yet.
    fn session_by_digest(&self, digest: &Digest) -> Answer<Option<Session>>;
    /// Up to `limit` sessions behind the digest `after`, by their digests: those of a user, or all.
    fn sessions(&self, user: Option<&str>, after: Option<&Digest>, limit: u32) -> Answer<Vec<Session>>;
    /// Notes when sessions were used: a later time than is known counts.
    fn touch_sessions(&self, seen: Vec<(Digest, Time)>) -> Answer<()>;
    /// Ends a session; whether there was one.
    fn delete_session(&self, digest: &Digest) -> Answer<bool>;
    /// Ends all sessions of a user; how many there were.
    fn delete_sessions(&self, user: &str) -> Answer<u64>;
    /// Forgets sessions that have expired; how many there were.
    fn purge_sessions(&self, now: Time) -> Answer<u64>;

    /// What has changed since a revision. `None`, and a revision that is too old or was never given, are answered by
    /// [`What::Everything`].
    fn changes_since(&self, revision: Option<u64>) -> Answer<Changes>;
    /// Whether the store answers.
    fn ping(&self) -> Answer<()>;
}

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Address {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://USER:PASSWORD@HOST/DATABASE`
    Postgres(Box<postgres::Place>),
    /// `redis://USER:PASSWORD@HOST/NUMBER`
    Redis(Box<redis::Place>),
}

impl Address {
    /// Reads an address, and looks at nothing else.
    pub fn parse(text: &str) -> Result<Address, StoreError> {
        match text.split_once(':') {
            Some(("sqlite", path)) => {
                // Other programs write absolute paths as sqlite:///path.
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() || path == ":memory:" {
                    return Err(StoreError::Address("sqlite: wants the path of a file: sqlite:PATH".into()));
                }
                Ok(Address::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", _)) => {
                Ok(Address::Postgres(Box::new(postgres::Place::parse(text)?)))
            }
            Some((
                scheme @ ("redis" | "rediss" | "redis+unix" | "valkey" | "valkeys" | "valkey+unix"),
                _,
            )) => Ok(Address::Redis(Box::new(redis::Place::parse(scheme, text)?))),
            // The text itself may carry a password.
            _ => Err(StoreError::Address(
                "a store's address is sqlite:PATH, postgres://USER@HOST/DATABASE or redis://HOST".into(),
            )),
        }
    }

    /// The same with relative paths of files counted from a folder.
    #[must_use]
    pub fn under(mut self, folder: &Path) -> Address {
        let path = match &mut self {
            Address::Sqlite(path) => Some(path),
            Address::Postgres(place) => place.authority.as_mut(),
            Address::Redis(place) => place.authority.as_mut(),
        };
        if let Some(path) = path {
            *path = folder.join(&path);
        }
        self
    }

    /// Whether it carries a password, so that it must not be shown.
    pub fn has_password(&self) -> bool {
        self.password().is_some()
    }

    /// Tells it from any other address, also from one with another password.
    pub fn digest(&self) -> Digest {
        // What is shown of it lacks the password.
        let shown = format!("{self:?}");
        secret::digest(&[shown.as_bytes(), b"\0", self.password().unwrap_or_default()].concat())
    }

    fn password(&self) -> Option<&[u8]> {
        match self {
            Address::Sqlite(_) => None,
            Address::Postgres(place) => place.password(),
            Address::Redis(place) => place.password(),
        }
    }

    /// Opens the store. SQLite's file is created when there is none; to a server a connection is begun, and whoever asks
    /// before it is made waits for it. To be done by the process that uses it: the threads of a store do not survive a fork.
    pub fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Address::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open(path)?)),
            Address::Postgres(place) => Ok(Arc::new(postgres::Postgres::open(place)?)),
            Address::Redis(place) => Ok(Arc::new(redis::Redis::open(place)?)),
        }
    }
}

/// Opens the store at an address.
pub fn open(address: &str) -> Result<Arc<dyn Store>, StoreError> {
    Address::parse(address)?.open()
}

impl Change {
    /// As a line of the log of changes.
    fn line(&self) -> String {
        match self {
            Change::User(id) => format!("user {id}"),
            Change::Key(id) => format!("key {id}"),
            Change::Session(digest) => format!("session {}", hex(digest)),
        }
    }

    /// What [`Change::line`] wrote.
    fn parse(line: &str) -> Result<Change, StoreError> {
        let change = match line.split_once(' ') {
            Some(("user", id)) => Some(Change::User(id.into())),
            Some(("key", id)) => Some(Change::Key(id.into())),
            Some(("session", digest)) => unhex(digest).map(Change::Session),
            _ => None,
        };
        change.ok_or_else(|| StoreError::Corrupt("a line of the log of changes".into()))
    }
}

/// A digest as people see it: it opens nothing, but it names a session.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest that [`hex`] wrote.
pub fn unhex(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}
