//! How a location checks a request's token: with the keys that are at hand, or that have to be asked for first.

use std::borrow::Cow;
use std::sync::Arc;

use auth::identity::Lack;
use auth::jwt::{KeySet, Refusal, Signed, Token};

use super::challenge;
use super::counts::Counts;
use super::key_request::{KeyRequest, Missing};
use super::keys::Keys;
use super::known::Known;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::modules::auth_require::{self, Line};
use crate::modules::core;
use crate::plan::Verdict;
use crate::run::Stop;
use crate::variables::Template;

/// How a location checks tokens.
pub struct Jwt {
    /// Tells it from every other location of the configuration.
    pub(super) number: u32,
    pub(super) realm: Template,
    /// The variable that has the token; none where `Authorization` has it.
    pub(super) token: Option<Template>,
    pub(super) keys: Keys,
    /// In seconds.
    pub(super) leeway: f64,
    pub(super) required: Box<[Line]>,
    pub(super) known: Arc<Known>,
    pub(super) counts: Option<Counts>,
}

/// What came of a request's token.
#[derive(Clone)]
pub struct Seen {
    /// The number of the location that looked at it.
    by: u32,
    token: Outcome,
}

/// The token if it is right; else why not, with no reason where there is none.
type Outcome = Result<Arc<Token>, Option<Refusal>>;

impl Jwt {
    /// Lets the request pass when its token is right and says what is required.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let realm = self.realm.eval(ex);
        if realm == b"off" {
            return Ok(Verdict::Declined);
        }
        let seen = match self.look(ex) {
            Some(token) => token,
            None => Box::pin(self.look_with_keys(ex)).await?,
        };
        let token = match seen {
            Ok(token) => token,
            Err(None) => {
                ex.log(Level::Info, format_args!("no token was provided for JWT authentication"));
                auth_outcome::set_reason(ex, Reason::NoCredentials);
                return Err(challenge::without_token(ex, &realm));
            }
            Err(Some(refusal)) => {
                ex.log(Level::Error, format_args!("authentication refused: {refusal}"));
                auth_outcome::set_reason(ex, reason(refusal));
                return Err(challenge::of_refusal(ex, &realm, refusal));
            }
        };
        if let Err((status, unmet)) = auth_require::first_unmet(&self.required, ex) {
            ex.log(Level::Error, format_args!("authentication refused: required, {unmet}"));
            auth_outcome::set_reason(ex, Reason::Required);
            return Err(challenge::of_requirement(ex, &realm, status));
        }
        let mut user = Vec::new();
        if let Some(subject) = token.claims.get("sub") {
            auth::json::text(subject, &mut user);
        }
        let mut outcome = ex.visit.auth.borrow_mut();
        outcome.user = user;
        outcome.method = Some("jwt");
        outcome.identity = Some(token.identity.clone());
        Ok(Verdict::Allowed)
    }

    /// Tells the client what it lacks, where its token is right and something else is required (`auth_require`).
    pub fn challenge(&self, ex: &mut Exchange<'_>, lack: &Lack<'_>, status: u16) {
        let realm = self.realm.eval(ex);
        challenge::of_lack(ex, &realm, lack, status);
    }

    /// The services that are asked for keys.
    pub fn key_requests(&self) -> impl Iterator<Item = &KeyRequest> {
        self.keys.requests()
    }

    /// What is known of the request's token without asking anybody, for who only looks.
    pub fn preview(&self, ex: &Exchange<'_>) -> String {
        match self.look(ex) {
            Some(Ok(_)) => "the token that it has is right".to_owned(),
            Some(Err(Some(refusal))) => format!("{refusal}: 401"),
            Some(Err(None)) => "it has none: 401".to_owned(),
            None => "the keys have to be asked for".to_owned(),
        }
    }

    /// Looks at the request's token, unless this location did so before. Nothing comes of it where the keys are not at
    /// hand, or where newer ones may be needed.
    fn look(&self, ex: &Exchange<'_>) -> Option<Outcome> {
        if let Some(seen) = &ex.visit.auth.borrow().jwt
            && seen.by == self.number
        {
            return Some(seen.token.clone());
        }
        // While the token's own variable is evaluated there is none, also where it is made of what the token says.
        let before = ex.visit.auth.borrow_mut().jwt.replace(Seen { by: self.number, token: Err(None) });
        let outcome = match self.token(ex) {
            None => Some(Err(None)),
            Some(text) => self.keys.at_hand(ex).map(|sets| self.verify(&text, &sets)),
        };
        let outcome = outcome.filter(|outcome| {
            self.keys.requests().next().is_none() || !matches!(outcome, Err(Some(Refusal::UnknownKey)))
        });
        ex.visit.auth.borrow_mut().jwt = match &outcome {
            Some(token) => Some(Seen { by: self.number, token: token.clone() }),
            None => before,
        };
        outcome
    }

    /// The same with keys that are asked for.
    async fn look_with_keys(&self, ex: &mut Exchange<'_>) -> Result<Outcome, Stop> {
        let outcome = match self.verify_with_keys(ex).await {
            Ok(outcome) => outcome,
            Err(Missing::Stop(stop)) => return Err(stop),
            Err(Missing::Failed) => {
                auth_outcome::refuse(ex, Reason::NoKeys);
                return Err(Stop::Status(500));
            }
        };
        ex.visit.auth.borrow_mut().jwt = Some(Seen { by: self.number, token: outcome.clone() });
        Ok(outcome)
    }

    async fn verify_with_keys(&self, ex: &mut Exchange<'_>) -> Result<Outcome, Missing> {
        let Some(text) = self.token(ex) else { return Ok(Err(None)) };
        let text = text.into_owned();
        // What no key could make right is no reason to ask for keys.
        if Signed::parse(&text).is_err() {
            return Ok(self.verify(&text, &[]));
        }
        let sets = self.keys.sets(ex).await?;
        let outcome = self.verify(&text, &sets);
        if matches!(outcome, Err(Some(Refusal::UnknownKey)))
            && let Some(newer) = self.keys.newer(ex, &sets).await?
        {
            return Ok(self.verify(&text, &newer));
        }
        Ok(outcome)
    }

    /// The token as it was sent.
    fn token<'e>(&self, ex: &'e Exchange<'_>) -> Option<Cow<'e, [u8]>> {
        let text = match &self.token {
            Some(variable) => Cow::Owned(variable.eval(ex)),
            None => Cow::Borrowed(core::bearer_token(ex)?),
        };
        Some(text).filter(|text| !text.is_empty())
    }

    fn verify(&self, text: &[u8], sets: &[Arc<KeySet>]) -> Outcome {
        let outcome = self.known_or_checked(text, sets);
        if let Some(counts) = &self.counts {
            match &outcome {
                Ok((_, true)) => counts.known.add_one(),
                Ok((_, false)) => counts.checked.add_one(),
                Err(_) => counts.refused.add_one(),
            }
        }
        outcome.map(|(token, _)| token).map_err(Some)
    }

    /// The token if it is right, and whether that was known before.
    fn known_or_checked(&self, text: &[u8], sets: &[Arc<KeySet>]) -> Result<(Arc<Token>, bool), Refusal> {
        let (seconds, milliseconds) = net::clock::wall();
        let now = seconds as f64 + f64::from(milliseconds) / 1000.0;
        let in_time = |token: &Token| token.check_time(now, self.leeway);
        let key = self.known.key(sets, text);
        if let Some(token) = self.known.find(&key) {
            in_time(&token).inspect_err(|_| self.known.forget(&key))?;
            return Ok((token, true));
        }
        let token = Arc::new(Signed::parse(text).and_then(|signed| signed.verify(sets))?);
        in_time(&token)?;
        self.known.keep(&key, &token);
        Ok((token, false))
    }

    /// The token of a request whose access phase is still to come.
    fn ahead(&self, ex: &Exchange<'_>) -> Option<Arc<Token>> {
        if self.realm.as_literal().is_none() && self.realm.eval(ex) == b"off" {
            return None;
        }
        self.look(ex)?.ok()
    }
}

/// The request's token, where it is right.
pub(super) fn token(ex: &Exchange<'_>) -> Option<Arc<Token>> {
    let seen = ex.visit.auth.borrow().jwt.clone();
    match seen {
        Some(seen) => seen.token.ok(),
        None => ex.plan.jwt.as_ref()?.ahead(ex),
    }
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Expired => Reason::TokenExpired,
        Refusal::NotYetValid => Reason::TokenNotYetValid,
        Refusal::UnknownKey => Reason::UnknownKey,
        _ => Reason::BadToken,
    }
}
