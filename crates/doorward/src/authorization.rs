//! What a client shows in `Authorization` (RFC 9110, section 11.6.2), as text: nobody has checked it yet.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use base64::{Engine, alphabet};
use wire::Name;
use wire::h1::Method;

use crate::exchange::Exchange;

/// The user of an `Authorization: Basic` field (`$remote_user`), whether or not anyone checked the password.
pub fn basic_user(ex: &Exchange<'_>) -> Option<Vec<u8>> {
    basic_credentials(ex).map(|(user, _)| user)
}

/// Base64 without padding, whose last character may have bits that mean nothing.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// User and password of an `Authorization: Basic` field (RFC 7617), or for a tunnel of `Proxy-Authorization`.
pub fn basic_credentials(ex: &Exchange<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = credentials(ex)?;
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    // As nginx: padding may be missing, and what follows it does not count.
    let encoded = encoded.trim_ascii().split(|b| *b == b'=').next()?;
    let decoded = LENIENT.decode(encoded).ok()?;
    let colon = decoded.iter().position(|b| *b == b':').filter(|at| *at > 0)?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

/// The token that the client sent (RFC 6750, 2.1).
pub fn bearer_token<'c>(ex: &Exchange<'c>) -> Option<&'c [u8]> {
    credentials(ex).and_then(bearer)
}

/// The token of an `Authorization` value.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// What a client shows who it is with; to open a tunnel it shows it to a proxy.
fn credentials<'c>(ex: &Exchange<'c>) -> Option<&'c [u8]> {
    ex.request_field(match ex.method {
        Method::Connect => Name::ProxyAuthorization,
        _ => Name::Authorization,
    })
}
