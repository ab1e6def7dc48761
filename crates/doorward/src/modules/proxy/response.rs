//! The answer of a server: what of its head the client sees, and what it asks of this server.

use std::collections::HashSet;

use wire::Name;
use wire::h1::ResponseHead;

use super::Proxy;
use crate::exchange::Exchange;

/// Fields of answers that the client does not see.
pub struct Hidden {
    known: [u64; 2],
    others: HashSet<Vec<u8>>,
}

/// What is hidden unless `proxy_pass_header` says otherwise.
const HIDDEN: [&str; 8] = [
    "Date",
    "Server",
    "X-Pad",
    "X-Accel-Expires",
    "X-Accel-Redirect",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

/// What belongs to one connection, and is made anew for the client's.
const NEVER_PASSED: [Name; 4] =
    [Name::Connection, Name::KeepAlive, Name::TransferEncoding, Name::ContentLength];

impl Hidden {
    /// Arranges what `proxy_hide_header` adds and `proxy_pass_header` takes away.
    pub fn new(hide: &[Vec<u8>], pass: &[Vec<u8>]) -> Hidden {
        let mut hidden = Hidden { known: [0; 2], others: HashSet::new() };
        for name in HIDDEN.iter().map(|n| n.as_bytes()).chain(hide.iter().map(Vec::as_slice)) {
            if !pass.iter().any(|p| p.eq_ignore_ascii_case(name)) {
                hidden.add(Name::of(name), name);
            }
        }
        for id in NEVER_PASSED.iter() {
            hidden.add(*id, b"");
        }
        hidden
    }

    fn add(&mut self, id: Name, name: &[u8]) {
        if id == Name::Other {
            self.others.insert(name.to_ascii_lowercase());
        } else {
            self.known[id as usize / 64] |= 1 << (id as usize % 64);
        }
    }

    fn hides(&self, id: Name, name: &[u8]) -> bool {
        if id != Name::Other {
            return self.known[id as usize / 64] & (1 << (id as usize % 64)) != 0;
        }
        !self.others.is_empty() && self.others.contains(&name.to_ascii_lowercase())
    }
}

impl Proxy {
    /// Takes the head of an answer as the exchange's own; `bytes` start with it.
    pub(super) fn take_head(&self, ex: &mut Exchange<'_>, head: &ResponseHead, bytes: Vec<u8>) {
        let response = &mut ex.response;
        response.fields.adopt(bytes, &head.fields);
        response.status = head.status;
        response.reason = head.reason;
        response.content_length = head.content_length;
        response.last_modified = None;
        response.fields.hide_where(|id, name| self.hidden.hides(id, name));
        if let Some(time) = response.fields.get(Name::LastModified).and_then(wire::date::parse) {
            response.last_modified = i64::try_from(time).ok();
        }
        self.rewrites.apply(ex);
        let response = &mut ex.response;
        response.unbuffered = !self.values.buffering;
        if !self.ignores(b"x-accel-buffering") {
            match ex.response.fields.upstream_value(Name::XAccelBuffering) {
                Some(value) if value.eq_ignore_ascii_case(b"no") => ex.response.unbuffered = true,
                Some(value) if value.eq_ignore_ascii_case(b"yes") => ex.response.unbuffered = false,
                _ => {}
            }
        }
        if !self.ignores(b"x-accel-limit-rate")
            && let Some(rate) = ex.response.fields.upstream_value(Name::XAccelLimitRate)
            && let Some(rate) = conf::value::size(rate)
        {
            ex.limit_rate = Some(rate);
        }
    }

    /// Whether a field has no effect here.
    pub(super) fn ignores(&self, name: &[u8]) -> bool {
        self.values.ignore_headers.iter().any(|ignored| ignored == name)
    }
}
