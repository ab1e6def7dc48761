//! Whether credentials are good, and whose they are.

use std::sync::Arc;
use std::time::Duration;

use crate::api_key::Presented;
use crate::directory::{Directory, KnownSession};
use crate::identity::Identity;
use crate::session::digest_of;
use crate::store::{StoreError, Time};

/// Why credentials are not good: for the operator's log. Whoever sent them is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// They do not look like what they should be.
    Malformed,
    /// Nobody has them, or no more.
    Unknown,
    /// The secret, or the password, is another one.
    Wrong,
    /// They were revoked.
    Revoked,
    /// Their time is over.
    Expired,
    /// The session was not used for too long.
    Idle,
    /// The user is disabled.
    Disabled,
}

impl Why {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Malformed => "malformed",
            Why::Unknown => "unknown",
            Why::Wrong => "wrong secret",
            Why::Revoked => "revoked",
            Why::Expired => "expired",
            Why::Idle => "unused for too long",
            Why::Disabled => "user disabled",
        }
    }
}

/// Whose credentials are, or why they are not good; an error where that cannot be told.
pub type Checked = Result<Result<Arc<Identity>, Why>, StoreError>;

/// Whose API key it is (`dw_<id>_<secret>`).
pub async fn key(directory: &Directory, text: &[u8], grace: Duration, now: Time) -> Checked {
    let Some(presented) = Presented::parse(text) else { return Ok(Err(Why::Malformed)) };
    let Some(known) = directory.key(presented.id, grace).await? else { return Ok(Err(Why::Unknown)) };
    // The secret first: who does not have it learns nothing of the key by the time that the rest takes.
    if !presented.matches(&known.key.digest) {
        return Ok(Err(Why::Wrong));
    }
    if known.key.revoked {
        return Ok(Err(Why::Revoked));
    }
    if !known.key.is_good(now) {
        return Ok(Err(Why::Expired));
    }
    if known.is_disabled {
        return Ok(Err(Why::Disabled));
    }
    directory.key_was_used(&known, now);
    Ok(Ok(known.identity.clone()))
}

/// Whose session it is. `idle`: how long it may be unused, in seconds.
pub async fn session(directory: &Directory, id: &[u8], idle: u64, grace: Duration, now: Time) -> Checked {
    let Some(digest) = digest_of(id) else { return Ok(Err(Why::Malformed)) };
    let Some(mut known) = directory.session(&digest, grace).await? else { return Ok(Err(Why::Unknown)) };
    let is_idle = |known: &KnownSession| now >= known.last_seen().after(idle);
    if is_idle(&known) {
        // It may have been used at another gateway meanwhile.
        match directory.session_as_stored(&digest).await? {
            None => return Ok(Err(Why::Unknown)),
            Some(stored) if is_idle(&stored) => return Ok(Err(Why::Idle)),
            Some(stored) => known = stored,
        }
    }
    if now >= known.session.expires {
        return Ok(Err(Why::Expired));
    }
    if known.is_disabled {
        return Ok(Err(Why::Disabled));
    }
    directory.session_was_used(&known, now);
    Ok(Ok(known.identity.clone()))
}
