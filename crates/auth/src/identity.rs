//! Who somebody is, as those behind a gateway are told.

use crate::store::{ApiKey, User};

/// What is known of whoever sent a request. No text in it has control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Tells the user from all others, for good.
    pub id: String,
    /// What people call the user.
    pub name: String,
    /// An address, empty where none is known.
    pub email: String,
    /// What the request may do: words with spaces between them (RFC 6749, section 3.3).
    pub scopes: String,
    /// Whom the user belongs to: names with commas between them.
    pub groups: String,
}

impl Identity {
    /// A user, with all that the user may do.
    pub fn of_user(user: &User) -> Identity {
        Identity {
            id: user.id.clone(),
            name: user.name.clone(),
            email: user.email.clone().unwrap_or_default(),
            scopes: user.scopes.join(" "),
            groups: user.groups.join(","),
        }
    }

    /// A user by a key, which may do what the user may and the key says.
    pub fn of_key(key: &ApiKey, user: &User) -> Identity {
        let scopes: Vec<&str> =
            key.scopes.iter().filter(|scope| user.scopes.contains(scope)).map(String::as_str).collect();
        Identity { scopes: scopes.join(" "), ..Identity::of_user(user) }
    }

    /// Whether it may do what this scope names.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.split(' ').any(|own| own == scope)
    }

    /// Whether it belongs to this group.
    pub fn is_in_group(&self, group: &str) -> bool {
        self.groups.split(',').any(|own| own == group)
    }
}
