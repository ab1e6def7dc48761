//! The records of a store as a gateway knows them: in memory, but never longer than a revocation may take.
//!
//! A thread asks the store several times a second what has changed, and what has changed is forgotten. What is in memory is
//! believed only as long as the last such answer is recent; after that each record is read from the store. While the store
//! cannot be asked, what is known goes on for the configured grace, and nothing else does.

mod recent;
mod uses;

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use recent::Recent;
use tokio::sync::watch;
use uses::Uses;

use crate::identity::Identity;
use crate::secret::Digest;
use crate::store::{Address, ApiKey, Change, Session, Store, StoreError, TIMEOUT, Time, User, What};

/// How often the store is asked what has changed.
const PAUSE: Duration = Duration::from_millis(250);

/// How long what is in memory is believed without such an answer, in milliseconds: a revocation holds within that time.
const BELIEVED: u64 = 950;

/// How often it is told when keys and sessions were used: in so many turns.
const TELLING: u32 = 20;

/// How long it is told so at a stretch: then it is asked for changes again, and told more in the next turn.
const STRETCH: Duration = Duration::from_millis(200);

/// What a record in memory takes, roughly, in bytes.
const RECORD: usize = 640;

/// A gateway's view of a store.
pub struct Directory {
    address: Address,
    known: Mutex<Known>,
    /// Grows with each change that was told, so that what was read before it is not kept.
    changes: AtomicU64,
    began: Instant,
    /// When the last answer about changes was asked for, in milliseconds from `began`; 0 before the first.
    synced: AtomicU64,
    is_kept: AtomicBool,
    /// Whether the store was asked for the first time, whatever came of it.
    is_ready: watch::Sender<bool>,
}

struct Known {
    store: Option<Arc<dyn Store>>,
    /// Why the store does not say what has changed.
    failure: Option<StoreError>,
    users: Recent<String, Option<Arc<KnownUser>>>,
    keys: Recent<String, Option<Arc<KnownKey>>>,
    sessions: Recent<Digest, Option<Arc<KnownSession>>>,
    used_keys: Uses<String>,
    used_sessions: Uses<Digest>,
}

/// A user, found by name.
pub struct KnownUser {
    /// The user.
    pub user: User,
    /// As those behind the gateway know the user.
    pub identity: Arc<Identity>,
}

/// A key with its user.
pub struct KnownKey {
    /// The key.
    pub key: ApiKey,
    /// Whether its user is refused, by whatever method.
    pub is_disabled: bool,
    /// Whom it makes of whoever has it.
    pub identity: Arc<Identity>,
    last: AtomicU64,
}

/// A session with its user, and when it was last used here.
pub struct KnownSession {
    /// The session as the store has it.
    pub session: Session,
    /// Whether its user is refused, by whatever method.
    pub is_disabled: bool,
    /// Whom it makes of whoever has it.
    pub identity: Arc<Identity>,
    last: AtomicU64,
}

impl KnownSession {
    /// When it was last used.
    pub fn last_seen(&self) -> Time {
        Time(self.last.load(Relaxed))
    }
}

/// What a thread tells of its store.
pub enum Event<'e> {
    /// It cannot be asked.
    Lost(&'e StoreError),
    /// It can be asked, again or for the first time.
    Found,
    /// It cannot be told when keys and sessions were used, or let go of those that have ended. Later it is told again.
    Untold(&'e StoreError),
}

type Table<K, V> = fn(&mut Known) -> &mut Recent<K, Option<Arc<V>>>;

impl Directory {
    /// A view of the store at an address, which holds about so many bytes. Nothing is opened yet.
    pub fn new(address: Address, bytes: usize) -> Arc<Directory> {
        let records = bytes / RECORD;
        let known = Known {
            store: None,
            failure: None,
            users: Recent::new(records / 4),
            keys: Recent::new(records / 2),
            sessions: Recent::new(records / 4),
            used_keys: Uses::new(),
            used_sessions: Uses::new(),
        };
        Arc::new(Directory {
            address,
            known: Mutex::new(known),
            changes: AtomicU64::new(0),
            began: Instant::now(),
            synced: AtomicU64::new(0),
            is_kept: AtomicBool::new(false),
            is_ready: watch::Sender::new(false),
        })
    }

    /// Opens the store and follows its changes, on a thread of its own that ends with the directory. Who calls again
    /// changes nothing. To be called in the process that serves: threads do not survive a fork.
    pub fn keep(self: &Arc<Self>, tell: impl Fn(Event<'_>) + Send + 'static) {
        if self.is_kept.swap(true, Relaxed) {
            return;
        }
        let directory = Arc::downgrade(self);
        let keeper = thread::Builder::new().name("auth store".into()).spawn(move || keep(&directory, &tell));
        if let Err(error) = keeper {
            self.lock().failure = Some(StoreError::Unavailable(format!("no thread for it: {error}")));
        }
    }

    /// The store itself, for what is to be written. Whoever comes before it is open waits.
    pub async fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        if !*self.is_ready.borrow() {
            // Whether it came or not is seen below.
            let _ = tokio::time::timeout(TIMEOUT, self.is_ready.subscribe().wait_for(|ready| *ready)).await;
        }
        let known = self.lock();
        let none = || StoreError::Unavailable("it is not open yet".into());
        known.store.clone().ok_or_else(|| known.failure.clone().unwrap_or_else(none))
    }

    /// The user of a name. `grace`: how long what is known goes on while the store cannot be asked.
    pub async fn user_named(
        &self,
        name: &str,
        grace: Duration,
    ) -> Result<Option<Arc<KnownUser>>, StoreError> {
        if let Some(found) = self.known(|known| &mut known.users, name, grace) {
            return found;
        }
        self.user_as_stored(name).await
    }

    /// The user of a name as the store has it now.
    pub async fn user_as_stored(&self, name: &str) -> Result<Option<Arc<KnownUser>>, StoreError> {
        let read = async |store: &dyn Store| {
            let user = store.user_by_name(name).await?;
            Ok(user.map(|user| KnownUser { identity: Arc::new(Identity::of_user(&user)), user }))
        };
        self.read(|known| &mut known.users, name, read).await
    }

    /// The key of an id, with its user.
    pub async fn key(&self, id: &str, grace: Duration) -> Result<Option<Arc<KnownKey>>, StoreError> {
        if let Some(found) = self.known(|known| &mut known.keys, id, grace) {
            return found;
        }
        let read = async |store: &dyn Store| {
            let Some(key) = store.key_by_id(id).await? else { return Ok(None) };
            let Some(user) = store.user_by_id(&key.user).await? else { return Ok(None) };
            let identity = Arc::new(Identity::of_key(&key, &user));
            Ok(Some(KnownKey { key, is_disabled: user.disabled, identity, last: AtomicU64::new(0) }))
        };
        self.read(|known| &mut known.keys, id, read).await
    }

    /// The session of a digest, with its user.
    pub async fn session(
        &self,
        digest: &Digest,
        grace: Duration,
    ) -> Result<Option<Arc<KnownSession>>, StoreError> {
        match self.known(|known| &mut known.sessions, digest, grace) {
            Some(found) => found,
            None => self.session_as_stored(digest).await,
        }
    }

    /// The session of a digest as the store has it now: another gateway may know of a later use.
    pub async fn session_as_stored(&self, digest: &Digest) -> Result<Option<Arc<KnownSession>>, StoreError> {
        let read = async |store: &dyn Store| {
            let Some(session) = store.session_by_digest(digest).await? else { return Ok(None) };
            let Some(user) = store.user_by_id(&session.user).await? else { return Ok(None) };
            let identity = Arc::new(Identity::of_user(&user));
            let last = AtomicU64::new(session.last_seen.0);
            Ok(Some(KnownSession { session, is_disabled: user.disabled, identity, last }))
        };
        self.read(|known| &mut known.sessions, digest, read).await
    }

    /// Whether what is in memory is believed: the store said lately what has changed.
    pub fn is_up_to_date(&self) -> bool {
        self.age() <= BELIEVED
    }

    /// Notes that a key was used; the store is told later.
    pub fn key_was_used(&self, known: &KnownKey, now: Time) {
        if known.last.swap(now.0, Relaxed) != now.0 {
            self.lock().used_keys.note(known.key.id.clone(), now);
        }
    }

    /// Notes that a session was used; the store is told later.
    pub fn session_was_used(&self, known: &KnownSession, now: Time) {
        if known.last.swap(now.0, Relaxed) != now.0 {
            self.lock().used_sessions.note(known.session.digest, now);
        }
    }

    /// Forgets a session that was just ended here.
    pub fn forget_session(&self, digest: &Digest) {
        self.changes.fetch_add(1, Relaxed);
        self.lock().sessions.remove(digest);
    }

    /// What is in memory, where that may be believed; the failure, where the store is known not to answer.
    fn known<K, Q, V>(
        &self,
        table: Table<K, V>,
        key: &Q,
        grace: Duration,
    ) -> Option<Result<Option<Arc<V>>, StoreError>>
    where
        K: Borrow<Q> + Hash + Eq,
        Q: Hash + Eq + ?Sized,
    {
        let age = self.age();
        let mut known = self.lock();
        let failure = known.failure.clone();
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let believed = age <= BELIEVED || (failure.is_some() && age <= grace.saturating_add(BELIEVED));
        let found = if believed { table(&mut known).get(key) } else { None };
        found.map(Ok).or(failure.map(Err))
    }

    /// Reads from the store, and keeps what was found unless something changed meanwhile.
    async fn read<K, Q, V>(
        &self,
        table: Table<K, V>,
        key: &Q,
        read: impl AsyncFnOnce(&dyn Store) -> Result<Option<V>, StoreError>,
    ) -> Result<Option<Arc<V>>, StoreError>
    where
        K: Hash + Eq,
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let store = self.store().await?;
        let changes = self.changes.load(Relaxed);
        let found = read(&*store).await?.map(Arc::new);
        let mut known = self.lock();
        if self.changes.load(Relaxed) == changes && self.age() <= BELIEVED {
            table(&mut known).insert(key.to_owned(), found.clone());
        }
        Ok(found)
    }

    /// How long ago the changes were asked for that are known, in milliseconds.
    fn age(&self) -> u64 {
        match self.synced.load(Relaxed) {
            0 => u64::MAX,
            synced => self.now().saturating_sub(synced),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what has changed.
    fn forget(&self, what: &What) {
        let changed = match what {
            What::These(changes) => changes.as_slice(),
            What::Everything => {
                self.changes.fetch_add(1, Relaxed);
                let mut known = self.lock();
                known.users.clear();
                known.keys.clear();
                known.sessions.clear();
                return;
            }
        };
        for change in changed {
            self.changes.fetch_add(1, Relaxed);
            let mut known = self.lock();
            match change {
                Change::Key(id) => known.keys.remove(id),
                Change::Session(digest) => known.sessions.remove(digest),
                Change::User(id) => {
                    // A name that nobody had may be that of a new user.
                    known.users.retain(|known| known.as_ref().is_some_and(|known| known.user.id != *id));
                    known.keys.retain(|known| known.as_ref().is_none_or(|known| known.key.user != *id));
                    known
                        .sessions
                        .retain(|known| known.as_ref().is_none_or(|known| known.session.user != *id));
                }
            }
        }
    }
}

/// Follows a store as long as its directory is used.
fn keep(directory: &Weak<Directory>, tell: &dyn Fn(Event<'_>)) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = StoreError::Unavailable(format!("no event loop for it: {error}"));
            tell(Event::Lost(&error));
            if let Some(directory) = directory.upgrade() {
                directory.lock().failure = Some(error);
            }
            return;
        }
    };
    let mut revision = None;
    // What was told last: a store that stays away is told once.
    let mut said: Option<Option<String>> = None;
    let mut untold: Option<String> = None;
    let mut is_telling = false;
    for turn in 0_u32.. {
        let Some(directory) = directory.upgrade() else { return };
        let result = runtime.block_on(directory.follow(&mut revision));
        is_telling |= turn % TELLING == TELLING - 1;
        if let (Ok(store), true) = (&result, is_telling) {
            // Who may pass is decided by what was read: the store is not away because it cannot be written to.
            let told = runtime.block_on(directory.tell_uses(&**store));
            is_telling = matches!(told, Ok(false));
            let words = told.as_ref().err().map(ToString::to_string);
            if let Err(error) = &told
                && words != untold
            {
                tell(Event::Untold(error));
            }
            untold = words;
        }
        let failure = result.err();
        let words = failure.as_ref().map(ToString::to_string);
        if said.as_ref() != Some(&words) {
            match &failure {
                Some(error) => tell(Event::Lost(error)),
                None => tell(Event::Found),
            }
            said = Some(words);
        }
        directory.lock().failure = failure;
        directory.is_ready.send_replace(true);
        drop(directory);
        thread::sleep(PAUSE);
    }
}

impl Directory {
    /// Asks what has changed; the store that said so.
    async fn follow(&self, revision: &mut Option<u64>) -> Result<Arc<dyn Store>, StoreError> {
        let open = self.lock().store.clone();
        let store = match open {
            Some(store) => store,
            None => {
                let opened = self.address.open()?;
                self.lock().store = Some(opened.clone());
                opened
            }
        };
        let began = self.now();
        let changes = store.changes_since(*revision).await?;
        self.forget(&changes.what);
        *revision = Some(changes.revision);
        self.synced.store(began, Relaxed);
        Ok(store)
    }

    /// Tells when keys and sessions were used, for a while; whether all was told.
    async fn tell_uses(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let began = Instant::now();
        loop {
            let (keys, sessions) = {
                let known = self.lock();
                (known.used_keys.portion(), known.used_sessions.portion())
            };
            if keys.is_empty() && sessions.is_empty() {
                store.purge_sessions(Time::now()).await?;
                return Ok(true);
            }
            if !keys.is_empty() {
                store.touch_keys(keys.clone()).await?;
                self.lock().used_keys.told(&keys);
            }
            if !sessions.is_empty() {
                store.touch_sessions(sessions.clone()).await?;
                self.lock().used_sessions.told(&sessions);
            }
            if began.elapsed() >= STRETCH {
                return Ok(false);
            }
        }
    }
}
