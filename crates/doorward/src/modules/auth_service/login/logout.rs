//! `auth_logout NAME` in a location: a page with a button that ends the session of the browser. A link ends none.

use std::sync::Arc;

use auth::session::digest_of;
use auth::store::StoreError;
use wire::h1::Method;

use super::html::{self, Message, Page, Which};
use super::{destination_of, field, forgery, form_of, not_allowed, refuse_forged, send_on, session_of};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::Reason;
use crate::modules::auth_service::credentials::cookie;
use crate::modules::auth_service::in_place::unavailable;
use crate::modules::auth_service::service::{Service, SessionRules};
use crate::run::Stop;

/// A logout page.
pub struct Logout {
    /// The service whose users log out.
    pub service: Arc<Service>,
}

impl Logout {
    /// Shows the page, or ends the session.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let session = session_of(&self.service, ex)?;
        match ex.method {
            Method::Get | Method::Head => {
                let asked = field(&ex.args, "return").unwrap_or_default();
                let send_back = destination_of(session, &asked).unwrap_or_else(|| login_of(session));
                self.show(ex, session, 200, send_back, None)
            }
            Method::Post => self.post(ex, session).await,
            _ => Err(not_allowed(ex)),
        }
    }

    async fn post(&self, ex: &mut Exchange<'_>, session: &SessionRules) -> Result<Body, Stop> {
        let form = form_of(ex).await?;
        let asked = field(&form, "return")?;
        let send_back = destination_of(session, &asked).unwrap_or_else(|| login_of(session));
        if let Err(forged) = forgery::check(ex, &field(&form, "token")?) {
            let message = refuse_forged(ex, forged);
            return self.show(ex, session, 403, send_back, Some(message));
        }
        match self.end(ex, session).await {
            Ok(()) => {
                ex.response.fields.add("Set-Cookie", session.forget_cookie().as_bytes());
                Ok(send_on(ex, &send_back))
            }
            // The cookie stays, so that another try can end the session.
            Err(error) => {
                unavailable(ex, &self.service, Reason::StoreUnavailable, &error.to_string());
                self.show(ex, session, 503, send_back, Some(Message::NotLoggedOut))
            }
        }
    }

    /// Ends the session of the browser, on every gateway.
    async fn end(&self, ex: &Exchange<'_>, session: &SessionRules) -> Result<(), StoreError> {
        let Some(digest) = cookie(ex, session.cookie.as_bytes()).and_then(digest_of) else { return Ok(()) };
        let directory = self.service.directory()?;
        if directory.store().await?.delete_session(&digest).await? {
            ex.log(Level::Info, format_args!("a session was ended by its user"));
        }
        directory.forget_session(&digest);
        Ok(())
    }

    fn show(
        &self,
        ex: &mut Exchange<'_>,
        session: &SessionRules,
        status: u16,
        send_back: Vec<u8>,
        message: Option<Message>,
    ) -> Result<Body, Stop> {
        let page = Page { which: Which::Logout, send_back, user: b"", message };
        html::show(ex, &self.service, session, status, &page)
    }
}

/// Where who has logged out goes unless the page says so: to log in again.
fn login_of(session: &SessionRules) -> Vec<u8> {
    session.login.clone().map_or_else(|| b"/".to_vec(), String::into_bytes)
}
