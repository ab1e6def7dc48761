//! Which server of a group is asked next: smooth weighted round robin with failures remembered
//! (nginx's documentation of `server`: weight, max_fails, fail_timeout, backup, max_conns).

use super::group::{Peer, Upstream};

/// What the workers know together of a group's servers.
pub struct State {
    peers: Vec<PeerState>,
}

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
        };
        State { peers: peers.iter().map(fresh).collect() }
    }
}

/// Servers that one request has tried.
#[derive(Default)]
pub struct Tried {
    bits: Vec<u64>,
    on_backups: bool,
}

impl Tried {
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
        if self.single() {
            let peer = &self.peers[0];
            if peer.down {
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
        if !tried.on_backups {
            if let Some(choice) = pick(&mut state, &self.peers[..self.backups], 0, tried, now) {
                return Some(choice);
            }
            tried.on_backups = true;
        }
        let choice = pick(&mut state, &self.peers[self.backups..], self.backups, tried, now);
        if choice.is_none() {
            // Whoever comes next may try them all again.
            tried.on_backups = false;
        }
        choice
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
                known.accessed = now;
                known.checked = now;
                if peer.max_fails > 0 {
                    known.effective = (known.effective - i64::from(peer.weight / peer.max_fails)).max(0);
                }
            }
            // An answer after the time of punishment clears the record.
            Failure::None if known.accessed < known.checked => known.fails = 0,
            Failure::None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn pick(state: &mut State, peers: &[Peer], first: usize, tried: &mut Tried, now: u64) -> Option<Choice> {
    let mut best: Option<(usize, i64)> = None;
    let mut total = 0;
    for (at, peer) in peers.iter().enumerate() {
        let index = first + at;
        let known = &mut state.peers[index];
        let punished = peer.max_fails > 0
            && known.fails >= peer.max_fails
            && now.saturating_sub(known.checked) <= peer.fail_timeout;
        let full = peer.max_conns > 0 && known.connections >= peer.max_conns;
        if tried.has(index) || peer.down || punished || full {
            continue;
        }
        known.current += known.effective;
        total += known.effective;
        known.effective = (known.effective + 1).min(i64::from(peer.weight));
        if best.is_none_or(|(_, most)| known.current > most) {
            best = Some((index, known.current));
        }
    }
    let (index, _) = best?;
    let known = &mut state.peers[index];
    known.current -= total;
    known.connections += 1;
    if now.saturating_sub(known.checked) > peers[index - first].fail_timeout {
        known.checked = now;
    }
    tried.add(index);
    Some(Choice { index })
}
