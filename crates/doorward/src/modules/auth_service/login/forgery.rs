//! Whether a form was filled in on a page of this host, by the browser that the page was given to.

use auth::form_token;

use super::cookie;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::run::Stop;

/// The cookie that has the token of the form. Browsers take one of such a name from this very host alone, so that no neighbour in
/// the domain can set it.
const COOKIE: &str = "__Host-login";

/// Why a form is none of this host's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The browser says that another site sends it.
    Foreign,
    /// There is no cookie: it was not kept, or the page is from another browser session.
    NoCookie,
    /// The token is not that of the cookie.
    OtherToken,
}

impl Forged {
    /// In words, for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Forged::Foreign => "the form was sent from another site",
            Forged::NoCookie => "the form came without the cookie of its page",
            Forged::OtherToken => "the form has not the token of its page",
        }
    }
}

/// The token for a form: that of the browser where it has one, so that a page in another tab stays good.
pub fn token(ex: &mut Exchange<'_>) -> Result<String, Stop> {
    let kept = cookie(ex, COOKIE.as_bytes()).filter(|kept| form_token::is_token(kept));
    if let Some(kept) = kept {
        return Ok(String::from_utf8_lossy(kept).into_owned());
    }
    let token = form_token::generate().map_err(|error| {
        ex.log(Level::Crit, format_args!("{error}"));
        Stop::Status(500)
    })?;
    let cookie = format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict");
    ex.response.fields.add("Set-Cookie", cookie.as_bytes());
    Ok(token)
}

/// Whether a form with this token is one of this host's own pages.
pub fn check(ex: &Exchange<'_>, token: &[u8]) -> Result<(), Forged> {
    if !is_from_here(ex) {
        return Err(Forged::Foreign);
    }
    let kept = cookie(ex, COOKIE.as_bytes()).ok_or(Forged::NoCookie)?;
    if form_token::is_same(token, kept) { Ok(()) } else { Err(Forged::OtherToken) }
}

/// Whether `Sec-Fetch-Site` and `Origin`, where a browser sends them, name this host (W3C Fetch Metadata; RFC 6454, section 7).
fn is_from_here(ex: &Exchange<'_>) -> bool {
    let visit = ex.visit;
    let host = ex.request_field(wire::Name::Host).unwrap_or_default();
    visit.head.fields.iter().all(|field| {
        let (name, value) = (field.name.of(visit.bytes), field.value.of(visit.bytes));
        if name.eq_ignore_ascii_case(b"sec-fetch-site") {
            // `none`: the person has done it, not a page.
            return matches!(value, b"same-origin" | b"none");
        }
        if name.eq_ignore_ascii_case(b"origin") {
            let origin = value.strip_prefix(b"https://").or_else(|| value.strip_prefix(b"http://"));
            return origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host));
        }
        true
    })
}
