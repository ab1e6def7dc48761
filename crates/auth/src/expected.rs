//! Whose tokens are taken, and for whom they must be meant.

use std::fmt;

use serde_json::{Map, Value};

/// What a token must say of its issuer and its audience.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The issuers that are believed; with none, whoever has the keys or answers for the token is.
    pub issuers: Vec<String>,
    /// Whom a token may be meant for; with none, anybody.
    pub audiences: Vec<String>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// It is of another issuer, or says of none.
    Issuer,
    /// It is meant for others, or does not say for whom.
    Audience,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unexpected::Issuer => "the token is of another issuer (iss)",
            Unexpected::Audience => "the token is meant for others (aud)",
        })
    }
}

impl Expected {
    /// Judges what a token says (RFC 7519, sections 4.1.1 and 4.1.3; RFC 7662, section 2.2): both are required where one is
    /// expected, compared as they stand, and of several audiences one is enough.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), Unexpected> {
        let is_among = |known: &[String], value: &Value| {
            value.as_str().is_some_and(|text| known.iter().any(|known| *known == *text))
        };
        if !self.issuers.is_empty() && !claims.get("iss").is_some_and(|iss| is_among(&self.issuers, iss)) {
            return Err(Unexpected::Issuer);
        }
        let is_meant = match claims.get("aud") {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(all)) => all.iter().any(|aud| is_among(&self.audiences, aud)),
            aud => aud.is_some_and(|aud| is_among(&self.audiences, aud)),
        };
        if is_meant { Ok(()) } else { Err(Unexpected::Audience) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_and_audience_are_required_where_one_is_expected() {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let expected =
            Expected { issuers: strings(&["https://a", "https://b"]), audiences: strings(&["api", "web"]) };
        for (claims, outcome) in [
            (r#"{"iss":"https://b","aud":"api"}"#, Ok(())),
            (r#"{"iss":"https://a","aud":["x","web"]}"#, Ok(())),
            (r#"{"iss":"https://a/","aud":"api"}"#, Err(Unexpected::Issuer)),
            (r#"{"iss":["https://a"],"aud":"api"}"#, Err(Unexpected::Issuer)),
            (r#"{"aud":"api"}"#, Err(Unexpected::Issuer)),
            (r#"{"iss":"https://a"}"#, Err(Unexpected::Audience)),
            (r#"{"iss":"https://a","aud":[]}"#, Err(Unexpected::Audience)),
            (r#"{"iss":"https://a","aud":["x",["api"],"API"]}"#, Err(Unexpected::Audience)),
            (r#"{"iss":"https://a","aud":{"api":"api"}}"#, Err(Unexpected::Audience)),
        ] {
            let claims = crate::json::object(claims.as_bytes()).unwrap();
            assert_eq!(expected.check(&claims), outcome, "{claims:?}");
            assert_eq!(Expected::default().check(&claims), Ok(()));
        }
    }
}
