//! A question on its way: whoever asks the same meanwhile waits for its answer.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::key::Key;
use super::store::{Decision, Store};

/// What a question came to, for those who waited.
#[derive(Clone)]
pub enum Landed {
    /// The decision is theirs too; whether its own time is over, and the service failed.
    Shared(Arc<Decision>, bool),
    /// The service failed: asking it again one after the other would let the last one wait for all.
    Failed(Arc<Decision>),
    /// The answer was for the one who asked: the others ask for themselves.
    Alone,
}

/// A question that at most one request asks at a time.
pub struct Flight {
    /// Whose turn it is to ask. Closed when the question is over.
    turn: Semaphore,
    landed: OnceLock<Landed>,
}

impl Default for Flight {
    fn default() -> Flight {
        Flight { turn: Semaphore::new(1), landed: OnceLock::new() }
    }
}

/// A request's place among those who ask the same. When one who was to ask leaves without an answer, another one takes over.
pub struct Seat {
    store: Arc<Store>,
    key: Key,
    flight: Arc<Flight>,
    /// How often the zone had been purged when it was looked up.
    purges: u64,
}

/// What waiting came to.
pub enum Turn<'s> {
    /// It is this request's turn to ask.
    Ask(SemaphorePermit<'s>),
    /// Another one asked.
    Landed(Landed),
}

impl Seat {
    pub(super) fn new(store: Arc<Store>, key: Key, flight: Arc<Flight>, purges: u64) -> Seat {
        Seat { store, key, flight, purges }
    }

    /// Whether the zone was purged since: what was known then may have been taken back.
    pub fn is_purged(&self) -> bool {
        self.store.purges() != self.purges
    }

    /// The turn to ask, if nobody else has it.
    pub fn first(&self) -> Option<Turn<'_>> {
        self.flight.turn.try_acquire().ok().map(Turn::Ask)
    }

    /// Waits for the turn to ask, or for another one's answer.
    pub async fn wait(&self) -> Turn<'_> {
        match self.flight.turn.acquire().await {
            Ok(turn) => Turn::Ask(turn),
            Err(_) => Turn::Landed(self.flight.landed.get().cloned().unwrap_or(Landed::Alone)),
        }
    }

    /// Ends the question: those who wait get this, whoever comes later begins anew.
    pub fn land(&self, landed: Landed) {
        self.store.with_flights(&self.key, |flights| {
            if flights.0.get(&self.key).is_some_and(|(flight, _)| Arc::ptr_eq(flight, &self.flight)) {
                flights.0.remove(&self.key);
            }
        });
        // It is set once: only who has the turn comes here, and then the turns are over.
        let _ = self.flight.landed.set(landed);
        self.flight.turn.close();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.store.with_flights(&self.key, |flights| {
            if let Some((flight, seats)) = flights.0.get_mut(&self.key)
                && Arc::ptr_eq(flight, &self.flight)
            {
                *seats -= 1;
                if *seats == 0 {
                    flights.0.remove(&self.key);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Secret;
    use super::super::store::Found;
    use super::*;

    fn seat(store: &Arc<Store>) -> Seat {
        match store.find(&[1; 32], 0) {
            Found::Not(_, seat) => seat,
            Found::Fresh(_) => panic!("nothing was stored"),
        }
    }

    fn flying(store: &Store) -> usize {
        store.with_flights(&[1; 32], |flights| flights.0.len())
    }

    #[test]
    fn one_asks_and_another_takes_over_when_it_leaves() {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { panic!("no runtime") };
        runtime.block_on(take_over());
    }

    async fn take_over() {
        let store = Arc::new(Store::new(1 << 16, Secret::from([0; 32])));
        let (first, second, third) = (seat(&store), seat(&store), seat(&store));
        let turn = first.first();
        assert!(matches!(turn, Some(Turn::Ask(_))));
        assert!(second.first().is_none() && third.first().is_none());
        drop(turn);
        drop(first);
        let Turn::Ask(_turn) = second.wait().await else { panic!("nobody else asked") };
        second.land(Landed::Alone);
        assert!(matches!(third.wait().await, Turn::Landed(Landed::Alone)));
        // Who comes later begins anew, while some of the others are still there.
        let fourth = seat(&store);
        assert!(matches!(fourth.first(), Some(Turn::Ask(_))));
        drop((_turn, third));
        assert_eq!(flying(&store), 1);
        drop(fourth);
        assert_eq!(flying(&store), 0);
    }
}
