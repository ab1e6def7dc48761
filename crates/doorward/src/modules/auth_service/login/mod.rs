//! `auth_login NAME` in a location: the page where users log in with name and password, and what starts their sessions.

mod forgery;
mod html;
mod send_back;

use std::sync::Arc;

use auth::check::Why;
use auth::identity::Identity;
use auth::session::{NewSession, digest_of};
use auth::store::{Session, StoreError, Time};
use wire::form::BadForm;
use wire::h1::Method;
use wire::{Name, form};

use self::forgery::Forged;
use self::html::{Message, Page};
use super::counts::{self, Answer};
use super::credentials::cookie;
use super::passwords::{self, Failed};
use super::service::{Service, SessionRules};
use crate::body::Body;
use crate::exchange::Exchange;
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

/// What is sent in the form.
struct Form {
    token: Vec<u8>,
    user: Vec<u8>,
    password: Vec<u8>,
    send_back: Vec<u8>,
}

impl Form {
    fn parse(body: &[u8]) -> Result<Form, BadForm> {
        let field = |name: &str| Ok(form::value(body, name.as_bytes())?.unwrap_or_default());
        Ok(Form {
            token: field("token")?,
            user: field("user")?,
            password: field("password")?,
            send_back: field("return")?,
        })
    }
}

/// Why nobody is logged in.
enum NoLogin {
    /// The page says so.
    Page(u16, Message),
    /// The request ends.
    Stop(Stop),
}

impl From<Stop> for NoLogin {
    fn from(stop: Stop) -> NoLogin {
        NoLogin::Stop(stop)
    }
}

impl Login {
    /// Shows the page, or takes what was filled in.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let Some(session) = self.service.session.as_ref().filter(|_| ex.is_main()) else {
            // A page must not be what `auth_request` takes for a yes.
            return Err(Stop::Status(403));
        };
        match ex.method {
            Method::Get | Method::Head => {
                let asked = form::value(&ex.args, b"return").ok().flatten().unwrap_or_default();
                let page = Page { send_back: send_back::checked(session, &asked), user: b"", message: None };
                self.show(ex, session, 200, &page)
            }
            Method::Post => self.post(ex, session).await,
            _ => {
                ex.response.fields.set("Allow", b"GET, HEAD, POST");
                Err(Stop::Status(405))
            }
        }
    }

    async fn post(&self, ex: &mut Exchange<'_>, session: &SessionRules) -> Result<Body, Stop> {
        let is_form = |kind: &[u8]| kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
        if !ex.request_field(Name::ContentType).is_some_and(is_form) {
            return Err(Stop::Status(415));
        }
        let body = ex.visit.small_body(ex.plan, LONGEST_FORM).await?;
        let form = Form::parse(&body).map_err(|BadForm| Stop::Status(400))?;
        let send_back = send_back::checked(session, &form.send_back);
        match self.log_in(ex, session, &form).await {
            Ok(cookie) => {
                html::keep_from_caches(ex);
                ex.response.fields.add("Set-Cookie", cookie.as_bytes());
                ex.response.fields.add_bytes(b"Location", &send_back);
                ex.response.status = 303;
                ex.response.content_length = Some(0);
                Ok(Body::Empty)
            }
            Err(NoLogin::Stop(stop)) => Err(stop),
            Err(NoLogin::Page(status, message)) => {
                let page = Page { send_back, user: &form.user, message: Some(message) };
                self.show(ex, session, status, &page)
            }
        }
    }

    /// Starts a session of the user, and ends that of the browser; what comes back is the cookie.
    async fn log_in(
        &self,
        ex: &mut Exchange<'_>,
        session: &SessionRules,
        form: &Form,
    ) -> Result<String, NoLogin> {
        if let Err(forged) = forgery::check(ex, &form.token) {
            auth_outcome::set_reason(ex, Reason::ForgedForm);
            ex.log(Level::Error, format_args!("login refused: {}", forged.as_str()));
            let message = if forged == Forged::Foreign { Message::Foreign } else { Message::Expired };
            return Err(NoLogin::Page(403, message));
        }
        let limit = ex.plan.auth_limit.as_deref();
        run::check(limit, ex).map_err(limited)?;
        let checked = passwords::check(&self.service, None, ex, &form.user, form.password.clone()).await;
        let identity = match checked {
            Ok(Ok(identity)) => identity,
            Ok(Err(why)) => return Err(self.wrong(ex, form, why).await),
            Err(Failed::Store(error)) => return Err(self.unavailable(ex, &error)),
            Err(Failed::Stop(stop)) => return Err(stop.into()),
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
        let directory = &self.service.directory;
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
    async fn wrong(&self, ex: &mut Exchange<'_>, form: &Form, why: Why) -> NoLogin {
        self.service.count(counts::Method::Login, Answer::Refused);
        auth_outcome::set_reason(ex, Reason::BadCredentials);
        let user: String = String::from_utf8_lossy(&form.user).chars().take(64).collect();
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
        super::in_place::unavailable(ex, &self.service, error);
        NoLogin::Page(503, Message::Unavailable)
    }

    fn show(
        &self,
        ex: &mut Exchange<'_>,
        session: &SessionRules,
        status: u16,
        page: &Page<'_>,
    ) -> Result<Body, Stop> {
        if status == 401
            && let Some(challenge) = self.service.challenges.of_form()
        {
            ex.response.fields.add("WWW-Authenticate", challenge.as_bytes());
        }
        let token = forgery::token(ex)?;
        let bytes = html::login(ex, self.service.challenges.realm(), &session.return_hosts, &token, page);
        ex.response.status = status;
        ex.response.content_length = Some(bytes.len() as u64);
        Ok(Body::Bytes(bytes))
    }
}

/// What an `auth_limit` says, on the page; where it wants the connection closed, that.
fn limited(stop: Stop) -> NoLogin {
    match stop {
        Stop::Status(status) if status != 444 => NoLogin::Page(status, Message::Limited),
        stop => NoLogin::Stop(stop),
    }
}
