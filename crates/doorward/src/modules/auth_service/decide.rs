//! The decision of a service about a request.

use std::sync::Arc;

use auth::check::{self, Checked, Why};
use auth::identity::Identity;
use auth::store::{StoreError, Time};

use super::asked::Asked;
use super::challenge::Cause;
use super::counts::{Answer, Method};
use super::credentials::Credentials;
use super::passwords::{self, Failed};
use super::rules::Says;
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
    /// Nobody can tell.
    Unavailable(StoreError),
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
pub async fn decide(service: &Service, asked: &Asked<'_>, ex: &Exchange<'_>) -> Result<Decision, Stop> {
    let credentials = Credentials::find(service, ex);
    let method = credentials.method();
    let decision = match check(service, credentials, ex).await? {
        None => Decision::Refused(missing(service)),
        Some(Err(error)) => Decision::Unavailable(error),
        Some(Ok(Err(why))) => Decision::Refused(wrong(service, method, why)),
        Some(Ok(Ok(identity))) => {
            let rule = service.rules.iter().find(|rule| rule.fits(asked));
            match rule.map(|rule| rule.judge(&identity)) {
                None | Some(Says::Enough) => Decision::Known(identity, method),
                Some(says) => Decision::Refused(not_enough(service, &identity, &says)),
            }
        }
    };
    let answer = match &decision {
        Decision::Known(..) => Answer::Allowed,
        Decision::Refused(refusal) if refusal.status == 403 => Answer::Forbidden,
        Decision::Refused(_) => Answer::Refused,
        Decision::Unavailable(_) => Answer::Unavailable,
    };
    service.count(method, answer);
    Ok(decision)
}

/// Whose the credentials are; nothing where there are none.
async fn check(
    service: &Service,
    credentials: Credentials<'_>,
    ex: &Exchange<'_>,
) -> Result<Option<Checked>, Stop> {
    let (directory, grace) = (&service.directory, service.grace);
    let now = Time(net::clock::wall().0);
    Ok(Some(match credentials {
        Credentials::None => return Ok(None),
        Credentials::Ambiguous => Ok(Err(Why::Malformed)),
        Credentials::ApiKey(text) => check::key(directory, text, grace, now).await,
        Credentials::Session(id) => {
            let idle = service.session.as_ref().map_or(0, |session| session.idle);
            check::session(directory, id, idle, grace, now).await
        }
        Credentials::Password(user, password) => {
            match passwords::check(service, service.passwords.as_ref(), ex, &user, password).await {
                Ok(checked) => Ok(checked),
                Err(Failed::Store(error)) => Err(error),
                Err(Failed::Stop(stop)) => return Err(stop),
            }
        }
    }))
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

fn wrong(service: &Service, method: Method, why: Why) -> Refusal {
    let is_session = method == Method::Session;
    // Who comes back with an old session guesses nothing.
    let reason = if is_session { Reason::SessionOver } else { Reason::BadCredentials };
    let cause = if method == Method::ApiKey { Cause::Token } else { Cause::Wrong };
    Refusal {
        status: 401,
        reason,
        log: format!("{}: {}", method.as_str(), why.as_str()),
        challenges: service.challenges.of(&cause),
        is_login_of_use: is_session,
    }
}

fn not_enough(service: &Service, identity: &Identity, says: &Says<'_>) -> Refusal {
    let (cause, what) = match says {
        Says::Lacking(lack) => (Cause::of(lack), lack.to_string()),
        Says::Denied | Says::Enough => (Cause::Forbidden, "denied by auth_rule".to_owned()),
    };
    Refusal {
        status: 403,
        reason: Reason::Forbidden,
        log: format!("user \"{}\": {what}", identity.name),
        challenges: service.challenges.of(&cause),
        is_login_of_use: false,
    }
}
