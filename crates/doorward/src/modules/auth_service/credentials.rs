//! What a client shows of itself, as far as a service takes it.

use auth::api_key;
use wire::Name;

use super::counts::Method;
use super::introspection::Introspection;
use super::service::Service;
use super::tokens::{self, Tokens};
use crate::authorization::{basic_credentials, bearer};
use crate::exchange::Exchange;

/// What was sent.
pub enum Credentials<'e, 's> {
    /// Nothing that the service takes.
    None,
    /// Something that occurs more often than it may, and so can be read in more than one way.
    Ambiguous,
    /// An API key.
    ApiKey(&'e [u8]),
    /// User and password.
    Password(Vec<u8>, Vec<u8>),
    /// A session.
    Session(&'e [u8]),
    /// A JSON Web Token, with who checks it.
    Jwt(&'e [u8], &'s Tokens),
    /// Another token, with who asks about it.
    Token(&'e [u8], &'s Introspection),
}

impl<'e, 's> Credentials<'e, 's> {
    /// The method that they are for.
    pub fn method(&self) -> Method {
        match self {
            Credentials::None => Method::None,
            Credentials::Ambiguous | Credentials::ApiKey(_) => Method::ApiKey,
            Credentials::Password(..) => Method::Basic,
            Credentials::Session(_) => Method::Session,
            Credentials::Jwt(..) => Method::Jwt,
            Credentials::Token(..) => Method::Introspection,
        }
    }

    /// Finds the credentials that count: an API key in its field, then `Authorization`, then a session. What a client says
    /// explicitly goes before what a browser sends of its own accord, also when it is wrong.
    pub fn find(service: &'s Service, ex: &Exchange<'e>) -> Credentials<'e, 's> {
        if let Some(name) = &service.api_key {
            let mut keys = ex.request_fields(name);
            match (keys.next(), keys.next()) {
                (Some(key), None) => return Credentials::ApiKey(key),
                (Some(_), Some(_)) => return Credentials::Ambiguous,
                (None, _) => {}
            }
        }
        if service.takes_tokens() || service.passwords.is_some() {
            let mut values = ex.request_fields(b"Authorization");
            match (values.next(), values.next()) {
                (Some(_), Some(_)) => return Credentials::Ambiguous,
                (Some(value), None) => {
                    if let Some(token) = bearer(value)
                        && let Some(credentials) = Credentials::of_bearer(service, token)
                    {
                        return credentials;
                    }
                    if service.passwords.is_some()
                        && let Some((user, password)) = basic_credentials(ex)
                    {
                        return Credentials::Password(user, password);
                    }
                }
                (None, _) => {}
            }
        }
        match &service.session {
            Some(session) => {
                cookie(ex, session.cookie.as_bytes()).map_or(Credentials::None, Credentials::Session)
            }
            None => Credentials::None,
        }
    }
}

impl<'e, 's> Credentials<'e, 's> {
    /// What a bearer token is to be, by what it looks like: none is shown to who need not see it.
    fn of_bearer(service: &'s Service, token: &'e [u8]) -> Option<Credentials<'e, 's>> {
        match (&service.tokens, &service.introspection) {
            _ if service.api_key.is_some() && token.starts_with(api_key::PREFIX.as_bytes()) => {
                Some(Credentials::ApiKey(token))
            }
            (Some(tokens), _) if tokens::looks_like_one(token) => Some(Credentials::Jwt(token, tokens)),
            (_, Some(introspection)) => Some(Credentials::Token(token, introspection)),
            _ if service.api_key.is_some() => Some(Credentials::ApiKey(token)),
            (Some(tokens), None) => Some(Credentials::Jwt(token, tokens)),
            (None, None) => None,
        }
    }
}

/// The value of a cookie (RFC 6265, section 4.2).
pub fn cookie<'e>(ex: &Exchange<'e>, name: &[u8]) -> Option<&'e [u8]> {
    let visit = ex.visit;
    let fields = visit.head.fields.iter().filter(|field| field.id == Name::Cookie);
    let pairs = fields.flat_map(|field| field.value.of(visit.bytes).split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}
