//! `auth_jwt_key_request`: keys that another location is asked for, such as one that passes to an issuer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auth::jwt::{KeySet, MOST_SET};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::counts::KeyCounts;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_request::Uri;
use crate::own_request::OwnRequest;
use crate::run::Stop;

/// How long another request's question is waited for, in milliseconds.
const PATIENCE: u64 = 60_000;

/// How often tokens may have keys asked for anew whose key is not known, in milliseconds: anybody can send such tokens.
const SEEKING: u64 = 10_000;

/// Who knows the keys, and what it last said; shared by the workers.
pub struct KeyRequest {
    uri: Uri,
    /// How long an answer is used, in milliseconds; 0 asks for every request.
    lifetime: u64,
    /// Whose turn it is to ask.
    turn: Semaphore,
    counts: Option<KeyCounts>,
    known: Mutex<Answer>,
}

/// What was last answered.
#[derive(Default)]
struct Answer {
    keys: Option<Arc<KeySet>>,
    /// The hash of the keys' text: the same text is the same set.
    text: Option<blake3::Hash>,
    /// Until when they are used, in milliseconds of [`net::clock::now`].
    until: u64,
    /// How many questions have ended, so that who waited sees that one has.
    ended: u64,
    /// Whether the last one failed.
    failed: bool,
    /// When keys were last asked for because of a token whose key is not known.
    sought: Option<u64>,
}

/// What became of asking.
pub enum Missing {
    /// The service did not answer with keys; the error log says why.
    Failed,
    /// The request ends.
    Stop(Stop),
}

impl From<Stop> for Missing {
    fn from(stop: Stop) -> Missing {
        Missing::Stop(stop)
    }
}

impl KeyRequest {
    /// One that nobody has asked yet.
    pub fn new(uri: Uri, lifetime: u64, counts: Option<KeyCounts>) -> KeyRequest {
        // What depends on a request is no answer to another one.
        let lifetime = if uri.fixed_path().is_some() { lifetime } else { 0 };
        KeyRequest { uri, lifetime, turn: Semaphore::new(1), counts, known: Mutex::default() }
    }

    /// Path and query of the question.
    pub fn target(&self, ex: &Exchange<'_>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
        self.uri.of(ex)
    }

    /// The keys, where they are known.
    pub fn at_hand(&self) -> Option<Arc<KeySet>> {
        let known = self.known();
        known.keys.clone().filter(|_| net::clock::now() < known.until)
    }

    /// The keys, asked for where they are not known. While one request asks, others wait for its answer.
    pub async fn keys(&self, ex: &mut Exchange<'_>) -> Result<Arc<KeySet>, Missing> {
        if self.lifetime == 0 {
            return self.ask(ex).await;
        }
        let ended = {
            let known = self.known();
            if let Some(keys) = known.keys.as_ref().filter(|_| net::clock::now() < known.until) {
                return Ok(keys.clone());
            }
            known.ended
        };
        self.ask_in_turn(ex, ended).await
    }

    /// Other keys than those of that number, if there may be any: for a token whose key is not among them.
    pub async fn newer(&self, ex: &mut Exchange<'_>, number: u64) -> Result<Option<Arc<KeySet>>, Missing> {
        if self.lifetime == 0 {
            return Ok(None);
        }
        let ended = {
            let mut known = self.known();
            if let Some(keys) = known.keys.as_ref().filter(|keys| keys.number() != number) {
                return Ok(Some(keys.clone()));
            }
            let now = net::clock::now();
            let may = known.sought.is_none_or(|sought| now.saturating_sub(sought) >= SEEKING);
            if may {
                known.sought = Some(now);
            } else if self.turn.available_permits() > 0 {
                return Ok(None);
            }
            known.ended
        };
        match self.ask_in_turn(ex, ended).await {
            Ok(keys) => Ok(Some(keys).filter(|keys| keys.number() != number)),
            // The keys that are known are good as long as they were; the token's is none of them.
            Err(Missing::Failed) => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    /// Asks, unless somebody else did since `ended` questions had ended.
    async fn ask_in_turn(&self, ex: &mut Exchange<'_>, ended: u64) -> Result<Arc<KeySet>, Missing> {
        let client = ex.visit.client;
        let _turn: SemaphorePermit<'_> = match client.waiting(PATIENCE, true, self.turn.acquire()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(Interrupted::Elapsed) => return Err(Missing::Failed),
            Err(Interrupted::ClientGone) => return Err(Stop::Gone.into()),
        };
        {
            let known = self.known();
            if known.ended != ended {
                return known.keys.clone().filter(|_| !known.failed).ok_or(Missing::Failed);
            }
        }
        self.ask(ex).await
    }

    async fn ask(&self, ex: &mut Exchange<'_>) -> Result<Arc<KeySet>, Missing> {
        let (path, args) = self.uri.of(ex)?;
        let question = OwnRequest { path, args, form: None };
        let answer = Box::pin(question.ask(ex, MOST_SET)).await?;
        let answer = answer.and_then(|text| self.keep(ex, &text));
        if let Some(counts) = &self.counts {
            if answer.is_ok() { &counts.answered } else { &counts.failed }.add_one();
        }
        let mut known = self.known();
        known.ended += 1;
        known.failed = answer.is_err();
        match answer {
            Ok(keys) => {
                known.until = net::clock::now().saturating_add(self.lifetime);
                Ok(keys)
            }
            Err(why) => {
                drop(known);
                let uri = self.uri.text.escape_ascii();
                ex.log(Level::Error, format_args!("no keys from \"{uri}\" (auth_jwt_key_request): {why}"));
                Err(Missing::Failed)
            }
        }
    }

    /// Makes keys of an answer, and remembers them.
    fn keep(&self, ex: &Exchange<'_>, text: &[u8]) -> Result<Arc<KeySet>, String> {
        let hash = blake3::hash(text);
        if let Answer { keys: Some(keys), text: Some(known), .. } = &*self.known()
            && *known == hash
        {
            return Ok(keys.clone());
        }
        let keys = KeySet::parse(text).map_err(|not| format!("line {}: {not}", not.line))?;
        for unused in keys.ignored().iter().filter(|key| !key.fault.is_for_others()) {
            let (uri, number, fault) = (self.uri.text.escape_ascii(), unused.place.number, unused.fault);
            ex.log(Level::Warn, format_args!("key {number} from \"{uri}\" is not used: it {fault}"));
        }
        let keys = Arc::new(keys);
        let mut known = self.known();
        known.keys = Some(keys.clone());
        known.text = Some(hash);
        Ok(keys)
    }

    fn known(&self) -> MutexGuard<'_, Answer> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
