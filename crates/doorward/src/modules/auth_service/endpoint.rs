//! `auth_service NAME` in a location: what `auth_request` and other gateways ask.

use std::sync::Arc;

use super::asked::{Asked, AskedBy};
use super::counts::Method;
use super::decide::{Decision, Refusal, decide};
use super::in_place::{log_refusal, login_url, unavailable, wants_page};
use super::service::Service;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::request_fields;
use crate::run::Stop;

/// Answers as a service.
pub struct Endpoint {
    /// The service.
    pub service: Arc<Service>,
    /// What it is asked about.
    pub asked_by: AskedBy,
}

impl Endpoint {
    /// Decides, and says so.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let Some(asked) = Asked::at_endpoint(ex, self.asked_by) else {
            auth_outcome::set_reason(ex, Reason::UnclearQuestion);
            let fields = self.asked_by.fields();
            ex.log(Level::Error, format_args!("what is asked about is missing or unclear: fields {fields}"));
            return Err(Stop::Status(400));
        };
        let answer = match decide(&self.service, &asked, ex).await? {
            Decision::Unavailable(reason, why) => return Err(unavailable(ex, &self.service, reason, &why)),
            Decision::Known(identity, method) => {
                for (name, value) in request_fields::of_identity(&identity) {
                    ex.response.fields.add_said(name, value);
                }
                ex.response.fields.add_said("X-Auth-Method".as_bytes(), Method::as_str(method).as_bytes());
                204
            }
            Decision::Refused(refusal) => self.refuse(ex, &asked, &refusal),
        };
        ex.response.fields.add_said(b"Cache-Control", b"no-store");
        ex.response.status = answer;
        if answer != 204 {
            ex.response.content_length = Some(0);
        }
        Ok(Body::Empty)
    }

    fn refuse(&self, ex: &mut Exchange<'_>, asked: &Asked<'_>, refusal: &Refusal) -> u16 {
        // The request that a subrequest asks for has the reason of its own `auth_request`.
        if ex.is_main() {
            log_refusal(ex, refusal);
        } else {
            ex.log(Level::Info, format_args!("auth_service \"{}\": {}", self.service.name, refusal.log));
        }
        ex.response.fields.add_said(b"X-Auth-Reason", refusal.reason.as_str().as_bytes());
        for challenge in &refusal.challenges {
            ex.response.fields.add_said(b"WWW-Authenticate", challenge.as_bytes());
        }
        let login = login_url(&self.service, asked).filter(|_| refusal.is_login_of_use && wants_page(ex));
        let Some(login) = login else { return refusal.status };
        ex.response.fields.add_said(b"Location", &login);
        // `auth_request` knows 401 only, and has the place from the field; the other gateways pass on what they are told.
        if ex.is_main() { 302 } else { refusal.status }
    }
}
