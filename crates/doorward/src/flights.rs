//! Questions on their way: whoever asks the same meanwhile waits for the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What tells a question from all others: a keyed hash, so that nobody can make two that are the same.
pub type Key = [u8; 32];

/// Questions by key.
pub struct Flights<T>(Mutex<ByKey<T>>);

/// Each with how many wait for it.
type ByKey<T> = HashMap<Key, (Arc<Flight<T>>, usize)>;

struct Flight<T> {
    /// Whose turn it is to ask. Closed when the question is over.
    turn: Semaphore,
    landed: OnceLock<T>,
}

/// A request's place among those who ask the same. When one who was to ask leaves without an answer, another one takes over.
pub struct Seat<'f, T> {
    flights: &'f Flights<T>,
    key: Key,
    flight: Arc<Flight<T>>,
}

/// What waiting came to.
pub enum Turn<'s, T> {
    /// It is this request's turn to ask.
    Ask(SemaphorePermit<'s>),
    /// Another one asked.
    Landed(T),
}

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        Flights(Mutex::default())
    }
}

impl<T: Clone> Flights<T> {
    /// A place among those who ask this.
    pub fn seat(&self, key: Key) -> Seat<'_, T> {
        let mut flights = self.lock();
        let new = || (Arc::new(Flight { turn: Semaphore::new(1), landed: OnceLock::new() }), 0);
        let (flight, seats) = flights.entry(key).or_insert_with(new);
        *seats += 1;
        Seat { flights: self, key, flight: flight.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, ByKey<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Seat<'_, T> {
    /// The turn to ask, if nobody else has it.
    pub fn first(&self) -> Option<Turn<'_, T>> {
        self.flight.turn.try_acquire().ok().map(Turn::Ask)
    }

    /// Waits for the turn to ask, or for another one's answer; nothing where it was lost.
    pub async fn wait(&self) -> Option<Turn<'_, T>> {
        match self.flight.turn.acquire().await {
            Ok(turn) => Some(Turn::Ask(turn)),
            Err(_) => self.flight.landed.get().cloned().map(Turn::Landed),
        }
    }

    /// Ends the question: those who wait get this, whoever comes later begins anew.
    pub fn land(&self, answer: T) {
        let mut flights = self.flights.lock();
        if flights.get(&self.key).is_some_and(|(flight, _)| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.key);
        }
        // It is set once: only who has the turn comes here, and then the turns are over.
        let _ = self.flight.landed.set(answer);
        self.flight.turn.close();
    }
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((flight, seats)) = flights.get_mut(&self.key)
            && Arc::ptr_eq(flight, &self.flight)
        {
            *seats -= 1;
            if *seats == 0 {
                flights.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_and_another_takes_over_when_it_leaves() {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { panic!("no runtime") };
        runtime.block_on(async {
            let flights = Flights::<u8>::default();
            let (first, second, third) =
                (flights.seat([1; 32]), flights.seat([1; 32]), flights.seat([1; 32]));
            let turn = first.first();
            assert!(matches!(turn, Some(Turn::Ask(_))));
            assert!(second.first().is_none() && third.first().is_none());
            drop(turn);
            drop(first);
            let Some(Turn::Ask(turn)) = second.wait().await else { panic!("nobody else asked") };
            second.land(7);
            assert!(matches!(third.wait().await, Some(Turn::Landed(7))));
            // Who comes later begins anew, while some of the others are still there.
            let fourth = flights.seat([1; 32]);
            assert!(matches!(fourth.first(), Some(Turn::Ask(_))));
            drop(turn);
            drop((second, third));
            assert_eq!(flights.lock().len(), 1);
            drop(fourth);
            assert_eq!(flights.lock().len(), 0);
        });
    }
}
