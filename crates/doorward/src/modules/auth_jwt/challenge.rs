//! What a client that is refused is told (RFC 6750, 3).

use auth::identity::Lack;
use auth::jwt::Refusal;
use wire::h1::Method;

use crate::exchange::Exchange;
use crate::run::Stop;

/// There is no token: nothing but the realm (RFC 6750, 3.1).
pub fn without_token(ex: &mut Exchange<'_>, realm: &[u8]) -> Stop {
    refuse(ex, realm, 401, "")
}

/// The token is wrong.
pub fn of_refusal(ex: &mut Exchange<'_>, realm: &[u8], refusal: Refusal) -> Stop {
    refuse(ex, realm, 401, &format!(", error=\"invalid_token\", error_description=\"{refusal}\""))
}

/// The token is right, and says too little.
pub fn of_requirement(ex: &mut Exchange<'_>, realm: &[u8], status: u16) -> Stop {
    let error = if status == 403 { "insufficient_scope" } else { "invalid_token" };
    refuse(ex, realm, status, &format!(", error=\"{error}\""))
}

/// The token is right, and who it names lacks something (RFC 6750, 3.1).
pub fn of_lack(ex: &mut Exchange<'_>, realm: &[u8], lack: &Lack<'_>, status: u16) {
    let scope = match lack {
        Lack::Scopes(scopes) => format!(", scope=\"{}\"", scopes.join(" ")),
        Lack::Group(_) => String::new(),
    };
    refuse(ex, realm, status, &format!(", error=\"insufficient_scope\"{scope}"));
}

fn refuse(ex: &mut Exchange<'_>, realm: &[u8], status: u16, error: &str) -> Stop {
    // Who is asked to open a tunnel is a proxy (RFC 9110, 11.7.1).
    let (field, status) = match (ex.method, status) {
        (Method::Connect, 401) => ("Proxy-Authenticate", 407),
        _ => ("WWW-Authenticate", status),
    };
    ex.response.fields.add(field, &[b"Bearer realm=\"", realm, b"\"", error.as_bytes()].concat());
    Stop::Status(status)
}
