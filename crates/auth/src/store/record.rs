//! What stores keep: users, API keys, sessions.

use std::time::{SystemTime, UNIX_EPOCH};

use super::StoreError;
use crate::secret::{self, Digest, NoRandomness};

/// A moment, in seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The moment it is.
    pub fn now() -> Time {
        Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// So many seconds later.
    #[must_use]
    pub fn after(self, seconds: u64) -> Time {
        Time(self.0.saturating_add(seconds))
    }
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Never changes, and is never given to another user: [`User::new_id`].
    pub id: String,
    /// What a person types to log in; unique, compared byte by byte.
    pub name: String,
    /// An address, where one is known.
    pub email: Option<String>,
    /// The password as [`crate::password`] keeps it; without one there is no login by password.
    pub password: Option<String>,
    /// What the user may do (RFC 6749, section 3.3).
    pub scopes: Vec<String>,
    /// Whom the user belongs to.
    pub groups: Vec<String>,
    /// Whether the user is refused, by whatever method.
    pub disabled: bool,
    /// When it was added.
    pub created: Time,
}

/// An API key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The part of the key that may be seen: [`crate::api_key`].
    pub id: String,
    /// What is kept of its secret.
    pub digest: Digest,
    /// The id of the user that it acts for.
    pub user: String,
    /// What people call it.
    pub label: String,
    /// What it may be used for (RFC 6749, section 3.3).
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Time,
    /// From when on it is refused.
    pub expires: Option<Time>,
    /// Whether it is refused.
    pub revoked: bool,
    /// When it was last used, as far as that was told.
    pub last_used: Option<Time>,
}

/// A session.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// What is kept of its id: [`crate::session`].
    pub digest: Digest,
    /// The id of the user who logged in.
    pub user: String,
    /// When that was.
    pub created: Time,
    /// When it was last used, as far as that was told.
    pub last_seen: Time,
    /// From when on it is refused, however much it is used.
    pub expires: Time,
}

/// Longest name, label or address, in bytes.
const LONGEST_NAME: usize = 255;

/// Longest scope or group, in bytes.
const LONGEST_WORD: usize = 128;

/// Most scopes of a record, and most groups.
const MOST_WORDS: usize = 64;

/// Longest password as it is kept, in bytes.
const LONGEST_PASSWORD: usize = 511;

impl User {
    /// An id for a new user.
    pub fn new_id() -> Result<String, NoRandomness> {
        secret::text(16)
    }

    /// Whether stores take it: everything here can become a header field of a request, and stands in lists.
    pub fn check(&self) -> Result<(), StoreError> {
        check_name("id", &self.id)?;
        check_name("name", &self.name)?;
        if let Some(email) = &self.email {
            check_name("address", email)?;
        }
        if let Some(password) = &self.password {
            check_password(password)?;
        }
        check_scopes(&self.scopes)?;
        if self.groups.len() > MOST_WORDS {
            return Err(StoreError::Invalid(format!("there are more than {MOST_WORDS} groups")));
        }
        let good = |group: &String| {
            let text =
                !group.is_empty() && group.len() <= LONGEST_WORD && !group.chars().any(char::is_control);
            // Groups are sent as a list that commas separate.
            text && !group.contains(',')
        };
        match self.groups.iter().find(|group| !good(group)) {
            Some(_) => Err(StoreError::Invalid(format!(
                "a group is no text of 1 to {LONGEST_WORD} bytes without commas and control characters"
            ))),
            None => Ok(()),
        }
    }
}

impl ApiKey {
    /// Whether stores take it.
    pub fn check(&self) -> Result<(), StoreError> {
        check_name("id", &self.id)?;
        if !self.label.is_empty() {
            check_name("label", &self.label)?;
        }
        check_scopes(&self.scopes)
    }

    /// Whether it is good at this moment, its user apart.
    pub fn is_good(&self, now: Time) -> bool {
        !self.revoked && self.expires.is_none_or(|expires| now < expires)
    }
}

/// Whether stores take a password as it is kept.
pub(super) fn check_password(password: &str) -> Result<(), StoreError> {
    if password.is_empty() || password.len() > LONGEST_PASSWORD || password.chars().any(char::is_control) {
        return Err(StoreError::Invalid(format!(
            "a kept password is no text of 1 to {LONGEST_PASSWORD} bytes"
        )));
    }
    Ok(())
}

fn check_name(what: &str, text: &str) -> Result<(), StoreError> {
    let outer = text.trim() != text;
    if text.is_empty() || text.len() > LONGEST_NAME || outer || text.chars().any(char::is_control) {
        return Err(StoreError::Invalid(format!(
            "the {what} is no text of 1 to {LONGEST_NAME} bytes without control characters and outer spaces"
        )));
    }
    Ok(())
}

fn check_scopes(scopes: &[String]) -> Result<(), StoreError> {
    if scopes.len() > MOST_WORDS {
        return Err(StoreError::Invalid(format!("there are more than {MOST_WORDS} scopes")));
    }
    // scope-token of RFC 6749, appendix A.4.
    let good = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    for scope in scopes {
        if scope.is_empty() || scope.len() > LONGEST_WORD || !scope.bytes().all(good) {
            return Err(StoreError::Invalid(format!(
                "a scope is no word of 1 to {LONGEST_WORD} printable ASCII characters without space, \" and \\"
            )));
        }
    }
    Ok(())
}

/// A list in one column: its words have no line feeds.
pub(super) fn joined(words: &[String]) -> String {
    words.join("\n")
}

/// A list that was [`joined`].
pub(super) fn split(text: &str) -> Vec<String> {
    text.split('\n').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
