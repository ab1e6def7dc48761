//! `auth NAME`: a service that is asked in the location itself, without a subrequest.

use std::sync::Arc;

use auth::identity::{Identity, Lack};
use wire::Name;
use wire::h1::Method;
use wire::uri::{Escape, escape};

use super::asked::Asked;
use super::challenge::Cause;
use super::decide::{Decision, Refusal, decide};
use super::service::Service;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::plan::Verdict;
use crate::run::Stop;

/// Asks a service in its location.
pub struct InPlace {
    /// The service.
    pub service: Arc<Service>,
}

impl InPlace {
    /// Lets a request pass whose credentials the service knows, and finds enough.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let asked = Asked::of_client(ex);
        match decide(&self.service, &asked, ex).await? {
            Decision::Known(identity, method) => {
                let mut outcome = ex.visit.auth.borrow_mut();
                outcome.user.clear();
                outcome.user.extend_from_slice(identity.name.as_bytes());
                outcome.method = Some(method.as_str());
                outcome.told = Some(identity.clone());
                outcome.identity = Some(identity);
                Ok(Verdict::Allowed)
            }
            Decision::Refused(refusal) => Err(self.refuse(ex, &refusal)),
            Decision::Unavailable(reason, why) => Err(unavailable(ex, &self.service, reason, &why)),
        }
    }

    /// Path and query that the authorization server is asked by about tokens, where one is.
    pub fn asks_about_tokens(&self, ex: &Exchange<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
        self.service.introspection.as_ref()?.target(ex)
    }

    /// Tells the client what it lacks, where the service lets it pass and something else does not (`auth_require`).
    pub fn challenge(&self, ex: &mut Exchange<'_>, lack: &Lack<'_>) {
        for challenge in self.service.challenges.of(&Cause::of(lack)) {
            ex.response.fields.add("WWW-Authenticate", challenge.as_bytes());
        }
    }

    fn refuse(&self, ex: &mut Exchange<'_>, refusal: &Refusal) -> Stop {
        log_refusal(ex, refusal);
        for challenge in &refusal.challenges {
            ex.response.fields.add("WWW-Authenticate", challenge.as_bytes());
        }
        if refusal.is_login_of_use && wants_page(ex) {
            ex.visit.auth.borrow_mut().login = login_url(&self.service, &Asked::of_client(ex));
        }
        Stop::Status(refusal.status)
    }
}

/// Notes a refusal for logs and metrics.
pub fn log_refusal(ex: &Exchange<'_>, refusal: &Refusal) {
    auth_outcome::set_reason(ex, refusal.reason);
    let (reason, why) = (refusal.reason.as_str(), &refusal.log);
    // Who has not logged in yet does nothing wrong.
    let level = if refusal.reason == Reason::NoCredentials { Level::Info } else { Level::Error };
    ex.log(level, format_args!("authentication refused: {reason} ({why})"));
}

/// Ends a request that nobody can decide about.
pub fn unavailable(ex: &Exchange<'_>, service: &Service, reason: Reason, why: &str) -> Stop {
    auth_outcome::set_reason(ex, reason);
    ex.log(Level::Error, format_args!("auth_service \"{}\" cannot decide: {why}", service.name));
    Stop::Status(503)
}

/// Whether a browser asks for a page, for a person to look at, and not a script or a program for data.
pub fn wants_page(ex: &Exchange<'_>) -> bool {
    let field = |name: &str| ex.request_fields(name.as_bytes()).next();
    let html = |accept: &[u8]| {
        accept
            .split(|byte| *byte == b',')
            .any(|kind| kind.trim_ascii().to_ascii_lowercase().starts_with(b"text/html"))
    };
    matches!(ex.visit.head.method, Method::Get | Method::Head)
        && ex.request_field(Name::Accept).is_some_and(html)
        && field("Sec-Fetch-Mode").is_none_or(|mode| mode == b"navigate")
        && field("X-Requested-With").is_none()
        && ex.request_field(Name::Authorization).is_none()
}

/// Where a browser is sent that has no session: the login page, which sends it back to where it wanted to go.
pub fn login_url(service: &Service, asked: &Asked<'_>) -> Option<Vec<u8>> {
    let login = service.session.as_ref()?.login.as_ref()?;
    // A login page of another host has to be told which host this is; sessions are for https alone.
    let here = if login.starts_with('/') { &[][..] } else { &[b"https://", &*asked.authority][..] };
    let target = [&here.concat()[..], &asked.target].concat();
    let mut url = login.clone().into_bytes();
    url.push(if login.contains('?') { b'&' } else { b'?' });
    url.extend_from_slice(b"return=");
    // A slash in a query need not be escaped (RFC 3986, section 3.4), and reads better so.
    for (at, part) in target.split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            url.push(b'/');
        }
        escape(Escape::UriComponent, part, &mut url);
    }
    Some(url)
}

/// Appends a part of what is known of the client.
pub fn text(ex: &Exchange<'_>, out: &mut Vec<u8>, part: fn(&Identity) -> &str) -> bool {
    let outcome = ex.visit.auth.borrow();
    let text = outcome.identity.as_deref().map(part).unwrap_or_default();
    out.extend_from_slice(text.as_bytes());
    !text.is_empty()
}
