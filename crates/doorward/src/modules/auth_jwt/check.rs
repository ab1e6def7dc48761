//! How a location checks a request's token: with the keys that are at hand, or that have to be asked for first.

use std::borrow::Cow;
use std::sync::Arc;

use auth::identity::Lack;
use auth::jwt::{Refusal, Token};

use super::challenge;
use super::key_request::{KeyRequest, Missing};
use super::verifier::Verifier;
use crate::authorization::bearer_token;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::modules::auth_require::{self, Line};
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
    pub(super) verifier: Verifier,
    pub(super) required: Box<[Line]>,
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
        self.verifier.key_requests()
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
            Some(text) => self.verifier.check(ex, &text).map(|checked| checked.map_err(Some)),
        };
        ex.visit.auth.borrow_mut().jwt = match &outcome {
            Some(token) => Some(Seen { by: self.number, token: token.clone() }),
            None => before,
        };
        outcome
    }

    /// The same with keys that are asked for.
    async fn look_with_keys(&self, ex: &mut Exchange<'_>) -> Result<Outcome, Stop> {
        let text = self.token(ex).map(Cow::into_owned);
        let checked = match &text {
            None => Ok(Err(None)),
            Some(text) => self.verifier.check_with_keys(ex, text).await.map(|checked| checked.map_err(Some)),
        };
        let outcome = match checked {
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

    /// The token as it was sent.
    fn token<'e>(&self, ex: &'e Exchange<'_>) -> Option<Cow<'e, [u8]>> {
        let text = match &self.token {
            Some(variable) => Cow::Owned(variable.eval(ex)),
            None => Cow::Borrowed(bearer_token(ex)?),
        };
        Some(text).filter(|text| !text.is_empty())
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

/// The word for why a token is refused.
pub fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Expired => Reason::TokenExpired,
        Refusal::NotYetValid => Reason::TokenNotYetValid,
        Refusal::UnknownKey => Reason::UnknownKey,
        _ => Reason::BadToken,
    }
}
