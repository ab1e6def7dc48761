//! One key of a set: what it is for, and how signatures are checked with it.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;

/// A key with everything that it may check.
pub struct Key {
    /// Its name (`kid`), where it has one.
    pub(super) id: Option<Box<str>>,
    /// How it checks, by algorithm: those that belong to its kind, or the one that it is meant for (`alg`).
    checks: Vec<(Algorithm, Check)>,
    /// The bytes of a secret that is shorter than its algorithm's hash.
    pub(super) short_secret: Option<usize>,
    /// Whether its private part is there too.
    pub(super) has_private_part: bool,
}

enum Check {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not a JSON object, or one with a member twice.
    NotAKey,
    /// A kind, a curve or an algorithm that is not known here: others may know it (RFC 7517, 5).
    Unknown,
    /// It is for something else than signatures (`use`, `key_ops`).
    OtherUse,
    /// A member is missing or is not what it must be.
    BadMember(&'static str),
    /// `alg` does not belong to its kind.
    WrongAlgorithm,
    /// An RSA key of less than 2048 bits (RFC 7518, 3.3), or of more than 8192.
    RsaSize,
    /// The numbers are not a public key, such as a point that is not on its curve.
    NotOnCurve,
    /// A secret that is the text of a public key: whoever has that key could sign.
    PublicSecret,
    /// A secret without bytes.
    EmptySecret,
}

impl Fault {
    /// Whether it is a key for others, which a set may hold beside those for here.
    pub fn is_for_others(self) -> bool {
        matches!(self, Fault::Unknown | Fault::OtherUse)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotAKey => f.write_str("is no JSON object, or has a member twice"),
            Fault::Unknown => f.write_str("is of a kind, curve or algorithm that is not known here"),
            Fault::OtherUse => f.write_str("is not for checking signatures (use, key_ops)"),
            Fault::BadMember(name) => write!(f, "has no \"{name}\", or one that is not what it must be"),
            Fault::WrongAlgorithm => f.write_str("has an \"alg\" that does not belong to its kind"),
            Fault::RsaSize => f.write_str("is an RSA key of less than 2048 bits, or of more than 8192"),
            Fault::NotOnCurve => f.write_str("is no public key: its numbers do not belong together"),
            Fault::PublicSecret => {
                f.write_str("is a secret that is the text of a public key: whoever knows that key could sign")
            }
            Fault::EmptySecret => f.write_str("is a secret without a single byte"),
        }
    }
}

impl Key {
    /// Reads a key (RFC 7517, 4).
    pub(super) fn of(members: &Map<String, Value>) -> Result<Key, Fault> {
        if !is_for_signatures(members)? {
            return Err(Fault::OtherUse);
        }
        let alg = match optional(members, "alg")? {
            Some(name) => Some(Algorithm::named(name).ok_or(Fault::Unknown)?),
            None => None,
        };
        let mut short_secret = None;
        let checks = match required(members, "kty")? {
            "oct" => {
                let secret = decoded(members, "k")?;
                let chosen = chosen(alg, Algorithm::OF_SECRETS)?;
                short_secret = (secret.len() < hash_length(&chosen)).then_some(secret.len());
                secrets(&secret, &chosen)?
            }
            "RSA" => rsa(members, &chosen(alg, Algorithm::OF_RSA)?)?,
            "EC" => elliptic(members, alg)?,
            "OKP" => edwards(members, alg)?,
            _ => return Err(Fault::Unknown),
        };
        Ok(Key {
            id: optional(members, "kid")?.map(Into::into),
            checks,
            short_secret,
            has_private_part: members.contains_key("d"),
        })
    }

    /// Whether it may check signatures of this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.checks.iter().any(|(known, _)| *known == algorithm)
    }

    /// Whether the signature of these bytes was made with it.
    pub(super) fn signed(&self, algorithm: Algorithm, bytes: &[u8], signature: &[u8]) -> bool {
        let check = self.checks.iter().find(|(known, _)| *known == algorithm);
        match check {
            Some((_, Check::Secret(key))) => hmac::verify(key, bytes, signature).is_ok(),
            Some((_, Check::Public(key))) => key.verify_sig(bytes, signature).is_ok(),
            None => false,
        }
    }
}

/// What `use` and `key_ops` say (RFC 7517, 4.2 and 4.3).
fn is_for_signatures(members: &Map<String, Value>) -> Result<bool, Fault> {
    if optional(members, "use")?.is_some_and(|what| what != "sig") {
        return Ok(false);
    }
    match members.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|what| what == "verify")),
        Some(_) => Err(Fault::BadMember("key_ops")),
    }
}

/// The algorithms that a key is for, of those of its kind.
fn chosen(alg: Option<Algorithm>, of_kind: &[Algorithm]) -> Result<Vec<Algorithm>, Fault> {
    match alg {
        None => Ok(of_kind.to_vec()),
        Some(alg) if of_kind.contains(&alg) => Ok(vec![alg]),
        Some(_) => Err(Fault::WrongAlgorithm),
    }
}

fn hash_length(algorithms: &[Algorithm]) -> usize {
    let lengths = algorithms.iter().filter_map(|algorithm| algorithm.of_secret());
    lengths.map(|(_, length)| length).min().unwrap_or(0)
}

fn secrets(secret: &[u8], algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, Fault> {
    if secret.is_empty() {
        return Err(Fault::EmptySecret);
    }
    if [&b"-----BEGIN"[..], b"ssh-", b"ecdsa-sha2-"]
        .iter()
        .any(|start| secret.trim_ascii_start().starts_with(start))
    {
        return Err(Fault::PublicSecret);
    }
    let key = |algorithm: &Algorithm| {
        let (how, _) = algorithm.of_secret()?;
        Some((*algorithm, Check::Secret(Box::new(hmac::Key::new(how, secret)))))
    };
    Ok(algorithms.iter().filter_map(key).collect())
}

fn rsa(members: &Map<String, Value>, algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Check)>, Fault> {
    let (n, e) = (decoded(members, "n")?, decoded(members, "e")?);
    // Some write the zero in front that ASN.1 has there.
    let (n, e) = (without_zeros(&n), without_zeros(&e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(Fault::RsaSize);
    }
    let key = |algorithm: &Algorithm| {
        let how = algorithm.of_rsa()?;
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(how).ok()?;
        Some((*algorithm, Check::Public(key)))
    };
    algorithms.iter().map(|algorithm| key(algorithm).ok_or(Fault::NotOnCurve)).collect()
}

fn elliptic(members: &Map<String, Value>, alg: Option<Algorithm>) -> Result<Vec<(Algorithm, Check)>, Fault> {
    let (algorithm, how, length) = Algorithm::of_curve(required(members, "crv")?).ok_or(Fault::Unknown)?;
    chosen(alg, &[algorithm])?;
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = decoded(members, name)?;
        if coordinate.len() != length {
            return Err(Fault::BadMember(name));
        }
        point.extend_from_slice(&coordinate);
    }
    let key = ParsedPublicKey::new(how, point).map_err(|_| Fault::NotOnCurve)?;
    Ok(vec![(algorithm, Check::Public(key))])
}

fn edwards(members: &Map<String, Value>, alg: Option<Algorithm>) -> Result<Vec<(Algorithm, Check)>, Fault> {
    if required(members, "crv")? != "Ed25519" {
        return Err(Fault::Unknown);
    }
    chosen(alg, &[Algorithm::EdDSA])?;
    let bytes = decoded(members, "x")?;
    if bytes.len() != signature::ED25519_PUBLIC_KEY_LEN {
        return Err(Fault::BadMember("x"));
    }
    let key = ParsedPublicKey::new(&signature::ED25519, bytes).map_err(|_| Fault::NotOnCurve)?;
    Ok(vec![(Algorithm::EdDSA, Check::Public(key))])
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn optional<'m>(members: &'m Map<String, Value>, name: &'static str) -> Result<Option<&'m str>, Fault> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::BadMember(name)),
    }
}

fn required<'m>(members: &'m Map<String, Value>, name: &'static str) -> Result<&'m str, Fault> {
    optional(members, name)?.ok_or(Fault::BadMember(name))
}

fn decoded(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(required(members, name)?).map_err(|_| Fault::BadMember(name))
}
