//! `auth_login NAME` in a location: the page where users log in with name and password, and what starts their sessions.

mod forgery;
mod html;
mod logout;

use std::sync::Arc;

use auth::check::Why;
use auth::identity::Identity;
use auth::session::{NewSession, digest_of};
use auth::store::{Session, StoreError, Time};
use wire::Name;
use wire::destination::{self, Destination};
use wire::form::{self, BadForm};
use wire::h1::Method;

pub use self::logout::Logout;

use self::forgery::Forged;
use self::html::{Message, Page, Which};
use super::counts::{self, Answer};
use super::credentials::cookie;
use super::passwords::{self, Failed};
use super::service::{Service, SessionRules};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::hashing;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::run::{self, Stop};

/// Longest form, in bytes.
const LONGEST_FORM: usize = 16 << 10;

/// A login page.
pub struct Login {
    /// The service whose users log in.
    pub service: Arc<Service>,
}

/// How sessions are kept, for a page: one must not be what `auth_request` takes for a yes.
fn session_of<'s>(service: &'s Service, ex: &Exchange<'_>) -> Result<&'s SessionRules, Stop> {
    service.session.as_ref().filter(|_| ex.is_main()).ok_or(Stop::Status(403))
}

/// Why nobody is logged in.
enum NoLogin {
    /// The page says so.
    Page(u16, Message),
    /// The request ends.
    Stop(Stop),
}

impl Login {
    /// Shows the page, or takes what was filled in.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let session = session_of(&self.service, ex)?;
        match ex.method {
            Method::Get | Method::Head => {
                let asked = field(&ex.args, "return").unwrap_or_default();
                let send_back = destination_of(session, &asked).unwrap_or_else(|| b"/".to_vec());
                let page = Page { which: Which::Login, send_back, user: b"", message: None };
                html::show(ex, &self.service, session, 200, &page)
            }
            Method::Post => self.post(ex, session).await,
            _ => Err(not_allowed(ex)),
        }
    }

    async fn post(&self, ex: &mut Exchange<'_>, session: &SessionRules) -> Result<Body, Stop> {
        let form = form_of(ex).await?;
        let send_back = destination_of(session, &field(&form, "return")?).unwrap_or_else(|| b"/".to_vec());
        let (user, password) = (field(&form, "user")?, field(&form, "password")?);
        let done = match forgery::check(ex, &field(&form, "token")?) {
            Ok(()) => self.log_in(ex, session, &user, password).await,
            Err(forged) => Err(NoLogin::Page(403, refuse_forged(ex, forged))),
        };
        match done {
            Ok(cookie) => {
                ex.response.fields.add("Set-Cookie", cookie.as_bytes());
                Ok(send_on(ex, &send_back))
            }
            Err(NoLogin::Stop(stop)) => Err(stop),
            Err(NoLogin::Page(status, message)) => {
                let page = Page { which: Which::Login, send_back, user: &user, message: Some(message) };
                html::show(ex, &self.service, session, status, &page)
            }
        }
    }

    /// Starts a session of the user, and ends that of the browser; what comes back is the cookie.
    async fn log_in(
        &self,
        ex: &mut Exchange<'_>,
        session: &SessionRules,
        user: &[u8],
        password: Vec<u8>,
    ) -> Result<String, NoLogin> {
        let limit = ex.plan.auth_limit.as_deref();
        run::check(limit, ex).map_err(limited)?;
        let checked = passwords::check(&self.service, None, ex, user, password).await;
        let identity = match checked {
            Ok(Ok(identity)) => identity,
            Ok(Err(why)) => return Err(self.wrong(ex, user, why).await),
            Err(Failed::Store(error)) => return Err(self.unavailable(ex, &error)),
            Err(Failed::Stop(Stop::Status(503))) => {
                self.service.count(counts::Method::Login, Answer::Unavailable);
                hashing::come_again(ex);
                return Err(NoLogin::Page(503, Message::Busy));
            }
            Err(Failed::Stop(stop)) => return Err(NoLogin::Stop(stop)),
        };
        // What failed meanwhile counts, as it does where credentials are checked in place.
        run::check(limit, ex).map_err(limited)?;
        match self.start(ex, session, &identity).await {
            Ok(new) => {
                self.service.count(counts::Method::Login, Answer::Allowed);
                ex.log(Level::Info, format_args!("user {:?} has logged in", identity.name));
                let mut outcome = ex.visit.auth.borrow_mut();
                outcome.user = identity.name.clone().into_bytes();
                outcome.method = Some(counts::Method::Login.as_str());
                outcome.identity = Some(identity);
                Ok(new)
            }
            Err(error) => Err(self.unavailable(ex, &error)),
        }
    }

    async fn start(
        &self,
        ex: &Exchange<'_>,
        rules: &SessionRules,
        identity: &Identity,
    ) -> Result<String, StoreError> {
        let directory = self.service.directory()?;
        let store = directory.store().await?;
        // Whoever made the browser use a session of his own shall not share the user's.
        if let Some(old) = cookie(ex, rules.cookie.as_bytes()).and_then(digest_of) {
            store.delete_session(&old).await?;
            directory.forget_session(&old);
        }
        let new = NewSession::generate().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let now = Time(net::clock::wall().0);
        let session = Session {
            digest: new.digest,
            user: identity.id.clone(),
            created: now,
            last_seen: now,
            expires: now.after(rules.lifetime),
        };
        store.add_session(session).await?;
        Ok(rules.set_cookie(&new.text))
    }

    /// Refuses what is wrong, in the same way whatever it is.
    async fn wrong(&self, ex: &mut Exchange<'_>, user: &[u8], why: Why) -> NoLogin {
        self.service.count(counts::Method::Login, Answer::Refused);
        auth_outcome::set_reason(ex, Reason::BadCredentials);
        let user: String = String::from_utf8_lossy(user).chars().take(64).collect();
        let why = why.as_str();
        ex.log(
            Level::Error,
            format_args!("authentication refused: bad_credentials (login of {user:?}: {why})"),
        );
        let limit = ex.plan.auth_limit.as_deref();
        match run::refusal(ex, limit, 401).await {
            Stop::Status(401) => NoLogin::Page(401, Message::Wrong),
            stop => limited(stop),
        }
    }

    fn unavailable(&self, ex: &Exchange<'_>, error: &StoreError) -> NoLogin {
        self.service.count(counts::Method::Login, Answer::Unavailable);
        super::in_place::unavailable(ex, &self.service, Reason::StoreUnavailable, &error.to_string());
        NoLogin::Page(503, Message::Unavailable)
    }
}

/// What an `auth_limit` says, on the page; where it wants the connection closed, that.
fn limited(stop: Stop) -> NoLogin {
    match stop {
        Stop::Status(status) if status != 444 => NoLogin::Page(status, Message::Limited),
        stop => NoLogin::Stop(stop),
    }
}

/// The form that was sent, as it came.
async fn form_of(ex: &Exchange<'_>) -> Result<Vec<u8>, Stop> {
    let is_form = |kind: &[u8]| kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
    if !ex.request_field(Name::ContentType).is_some_and(is_form) {
        return Err(Stop::Status(415));
    }
    ex.visit.small_body(ex.plan, LONGEST_FORM).await
}

/// A field of a form or a query, empty where there is none.
fn field(form: &[u8], name: &str) -> Result<Vec<u8>, Stop> {
    let value = form::value(form, name.as_bytes()).map_err(|BadForm| Stop::Status(400))?;
    Ok(value.unwrap_or_default())
}

/// Where a browser wants to go afterwards, where it may: a path of this host, or a page of a host that is configured
/// (`return_hosts`).
fn destination_of(session: &SessionRules, asked: &[u8]) -> Option<Vec<u8>> {
    let is_ours = match destination::of(asked)? {
        Destination::Path => true,
        Destination::Url(length) => {
            let authority = destination::authority(asked, length);
            let authority = authority.strip_suffix(b":443").unwrap_or(authority);
            session.return_hosts.iter().any(|host| host.as_bytes().eq_ignore_ascii_case(authority))
        }
    };
    is_ours.then(|| asked.to_vec())
}

/// Sends the browser there.
fn send_on(ex: &mut Exchange<'_>, place: &[u8]) -> Body {
    html::keep_from_caches(ex);
    ex.response.fields.add_bytes(b"Location", place);
    ex.response.status = 303;
    ex.response.content_length = Some(0);
    Body::Empty
}

/// Notes that a form is none of our page; what the page says of it.
fn refuse_forged(ex: &Exchange<'_>, forged: Forged) -> Message {
    auth_outcome::set_reason(ex, Reason::ForgedForm);
    ex.log(Level::Error, format_args!("authentication refused: forged_form ({})", forged.as_str()));
    if forged == Forged::Foreign { Message::Foreign } else { Message::Expired }
}

fn not_allowed(ex: &mut Exchange<'_>) -> Stop {
    ex.response.fields.set("Allow", b"GET, HEAD, POST");
    Stop::Status(405)
}
