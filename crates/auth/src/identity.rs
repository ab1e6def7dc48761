//! Who somebody is, as those behind a gateway are told.

use std::fmt;

use serde_json::{Map, Value};

use crate::store::{ApiKey, User};

/// Longest id, name or address that a token gives somebody, in bytes (OpenID Connect Core 1.0, section 2, of `sub`).
const MOST_TEXT: usize = 255;

/// Longest list of scopes or groups that a token gives somebody, in bytes.
const MOST_LIST: usize = 8 << 10;

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

    /// Whom the claims of a token name: `sub`, `preferred_username` (or `sub`), `email`, `groups`, and `scope` or `scp`
    /// (RFC 7519, section 4.1; OpenID Connect Core 1.0, section 5.1; RFC 9068, sections 2.2.3 and 2.2.3.1). What would be read
    /// otherwise where it is told, such as text with a control character or a group with a comma, is nothing, and so is what is
    /// too long; a list ends where it would be.
    pub fn of_claims(claims: &Map<String, Value>) -> Identity {
        let id = text(claims, "sub");
        let scopes = claims.get("scope").or_else(|| claims.get("scp"));
        Identity {
            id: id.unwrap_or_default().to_owned(),
            name: text(claims, "preferred_username").or(id).unwrap_or_default().to_owned(),
            email: text(claims, "email").unwrap_or_default().to_owned(),
            scopes: match scopes {
                Some(Value::String(words)) => list(words.split(' '), " ", is_scope),
                words => list(elements(words), " ", is_scope),
            },
            groups: match claims.get("groups") {
                Some(Value::String(group)) => list(std::iter::once(&**group), ",", is_group),
                groups => list(elements(groups), ",", is_group),
            },
        }
    }

    /// Whom an authorization server says that a token is of (RFC 7662, section 2.2): claims, and `username`. Where it names no
    /// `sub`, the user is known by that name, and a client that acts for itself by `client_id`.
    pub fn of_introspection(claims: &Map<String, Value>) -> Identity {
        let mut identity = Identity::of_claims(claims);
        let user = text(claims, "username");
        if !claims.contains_key("sub") {
            identity.id = user.or_else(|| text(claims, "client_id")).unwrap_or_default().to_owned();
        }
        if let Some(name) = user {
            identity.name = name.to_owned();
        } else if identity.name.is_empty() {
            identity.name.clone_from(&identity.id);
        }
        identity
    }

    /// Whether it may do what this scope names.
    pub fn has_scope(&self, scope: &str) -> bool {
        is_scope(scope) && self.scopes.split(' ').any(|own| own == scope)
    }

    /// Whether it belongs to this group.
    pub fn is_in_group(&self, group: &str) -> bool {
        is_group(group) && self.groups.split(',').any(|own| own == group)
    }

    /// The bytes that it takes beside itself.
    pub fn size(&self) -> usize {
        let Identity { id, name, email, scopes, groups } = self;
        [id, name, email, scopes, groups].iter().map(|text| text.len()).sum()
    }
}

/// Whether it can be a scope: a word of printable ASCII without quotation marks and backslashes (RFC 6749, section 3.3).
pub fn is_scope(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// Whether it can be the name of a group, told among others with commas between them.
pub fn is_group(name: &str) -> bool {
    is_told(name) && !name.contains(',')
}

/// Whether text is the same for whom it is told in a field.
fn is_told(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control)
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name)?.as_str().filter(|text| is_told(text) && text.len() <= MOST_TEXT)
}

/// The texts of a list.
fn elements(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn list<'w>(words: impl Iterator<Item = &'w str>, between: &str, may_be: fn(&str) -> bool) -> String {
    let mut out = String::new();
    for word in words.filter(|word| may_be(word)) {
        if out.len() + between.len() + word.len() > MOST_LIST {
            break;
        }
        if !out.is_empty() {
            out.push_str(between);
        }
        out.push_str(word);
    }
    out
}

/// Scopes and groups, all of which somebody must have.
#[derive(Clone, Debug, Default)]
pub struct Required {
    scopes: Vec<String>,
    groups: Vec<String>,
}

/// What somebody does not have of what is required.
#[derive(Debug, PartialEq, Eq)]
pub enum Lack<'r> {
    /// One of these scopes, all of which are required.
    Scopes(&'r [String]),
    /// This group.
    Group(&'r str),
}

impl Required {
    /// Adds what `scope=NAME` or `group=NAME` requires; false where the word says neither.
    pub fn add(&mut self, word: &str) -> bool {
        match word.split_once('=') {
            Some(("scope", name)) if is_scope(name) => self.scopes.push(name.to_owned()),
            Some(("group", name)) if is_group(name) => self.groups.push(name.to_owned()),
            _ => return false,
        }
        true
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.groups.is_empty()
    }

    /// What somebody lacks of it.
    pub fn lack_of(&self, identity: &Identity) -> Option<Lack<'_>> {
        if !self.scopes.iter().all(|scope| identity.has_scope(scope)) {
            return Some(Lack::Scopes(&self.scopes));
        }
        self.groups.iter().find(|group| !identity.is_in_group(group)).map(|group| Lack::Group(group))
    }
}

impl fmt::Display for Lack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Scopes(scopes) => write!(f, "scope \"{}\" is required", scopes.join(" ")),
            Lack::Group(group) => write!(f, "group \"{group}\" is required"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(claims: &str) -> Identity {
        Identity::of_claims(&crate::json::object(claims.as_bytes()).unwrap())
    }

    #[test]
    fn claims_name_somebody() {
        let identity = of(
            r#"{"sub":"7","preferred_username":"ann","email":"ann@example.com","scope":"a b:c","groups":["staff","élan vital"]}"#,
        );
        let expected = ["7", "ann", "ann@example.com", "a b:c", "staff,élan vital"].map(str::to_owned);
        let Identity { id, name, email, scopes, groups } = identity.clone();
        assert_eq!([id, name, email, scopes, groups], expected);
        assert!(identity.has_scope("a") && identity.has_scope("b:c") && identity.is_in_group("staff"));
        for none in ["", "a b:c", "b", "c", "A"] {
            assert!(!identity.has_scope(none) && !identity.is_in_group(none), "{none}");
        }
        assert_eq!(of(r#"{"sub":"7"}"#).name, "7");
        assert_eq!(of(r#"{"scp":["a","b"]}"#).scopes, "a b");
        assert_eq!(of(r#"{"scp":"a b"}"#).scopes, "a b");
        assert_eq!(of(r#"{"scope":"a","scp":["b"]}"#).scopes, "a");
        assert_eq!(of(r#"{"groups":"staff"}"#).groups, "staff");
    }

    #[test]
    fn no_claim_says_more_than_one_value() {
        for claims in [
            r#"{}"#,
            r#"{"sub":7,"email":["a"],"scope":{"a":1},"groups":{"admins":true},"preferred_username":null}"#,
            r#"{"sub":"a\r\nX-User-ID: root","email":"a\u0085b","scope":"a\nb c\td","groups":"a\u0000"}"#,
            r#"{"sub":" root","preferred_username":"root ","email":"\ta","groups":["a,admins"," admins",""]}"#,
            r#"{"scope":["a b","","a\"b","é"],"groups":"staff,admins"}"#,
        ] {
            assert_eq!(of(claims), Identity::default(), "{claims}");
        }
        assert_eq!(of(r#"{"scope":"a  b\u0001 c"}"#).scopes, "a c");
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        assert_eq!(of(&format!(r#"{{"sub":"{}"}}"#, "x".repeat(MOST_TEXT))).id.len(), MOST_TEXT);
        assert_eq!(of(&format!(r#"{{"sub":"{}"}}"#, "x".repeat(MOST_TEXT + 1))), Identity::default());
        let many: Vec<String> = (0..1000).map(|n| format!(r#""group {n:>8}""#)).collect();
        let groups = of(&format!(r#"{{"groups":[{}]}}"#, many.join(","))).groups;
        assert!(groups.len() <= MOST_LIST && groups.split(',').all(|group| group.len() == 14), "{groups}");
        assert!(groups.split(',').count() > 500);
    }

    #[test]
    fn all_that_is_required_is_asked_for() {
        let mut required = Required::default();
        for word in ["scope=a", "group=staff", "scope=b"] {
            assert!(required.add(word));
        }
        for none in
            ["scope=", "group=", "scope=a b", "scope=a\"b", "group=a,b", "scope", "a", "role=a", "group= a"]
        {
            assert!(!required.add(none), "{none}");
        }
        let all = ["a".to_owned(), "b".to_owned()];
        assert_eq!(required.lack_of(&of(r#"{"scope":"b","groups":["staff"]}"#)), Some(Lack::Scopes(&all)));
        assert_eq!(required.lack_of(&of(r#"{"scope":"b a"}"#)), Some(Lack::Group("staff")));
        assert_eq!(required.lack_of(&of(r#"{"scope":"c b a","groups":["x","staff"]}"#)), None);
    }
}
