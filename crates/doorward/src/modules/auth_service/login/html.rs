//! The pages: one file each, without scripts, and without anything from elsewhere.

use super::forgery;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::modules::auth_service::service::{Service, SessionRules};
use crate::modules::autoindex::escape_html;
use crate::modules::static_files::set_content_type;
use crate::random;
use crate::run::Stop;

const FRAME: &str = include_str!("page.html");
const LOGIN: &str = include_str!("login.html");
const LOGOUT: &str = include_str!("logout.html");

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Asks for name and password.
    Login,
    /// Asks whether to log out.
    Logout,
}

/// What is to be seen on a page.
pub struct Page<'p> {
    /// Which page it is.
    pub which: Which,
    /// Where the browser goes afterwards.
    pub send_back: Vec<u8>,
    /// The name that was typed.
    pub user: &'p [u8],
    /// What went wrong.
    pub message: Option<Message>,
}

/// What a page says of what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Name or password.
    Wrong,
    /// Too many wrong ones.
    Limited,
    /// Too many are logging in.
    Busy,
    /// The store does not answer.
    Unavailable,
    /// The store does not answer, so that the session goes on.
    NotLoggedOut,
    /// The token of the form is missing, or another one.
    Expired,
    /// Another site has sent the form.
    Foreign,
}

impl Message {
    fn as_str(self) -> &'static str {
        match self {
            Message::Wrong => "User name or password is wrong.",
            Message::Limited => "There were too many failed attempts. Wait a while, and try again.",
            Message::Busy => "Too many people are logging in at the moment. Try again in a few seconds.",
            Message::NotLoggedOut => "You are still logged in: it did not work. Try again in a few minutes.",
            Message::Unavailable => "Nobody can log in at the moment. Try again in a few minutes.",
            Message::Expired => {
                "This page was open for too long, or the browser keeps no cookies for it: they need HTTPS. Try again."
            }
            Message::Foreign => "The form was sent from another site. Try again here.",
        }
    }
}

/// Says that nothing of an answer is for a cache.
pub fn keep_from_caches(ex: &mut Exchange<'_>) {
    ex.response.fields.set("Cache-Control", b"no-store");
}

/// Answers with a page.
pub fn show(
    ex: &mut Exchange<'_>,
    service: &Service,
    session: &SessionRules,
    status: u16,
    page: &Page<'_>,
) -> Result<Body, Stop> {
    if status == 401
        && let Some(challenge) = service.challenges.of_form()
    {
        ex.response.fields.add("WWW-Authenticate", challenge.as_bytes());
    }
    let token = forgery::token(ex)?;
    let form = form(page, &token);
    let bytes = framed(ex, service.challenges.realm(), &session.return_hosts, &form);
    ex.response.status = status;
    ex.response.content_length = Some(bytes.len() as u64);
    Ok(Body::Bytes(bytes))
}

fn form(page: &Page<'_>, token: &str) -> Vec<u8> {
    let message = page.message.map(Message::as_str);
    let template = match page.which {
        Which::Login => LOGIN,
        Which::Logout => LOGOUT,
    };
    fill(template, |name, out| match name {
        "message" => {
            if let Some(message) = message {
                out.extend_from_slice(b"<p class=\"message\" role=\"alert\">");
                escape_html(message.as_bytes(), out);
                out.extend_from_slice(b"</p>");
            }
        }
        "token" => escape_html(token.as_bytes(), out),
        "return" => escape_html(&page.send_back, out),
        "user" => escape_html(String::from_utf8_lossy(page.user).as_bytes(), out),
        // Who has typed a name goes on with the password.
        "focus-user" if page.user.is_empty() => out.extend_from_slice(b" autofocus"),
        "focus-password" if !page.user.is_empty() => out.extend_from_slice(b" autofocus"),
        _ => {}
    })
}

/// A page around what it shows, and the head that keeps everything else out of it.
fn framed(ex: &mut Exchange<'_>, realm: &str, hosts: &[String], inside: &[u8]) -> Vec<u8> {
    let nonce: String = random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
    // Browsers look at where a form's answer leads, too.
    let hosts: String = hosts.iter().map(|host| format!(" https://{host}")).collect();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'{hosts}; base-uri 'none'; frame-ancestors 'none'"
    );
    let fields = &mut ex.response.fields;
    fields.set("Content-Security-Policy", policy.as_bytes());
    fields.set("X-Content-Type-Options", b"nosniff");
    // With `no-referrer` browsers would send the form from the origin `null`.
    fields.set("Referrer-Policy", b"same-origin");
    keep_from_caches(ex);
    set_content_type(ex, b"text/html; charset=utf-8");
    fill(FRAME, |name, out| match name {
        "nonce" => out.extend_from_slice(nonce.as_bytes()),
        "title" => escape_html(realm.as_bytes(), out),
        "inside" => out.extend_from_slice(inside),
        _ => {}
    })
}

/// A template with each `{{name}}` filled in; what is filled in is not looked at again.
fn fill(template: &str, mut value: impl FnMut(&str, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len() + 512);
    let mut parts = template.split("{{");
    out.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (name, text) = part.split_once("}}").unwrap_or((part, ""));
        value(name, &mut out);
        out.extend_from_slice(text.as_bytes());
    }
    out
}
