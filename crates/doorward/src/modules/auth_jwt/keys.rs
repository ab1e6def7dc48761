//! The keys of a location: of files that were read with the configuration, of files that a request names, of services.

use std::borrow::Cow;
use std::sync::Arc;

use auth::jwt::KeySet;

use super::key_file::NamedFile;
use super::key_request::{KeyRequest, Missing};
use crate::exchange::Exchange;

/// Where keys come from.
#[derive(Clone)]
pub enum Source {
    /// A file that was read with the configuration.
    Read(Arc<KeySet>),
    /// A file whose name depends on the request.
    Named(Arc<NamedFile>),
    /// Another location.
    Request(Arc<KeyRequest>),
}

/// All keys of a location.
pub struct Keys {
    /// Those that are there always.
    read: Box<[Arc<KeySet>]>,
    others: Box<[Source]>,
}

/// Sets of keys, one of each source.
pub type Sets<'k> = Cow<'k, [Arc<KeySet>]>;

impl Keys {
    /// Those of these sources.
    pub fn of(sources: Vec<Source>) -> Keys {
        let (mut read, mut others) = (Vec::new(), Vec::new());
        for source in sources {
            match source {
                Source::Read(keys) => read.push(keys),
                other => others.push(other),
            }
        }
        Keys { read: read.into(), others: others.into() }
    }

    /// The services that are asked.
    pub fn requests(&self) -> impl Iterator<Item = &KeyRequest> {
        self.others.iter().filter_map(|source| match source {
            Source::Request(request) => Some(&**request),
            Source::Read(_) | Source::Named(_) => None,
        })
    }

    /// The keys, where nobody need be asked for them.
    pub fn at_hand(&self, ex: &Exchange<'_>) -> Option<Sets<'_>> {
        if self.others.is_empty() {
            return Some(Cow::Borrowed(&self.read));
        }
        let mut sets = self.read.to_vec();
        for source in &self.others {
            sets.push(match source {
                Source::Read(keys) => keys.clone(),
                Source::Named(file) => file.keys(ex)?,
                Source::Request(request) => request.at_hand()?,
            });
        }
        Some(Cow::Owned(sets))
    }

    /// The keys, asked for where need be. Where one source has none, there are none: a token that the others refuse could
    /// be right.
    pub async fn sets(&self, ex: &mut Exchange<'_>) -> Result<Sets<'_>, Missing> {
        let mut sets = self.read.to_vec();
        for source in &self.others {
            sets.push(match source {
                Source::Read(keys) => keys.clone(),
                Source::Named(file) => file.keys(ex).ok_or(Missing::Failed)?,
                Source::Request(request) => request.keys(ex).await?,
            });
        }
        Ok(Cow::Owned(sets))
    }

    /// The same after a token was refused whose key is in none of them; none where that changes nothing.
    pub async fn newer(&self, ex: &mut Exchange<'_>, sets: &Sets<'_>) -> Result<Option<Sets<'_>>, Missing> {
        let mut newer = sets.to_vec();
        let mut is_newer = false;
        for (source, keys) in self.others.iter().zip(newer.iter_mut().skip(self.read.len())) {
            if let Source::Request(request) = source
                && let Some(other) = request.newer(ex, keys.number()).await?
            {
                *keys = other;
                is_newer = true;
            }
        }
        Ok(is_newer.then_some(Cow::Owned(newer)))
    }
}
