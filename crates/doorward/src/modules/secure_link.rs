//! `ngx_http_secure_link_module`: whether a link was made by someone who knows a secret, and is still good.

use std::sync::Arc;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use conf::Arg::Text;
use conf::{Diagnostic, once};

use crate::directives;
use crate::exchange::Exchange;
use crate::module::{Module, Settings};
use crate::variables::{Row, Template};

/// base64url without padding, whose last character may have bits that mean nothing.
const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_secure_link_module",
    directives: directives! { LinkSettings;
        /// Where the link's hash stands, as base64url, and after a comma the time in seconds until which it is good:
        /// `$arg_md5,$arg_expires`.
        "secure_link" in [HTTP SERVER LOCATION] (Text("expression")) = "" => |c, cx, n| {
            let link = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.link, link, n)
        };
        /// What the hash is the MD5 of; it should hold a secret, and what the link is for.
        "secure_link_md5" in [HTTP SERVER LOCATION] (Text("expression")) = "" => |c, cx, n| {
            let signed = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.signed, signed, n)
        };
        /// The older form: links are `/prefix/hash/link`, with the MD5 of link and this word in hexadecimal digits.
        "secure_link_secret" in [HTTP SERVER LOCATION] (Text("word")) = "" => |c, _, n| once(&mut c.secret, n.bytes(0).to_vec(), n);
    },
    variables: &[
        Row::once("secure_link", |ex, out| match ex.plan.secure_link.as_deref() {
            Some(SecureLink::Signed { link, signed }) => check_signed(ex, link, signed, out),
            Some(SecureLink::Secret(secret)) => check_secret(ex, secret, out),
            None => false,
        }),
        Row::fresh("secure_link_expires", |ex, out| match ex.plan.secure_link.as_deref() {
            Some(SecureLink::Signed { link, .. }) => {
                let link = link.eval(ex);
                let expires = link.iter().position(|b| *b == b',').and_then(|at| link.get(at + 1..));
                let expires = expires.filter(|text| seconds(text).is_some());
                out.extend_from_slice(expires.unwrap_or_default());
                expires.is_some()
            }
            _ => false,
        }),
    ],
    plan: |_, scope, plan| {
        let settings = scope.get_mut::<LinkSettings>();
        plan.secure_link = match (&settings.secret, &settings.link, &settings.signed) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(Diagnostic::nowhere(
                    "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"",
                ));
            }
            (Some(secret), None, None) => Some(Arc::new(SecureLink::Secret(secret.clone()))),
            (None, Some(link), Some(signed)) => {
                Some(Arc::new(SecureLink::Signed { link: link.clone(), signed: signed.clone() }))
            }
            _ => None,
        };
        Ok(())
    },
};

#[derive(Clone, Default)]
struct LinkSettings {
    link: Option<Template>,
    signed: Option<Template>,
    secret: Option<Vec<u8>>,
}

impl Settings for LinkSettings {
    fn inherit(&mut self, outer: &Self) {
        // The two forms take each other's place.
        if self.secret.is_some() {
            return;
        }
        if self.link.is_none() && self.signed.is_none() {
            self.secret.clone_from(&outer.secret);
        }
        if self.link.is_none() {
            self.link.clone_from(&outer.link);
        }
        if self.signed.is_none() {
            self.signed.clone_from(&outer.signed);
        }
    }
}

/// How links are checked.
pub enum SecureLink {
    /// `secure_link` and `secure_link_md5`.
    Signed {
        /// Hash and time.
        link: Template,
        /// What the hash is of.
        signed: Template,
    },
    /// `secure_link_secret`.
    Secret(Vec<u8>),
}

/// `1` for a good link, `0` for one whose time is over, nothing for others.
fn check_signed(ex: &Exchange<'_>, link: &Template, signed: &Template, out: &mut Vec<u8>) -> bool {
    let link = link.eval(ex);
    let mut parts = link.splitn(2, |b| *b == b',');
    let hash = parts.next().unwrap_or_default();
    let expires = match parts.next() {
        None => None,
        Some(text) => match seconds(text) {
            Some(time) => Some(time),
            None => return false,
        },
    };
    let digits = hash.split(|b| *b == b'=').next().unwrap_or_default();
    let Ok(hash) = BASE64_URL.decode(digits) else { return false };
    if !auth::link::is_md5_of(&hash, &[&signed.eval(ex)]) {
        return false;
    }
    let over = expires.is_some_and(|time| time < net::clock::wall().0);
    out.push(if over { b'0' } else { b'1' });
    true
}

/// A time in seconds, after 1970.
fn seconds(text: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse().ok().filter(|seconds| *seconds > 0)
}

/// The link itself, for a path `/prefix/hash/link` with the right hash.
fn check_secret(ex: &Exchange<'_>, secret: &[u8], out: &mut Vec<u8>) -> bool {
    let target = ex.visit.head.target.of(ex.visit.bytes);
    let mut parts = target.get(1..).unwrap_or_default().splitn(3, |b| *b == b'/');
    let (Some(_), Some(digits), Some(link)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let hash = hexadecimal(digits);
    if link.is_empty() || !hash.is_some_and(|hash| auth::link::is_md5_of(&hash, &[link, secret])) {
        return false;
    }
    out.extend_from_slice(link);
    true
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}
