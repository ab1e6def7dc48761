//! What becomes of a server's answer, or of its failure: stored, replaced by what is stored already, remembered.

use std::sync::Arc;

use wire::Name;
use wire::h1::ResponseHead;

use super::Cache;
use super::entry::Entry;
use super::fill::Fill;
use super::freshness::{self, Said};
use super::open::{any, body_of, now, variant_of};
use super::state::{Failure, Status};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::modules::proxy::UpstreamBody;

impl Cache {
    /// Takes an answer that is this request's own; `head` is its head as parsed, whose bytes are in the exchange. What
    /// may be stored is stored while it is read.
    pub fn admit(&self, ex: &mut Exchange<'_>, head: &ResponseHead, body: Box<UpstreamBody>) -> Body {
        let Some(mut open) = ex.cache.open.take() else { return Body::Upstream(body) };
        let bytes = ex.response.fields.bytes.get(..head.head_len as usize).unwrap_or_default();
        // An answer without a head, and one that is passed on as it comes, are not stored.
        if !open.cacheable || bytes.is_empty() || ex.response.unbuffered {
            return Body::Upstream(body);
        }
        let Said { storable, mut times, vary } = self.read(head, bytes);
        if !storable {
            return Body::Upstream(body);
        }
        let bytes: Arc<[u8]> = bytes.into();
        offer_ranges(ex, true);
        if any(&self.values.no_cache, ex) {
            return Body::Upstream(body);
        }
        if times.valid == 0 {
            let Some(valid) = self.valid(head.status) else { return Body::Upstream(body) };
            times.valid = now().saturating_add(valid);
        }
        let variant = variant_of(ex, &vary);
        if open.key.is_variant() {
            // Where this answer is found by its variant the key is right, else it is the first of its kind.
            let mut key = open.key.bytes().to_vec();
            open.key.set_variant(&variant);
            if vary.is_empty() || key != open.key.bytes() {
                open.key.set_main();
                open.claim = None;
            }
            key.clear();
            ex.visit.worker.buffers.put(key);
        }
        let entry = Fill::entry(head.clone(), bytes, times, vary, variant, &open.key);
        Body::Filling(Box::new(Fill::new(body, *open, entry)))
    }

    /// The stored answer that takes the place of a server's: an error that it is served in spite of, or the word that it
    /// has not changed.
    pub fn instead(
        &self,
        ex: &mut Exchange<'_>,
        head: &ResponseHead,
        bytes: &[u8],
    ) -> Option<(Arc<Entry>, Body)> {
        let open = ex.cache.open.as_ref()?;
        let stale = open.stale.clone().filter(|_| ex.cache.status == Some(Status::Expired))?;
        if self.values.use_stale.statuses.contains(&head.status) {
            return self.in_spite_of_failure(ex);
        }
        if head.status != 304 || !open.revalidate {
            return None;
        }
        let body = body_of(&open.zone, &stale)?;
        let open = ex.cache.open.take()?;
        ex.cache.status = Some(Status::Revalidated);
        let mut times = self.read(head, bytes).times;
        if times.valid == 0 {
            times = self.read(&stale.head, &stale.bytes).times;
        }
        if times.valid == 0
            && let Some(valid) = self.valid(stale.head.status)
        {
            times.valid = times.date.saturating_add(valid);
        }
        if times.valid != 0 {
            Fill::renew(&open, Entry { times, ..Entry::clone(&stale) });
        }
        Some((stale, body))
    }

    /// No answer could be had: the stored one may be served all the same.
    pub fn despite(
        &self,
        ex: &mut Exchange<'_>,
        failure: Failure,
        status: u16,
    ) -> Option<(Arc<Entry>, Body)> {
        let open = ex.cache.open.as_ref()?;
        let allowed = match failure {
            Failure::Error => self.values.use_stale.error,
            Failure::Timeout => self.values.use_stale.timeout,
            Failure::Invalid => self.values.use_stale.invalid_header,
        };
        if (allowed || open.stale_if_error)
            && ex.cache.status == Some(Status::Expired)
            && let Some(stale) = self.in_spite_of_failure(ex)
        {
            return Some(stale);
        }
        let open = ex.cache.open.take()?;
        if open.cacheable
            && matches!(status, 502 | 504)
            && let Some(valid) = self.valid(status)
        {
            open.zone.store_error(open.key.bytes(), status, now().saturating_add(valid));
        }
        None
    }

    /// An answer gave way to an error page: its status is remembered as long as the answer would have been.
    pub fn intercepted(&self, ex: &mut Exchange<'_>, head: &ResponseHead) {
        let Some(open) = ex.cache.open.take() else { return };
        let bytes = ex.response.fields.bytes.get(..head.head_len as usize).unwrap_or_default();
        let Said { storable, times, .. } = self.read(head, bytes);
        if !open.cacheable || !storable {
            return;
        }
        let until = match times.valid {
            0 => self.valid(head.status).map(|valid| now().saturating_add(valid)),
            until => Some(until),
        };
        if let Some(until) = until {
            open.zone.store_error(open.key.bytes(), head.status, until);
        }
    }

    fn in_spite_of_failure(&self, ex: &mut Exchange<'_>) -> Option<(Arc<Entry>, Body)> {
        let open = ex.cache.open.as_ref()?;
        let stale = open.stale.clone()?;
        let body = body_of(&open.zone, &stale)?;
        ex.cache.open = None;
        ex.cache.status = Some(Status::Stale);
        Some((stale, body))
    }

    fn read(&self, head: &ResponseHead, bytes: &[u8]) -> Said {
        let fields = head.fields.iter().map(|field| (field.id, field.value.of(bytes)));
        freshness::read(fields, self.ignored, now())
    }
}

/// Lets the filters for conditions and, where its server offers ranges, for ranges work on an answer: the whole of it is
/// here, or on its way.
pub fn offer_ranges(ex: &mut Exchange<'_>, on_its_way: bool) {
    ex.response.disable_not_modified = false;
    if ex.response.allow_ranges || ex.response.fields.upstream_value(Name::AcceptRanges).is_some() {
        ex.response.fields.hide_known(Name::AcceptRanges);
        ex.response.allow_ranges = true;
        ex.response.single_range = on_its_way;
    }
}
