//! Balancing methods beside round robin: `hash`, `ip_hash`, `least_conn`, `random`.

use std::net::IpAddr;

use net::Address;

use super::balance::{Choice, State, Tried};
use super::group::{Peer, Upstream};
use super::least_time::{self, Until};
use crate::exchange::Exchange;
use crate::variables::Template;

/// How a server of a group is chosen.
pub enum Method {
    /// In turn, by weight.
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConn,
    /// The one that is likely to be done first.
    LeastTime {
        /// Which time counts.
        until: Until,
        /// Whether requests that are not answered yet count as well.
        inflight: bool,
    },
    /// By the client's address.
    IpHash,
    /// By a key, as memcached's clients do.
    Hash(Template),
    /// By a key on a ring of points, so that another server moves few keys.
    Consistent(Template, Ring),
    /// By chance; of two, the one with fewer connections.
    Random {
        /// Whether two are compared.
        two: bool,
    },
}

/// After so many servers that cannot be taken, round robin goes on.
const TRIES: u32 = 20;

/// What of a request decides, and how far the search with it has come.
#[derive(Default)]
pub struct Search {
    key: Vec<u8>,
    hash: u32,
    rehash: u32,
    tries: u32,
}

impl Search {
    /// The key of a request.
    pub fn new(method: &Method, ex: &Exchange<'_>) -> Search {
        match method {
            Method::RoundRobin | Method::LeastConn | Method::LeastTime { .. } | Method::Random { .. } => {
                Search::default()
            }
            Method::Hash(template) => Search { key: template.eval(ex), ..Search::default() },
            Method::Consistent(template, ring) => {
                let key = template.eval(ex);
                let hash = ring.find(Crc::of(&[&key]));
                Search { key, hash, ..Search::default() }
            }
            Method::IpHash => {
                let key = ex.with_remote(|address| match address {
                    // Clients of one network stay together.
                    Address::Inet(address) => match address.ip() {
                        IpAddr::V4(ip) => ip.octets()[..3].to_vec(),
                        IpAddr::V6(ip) => ip.octets().to_vec(),
                    },
                    Address::Unix(_) => vec![0; 3],
                });
                Search { key, hash: 89, ..Search::default() }
            }
        }
    }
}

impl Upstream {
    /// The next server as the group's method has it; `None` leaves the choice to round robin.
    pub(super) fn choose_by_method(&self, state: &mut State, tried: &mut Tried, now: u64) -> Option<Choice> {
        let peers = self.peers.get(..self.backups).unwrap_or_default();
        match &self.method {
            Method::RoundRobin => None,
            Method::LeastConn => least_conn(peers, state, tried, now),
            Method::LeastTime { until, .. } => least_time::choose(*until, peers, state, tried, now),
            _ if peers.len() < 2 || tried.search.tries > TRIES => None,
            Method::Hash(_) => repeatedly(peers, state, tried, now, |search, _| {
                let prefix = if search.rehash > 0 { search.rehash.to_string() } else { String::new() };
                let crc = Crc::of(&[prefix.as_bytes(), &search.key]);
                search.hash = search.hash.wrapping_add((crc >> 16) & 0x7fff);
                search.rehash += 1;
                search.hash
            }),
            Method::IpHash => repeatedly(peers, state, tried, now, |search, _| {
                for byte in &search.key {
                    search.hash = (search.hash * 113 + u32::from(*byte)) % 6271;
                }
                search.hash
            }),
            Method::Random { two: false } => repeatedly(peers, state, tried, now, |_, state| state.random()),
            Method::Random { two: true } => random_two(peers, state, tried, now),
            Method::Consistent(_, ring) => consistent(ring, peers, state, tried, now),
        }
    }
}

/// Asks for numbers until one leads to a server that can be taken.
fn repeatedly(
    peers: &[Peer],
    state: &mut State,
    tried: &mut Tried,
    now: u64,
    mut number: impl FnMut(&mut Search, &mut State) -> u32,
) -> Option<Choice> {
    if tried.keyed && tried.search.key.is_empty() {
        return None;
    }
    while tried.search.tries <= TRIES {
        let index = by_weight(peers, number(&mut tried.search, state));
        if state.can_take(peers, index, tried, now) {
            return Some(state.take(peers, index, tried, now));
        }
        tried.search.tries += 1;
    }
    None
}

/// The server that a number falls to, when each has as many numbers as its weight.
fn by_weight(peers: &[Peer], number: u32) -> usize {
    let total: u64 = peers.iter().map(|p| u64::from(p.weight)).sum();
    let mut left = u64::from(number) % total.max(1);
    for (index, peer) in peers.iter().enumerate() {
        match left.checked_sub(u64::from(peer.weight)) {
            Some(rest) => left = rest,
            None => return index,
        }
    }
    0
}

fn random_two(peers: &[Peer], state: &mut State, tried: &mut Tried, now: u64) -> Option<Choice> {
    let mut first: Option<usize> = None;
    while tried.search.tries <= TRIES {
        let index = by_weight(peers, state.random());
        if first == Some(index) || !state.can_take(peers, index, tried, now) {
            tried.search.tries += 1;
            continue;
        }
        let Some(other) = first else {
            first = Some(index);
            continue;
        };
        let load = |a: usize, b: usize| u64::from(state.connections(a)) * u64::from(peers[b].weight);
        let best = if load(index, other) > load(other, index) { other } else { index };
        return Some(state.take(peers, best, tried, now));
    }
    None
}

fn least_conn(peers: &[Peer], state: &mut State, tried: &mut Tried, now: u64) -> Option<Choice> {
    let mut best: Option<usize> = None;
    let mut many = false;
    let load = |state: &State, a: usize, b: usize| {
        u64::from(state.connections(a)) * u64::from(peers.get(b).map_or(1, |p| p.weight))
    };
    for index in 0..peers.len() {
        if !state.can_take(peers, index, tried, now) {
            continue;
        }
        match best.map(|best| load(state, index, best).cmp(&load(state, best, index))) {
            None | Some(std::cmp::Ordering::Less) => {
                best = Some(index);
                many = false;
            }
            Some(std::cmp::Ordering::Equal) => many = true,
            Some(std::cmp::Ordering::Greater) => {}
        }
    }
    let best = best?;
    if !many {
        return Some(state.take(peers, best, tried, now));
    }
    // Those with equally few take turns.
    let equal = |state: &State, index: usize| load(state, index, best) == load(state, best, index);
    let candidates: Vec<usize> = (best..peers.len())
        .filter(|index| equal(state, *index) && state.can_take(peers, *index, tried, now))
        .collect();
    let index = state.turn(peers, candidates.into_iter())?;
    Some(state.take(peers, index, tried, now))
}

fn consistent(ring: &Ring, peers: &[Peer], state: &mut State, tried: &mut Tried, now: u64) -> Option<Choice> {
    if tried.search.key.is_empty() {
        return None;
    }
    while tried.search.tries <= TRIES {
        let server = ring.server(tried.search.hash)?;
        let name = &peers.get(server)?.server;
        let candidates: Vec<usize> = (0..peers.len())
            .filter(|index| peers[*index].server == *name && state.can_take(peers, *index, tried, now))
            .collect();
        if let Some(index) = state.turn(peers, candidates.into_iter()) {
            return Some(state.take(peers, index, tried, now));
        }
        tried.search.hash = tried.search.hash.wrapping_add(1);
        tried.search.tries += 1;
    }
    None
}

/// The points of a group's servers on the circle of 32-bit numbers (as Cache::Memcached::Fast places them).
pub struct Ring {
    /// A point and the server it belongs to, in the order of the points.
    points: Vec<(u32, usize)>,
}

impl Ring {
    /// 160 points for each unit of weight.
    pub fn new(peers: &[Peer]) -> Ring {
        let mut points = Vec::new();
        for (index, peer) in peers.iter().enumerate() {
            let name = peer.server.as_bytes();
            let unix = name.get(..5).filter(|p| p.eq_ignore_ascii_case(b"unix:")).and(name.get(5..));
            let (host, port) = match (unix, peer.server.rsplit_once(':')) {
                (Some(path), _) => (path, &b""[..]),
                (None, Some((host, port))) if port.bytes().all(|b| b.is_ascii_digit()) => {
                    (host.as_bytes(), port.as_bytes())
                }
                _ => (name, &b""[..]),
            };
            let mut base = Crc::new();
            base.update(host);
            base.update(b"\0");
            base.update(port);
            let mut previous = 0u32;
            for _ in 0..peer.weight.saturating_mul(160) {
                let mut crc = base;
                crc.update(&previous.to_le_bytes());
                previous = crc.value();
                points.push((previous, index));
            }
        }
        points.sort_by_key(|(point, _)| *point);
        points.dedup_by_key(|(point, _)| *point);
        Ring { points }
    }

    /// The place of the first point at or behind `hash`; one beyond the last counts as the first.
    fn find(&self, hash: u32) -> u32 {
        self.points.partition_point(|(point, _)| *point < hash) as u32
    }

    fn server(&self, place: u32) -> Option<usize> {
        let place = (place as usize).checked_rem(self.points.len())?;
        self.points.get(place).map(|(_, server)| *server)
    }
}

/// The checksum of IEEE 802.3, which memcached's clients hash with.
#[derive(Clone, Copy)]
struct Crc(u32);

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

impl Crc {
    fn new() -> Crc {
        Crc(u32::MAX)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = CRC_TABLE[((self.0 ^ u32::from(*byte)) & 0xff) as usize] ^ (self.0 >> 8);
        }
    }

    fn value(self) -> u32 {
        !self.0
    }

    fn of(pieces: &[&[u8]]) -> u32 {
        let mut crc = Crc::new();
        pieces.iter().for_each(|piece| crc.update(piece));
        crc.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(Crc::of(&[b"1234", b"56789"]), 0xcbf4_3926);
    }

    #[test]
    fn another_server_moves_few_keys() {
        let peer = |port: u16| Peer {
            id: usize::from(port),
            server: format!("127.0.0.1:{port}"),
            address: Address::Inet(([127, 0, 0, 1], port).into()),
            name: "".into(),
            weight: 1,
            max_fails: 1,
            fail_timeout: 10_000,
            max_conns: 0,
            down: false,
            draining: false,
            sid: Box::default(),
            counts: None,
        };
        let few = [peer(81), peer(83)];
        let more = [peer(81), peer(83), peer(82)];
        let (before, after) = (Ring::new(&few), Ring::new(&more));
        let mut moved = 0;
        for key in 0..1000u32 {
            let hash = Crc::of(&[key.to_string().as_bytes()]);
            let old = before.server(before.find(hash)).expect("a ring of two has points");
            let new = after.server(after.find(hash)).expect("a ring of three has points");
            if new != old {
                moved += 1;
                assert_eq!(new, 2, "a key only moves to the new server");
            }
        }
        assert!((200..450).contains(&moved), "about a third of the keys moves, not {moved}");
    }
}
