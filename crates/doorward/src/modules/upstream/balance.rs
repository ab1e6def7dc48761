//! Which server of a group is asked next: smooth weighted round robin with failures remembered
//! (nginx's documentation of `server`: weight, max_fails, fail_timeout, backup, max_conns).

use super::group::{Peer, Upstream};
use super::least_time::Speed;
use super::method::{Method, Search};
use crate::exchange::Exchange;

/// What a server that failed, or that is not found, is as a number of nginx-prometheus-exporter.
pub(super) const UNAVAILABLE: f64 = 4.0;

/// What the workers know together of a group's servers.
pub struct State {
    peers: Vec<PeerState>,
    /// For `random`.
    seed: u64,
}

#[derive(Clone, Copy)]
struct PeerState {
    /// The turn's running sum; the largest is chosen.
    current: i64,
    /// The weight, lowered by failures and raised again by each turn.
    effective: i64,
    fails: u32,
    /// When it last failed, and when that was last looked at, in milliseconds.
    accessed: u64,
    checked: u64,
    connections: u32,
    /// For `least_time`.
    speed: Speed,
}

impl State {
    /// A fresh state: nothing has failed.
    pub fn new(peers: &[Peer]) -> State {
        let fresh = |p: &Peer| PeerState {
            current: 0,
            effective: i64::from(p.weight),
            fails: 0,
            accessed: 0,
            checked: 0,
            connections: 0,
            speed: Speed::default(),
        };
        let seed = u64::from_ne_bytes(crate::random::bytes()) | 1;
        State { peers: peers.iter().map(fresh).collect(), seed }
    }
}

impl State {
    /// What is known of servers that were there before. The requests that they have now are not counted any more:
    /// whoever waits for one gives it back to the group that it was taken from.
    pub fn take_over(&mut self, peers: &[Peer], before: &Upstream) {
        let known = before.lock();
        for (state, peer) in self.peers.iter_mut().zip(peers) {
            if let Some(at) = before.peers.iter().position(|old| old.id == peer.id) {
                let old = known.peers[at];
                *state = PeerState { connections: 0, speed: old.speed.settled(), ..old };
            }
        }
    }
}

/// Servers that one request has tried.
#[derive(Default)]
pub struct Tried {
    bits: Vec<u64>,
    on_backups: bool,
    /// The name of the server that the request's session is with.
    wanted: Option<Vec<u8>>,
    pub(super) search: Search,
    /// Whether a key of the request decides.
    pub(super) keyed: bool,
}

impl Tried {
    /// None yet.
    pub fn new(upstream: &Upstream, ex: &Exchange<'_>) -> Tried {
        let wanted = upstream.sticky.as_ref().and_then(|sticky| sticky.wanted(ex));
        match &upstream.method {
            Method::RoundRobin => Tried { wanted, ..Tried::default() },
            method => Tried {
                search: Search::new(method, ex),
                keyed: matches!(method, Method::Hash(_)),
                wanted,
                ..Tried::default()
            },
        }
    }

    fn has(&self, index: usize) -> bool {
        self.bits.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn add(&mut self, index: usize) {
        if self.bits.len() <= index / 64 {
            self.bits.resize(index / 64 + 1, 0);
        }
        self.bits[index / 64] |= 1 << (index % 64);
    }
}

/// A server chosen for an attempt; [`Upstream::release`] must follow.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its place among the group's servers.
    pub index: usize,
}

/// How an attempt ended, as far as the server's reputation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered.
    None,
    /// It failed.
    Failed,
}

impl Upstream {
    /// Whether there is nothing to choose, and so nothing to remember of failures (as nginx does).
    fn single(&self) -> bool {
        self.peers.len() == 1
    }

    /// How many attempts a request may make.
    pub fn tries(&self) -> usize {
        self.peers.iter().filter(|p| !p.down).count().max(1)
    }

    /// The next server for a request; `None` when none is left or able.
    pub fn choose(&self, tried: &mut Tried, now: u64) -> Option<Choice> {
        let choice = self.choose_one(tried, now);
        if let (Some(choice), Method::LeastTime { .. }) = (choice, &self.method) {
            self.begins(choice.index, &mut self.lock(), now);
        }
        choice
    }

    fn choose_one(&self, tried: &mut Tried, now: u64) -> Option<Choice> {
        if self.single() {
            let peer = &self.peers[0];
            let asked_for = peer.draining && tried.wanted.as_deref() == Some(&*peer.sid);
            if peer.down && !asked_for {
                return None;
            }
            if peer.max_conns > 0 {
                let mut state = self.lock();
                if state.peers[0].connections >= peer.max_conns {
                    return None;
                }
                state.peers[0].connections += 1;
            }
            return Some(Choice { index: 0 });
        }
        let mut state = self.lock();
        if let Some(choice) = self.choose_wanted(&mut state, tried, now) {
            return Some(choice);
        }
        if !tried.on_backups {
            if !matches!(self.method, Method::RoundRobin)
                && let Some(choice) = self.choose_by_method(&mut state, tried, now)
            {
                return Some(choice);
            }
            if let Some(choice) = pick(&mut state, &self.peers[..self.backups], 0, tried, now) {
                return Some(choice);
            }
            tried.on_backups = true;
            if let Some(choice) = self.choose_wanted(&mut state, tried, now) {
                return Some(choice);
            }
        }
        let choice = pick(&mut state, &self.peers, self.backups, tried, now);
        if choice.is_none() {
            // Whoever comes next may try them all again.
            tried.on_backups = false;
        }
        choice
    }

    /// The server that the session is with, where it can be asked.
    fn choose_wanted(&self, state: &mut State, tried: &mut Tried, now: u64) -> Option<Choice> {
        let among = if tried.on_backups { self.backups..self.peers.len() } else { 0..self.backups };
        let wanted = tried.wanted.as_deref()?;
        let index = among.clone().find(|index| *self.peers[*index].sid == *wanted)?;
        if !state.can_take_wanted(&self.peers, index, tried, now) {
            return None;
        }
        if matches!(self.method, Method::RoundRobin) {
            state.count_turn(&self.peers, among, index, tried, now);
        }
        Some(state.take(&self.peers, index, tried, now))
    }

    /// Gives a chosen server back, and says whether it failed.
    pub fn release(&self, choice: Choice, failure: Failure, now: u64) {
        let peer = &self.peers[choice.index];
        if self.single() {
            if peer.max_conns > 0 {
                let mut state = self.lock();
                state.peers[0].connections = state.peers[0].connections.saturating_sub(1);
            }
            return;
        }
        let mut state = self.lock();
        let known = &mut state.peers[choice.index];
        known.connections = known.connections.saturating_sub(1);
        match failure {
            Failure::Failed => {
                known.fails += 1;
                if known.fails == peer.max_fails
                    && let Some(counts) = &peer.counts
                {
                    counts.unavailable();
                }
                known.accessed = now;
                known.checked = now;
                if let Some(share) = peer.weight.checked_div(peer.max_fails) {
                    known.effective = (known.effective - i64::from(share)).max(0);
                }
            }
            // An answer after the time of punishment clears the record.
            Failure::None if known.accessed < known.checked => known.fails = 0,
            Failure::None => {}
        }
    }

    /// What a server is, as a number of nginx-prometheus-exporter: 1 up, 3 down, 4 unavailable.
    pub fn state_of(&self, index: usize, now: u64) -> f64 {
        let Some(peer) = self.peers.get(index).filter(|peer| !peer.down) else { return 3.0 };
        let unavailable = !self.single() && self.lock().is_punished(peer, index, now);
        if unavailable { UNAVAILABLE } else { 1.0 }
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn pick(state: &mut State, peers: &[Peer], first: usize, tried: &mut Tried, now: u64) -> Option<Choice> {
    let mut turn = Turn::default();
    for index in first..peers.len() {
        if state.can_take(peers, index, tried, now) {
            turn.consider(state, peers, index);
        }
    }
    let index = turn.end(state)?;
    Some(state.take(peers, index, tried, now))
}

/// A round of smooth weighted round robin.
#[derive(Default)]
struct Turn {
    best: Option<(usize, i64)>,
    total: i64,
}

impl Turn {
    fn consider(&mut self, state: &mut State, peers: &[Peer], index: usize) {
        let known = &mut state.peers[index];
        known.current += known.effective;
        self.total += known.effective;
        known.effective = (known.effective + 1).min(i64::from(peers[index].weight));
        if self.best.is_none_or(|(_, most)| known.current > most) {
            self.best = Some((index, known.current));
        }
    }

    fn end(self, state: &mut State) -> Option<usize> {
        let (index, _) = self.best?;
        state.peers[index].current -= self.total;
        Some(index)
    }
}

impl State {
    /// Whether a server can be asked: it is up, was not asked by this request, and has room.
    pub(super) fn can_take(&self, peers: &[Peer], index: usize, tried: &Tried, now: u64) -> bool {
        !peers[index].down && self.can_take_wanted(peers, index, tried, now)
    }

    /// The same for a session that is with the server already.
    fn can_take_wanted(&self, peers: &[Peer], index: usize, tried: &Tried, now: u64) -> bool {
        let (peer, known) = (&peers[index], &self.peers[index]);
        let punished = self.is_punished(peer, index, now);
        let full = peer.max_conns > 0 && known.connections >= peer.max_conns;
        !(tried.has(index) || (peer.down && !peer.draining) || punished || full)
    }

    /// Counts a request that a session brings as the server's turn, so that the others get the more of the rest; but of
    /// several in a row only one.
    fn count_turn(
        &mut self,
        peers: &[Peer],
        among: std::ops::Range<usize>,
        index: usize,
        tried: &Tried,
        now: u64,
    ) {
        let all: i64 = peers[among.clone()].iter().map(|peer| i64::from(peer.weight)).sum();
        if self.peers[index].current <= i64::from(peers[index].weight) - all {
            return;
        }
        let mut turn = Turn::default();
        for other in among {
            if self.can_take(peers, other, tried, now) {
                turn.consider(self, peers, other);
            }
        }
        self.peers[index].current -= turn.total;
    }

    /// Whether a server is left alone for its failures.
    fn is_punished(&self, peer: &Peer, index: usize, now: u64) -> bool {
        let known = &self.peers[index];
        peer.max_fails > 0
            && known.fails >= peer.max_fails
            && now.saturating_sub(known.checked) <= peer.fail_timeout
    }

    /// Takes a server for a request.
    pub(super) fn take(&mut self, peers: &[Peer], index: usize, tried: &mut Tried, now: u64) -> Choice {
        let known = &mut self.peers[index];
        known.connections += 1;
        if now.saturating_sub(known.checked) > peers[index].fail_timeout {
            known.checked = now;
        }
        tried.add(index);
        Choice { index }
    }

    /// Whose turn it is among some servers.
    pub(super) fn turn(&mut self, peers: &[Peer], among: impl Iterator<Item = usize>) -> Option<usize> {
        let mut turn = Turn::default();
        among.for_each(|index| turn.consider(self, peers, index));
        turn.end(self)
    }

    /// How fast a server is.
    pub(super) fn speed(&mut self, index: usize) -> &mut Speed {
        &mut self.peers[index].speed
    }

    /// For how long a server was not looked at, in milliseconds.
    pub(super) fn idle(&self, index: usize, now: u64) -> u64 {
        now.saturating_sub(self.peers[index].checked)
    }

    /// Connections that a server has now.
    pub(super) fn connections(&self, index: usize) -> u32 {
        self.peers[index].connections
    }

    /// A number by chance (Marsaglia's xorshift; nobody's secret depends on it).
    pub(super) fn random(&mut self) -> u32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 32) as u32
    }
}
