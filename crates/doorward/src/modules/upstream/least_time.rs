//! `least_time`: the server that is likely to be done first (`ngx_http_upstream_least_time_module`).

use super::balance::{Choice, Failure, State, Tried};
use super::group::{Peer, Upstream};
use super::method::Method;

/// Slower than this is equally slow, in milliseconds: then the number of connections decides.
const SLOWEST: u64 = 5000;

/// Times that differ by less are equal.
const STEP: u64 = 20;

/// Which time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the head of an answer was there.
    Header,
    /// Until all of it was.
    LastByte,
}

/// What is known of a server's speed, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    /// Averages of its answers, where the last ones count for more.
    header: u64,
    response: u64,
    /// Average of how long the requests have taken that are not answered yet.
    waiting: u64,
    /// How many those are, how long they had taken in all when that was last counted, and when that was.
    open: u64,
    taken: u64,
    counted: u64,
}

impl Speed {
    fn average(known: &mut u64, new: u64) {
        *known = if *known == 0 { new } else { (new * 5 + *known * 95 + 50) / 100 };
    }

    /// What is known apart from the requests under way.
    pub fn settled(self) -> Speed {
        Speed { open: 0, taken: 0, ..self }
    }

    /// A request begins.
    fn begin(&mut self, now: u64) {
        if self.open > 0 {
            self.taken += now.saturating_sub(self.counted) * self.open;
        }
        self.counted = now;
        self.open += 1;
    }

    /// A request that took so long is answered.
    fn end(&mut self, took: u64, now: u64) {
        if self.open <= 1 {
            self.taken = 0;
        } else {
            let since = now.saturating_sub(self.counted) * self.open;
            self.taken = (self.taken + since).saturating_sub(took);
            self.counted = now;
        }
        self.open = self.open.saturating_sub(1);
    }

    /// How long the requests under way have been waiting, on average.
    fn wait(&mut self, now: u64) {
        if let Some(taken) = self.taken.checked_div(self.open) {
            Self::average(&mut self.waiting, taken + now.saturating_sub(self.counted));
        }
    }

    /// How long the next request is likely to take, with `connections` before it. `idle` is for how many seconds the
    /// server was not asked, of which `pause` are nothing unusual: then it gets another chance.
    fn estimate(&self, until: Until, connections: u64, idle: u64, pause: u64) -> u64 {
        let mut time = match until {
            Until::Header => self.header,
            Until::LastByte => self.response,
        };
        if idle > pause {
            time = time.checked_shr(u32::try_from(idle / (pause + 1)).unwrap_or(u32::MAX)).unwrap_or(0);
        }
        if self.open > 0 {
            time = time.max(self.waiting);
        }
        time = if time > SLOWEST { SLOWEST } else { time + STEP - time % STEP };
        time.saturating_mul(1 + connections)
    }
}

/// The next server, where one can be taken.
pub(super) fn choose(
    until: Until,
    peers: &[Peer],
    state: &mut State,
    tried: &mut Tried,
    now: u64,
) -> Option<Choice> {
    let mut best: Option<(usize, u64)> = None;
    let mut equal = Vec::new();
    for index in 0..peers.len() {
        if !state.can_take(peers, index, tried, now) {
            continue;
        }
        state.speed(index).wait(now);
        let connections = u64::from(state.connections(index));
        let idle = state.idle(index, now) / 1000;
        let time = state.speed(index).estimate(until, connections, idle, peers[index].fail_timeout / 1000);
        let weight = |at: usize| u64::from(peers[at].weight);
        match best
            .map(|(at, least)| time.saturating_mul(weight(at)).cmp(&least.saturating_mul(weight(index))))
        {
            None | Some(std::cmp::Ordering::Less) => {
                best = Some((index, time));
                equal = vec![index];
            }
            Some(std::cmp::Ordering::Equal) => equal.push(index),
            Some(std::cmp::Ordering::Greater) => {}
        }
    }
    let (mut index, _) = best?;
    if equal.len() > 1 {
        index = state.turn(peers, equal.into_iter())?;
    }
    Some(state.take(peers, index, tried, now))
}

impl Upstream {
    /// A request goes to a server.
    pub(super) fn begins(&self, index: usize, state: &mut State, now: u64) {
        if let Method::LeastTime { inflight: true, .. } = self.method {
            state.speed(index).begin(now);
        }
    }

    /// The head of a server's answer came after so long.
    pub fn header_came(&self, choice: Choice, header: u64, now: u64) {
        if let Method::LeastTime { until: Until::Header, inflight: true } = self.method {
            let mut state = self.lock();
            let speed = state.speed(choice.index);
            Speed::average(&mut speed.header, header);
            speed.end(header, now);
        }
    }

    /// An attempt is over after `response`; the head of its answer came after `header`, where there was one.
    pub fn took(&self, choice: Choice, failure: Failure, header: Option<u64>, response: u64, now: u64) {
        let Method::LeastTime { until, inflight } = self.method else { return };
        let mut state = self.lock();
        let speed = state.speed(choice.index);
        let by_header = inflight && until == Until::Header;
        if inflight && !(by_header && header.is_some()) {
            speed.end(response, now);
        }
        // Servers that fail fast are not fast.
        if let (Some(header), Failure::None) = (header, failure) {
            Speed::average(&mut speed.response, response);
            if !by_header {
                Speed::average(&mut speed.header, header);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_times_are_equal_and_connections_multiply_them() {
        let fast = Speed { response: 5, ..Speed::default() };
        let like_it = Speed { response: 19, ..Speed::default() };
        let slow = Speed { response: 20, ..Speed::default() };
        let estimate = |speed: Speed, connections| speed.estimate(Until::LastByte, connections, 0, 10);
        assert_eq!(estimate(fast, 0), estimate(like_it, 0));
        assert!(estimate(slow, 0) > estimate(like_it, 0));
        assert_eq!(estimate(fast, 3), 4 * estimate(fast, 0));
        let hopeless = |response| estimate(Speed { response, ..Speed::default() }, 0);
        assert_eq!(hopeless(6_000), hopeless(60_000));
    }

    #[test]
    fn a_slow_server_that_is_not_asked_gets_another_chance() {
        let slow = Speed { header: 4000, ..Speed::default() };
        let after = |idle| slow.estimate(Until::Header, 0, idle, 1);
        assert_eq!(after(1), 4000 + STEP);
        assert_eq!(after(4), 1000 + STEP);
        assert_eq!(after(100), STEP);
    }

    #[test]
    fn requests_that_are_not_answered_make_a_server_slow() {
        let mut speed = Speed::default();
        speed.begin(0);
        speed.begin(100);
        speed.wait(300);
        // One has waited for 300, the other for 200.
        assert_eq!(speed.waiting, 250);
        speed.end(400, 400);
        speed.wait(400);
        assert_eq!((speed.open, speed.waiting), (1, (300 * 5 + 250 * 95 + 50) / 100));
        speed.end(500, 600);
        assert_eq!((speed.open, speed.taken), (0, 0));
    }
}
