//! Looks into the cache on behalf of a request.

use std::fs::File;
use std::sync::Arc;

use wire::Name;
use wire::h1::Method;

use super::entry::{Entry, Stored};
use super::find::{Claim, Found};
use super::freshness;
use super::state::{Key, Open, Status};
use super::update::Update;
use super::zone::Zone;
use super::{Cache, Zones};
use crate::body::{Body, FilePart};
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::run::Stop;
use crate::variables::Template;

/// What looking into the cache came to.
pub enum Opened {
    /// This is the answer.
    Hit(Arc<Entry>, Body),
    /// The server is to be asked; what the answer is for is in the exchange.
    Ask,
}

impl Cache {
    /// Looks for an answer, and waits where another request is fetching it. `default_key` appends the URL that is
    /// passed on.
    pub async fn open(
        &self,
        ex: &mut Exchange<'_>,
        default_key: impl FnOnce(&Exchange<'_>, &mut Vec<u8>),
    ) -> Result<Opened, Stop> {
        if ex.cache.background {
            // It is known already what is asked for, and why.
            return Ok(Opened::Ask);
        }
        ex.cache.leave();
        if !self.takes(ex.method) {
            return Ok(Opened::Ask);
        }
        let Some((at, zone)) = self.zone(ex)? else { return Ok(Opened::Ask) };
        ex.cache.zone = at;
        let mut key = ex.visit.worker.buffers.take(512);
        match &self.values.key {
            Some(template) => template.append(ex, &mut key),
            None => default_key(ex, &mut key),
        }
        let mut key = Key::main(key);
        if any(&self.values.bypass, ex) {
            ex.cache.status = Some(Status::Bypass);
            ex.cache.open = Some(Box::new(self.ask_for(ex, zone, key, None)));
            return Ok(Opened::Ask);
        }
        let mut terms = self.terms;
        let mut give_up_at = None;
        loop {
            let second = now();
            let matches = |entry: &Entry| *variant_of(ex, &entry.vary) == *entry.variant;
            let found = zone.find(key.bytes(), &mut terms, matches, second);
            match found {
                Found::Fresh(entry) if ex.method != Method::Head && !entry.is_whole() => {
                    return Ok(self.miss(ex, zone, key, None, true));
                }
                Found::Fresh(entry) => match body_of(zone, &entry) {
                    Some(body) => {
                        ex.cache.status = Some(Status::Hit);
                        ex.visit.worker.buffers.put(key.into_bytes());
                        return Ok(Opened::Hit(entry, body));
                    }
                    None => zone.forget(key.bytes(), &entry),
                },
                Found::Stale(entry, claim) if ex.method != Method::Head && !entry.is_whole() => {
                    return Ok(self.miss(ex, zone, key, claim, true));
                }
                Found::Stale(entry, claim) => match body_of(zone, &entry) {
                    Some(body) => return Ok(self.stale(ex, zone, key, entry, claim, body)),
                    None => zone.forget(key.bytes(), &entry),
                },
                Found::OtherVariant(entry) if !key.is_variant() => {
                    key.set_variant(&variant_of(ex, &entry.vary));
                    terms = self.terms;
                }
                Found::OtherVariant(_) => {
                    // A variant's own key, and yet another variant: it is replaced.
                    return Ok(self.miss(ex, zone, key, None, true));
                }
                Found::Error(status) => {
                    ex.cache.status = Some(Status::Hit);
                    return Err(Stop::Status(status));
                }
                Found::Scarce => return Ok(self.miss(ex, zone, key, None, false)),
                Found::Absent(claim) => return Ok(self.miss(ex, zone, key, claim, true)),
                Found::AskFiles => {
                    zone.load(key.bytes());
                    terms.files = false;
                }
                Found::Wait(flight, ends) => {
                    let now = net::clock::now();
                    let limit = *give_up_at.get_or_insert(now + self.values.lock_timeout);
                    if now >= limit {
                        if self.values.lock_timeout > 0 {
                            ex.log(Level::Info, format_args!("cache lock timeout"));
                        }
                        return Ok(self.miss(ex, zone, key, None, false));
                    }
                    let wait = limit.min(ends).saturating_sub(now).max(1);
                    let watch = ex.is_main();
                    if let Err(Interrupted::ClientGone) =
                        ex.visit.client.waiting(wait, watch, flight.landed()).await
                    {
                        return Err(Stop::Gone);
                    }
                }
            }
        }
    }

    /// The cache with its place in the configuration.
    fn zone(&self, ex: &Exchange<'_>) -> Result<Option<(usize, &Arc<Zone>)>, Stop> {
        match &self.zones {
            Zones::One(at, zone) => Ok(Some((*at, zone))),
            Zones::Variable(template, zones) => {
                let name = template.eval(ex);
                if name.is_empty() || name == b"off" {
                    return Ok(None);
                }
                let zone = zones.iter().enumerate().find(|(_, zone)| zone.name.as_bytes() == name);
                if zone.is_none() {
                    let name = String::from_utf8_lossy(&name);
                    ex.log(Level::Error, format_args!("cache \"{name}\" not found"));
                    return Err(Stop::Status(500));
                }
                Ok(zone)
            }
        }
    }

    fn ask_for(&self, ex: &Exchange<'_>, zone: &Arc<Zone>, key: Key, claim: Option<Claim>) -> Open {
        Open {
            zone: zone.clone(),
            key,
            claim,
            stale: None,
            stale_if_error: false,
            cacheable: true,
            as_get: ex.method == Method::Head && self.values.convert_head,
            revalidate: self.values.revalidate,
        }
    }

    fn miss(
        &self,
        ex: &mut Exchange<'_>,
        zone: &Arc<Zone>,
        key: Key,
        claim: Option<Claim>,
        cacheable: bool,
    ) -> Opened {
        let mut open = self.ask_for(ex, zone, key, claim);
        open.cacheable = cacheable && self.whole_is_wanted(ex);
        ex.cache.status = Some(Status::Miss);
        ex.cache.open = Some(Box::new(open));
        Opened::Ask
    }

    /// Serves what is too old where that is allowed, or asks for something newer.
    fn stale<'c>(
        &self,
        ex: &mut Exchange<'c>,
        zone: &Arc<Zone>,
        key: Key,
        entry: Arc<Entry>,
        claim: Option<Claim>,
        body: Body,
    ) -> Opened {
        let (times, second) = (entry.times, now());
        let within = |more: i64| times.valid.saturating_add(more) >= second;
        let updating = self.values.use_stale.updating || within(times.updating);
        if claim.is_none() && updating {
            ex.cache.status = Some(Status::Updating);
            return Opened::Hit(entry, body);
        }
        let has_claim = claim.is_some();
        let mut open = self.ask_for(ex, zone, key, claim);
        open.stale = Some(entry.clone());
        open.stale_if_error = within(times.error);
        open.cacheable = self.whole_is_wanted(ex);
        if has_claim
            && updating
            && self.values.background_update
            && ex.visit.body.borrow().kept.len() == 0
            && let Some(updates) = ex.cache.updates.clone()
        {
            ex.cache.status = Some(Status::Stale);
            updates.borrow_mut().push(Update::new(ex, open));
            return Opened::Hit(entry, body);
        }
        ex.cache.status = Some(Status::Expired);
        ex.cache.open = Some(Box::new(open));
        Opened::Ask
    }

    /// Whether the whole answer is to be fetched for the part that the client asks for.
    fn whole_is_wanted(&self, ex: &Exchange<'_>) -> bool {
        let (Some(range), Some(most)) = (ex.request_field(Name::Range), self.values.max_range_offset) else {
            return true;
        };
        if most == 0 {
            return false;
        }
        let Some((unit, mut range)) = range.split_at_checked(6).filter(|(_, range)| !range.is_empty()) else {
            return true;
        };
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return true;
        }
        while let Some(rest) = range.strip_prefix(b" ") {
            range = rest;
        }
        if range.starts_with(b"-") {
            return false;
        }
        let digits = range.iter().take_while(|b| b.is_ascii_digit()).count();
        conf::value::number(&range[..digits]).is_none_or(|offset| (offset as u64) < most)
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(net::clock::wall().0).unwrap_or(i64::MAX)
}

/// Whether one of the strings is neither empty nor `0`.
pub fn any(strings: &[Template], ex: &Exchange<'_>) -> bool {
    strings.iter().any(|string| string.holds(ex))
}

/// What of this request an answer with that `Vary` is chosen by.
pub fn variant_of(ex: &Exchange<'_>, vary: &[u8]) -> Vec<u8> {
    let visit = ex.visit;
    let fields = visit.head.fields.iter().map(|f| (f.name.of(visit.bytes), f.value.of(visit.bytes)));
    freshness::variant(vary, &fields)
}

/// The body of a stored answer; `None` when its file is gone.
pub fn body_of(zone: &Zone, entry: &Entry) -> Option<Body> {
    match &entry.body {
        Stored::Memory(bytes) if bytes.is_empty() => Some(Body::Empty),
        Stored::Memory(bytes) => Some(Body::Shared(bytes.clone(), 0..bytes.len())),
        Stored::File { offset, length } => {
            let file = File::open(zone.path(&super::zone::name_of(&entry.fingerprint))).ok()?;
            entry
                .is_in(&file)
                .then(|| Body::File(FilePart { file: Arc::new(file), offset: *offset, length: *length }))
        }
    }
}
