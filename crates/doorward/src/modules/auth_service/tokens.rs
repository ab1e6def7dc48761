//! `auth_jwt` in a service: JSON Web Tokens of its users, who need not be in a store.

use auth::expected::Expected;

use super::decide::Found;
use crate::exchange::Exchange;
use crate::modules::auth_jwt::{self, Missing, Verifier};
use crate::modules::auth_outcome::Reason;
use crate::run::Stop;

/// How a service takes tokens.
pub struct Tokens {
    verifier: Verifier,
    expected: Expected,
}

impl Tokens {
    /// Those that the verifier finds right, of the issuer and for the audience that are expected.
    pub fn new(verifier: Verifier, expected: Expected) -> Tokens {
        Tokens { verifier, expected }
    }

    /// Whose token it is.
    pub async fn check(&self, ex: &mut Exchange<'_>, text: &[u8]) -> Result<Found, Stop> {
        let checked = match self.verifier.check(ex, text) {
            Some(checked) => checked,
            None => match Box::pin(self.verifier.check_with_keys(ex, text)).await {
                Ok(checked) => checked,
                Err(Missing::Stop(stop)) => return Err(stop),
                Err(Missing::Failed) => {
                    return Ok(Found::Unavailable(Reason::NoKeys, "there are no keys for tokens".to_owned()));
                }
            },
        };
        Ok(match checked {
            Err(refusal) => Found::Wrong(auth_jwt::reason(refusal), refusal.to_string().into()),
            Ok(token) => match self.expected.check(&token.claims) {
                Err(unexpected) => Found::Wrong(Reason::BadToken, unexpected.to_string().into()),
                // Those behind the gateway would take it for nobody's.
                Ok(()) if token.identity.id.is_empty() => {
                    Found::Wrong(Reason::BadToken, "the token names nobody (sub)".into())
                }
                Ok(()) => Found::Known(token.identity.clone()),
            },
        })
    }
}

/// Whether a bearer token is to be one of these: three parts (RFC 7515, 7.1).
pub fn looks_like_one(token: &[u8]) -> bool {
    token.iter().filter(|byte| **byte == b'.').count() == 2
}
