//! The fields of a request as those behind the gateway see them: the client's, but for those that only an auth service may
//! set (`auth_request_copy_headers`).

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use auth::identity::Identity;
use wire::Name;

use crate::exchange::{Exchange, Visit};
use crate::field_names::AlikeNames;

/// The fields that say who a client is, where `auth` or an endpoint of an `auth_service` tells it.
pub const IDENTITY: [&str; 5] = ["X-User-ID", "X-User-Name", "X-User-Email", "X-User-Scope", "X-User-Groups"];

/// The same names, also as frameworks spell them.
pub fn identity_names() -> &'static Arc<AlikeNames> {
    static NAMES: LazyLock<Arc<AlikeNames>> = LazyLock::new(|| {
        let mut names = AlikeNames::default();
        IDENTITY.iter().for_each(|name| names.insert(name.as_bytes()));
        Arc::new(names)
    });
    &NAMES
}

/// Names and values of those fields, without the empty ones.
pub fn of_identity(identity: &Identity) -> impl Iterator<Item = (&[u8], &[u8])> {
    let Identity { id, name, email, scopes, groups } = identity;
    let all = IDENTITY.iter().zip([id, name, email, scopes, groups]);
    all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

/// What an auth service said of the client in fields that are copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// The names of all fields that are copied, also of those that the answer did not have.
    pub names: Arc<AlikeNames>,
    /// Names and values, in the order of the names.
    pub fields: Vec<(Box<[u8]>, Vec<u8>)>,
}

/// The fields of one request.
pub struct RequestFields<'e> {
    visit: &'e Visit<'e>,
    /// Fields of the client that are not looked at.
    hidden: Option<&'e AlikeNames>,
    copied: Option<Rc<Copied>>,
    identity: Option<Arc<Identity>>,
}

impl<'e> RequestFields<'e> {
    /// Those of a request in its location. The question to an auth service has the client's own.
    pub fn of(ex: &'e Exchange<'_>) -> RequestFields<'e> {
        let visit = ex.visit;
        if ex.is_question {
            return RequestFields { visit, hidden: None, copied: None, identity: None };
        }
        let outcome = visit.auth.borrow();
        let (copied, identity) = (outcome.copied.clone(), outcome.told.clone());
        RequestFields { visit, hidden: ex.plan.copied.as_deref(), copied, identity }
    }

    /// What came from the client: known name, name, value.
    pub fn of_client(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        let bytes = self.visit.bytes;
        let fields = self.visit.head.fields.iter().map(move |f| (f.id, f.name.of(bytes), f.value.of(bytes)));
        fields.filter(|(_, name, _)| !self.hides(name))
    }

    /// What an auth service said: name, value.
    pub fn copied(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let copied = self.copied.iter().flat_map(|copied| copied.fields.iter());
        let identity = self.identity.iter().flat_map(|identity| of_identity(identity));
        copied.map(|(name, value)| (&**name, &**value)).chain(identity)
    }

    fn hides(&self, name: &[u8]) -> bool {
        self.hidden.is_some_and(|hidden| hidden.contains(name))
            || self.copied.as_ref().is_some_and(|copied| copied.names.contains(name))
            || (self.identity.is_some() && identity_names().contains(name))
    }
}
