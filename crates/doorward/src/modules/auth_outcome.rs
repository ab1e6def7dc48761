//! What became of a request's authentication, whoever checked it: for logs, metrics and the limits on failures.

use std::rc::Rc;
use std::sync::Arc;

use auth::identity::Identity;

use super::{auth_jwt, auth_request};
use crate::deliver::itoa;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::Module;
use crate::modules::auth_request::Page;
use crate::request_fields::Copied;
use crate::variables::Row;
use crate::words::words;

/// The module's tables: Doorward's own variables `$auth_*`, which keep their values through internal redirects.
pub static MODULE: Module = Module {
    name: "doorward_auth_outcome_module",
    directives: &[],
    variables: &[
        Row::fresh("auth_status", |ex, out| match ex.visit.auth.borrow().status {
            0 => false,
            status => {
                out.extend_from_slice(itoa(status.into(), &mut [0; 20]));
                true
            }
        }),
        Row::fresh("auth_time", |ex, out| {
            let Some(time) = ex.visit.auth.borrow().time else { return false };
            out.extend_from_slice(format!("{}.{:03}", time / 1000, time % 1000).as_bytes());
            true
        }),
        Row::fresh("auth_cache_status", |ex, out| text(ex.visit.auth.borrow().cache, out)),
        Row::fresh("auth_reason", |ex, out| text(ex.visit.auth.borrow().reason.map(Reason::as_str), out)),
        Row::fresh("auth_user", |ex, out| {
            let outcome = ex.visit.auth.borrow();
            out.extend_from_slice(&outcome.user);
            !outcome.user.is_empty()
        }),
    ],
    plan: |_, _, _| Ok(()),
};

/// What became of a request's authentication so far.
#[derive(Default)]
pub struct Outcome {
    /// The auth service's status, 0 where none was asked (`$auth_status`).
    pub status: u16,
    /// How long its answers took, in milliseconds (`$auth_time`).
    pub time: Option<u64>,
    /// How the decision cache was used: `HIT`, `MISS`, `STALE`, `BYPASS` ... (`$auth_cache_status`).
    pub cache: Option<&'static str>,
    /// Why it was refused, or could not be decided (`$auth_reason`).
    pub reason: Option<Reason>,
    /// Who it is, as far as the method that let it pass says so (`$auth_user`).
    pub user: Vec<u8>,
    /// What came of its token (`auth_jwt`).
    pub jwt: Option<auth_jwt::Seen>,
    /// Who it is, where an `auth_service` or a token says so (`$auth_user_id`, `$auth_scope` ...).
    pub identity: Option<Arc<Identity>>,
    /// Who upstreams are told that it is: only `auth` has them told.
    pub told: Option<Arc<Identity>>,
    /// By which method that is known (`$auth_method`).
    pub method: Option<&'static str>,
    /// Where a browser is sent to log in, should it be refused with 401.
    pub login: Option<Vec<u8>>,
    /// What the auth service said of the client for those behind the gateway (`auth_request_copy_headers`).
    pub copied: Option<Rc<Copied>>,
    /// What the client gets in place of an error page.
    pub page: Option<Box<Page>>,
    /// The last answer of an auth service with the key of its question, for when the same is asked again.
    pub answered: Option<(auth_request::Key, Arc<auth_request::Decision>)>,
}

words! {
    /// Why a request was refused, or could not be decided.
    Reason {
        /// `deny` named its address.
        Address = "address",
        /// It came without credentials.
        NoCredentials = "no_credentials",
        /// Its credentials are wrong.
        BadCredentials = "bad_credentials",
        /// Its token is none, or no key of the location made its signature (`auth_jwt`).
        BadToken = "bad_token",
        /// Its token says that a key made it that the location does not have.
        UnknownKey = "unknown_key",
        /// The time of its token is over.
        TokenExpired = "token_expired",
        /// The time of its token has not come.
        TokenNotYetValid = "token_not_yet_valid",
        /// There are no keys that its token could be checked with.
        NoKeys = "no_keys",
        /// Its path is read in more than one way (`reject_ambiguous_path`).
        AmbiguousPath = "ambiguous_path",
        /// Authentication failed too often before (`auth_limit`).
        Limited = "limited",
        /// Its session is over, or was ended.
        SessionOver = "session_over",
        /// What an auth service is asked about is missing or unclear.
        UnclearQuestion = "unclear_question",
        /// The form that it sends was not filled in at the page of this host that it belongs to (`auth_login`).
        ForgedForm = "forged_form",
        /// Too many passwords are being compared.
        Busy = "busy",
        /// Nobody can tell: the store of users, keys and sessions does not answer.
        StoreUnavailable = "store_unavailable",
        /// Nobody can tell: the authorization server that is asked about tokens does not answer (`auth_introspection`).
        IntrospectionUnavailable = "introspection_unavailable",
        /// The auth service answered 401.
        Refused = "refused",
        /// The auth service answered 403.
        Forbidden = "forbidden",
        /// A value that has to say so does not (`auth_require`).
        Required = "required",
        /// The auth service answered with a status that the client gets (`auth_request_pass_status`).
        Passed = "passed_status",
        /// The auth service answered with a status that decides nothing.
        UnexpectedStatus = "unexpected_status",
        /// The auth service could not be reached, or its answer was none.
        Unreachable = "unreachable",
        /// The auth service did not answer in time.
        Timeout = "timeout",
    }
}

/// Remembers why the request does not pass, for a method that writes its own line to the error log.
pub fn set_reason(ex: &Exchange<'_>, reason: Reason) {
    ex.visit.auth.borrow_mut().reason = Some(reason);
}

/// The same, with the line: nginx is silent when an auth service refuses.
pub fn refuse(ex: &Exchange<'_>, reason: Reason) {
    set_reason(ex, reason);
    ex.log(Level::Error, format_args!("authentication refused: {}", reason.as_str()));
}

/// Whether the request was refused for what it showed as its credentials. A token whose time is over was right before, and
/// is nobody's guess.
pub fn is_failure(ex: &Exchange<'_>) -> bool {
    let reason = ex.visit.auth.borrow().reason;
    matches!(
        reason,
        Some(
            Reason::BadCredentials
                | Reason::BadToken
                | Reason::UnknownKey
                | Reason::Refused
                | Reason::Forbidden
                | Reason::Required
        )
    )
}

/// Remembers what the client gets in place of an error page, should it be refused with the page's status.
pub fn set_page(ex: &Exchange<'_>, page: Option<Page>) {
    ex.visit.auth.borrow_mut().page = page.map(Box::new);
}

/// Takes the page for that status; one for another status stays unseen.
pub fn take_page(ex: &Exchange<'_>, status: u16) -> Option<Box<Page>> {
    ex.visit.auth.borrow_mut().page.take().filter(|page| page.status == status)
}

fn text(value: Option<&'static str>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default().as_bytes());
    value.is_some()
}
