//! What was tried at upstreams on behalf of a request, as logs and variables show it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::group::Upstream;
use crate::config::Config;
use crate::deliver::itoa;
use crate::exchange::Exchange;
use crate::modules::otel::SpanId;
use crate::modules::proxy::Fixed;
use crate::variables::Row;

/// One attempt at one server.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The server's address.
    pub address: Arc<str>,
    /// The status it answered, or that stands for its failure.
    pub status: u16,
    /// Milliseconds until it was connected.
    pub connect_time: Option<u64>,
    /// Milliseconds until the head of its answer was there.
    pub header_time: Option<u64>,
    /// Milliseconds until its answer was complete.
    pub response_time: Option<u64>,
    /// When the attempt began, in milliseconds of [`net::clock::now`].
    pub started: u64,
    /// Bytes of the answer's body.
    pub response_length: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Its span, where it is told to the server.
    pub span: Option<SpanId>,
    /// Whether an internal redirect came before it: the lists then show ` : `.
    pub after_redirect: bool,
    /// Its group and its place in it, where it is counted.
    server: Option<(usize, usize)>,
}

/// All attempts, in order.
#[derive(Default)]
pub struct Attempts {
    list: SmallVec<[Attempt; 1]>,
    url: Option<String>,
    /// Where `proxy_pass` led.
    pub passed_to: Option<Arc<Fixed>>,
    redirected: bool,
    sent: bool,
}

impl Attempts {
    /// Begins an attempt.
    pub fn begin(&mut self, address: &Arc<str>) {
        let after_redirect = std::mem::take(&mut self.redirected) && !self.list.is_empty();
        self.sent = false;
        self.list.push(Attempt {
            address: address.clone(),
            started: net::clock::now(),
            after_redirect,
            ..Attempt::default()
        });
    }

    /// All of them, in order.
    pub fn list(&self) -> &[Attempt] {
        &self.list
    }

    /// Begins an attempt at a server of a group.
    pub fn begin_at(&mut self, upstream: &Upstream, index: usize) {
        let peer = &upstream.peers[index];
        self.begin(&peer.name);
        if let (Some(_), Some(attempt)) = (&peer.counts, self.current()) {
            attempt.server = Some((upstream.index, index));
        }
    }

    /// Counts what the attempts came to, for metrics.
    pub fn count(&self, config: &Config) {
        for attempt in &self.list {
            if let Some((group, index)) = attempt.server
                && let Some(peer) = config.upstreams.get(group).and_then(|group| group.peers.get(index))
                && let Some(counts) = &peer.counts
            {
                counts.count(attempt);
            }
        }
    }

    /// Whether nothing was tried.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The attempt under way, or the last one.
    pub fn current(&mut self) -> Option<&mut Attempt> {
        self.list.last_mut()
    }

    /// The request, or a part of it, is on its way to the server.
    pub fn sending(&mut self) {
        self.sent = true;
    }

    /// Whether the server of the last attempt may have seen the request.
    pub fn was_sent(&self) -> bool {
        self.sent
    }

    /// What comes next is another handler's, after an internal redirect.
    pub fn next_handler(&mut self) {
        self.redirected = true;
    }

    /// The upstream's URL for the error log while it is being asked.
    pub fn in_use(&mut self, url: Option<String>) {
        self.url = url;
    }

    /// The URL of the upstream being asked.
    pub fn address_in_use(&self) -> Option<&str> {
        self.url.as_deref()
    }

    fn append(&self, out: &mut Vec<u8>, mut one: impl FnMut(&Attempt, &mut Vec<u8>)) -> bool {
        for (at, attempt) in self.list.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(if attempt.after_redirect { b" : " } else { b", " });
            }
            one(attempt, out);
        }
        !self.list.is_empty()
    }
}

pub(super) const VARIABLES: &[Row] = &[
    Row::fresh("upstream_addr", |ex, out| {
        ex.upstream.append(out, |a, out| out.extend_from_slice(a.address.as_bytes()))
    }),
    Row::fresh("upstream_status", |ex, out| {
        ex.upstream.append(out, |a, out| match a.status {
            0 => out.push(b'-'),
            status => number(u64::from(status), out),
        })
    }),
    Row::fresh("upstream_connect_time", |ex, out| {
        ex.upstream.append(out, |a, out| time(a.connect_time, out))
    }),
    Row::fresh("upstream_header_time", |ex, out| ex.upstream.append(out, |a, out| time(a.header_time, out))),
    Row::fresh("upstream_response_time", |ex, out| {
        ex.upstream.append(out, |a, out| time(a.response_time, out))
    }),
    Row::fresh("upstream_response_length", |ex, out| {
        ex.upstream.append(out, |a, out| number(a.response_length, out))
    }),
    Row::fresh("upstream_bytes_received", |ex, out| {
        ex.upstream.append(out, |a, out| number(a.bytes_received, out))
    }),
    Row::fresh("upstream_bytes_sent", |ex, out| ex.upstream.append(out, |a, out| number(a.bytes_sent, out))),
    Row::family("upstream_http_", upstream_field),
    Row::family("upstream_cookie_", |ex, name, out| {
        let cookies = ex.response.fields.of_upstream().filter(|(id, ..)| *id == wire::Name::SetCookie);
        match cookies.filter_map(|(_, _, value)| wire::cookie::set_cookie(value, name)).next() {
            Some(value) => {
                out.extend_from_slice(value);
                true
            }
            None => false,
        }
    }),
];

/// `$upstream_http_*`: every field of that name, joined by commas as nginx does.
fn upstream_field(ex: &Exchange<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    append_fields(ex.response.fields.of_upstream().map(|(_, n, v)| (n, v)), name, out)
}

/// Appends the values of every field called `name`, where `_` stands for `-`, joined by `, `.
pub fn append_fields<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let mut found = false;
    for (field, value) in fields {
        if same_name(field, name) {
            if found {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(value);
            found = true;
        }
    }
    found
}

fn same_name(field: &[u8], variable: &[u8]) -> bool {
    field.len() == variable.len()
        && field.iter().zip(variable).all(|(f, v)| f.to_ascii_lowercase() == *v || (*f == b'-' && *v == b'_'))
}

fn number(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa(n, &mut [0; 20]));
}

fn time(ms: Option<u64>, out: &mut Vec<u8>) {
    match ms {
        None => out.push(b'-'),
        Some(ms) => append_seconds(ms, out),
    }
}

/// Milliseconds as seconds with three digits behind the point.
pub fn append_seconds(ms: u64, out: &mut Vec<u8>) {
    number(ms / 1000, out);
    out.push(b'.');
    let rest = ms % 1000;
    out.push(b'0' + (rest / 100) as u8);
    out.push(b'0' + (rest / 10 % 10) as u8);
    out.push(b'0' + (rest % 10) as u8);
}
