//! Tokens: taken apart, checked against keys, and judged by what they say of time.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::MOST_TOKEN;
use super::algorithm::Algorithm;
use super::key_set::KeySet;
use crate::identity::Identity;
use crate::json;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not three parts of base64url with JSON objects in the first two, each of which says everything once.
    Malformed,
    /// It is longer than [`MOST_TOKEN`].
    TooLong,
    /// It is encrypted (RFC 7516).
    Encrypted,
    /// Its algorithm is `none`.
    Unsigned,
    /// Its algorithm is not known here.
    UnknownAlgorithm,
    /// It asks for extensions to be understood (`crit`), and there are none here.
    Critical,
    /// It brings its own key (`jwk`, `x5c`).
    EmbeddedKey,
    /// No key has the name that it says.
    UnknownKey,
    /// The key that it names, or every key there is, is for other algorithms.
    WrongAlgorithm,
    /// No key made its signature.
    BadSignature,
    /// What it says of its time is no number.
    BadTime,
    /// Its time is over (`exp`).
    Expired,
    /// Its time has not come (`nbf`).
    NotYetValid,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "the token is malformed",
            Refusal::TooLong => "the token is too long",
            Refusal::Encrypted => "the token is encrypted",
            Refusal::Unsigned => "the token is not signed",
            Refusal::UnknownAlgorithm => "the algorithm of the token is not known",
            Refusal::Critical => "the token asks for extensions (crit)",
            Refusal::EmbeddedKey => "the token brings its own key",
            Refusal::UnknownKey => "the key of the token is not known",
            Refusal::WrongAlgorithm => "the algorithm of the token is not that of its key",
            Refusal::BadSignature => "the signature of the token is wrong",
            Refusal::BadTime => "the times of the token are no numbers",
            Refusal::Expired => "the token has expired",
            Refusal::NotYetValid => "the token is not valid yet",
        })
    }
}

/// A token that was taken apart, and not checked: nothing that it says counts yet.
pub struct Signed<'t> {
    algorithm: Algorithm,
    header: Map<String, Value>,
    /// What is signed: the first two parts as they stand.
    signed: &'t [u8],
    payload: &'t [u8],
    signature: Vec<u8>,
}

/// A token whose signature one of the keys made.
#[derive(Debug)]
pub struct Token {
    /// Its header (RFC 7515, 4).
    pub header: Map<String, Value>,
    /// Its claims (RFC 7519, 4).
    pub claims: Map<String, Value>,
    /// The claims as JSON, without line breaks.
    pub payload: Box<[u8]>,
    /// Whom the claims name.
    pub identity: Arc<Identity>,
    expires: Option<f64>,
    not_before: Option<f64>,
}

impl<'t> Signed<'t> {
    /// Takes a token apart (RFC 7515, 7.1).
    pub fn parse(token: &'t [u8]) -> Result<Signed<'t>, Refusal> {
        if token.len() > MOST_TOKEN {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Malformed);
        };
        match parts.count() {
            0 => {}
            // RFC 7516, 9.
            2 => return Err(Refusal::Encrypted),
            _ => return Err(Refusal::Malformed),
        }
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(Refusal::Malformed)?;
        let header = decode(header).and_then(|bytes| json::object(&bytes)).ok_or(Refusal::Malformed)?;
        let algorithm = algorithm(&header)?;
        let signature = decode(signature).ok_or(Refusal::Malformed)?;
        Ok(Signed { algorithm, header, signed, payload, signature })
    }

    /// Checks the signature with the keys that fit what the token says of its own.
    pub fn verify(self, sets: &[impl AsRef<KeySet>]) -> Result<Token, Refusal> {
        let id = match self.header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(&**id),
            Some(_) => return Err(Refusal::Malformed),
        };
        let (mut named, mut fitting) = (false, false);
        for key in sets.iter().flat_map(|set| &set.as_ref().keys) {
            // A key without a name can be anybody's; the signature says whose it is.
            if let (Some(id), Some(key_id)) = (id, &key.id)
                && *id != **key_id
            {
                continue;
            }
            named = true;
            if !key.is_for(self.algorithm) {
                continue;
            }
            fitting = true;
            if key.signed(self.algorithm, self.signed, &self.signature) {
                return self.into_token();
            }
        }
        Err(match (named, fitting) {
            (false, _) => Refusal::UnknownKey,
            (true, false) => Refusal::WrongAlgorithm,
            (true, true) => Refusal::BadSignature,
        })
    }

    fn into_token(self) -> Result<Token, Refusal> {
        let mut payload = decode(self.payload).ok_or(Refusal::Malformed)?;
        let claims = json::object(&payload).ok_or(Refusal::Malformed)?;
        if payload.iter().any(u8::is_ascii_control) {
            // Strings of JSON have none: these stand between its tokens, where they say nothing.
            payload.retain(|byte| !byte.is_ascii_control());
        }
        Ok(Token {
            expires: time(&claims, "exp")?,
            not_before: time(&claims, "nbf")?,
            header: self.header,
            identity: Arc::new(Identity::of_claims(&claims)),
            claims,
            payload: payload.into(),
        })
    }
}

impl Token {
    /// Whether it is valid now, in seconds since 1970, give or take `leeway` seconds (RFC 7519, 4.1.4 and 4.1.5).
    pub fn check_time(&self, now: f64, leeway: f64) -> Result<(), Refusal> {
        if self.expires.is_some_and(|end| now >= end + leeway) {
            return Err(Refusal::Expired);
        }
        if self.not_before.is_some_and(|start| now + leeway < start) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }

    /// About how many bytes it takes beside itself: its JSON as values is a few times as long as it is as text.
    pub fn size(&self) -> usize {
        const OF_VALUES: usize = 6;
        let header: usize =
            self.header.iter().map(|(name, value)| name.len() + value.as_str().map_or(64, str::len)).sum();
        self.payload.len()
            + (self.payload.len() + header) * OF_VALUES
            + size_of::<Identity>()
            + self.identity.size()
    }
}

/// What the header says of the algorithm, where nothing else in it forbids the token.
fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Refusal> {
    if header.contains_key("enc") {
        return Err(Refusal::Encrypted);
    }
    if header.contains_key("crit") {
        return Err(Refusal::Critical);
    }
    if header.contains_key("jwk") || header.contains_key("x5c") {
        return Err(Refusal::EmbeddedKey);
    }
    let Some(Value::String(name)) = header.get("alg") else { return Err(Refusal::Malformed) };
    if name.eq_ignore_ascii_case("none") {
        return Err(Refusal::Unsigned);
    }
    Algorithm::named(name).ok_or(Refusal::UnknownAlgorithm)
}

/// Seconds since 1970, with a fraction (RFC 7519, 2).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Refusal::BadTime),
    }
}

fn decode(part: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
