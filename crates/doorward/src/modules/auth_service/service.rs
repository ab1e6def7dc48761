//! A service as it serves: its methods, its rules, and what it knows of its store.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use auth::directory::{Directory, Event};
use auth::store::StoreError;

use super::challenge::Challenges;
use super::counts::Counts;
use super::introspection::Introspection;
use super::passwords::Passwords;
use super::rules::Rule;
use super::tokens::Tokens;
use crate::config::Config;
use crate::log::Level;

/// A service.
pub struct Service {
    /// Its name.
    pub name: String,
    /// What is known of its store, where it has one.
    pub(super) directory: Option<Arc<Directory>>,
    /// How long what is known goes on while the store cannot be asked.
    pub(super) grace: Duration,
    /// The field of API keys, where they are taken.
    pub(super) api_key: Option<Box<[u8]>>,
    /// How sessions are kept, where they are taken.
    pub(super) session: Option<SessionRules>,
    /// Passwords found right lately, where `Authorization: Basic` is taken.
    pub(super) passwords: Option<Passwords>,
    /// How JSON Web Tokens are checked, where they are taken.
    pub(super) tokens: Option<Tokens>,
    /// Who is asked about other tokens, where they are taken.
    pub(super) introspection: Option<Introspection>,
    /// What is required.
    pub(super) rules: Vec<Rule>,
    /// What it says to who is refused.
    pub(super) challenges: Challenges,
    /// What is counted, where something shows it.
    pub(super) counts: OnceLock<Counts>,
}

impl Service {
    /// What is known of its store. Without one nothing of what is kept in one is good: the configuration sees to it that no
    /// method needs it then.
    pub(super) fn directory(&self) -> Result<&Directory, StoreError> {
        self.directory.as_deref().ok_or_else(|| StoreError::Unavailable("there is no auth_store".to_owned()))
    }

    /// Whether it takes anything in `Authorization: Bearer`.
    pub(super) fn takes_tokens(&self) -> bool {
        self.api_key.is_some() || self.tokens.is_some() || self.introspection.is_some()
    }
}

/// How sessions are kept.
#[derive(Clone)]
pub struct SessionRules {
    /// The cookie's name.
    pub cookie: String,
    /// Seconds without use.
    pub idle: u64,
    /// Seconds at all.
    pub lifetime: u64,
    /// Where browsers without a session are sent.
    pub login: Option<String>,
    /// The domain of the cookie.
    pub domain: Option<String>,
    /// Hosts, in lower case and with a port unless it is 443, that a login may lead to besides its own.
    pub return_hosts: Vec<String>,
}

impl SessionRules {
    /// The value of `Set-Cookie` that gives a browser a session.
    pub fn set_cookie(&self, id: &str) -> String {
        let domain = self.domain.iter().map(|domain| format!("; Domain={domain}")).collect::<String>();
        format!("{}={id}; Path=/{domain}; Secure; HttpOnly; SameSite=Lax", self.cookie)
    }

    /// The value of `Set-Cookie` that takes it back.
    pub fn forget_cookie(&self) -> String {
        format!("{}; Max-Age=0", self.set_cookie(""))
    }
}

/// Opens the stores of a configuration's services, where that is not done yet. To be called by the process that serves.
pub fn keep(config: &Config) {
    for service in &config.auth_services {
        let (log, name) = (config.error_log.clone(), service.name.clone());
        let Some(directory) = &service.directory else { continue };
        directory.keep(move |event| match event {
            Event::Lost(error) => log.write(Level::Crit, format_args!("auth_service \"{name}\": {error}")),
            Event::Found => {
                log.write(Level::Notice, format_args!("auth_service \"{name}\": the store answers"));
            }
            Event::Untold(error) => {
                let what = "is not told when keys and sessions were used";
                log.write(Level::Error, format_args!("auth_service \"{name}\": the store {what}: {error}"));
            }
        });
    }
}
