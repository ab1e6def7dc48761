//! The request that a service decides about: the one that it is asked in, or the one that another gateway names.

use std::borrow::Cow;

use conf::{Diagnostic, Word};

use super::block::invalid;
use crate::exchange::Exchange;

/// Who asks at an endpoint, and so which fields say what is asked about. Only one way counts in a location: a client of
/// the other gateway could send the fields of another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// The client itself: it is about this very request.
    Itself,
    /// `X-Forwarded-*`: Traefik's forwardAuth, Caddy's forward_auth.
    Forwarded,
    /// `X-Original-*`: nginx's auth_request, as its users write it.
    Original,
    /// The method and path of the request, behind a prefix: Envoy's ext_authz over HTTP.
    Envoy,
}

impl AskedBy {
    /// Reads `asked_by=`.
    pub fn parse(word: &Word) -> Result<AskedBy, Diagnostic> {
        match word.text.strip_prefix(b"asked_by=") {
            Some(b"forwarded") => Ok(AskedBy::Forwarded),
            Some(b"original") => Ok(AskedBy::Original),
            Some(b"envoy") => Ok(AskedBy::Envoy),
            _ => Err(invalid(word).instead("it is asked_by=forwarded, asked_by=original or asked_by=envoy")),
        }
    }

    /// The fields that say what is asked about.
    pub fn fields(self) -> &'static str {
        match self {
            AskedBy::Itself | AskedBy::Envoy => "of the request itself",
            AskedBy::Forwarded => "X-Forwarded-*",
            AskedBy::Original => "X-Original-*",
        }
    }
}

/// What is decided about.
pub struct Asked<'e> {
    /// The method.
    pub method: Cow<'e, [u8]>,
    /// The host, without port, in lower case.
    pub host: Cow<'e, [u8]>,
    /// The host as it was sent, with the port if any.
    pub authority: Cow<'e, [u8]>,
    /// The path, normalised and decoded.
    pub path: Cow<'e, [u8]>,
    /// Where a browser wanted to go: path and query as sent.
    pub target: Cow<'e, [u8]>,
}

impl<'e> Asked<'e> {
    /// The client's request, also in a subrequest of it.
    pub fn of_client(ex: &Exchange<'e>) -> Asked<'e> {
        let visit = ex.visit;
        Asked {
            method: visit.head.method_text.of(visit.bytes).into(),
            host: (&*visit.host).into(),
            authority: authority(ex).into(),
            path: visit.head.uri(visit.bytes).into(),
            target: visit.head.target.of(visit.bytes).into(),
        }
    }

    /// What an endpoint is asked about; `None` where the fields do not say that clearly.
    pub fn at_endpoint(ex: &Exchange<'e>, by: AskedBy) -> Option<Asked<'e>> {
        if !ex.is_main() {
            return Some(Asked::of_client(ex));
        }
        let (method, target, host) = match by {
            AskedBy::Itself => return Some(Asked::of_client(ex)),
            AskedBy::Forwarded => {
                let field = |name| only(ex, name).ok().flatten();
                (field("X-Forwarded-Method")?, field("X-Forwarded-Uri")?, field("X-Forwarded-Host")?)
            }
            AskedBy::Original => {
                let method = only(ex, "X-Original-Method").ok()??;
                let (uri, url) = (only(ex, "X-Original-URI").ok()?, only(ex, "X-Original-URL").ok()?);
                match (uri, url) {
                    (Some(uri), None) => (method, uri, authority(ex)),
                    (None, Some(url)) => {
                        let rest = url.strip_prefix(b"https://").or_else(|| url.strip_prefix(b"http://"))?;
                        let (host, target) = rest.split_at(rest.iter().position(|byte| *byte == b'/')?);
                        (method, target, host)
                    }
                    _ => return None,
                }
            }
            AskedBy::Envoy => {
                let prefix = ex.plan.core.name.strip_suffix(b"/").unwrap_or(&ex.plan.core.name);
                let visit = ex.visit;
                let target = visit.head.target.of(visit.bytes).strip_prefix(prefix)?;
                (visit.head.method_text.of(visit.bytes), target, authority(ex))
            }
        };
        let mut path = Vec::new();
        let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
        wire::uri::normalize(target.get(..end)?, true, &mut path).ok()?;
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if !path.starts_with(b"/") || method.is_empty() || !method.iter().all(is_token) {
            return None;
        }
        let authority = host.into();
        let host = host.to_ascii_lowercase();
        let end = host.iter().rposition(|byte| *byte == b':').filter(|at| !host.ends_with(b"]") && *at > 0);
        let host = host.get(..end.unwrap_or(host.len()))?.to_vec();
        Some(Asked {
            method: method.into(),
            host: host.into(),
            authority,
            path: path.into(),
            target: target.into(),
        })
    }
}

/// The host of the request with its port.
fn authority<'e>(ex: &Exchange<'e>) -> &'e [u8] {
    ex.request_field(wire::Name::Host).unwrap_or(&ex.visit.host)
}

/// The value of a field that may occur once; an error where it occurs more often.
fn only<'e>(ex: &Exchange<'e>, name: &str) -> Result<Option<&'e [u8]>, Repeated> {
    let mut values = ex.request_fields(name.as_bytes());
    let first = values.next();
    if values.next().is_some() { Err(Repeated) } else { Ok(first) }
}

/// A field that may occur once occurs more often.
struct Repeated;
