//! OAuth 2 token introspection (RFC 7662): what an authorization server is asked about a token, and what it answers.

use std::fmt;

use serde_json::{Map, Value};

use crate::expected::{Expected, Unexpected};
use crate::identity::Identity;
use crate::json;

/// Longest answer that is read, in bytes.
pub const MOST_ANSWER: usize = 64 << 10;

/// Longest token that is asked about, in bytes.
pub const MOST_TOKEN: usize = 8 << 10;

/// Whether a server can be asked about it: what `Authorization: Bearer` can hold (RFC 6750, section 2.1).
pub fn is_token(token: &[u8]) -> bool {
    let length = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let own = token.get(..length).unwrap_or_default();
    token.len() <= MOST_TOKEN
        && !own.is_empty()
        && own.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

/// The form that asks about a token (RFC 7662, section 2.1).
pub fn form(token: &[u8]) -> Vec<u8> {
    let mut form = b"token=".to_vec();
    for byte in token {
        match byte {
            b'-' | b'.' | b'_' => form.push(*byte),
            byte if byte.is_ascii_alphanumeric() => form.push(*byte),
            byte => form.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    form.extend_from_slice(b"&token_type_hint=access_token");
    form
}

/// Why an answer decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no JSON object that says everything once.
    NotAnObject,
    /// It does not say whether the token is active.
    Undecided,
    /// What it says of the token's time is no number.
    BadTime,
    /// It names neither a user nor a client.
    Nameless,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::NotAnObject => "the answer is no JSON object",
            Fault::Undecided => "the answer does not say whether the token is active",
            Fault::BadTime => "the times in the answer are no numbers",
            Fault::Nameless => "the answer names neither a user nor a client (sub, username, client_id)",
        })
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not active: not issued, revoked, over, or not for this gateway to know.
    Inactive,
    /// Its time is over (`exp`).
    Expired,
    /// Its time has not come (`nbf`).
    NotYetValid,
    /// It is not of the issuer, or not meant for the audience that is expected.
    Unexpected(Unexpected),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Inactive => f.write_str("the token is not active"),
            Refusal::Expired => f.write_str("the token has expired"),
            Refusal::NotYetValid => f.write_str("the token is not valid yet"),
            Refusal::Unexpected(what) => what.fmt(f),
        }
    }
}

/// A token that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Whom it makes of whoever has it: the user (`sub`, or without it `username`), or a client for itself (`client_id`).
    pub identity: Identity,
    /// When its time is over, in seconds since 1970.
    pub expires: Option<u64>,
}

/// Judges an answer (RFC 7662, section 2.2) at a time in seconds since 1970.
pub fn judge(answer: &[u8], expected: &Expected, now: u64) -> Result<Result<Active, Refusal>, Fault> {
    let claims = json::object(answer).ok_or(Fault::NotAnObject)?;
    match claims.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Err(Refusal::Inactive)),
        _ => return Err(Fault::Undecided),
    }
    let (expires, begins) = (time(&claims, "exp")?, time(&claims, "nbf")?);
    if expires.is_some_and(|end| now as f64 >= end) {
        return Ok(Err(Refusal::Expired));
    }
    if begins.is_some_and(|start| (now as f64) < start) {
        return Ok(Err(Refusal::NotYetValid));
    }
    if let Err(what) = expected.check(&claims) {
        return Ok(Err(Refusal::Unexpected(what)));
    }
    let identity = Identity::of_introspection(&claims);
    if identity.id.is_empty() {
        return Err(Fault::Nameless);
    }
    // A part of a second is not given.
    Ok(Ok(Active { identity, expires: expires.map(|end| end as u64) }))
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Fault> {
    claims.get(name).map(|value| value.as_f64().ok_or(Fault::BadTime)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn said(answer: &str) -> Result<Result<Active, Refusal>, Fault> {
        judge(answer.as_bytes(), &Expected::default(), NOW)
    }

    #[test]
    fn an_active_token_names_somebody() {
        // The example of RFC 7662, section 2.2, but for its time.
        let answer = r#"{"active": true, "client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
            "sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource",
            "iss": "https://server.example.com/", "exp": 1800000060, "iat": 1419350238, "extension_field": "twenty-seven"}"#;
        let active = said(answer).unwrap().unwrap();
        let Identity { id, name, scopes, .. } = active.identity;
        assert_eq!([&*id, &*name, &*scopes], ["Z5O3upPC88QrAjx00dis", "jdoe", "read write dolphin"]);
        assert_eq!(active.expires, Some(NOW + 60));
        let id = |answer| said(answer).unwrap().unwrap().identity.id;
        assert_eq!(id(r#"{"active":true,"username":"jdoe","client_id":"c"}"#), "jdoe");
        assert_eq!(id(r#"{"active":true,"client_id":"c"}"#), "c");
    }

    #[test]
    fn what_decides_nothing_is_a_fault() {
        for (answer, fault) in [
            ("", Fault::NotAnObject),
            ("[]", Fault::NotAnObject),
            ("<html>", Fault::NotAnObject),
            (r#"{"active":true,"sub":"a"}{}"#, Fault::NotAnObject),
            (r#"{"active":false,"sub":"a","active":true}"#, Fault::NotAnObject),
            (r#"{"sub":"a"}"#, Fault::Undecided),
            (r#"{"active":"true","sub":"a"}"#, Fault::Undecided),
            (r#"{"active":1,"sub":"a"}"#, Fault::Undecided),
            (r#"{"active":true,"sub":"a","exp":"1800000060"}"#, Fault::BadTime),
            (r#"{"active":true,"sub":"a","nbf":null}"#, Fault::BadTime),
            (r#"{"active":true}"#, Fault::Nameless),
            // A user whose name cannot be told is not somebody else.
            (r#"{"active":true,"sub":"a\n","username":"root"}"#, Fault::Nameless),
            (r#"{"active":true,"sub":7}"#, Fault::Nameless),
        ] {
            assert_eq!(said(answer), Err(fault), "{answer}");
        }
    }

    #[test]
    fn tokens_are_refused() {
        let expected = Expected { issuers: Vec::new(), audiences: vec!["api".into()] };
        for (answer, refusal) in [
            (r#"{"active":false}"#, Refusal::Inactive),
            (r#"{"active":false,"exp":"x"}"#, Refusal::Inactive),
            (r#"{"active":true,"sub":"a","exp":1800000000,"aud":"api"}"#, Refusal::Expired),
            (r#"{"active":true,"sub":"a","nbf":1800000001,"aud":"api"}"#, Refusal::NotYetValid),
            (r#"{"active":true,"sub":"a","aud":"web"}"#, Refusal::Unexpected(Unexpected::Audience)),
        ] {
            assert_eq!(judge(answer.as_bytes(), &expected, NOW), Ok(Err(refusal)), "{answer}");
        }
        let good = r#"{"active":true,"sub":"a","nbf":1800000000,"exp":1800000001,"aud":["api"]}"#;
        assert!(judge(good.as_bytes(), &expected, NOW).unwrap().is_ok());
    }

    #[test]
    fn a_token_is_one_value_of_the_form() {
        assert_eq!(form(b"a-._~+/=Z9"), b"token=a-._%7E%2B%2F%3DZ9&token_type_hint=access_token");
        assert_eq!(form(b"a&active=1\r\n "), b"token=a%26active%3D1%0D%0A%20&token_type_hint=access_token");
        assert!(is_token(b"mF_9.B5f-4.1JqM==") && is_token(&[b'a'; MOST_TOKEN]));
        for none in [&b""[..], b"=", b"a=b", b"a b", b"a\n", b"a&b", b"\xff", &[b'a'; MOST_TOKEN + 1]] {
            assert!(!is_token(none), "{none:?}");
        }
    }
}
