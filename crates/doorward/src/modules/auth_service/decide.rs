//! The decision of a service about a request.

use std::borrow::Cow;
use std::sync::Arc;

use auth::check::{self, Checked, Why};
use auth::identity::Identity;
use auth::store::Time;

use super::asked::Asked;
use super::challenge::Cause;
use super::counts::{Answer, Method};
use super::credentials::Credentials;
use super::passwords::{self, Failed};
use super::rules::Objection;
use super::service::Service;
use crate::exchange::Exchange;
use crate::modules::auth_outcome::Reason;
use crate::run::Stop;

/// What a service says.
pub enum Decision {
    /// It is somebody, by that method, and may pass.
    Known(Arc<Identity>, Method),
    /// It may not.
    Refused(Refusal),
    /// Nobody can tell, for this reason.
    Unavailable(Reason, String),
}

/// Whose credentials are.
pub enum Found {
    /// Nobody's: there are none.
    Nothing,
    /// This user's, or this client's.
    Known(Arc<Identity>),
    /// They are not good; why, in words for the operator.
    Wrong(Reason, Cow<'static, str>),
    /// Nobody can tell.
    Unavailable(Reason, String),
}

impl Found {
    /// What is known of credentials that a store has; `reason` is why wrong ones are refused.
    fn stored(checked: Checked, reason: Reason) -> Found {
        match checked {
            Ok(Ok(identity)) => Found::Known(identity),
            Ok(Err(why)) => Found::Wrong(reason, why.as_str().into()),
            Err(error) => Found::Unavailable(Reason::StoreUnavailable, error.to_string()),
        }
    }
}

/// Why somebody may not pass.
pub struct Refusal {
    /// 401 or 403.
    pub status: u16,
    /// The word for it.
    pub reason: Reason,
    /// What the operator reads.
    pub log: String,
    /// Values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
    /// Whether a login would help.
    pub is_login_of_use: bool,
}

/// Decides; a stop where the client does not wait for it.
pub async fn decide(service: &Service, asked: &Asked<'_>, ex: &mut Exchange<'_>) -> Result<Decision, Stop> {
    let credentials = Credentials::find(service, ex);
    let method = credentials.method();
    let decision = match check(service, credentials, ex).await? {
        Found::Nothing => Decision::Refused(missing(service)),
        Found::Unavailable(reason, why) => Decision::Unavailable(reason, why),
        Found::Wrong(reason, why) => Decision::Refused(wrong(service, method, reason, &why)),
        Found::Known(identity) => {
            let rule = service.rules.iter().find(|rule| rule.fits(asked));
            match rule.and_then(|rule| rule.objection(&identity)) {
                None => Decision::Known(identity, method),
                Some(objection) => Decision::Refused(not_enough(service, &identity, &objection)),
            }
        }
    };
    let answer = match &decision {
        Decision::Known(..) => Answer::Allowed,
        Decision::Refused(refusal) if refusal.status == 403 => Answer::Forbidden,
        Decision::Refused(_) => Answer::Refused,
        Decision::Unavailable(..) => Answer::Unavailable,
    };
    service.count(method, answer);
    Ok(decision)
}

async fn check(
    service: &Service,
    credentials: Credentials<'_, '_>,
    ex: &mut Exchange<'_>,
) -> Result<Found, Stop> {
    let grace = service.grace;
    let now = Time(net::clock::wall().0);
    Ok(match credentials {
        Credentials::None => Found::Nothing,
        Credentials::Ambiguous => Found::stored(Ok(Err(Why::Malformed)), Reason::BadCredentials),
        Credentials::ApiKey(text) => {
            let checked = async { check::key(service.directory()?, text, grace, now).await };
            Found::stored(checked.await, Reason::BadCredentials)
        }
        Credentials::Session(id) => {
            let idle = service.session.as_ref().map_or(0, |session| session.idle);
            let checked = async { check::session(service.directory()?, id, idle, grace, now).await };
            let checked = checked.await;
            // Who comes back with an old session guesses nothing; what no session looks like was made up.
            let reason = match checked {
                Ok(Err(Why::Malformed)) => Reason::BadCredentials,
                _ => Reason::SessionOver,
            };
            Found::stored(checked, reason)
        }
        Credentials::Password(user, password) => {
            let checked =
                match passwords::check(service, service.passwords.as_ref(), ex, &user, password).await {
                    Ok(checked) => Ok(checked),
                    Err(Failed::Store(error)) => Err(error),
                    Err(Failed::Stop(stop)) => return Err(stop),
                };
            Found::stored(checked, Reason::BadCredentials)
        }
        Credentials::Jwt(text, tokens) => tokens.check(ex, text).await?,
        Credentials::Token(token, introspection) => introspection.check(ex, token).await?,
    })
}

fn missing(service: &Service) -> Refusal {
    Refusal {
        status: 401,
        reason: Reason::NoCredentials,
        log: "no credentials".to_owned(),
        challenges: service.challenges.of(&Cause::Missing),
        is_login_of_use: true,
    }
}

fn wrong(service: &Service, method: Method, reason: Reason, why: &str) -> Refusal {
    let cause = match method {
        Method::ApiKey | Method::Jwt | Method::Introspection => Cause::Token,
        _ => Cause::Wrong,
    };
    Refusal {
        status: 401,
        reason,
        log: format!("{}: {why}", method.as_str()),
        challenges: service.challenges.of(&cause),
        is_login_of_use: method == Method::Session,
    }
}

fn not_enough(service: &Service, identity: &Identity, objection: &Objection<'_>) -> Refusal {
    let (cause, what) = match objection {
        Objection::Lacking(lack) => (Cause::of(lack), lack.to_string()),
        Objection::Denied => (Cause::Forbidden, "denied by auth_rule".to_owned()),
    };
    Refusal {
        status: 403,
        reason: Reason::Forbidden,
        log: format!("user \"{}\": {what}", identity.name),
        challenges: service.challenges.of(&cause),
        is_login_of_use: false,
    }
}
