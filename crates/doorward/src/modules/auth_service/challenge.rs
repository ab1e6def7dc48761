//! What a service says to who is refused (RFC 9110, section 11.6.1; RFC 6750, section 3).

use auth::identity::Lack;

use super::service::SessionRules;

/// The challenges of a service.
pub struct Challenges {
    realm: String,
    takes_tokens: bool,
    /// For who sends nothing, or something wrong: of all methods but tokens.
    others: Vec<String>,
    /// For who logs in at the page.
    form: Option<String>,
}

/// Why somebody is refused, as far as the client is told.
pub enum Cause<'c> {
    /// Nothing was sent.
    Missing,
    /// A token was sent, and it is not good.
    Token,
    /// Something else was sent, and it is not good.
    Wrong,
    /// What was sent is good, but not enough: these scopes are required.
    Scopes(&'c [String]),
    /// What was sent is good, but not enough.
    Forbidden,
}

impl<'c> Cause<'c> {
    /// That of who lacks something.
    pub fn of(lack: &Lack<'c>) -> Cause<'c> {
        match lack {
            Lack::Scopes(scopes) => Cause::Scopes(scopes),
            Lack::Group(_) => Cause::Forbidden,
        }
    }
}

impl Challenges {
    /// Those of the methods that are on.
    pub fn new(realm: &str, takes_tokens: bool, basic: bool, session: Option<&SessionRules>) -> Challenges {
        // A 401 has a challenge (RFC 9110, section 15.5.2); for forms there is no registered scheme.
        let form = session.map(|SessionRules { cookie, login, .. }| {
            let login = login.as_deref().unwrap_or_default();
            format!("Cookie realm=\"{realm}\", form-action=\"{login}\", cookie-name=\"{cookie}\"")
        });
        let mut others = Vec::new();
        if basic {
            others.push(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        }
        if !basic && !takes_tokens {
            others.extend(form.clone());
        }
        Challenges { realm: realm.to_owned(), takes_tokens, others, form }
    }

    /// What the service calls itself.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The challenge of the login page.
    pub fn of_form(&self) -> Option<&str> {
        self.form.as_deref()
    }

    /// The values of `WWW-Authenticate`.
    pub fn of(&self, cause: &Cause<'_>) -> Vec<String> {
        let realm = &self.realm;
        let error = match cause {
            Cause::Missing | Cause::Wrong => String::new(),
            Cause::Token => ", error=\"invalid_token\"".to_owned(),
            Cause::Scopes(scopes) => {
                format!(", error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "))
            }
            Cause::Forbidden => ", error=\"insufficient_scope\"".to_owned(),
        };
        let bearer = self.takes_tokens.then(|| format!("Bearer realm=\"{realm}\"{error}"));
        let is_forbidden = matches!(cause, Cause::Scopes(_) | Cause::Forbidden);
        let others = if is_forbidden { &[][..] } else { &self.others };
        bearer.into_iter().chain(others.iter().cloned()).collect()
    }
}
