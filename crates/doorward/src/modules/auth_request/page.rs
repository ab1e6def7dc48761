//! What the client gets of a refusing answer beside its status: the auth service's own fields and body.

use wire::Name;

use crate::body::{Body, Unread};
use crate::exchange::Exchange;
use crate::log::Level;

/// The longest body that is passed where no size is set.
pub const MOST: u64 = 64 << 10;

/// How long the rest of a body is waited for, in milliseconds.
const PATIENCE: u64 = 5_000;

/// The auth service's answer as the client gets it, where the location has no `error_page` for its status.
#[derive(Clone, Default)]
pub struct Page {
    /// The status that it belongs to.
    pub status: u16,
    /// Names and values of fields.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body; none where this server's own page is shown.
    pub body: Option<Vec<u8>>,
}

/// Whether an answer of that status can be passed on: one that lets in, decides, or is none of a response cannot.
pub fn may_pass(status: u16) -> bool {
    (300..600).contains(&status) && !matches!(status, 304 | 401 | 403 | 408 | 444 | 494..=499)
}

impl Page {
    /// The page of a 401 or 403, where its body is passed.
    pub(super) fn of_refusal(child: &Exchange<'_>, body: Option<Vec<u8>>) -> Option<Page> {
        let body = body.filter(|body| !body.is_empty())?;
        let fields = fields(child, is_of_body);
        Some(Page { status: child.response.status, fields, body: Some(body) })
    }

    /// The page of a status that is passed with its fields.
    pub(super) fn of_status(child: &Exchange<'_>, body: Option<Vec<u8>>) -> Page {
        let with_body = body.is_some();
        let passes = |id, name: &[u8]| match id {
            // The length is known anew; cookies are passed on by themselves.
            Name::ContentLength | Name::SetCookie => false,
            _ if is_of_connection(id, name) => false,
            _ => with_body || !is_of_body(id, name),
        };
        Page { status: child.response.status, fields: fields(child, passes), body }
    }
}

fn fields(child: &Exchange<'_>, passes: impl Fn(Name, &[u8]) -> bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let visible = child.response.fields.visible().filter(|(id, name, _)| passes(*id, name));
    visible.map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Fields that say how a body is to be read.
fn is_of_body(id: Name, name: &[u8]) -> bool {
    matches!(id, Name::ContentType | Name::ContentEncoding) || name.eq_ignore_ascii_case(b"Content-Language")
}

/// Fields that are the business of one connection (RFC 9110, 7.6.1).
fn is_of_connection(id: Name, name: &[u8]) -> bool {
    matches!(
        id,
        Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Te
            | Name::TransferEncoding
            | Name::Upgrade
    ) || name.eq_ignore_ascii_case(b"Trailer")
}

/// Reads a body of at most `most` bytes; a longer one, or one that does not end, is none.
pub(super) async fn read(child: &mut Exchange<'_>, body: Body, most: u64) -> Option<Vec<u8>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let what = match body.whole(child, most, PATIENCE).await {
        Ok(bytes) => return Some(bytes),
        Err(Unread::Endless) => "does not end",
        Err(Unread::TooLong) => "is too long to be passed on",
    };
    child.log(Level::Warn, format_args!("auth request: the body of the answer {what}"));
    None
}
