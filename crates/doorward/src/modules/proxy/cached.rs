//! Where the proxy and its cache meet.

use std::sync::Arc;

use super::attempt::Failed;
use super::{Fixed, Proxy};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::modules::cache::{self, Cache, Entry, Failure, Opened};
use crate::modules::proxy::Destination;
use crate::run::Stop;

impl Proxy {
    /// Looks for a stored answer; `None` where the server is to be asked.
    pub(super) async fn stored(
        &self,
        cache: &Cache,
        ex: &mut Exchange<'_>,
        fixed: &Fixed,
    ) -> Result<Option<Body>, Stop> {
        let url = |ex: &Exchange<'_>, key: &mut Vec<u8>| {
            key.extend_from_slice(fixed.scheme.as_str().as_bytes());
            key.extend_from_slice(b"://");
            key.extend_from_slice(&fixed.authority);
            self.append_target(ex, &fixed.uri, matches!(self.destination, Destination::Variable(_)), key);
        };
        match cache.open(ex, url).await? {
            Opened::Hit(entry, body) => self.take_stored(ex, &entry, body).map(Some),
            Opened::Ask => Ok(None),
        }
    }

    /// The stored answer that is served although no server answered.
    pub(super) fn stored_despite(
        &self,
        cache: &Cache,
        ex: &mut Exchange<'_>,
        failed: Failed,
        status: u16,
    ) -> Option<Result<Body, Stop>> {
        let failure = match failed {
            Failed::Error { .. } => Failure::Error,
            Failed::Timeout => Failure::Timeout,
            Failed::Invalid => Failure::Invalid,
            Failed::Status(_) | Failed::Request(_) | Failed::ClientGone => {
                ex.cache.open = None;
                return None;
            }
        };
        let (entry, body) = cache.despite(ex, failure, status)?;
        Some(self.take_stored(ex, &entry, body))
    }

    /// Whether the client's leaving ends the wait for a server; what will be stored is waited for all the same.
    pub(super) fn watches(&self, ex: &Exchange<'_>) -> bool {
        ex.is_main() && self.heeds_client(ex)
    }

    /// Whether an answer is of no use when the client has gone.
    pub(super) fn heeds_client(&self, ex: &Exchange<'_>) -> bool {
        !self.values.ignore_client_abort && !ex.cache.fills() && self.store.is_none()
    }

    /// Takes a stored answer as this request's own.
    pub(super) fn take_stored(
        &self,
        ex: &mut Exchange<'_>,
        entry: &Arc<Entry>,
        body: Body,
    ) -> Result<Body, Stop> {
        let mut bytes = ex.visit.worker.buffers.take(entry.bytes.len());
        bytes.extend_from_slice(&entry.bytes);
        self.take_head(ex, &entry.head, bytes);
        cache::offer_ranges(ex, false);
        if ex.response.fields.upstream_value(wire::Name::XAccelRedirect).is_some()
            && let Some(stop) = self.elsewhere(ex)
        {
            return Err(stop);
        }
        Ok(body)
    }
}
