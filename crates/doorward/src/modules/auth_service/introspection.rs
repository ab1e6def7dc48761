//! `auth_introspection`: tokens that an authorization server is asked about (RFC 7662), by way of a location that passes the
//! question on.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use auth::expected::Expected;
use auth::identity::Identity;
use auth::introspection::{self, MOST_ANSWER, Refusal};
use conf::Diagnostic;

use super::counts::Questions;
use super::decide::Found;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::flights::{Flights, Turn};
use crate::metrics::Metrics;
use crate::modules::auth_outcome::Reason;
use crate::modules::auth_request::{Key, Secret, Uri};
use crate::own_request::OwnRequest;
use crate::run::Stop;
use crate::zone::Table;

/// The bytes that answers may take, for each service.
const ROOM: usize = 16 << 20;

/// How long another request's question is waited for, in milliseconds.
const PATIENCE: u64 = 60_000;

/// Who is asked about tokens, and what was answered lately.
pub struct Introspection {
    uri: Uri,
    lifetimes: Lifetimes,
    expected: Expected,
    secret: Secret,
    known: Mutex<Table<Answer>>,
    flights: Flights<Asked>,
    /// What is counted, where something shows it.
    counts: OnceLock<Questions>,
}

/// How long answers are used at most, in milliseconds.
#[derive(Clone, Copy)]
pub struct Lifetimes {
    /// That a token is active; never longer than it is.
    pub active: u64,
    /// That it is not.
    pub refused: u64,
}

/// What came of a question, or why nothing did.
type Asked = Result<Answer, Arc<str>>;

#[derive(Clone)]
struct Answer {
    token: Result<Arc<Identity>, Refusal>,
    /// Until when it is used, in milliseconds of [`net::clock::now`].
    until: u64,
    /// When the token's time is over, in seconds since 1970.
    expires: Option<u64>,
}

impl Introspection {
    /// One that nobody has asked yet.
    pub fn new(uri: Uri, lifetimes: Lifetimes, expected: Expected) -> Result<Introspection, Diagnostic> {
        let secret = Secret::random().map_err(|error| {
            Diagnostic::nowhere(format!(
                "the system has no random numbers for \"auth_introspection\": {error}"
            ))
        })?;
        let known = Mutex::new(Table::new(ROOM));
        let flights = Flights::default();
        Ok(Introspection { uri, lifetimes, expected, secret, known, flights, counts: OnceLock::new() })
    }

    /// Counts questions from now on.
    pub fn measure(&self, metrics: &Metrics, service: &str) {
        self.counts.get_or_init(|| Questions::new(metrics, service));
    }

    /// Path and query of the question.
    pub fn target(&self, ex: &Exchange<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
        self.uri.of(ex).ok()
    }

    /// Whose token it is. While one request asks about it, others wait for the answer.
    pub async fn check(&self, ex: &mut Exchange<'_>, token: &[u8]) -> Result<Found, Stop> {
        if !introspection::is_token(token) {
            return Ok(Found::Wrong(Reason::BadToken, "malformed".into()));
        }
        let key = self.key(ex, token);
        let asked = match self.find(&key) {
            Some(answer) => Ok(answer),
            None => Box::pin(self.ask_once(ex, key, token)).await?,
        };
        Ok(match asked {
            Ok(Answer { token: Ok(identity), .. }) => Found::Known(identity),
            Ok(Answer { token: Err(refusal), .. }) => {
                Found::Wrong(reason(refusal), refusal.to_string().into())
            }
            Err(why) => Found::Unavailable(
                Reason::IntrospectionUnavailable,
                format!("\"{}\" says nothing of the token: {why}", self.uri.text.escape_ascii()),
            ),
        })
    }

    /// What the answer about a token is found by: nothing that the token could be made of again. Each server has a location of its
    /// own for the question.
    fn key(&self, ex: &Exchange<'_>, token: &[u8]) -> Key {
        let server = std::ptr::from_ref(ex.server).addr() as u64;
        self.secret.key(&[&server.to_le_bytes(), token].concat())
    }

    fn find(&self, key: &Key) -> Option<Answer> {
        let mut known = self.known();
        let answer = known.get(key)?;
        let is_over = answer.expires.is_some_and(|end| net::clock::wall().0 >= end);
        if is_over || net::clock::now() >= answer.until {
            known.remove(key);
            return None;
        }
        Some(answer.clone())
    }

    async fn ask_once(&self, ex: &mut Exchange<'_>, key: Key, token: &[u8]) -> Result<Asked, Stop> {
        let seat = self.flights.seat(key);
        let waited = ex.visit.client.waiting(PATIENCE, true, seat.wait()).await;
        let _turn = match waited {
            Ok(Some(Turn::Ask(turn))) => turn,
            Ok(Some(Turn::Landed(asked))) => return Ok(asked),
            Ok(None) | Err(Interrupted::Elapsed) => {
                return Ok(Err("the answer was waited for too long".into()));
            }
            Err(Interrupted::ClientGone) => return Err(Stop::Gone),
        };
        // Somebody else's question may have ended just before this one began.
        let asked = match self.find(&key) {
            Some(answer) => Ok(answer),
            None => {
                let asked = self.ask(ex, &key, token).await?;
                if let Some(counts) = self.counts.get() {
                    let counter = match &asked {
                        Ok(answer) if answer.token.is_ok() => &counts.active,
                        Ok(_) => &counts.refused,
                        Err(_) => &counts.failed,
                    };
                    counter.add_one();
                }
                asked
            }
        };
        seat.land(asked.clone());
        Ok(asked)
    }

    async fn ask(&self, ex: &mut Exchange<'_>, key: &Key, token: &[u8]) -> Result<Asked, Stop> {
        let (path, args) = self.uri.of(ex)?;
        let question = OwnRequest { path, args, form: Some(introspection::form(token)) };
        let text = match question.ask(ex, MOST_ANSWER).await? {
            Ok(text) => text,
            Err(why) => return Ok(Err(why.into())),
        };
        let (now, milliseconds) = net::clock::wall();
        Ok(match introspection::judge(&text, &self.expected, now) {
            Err(fault) => Err(fault.to_string().into()),
            Ok(Err(refusal)) => Ok(self.keep(key, Err(refusal), self.lifetimes.refused, None)),
            Ok(Ok(active)) => {
                let left = active.expires.map(|end| {
                    end.saturating_sub(now).saturating_mul(1000).saturating_sub(milliseconds.into())
                });
                let lifetime = self.lifetimes.active.min(left.unwrap_or(u64::MAX));
                Ok(self.keep(key, Ok(Arc::new(active.identity)), lifetime, active.expires))
            }
        })
    }

    fn keep(
        &self,
        key: &Key,
        token: Result<Arc<Identity>, Refusal>,
        lifetime: u64,
        expires: Option<u64>,
    ) -> Answer {
        let answer = Answer { token, until: net::clock::now().saturating_add(lifetime), expires };
        if lifetime > 0 {
            let size =
                answer.token.as_ref().map_or(0, |identity| size_of::<Identity>() + 16 + identity.size());
            self.known().insert_sized(key, answer.clone(), size, |_| true);
        }
        answer
    }

    fn known(&self) -> MutexGuard<'_, Table<Answer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Expired => Reason::TokenExpired,
        Refusal::NotYetValid => Reason::TokenNotYetValid,
        Refusal::Inactive | Refusal::Unexpected(_) => Reason::BadToken,
    }
}
