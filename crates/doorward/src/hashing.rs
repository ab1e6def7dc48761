//! Passwords are compared by other threads than the one that serves, a few at a time, and for auth services only while not too many wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use auth::password;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::auth_outcome::{self, Reason};
use crate::run::Stop;
use crate::worker::Counted;

/// Passwords of one worker that are compared at a time: each takes a core, and 19 MiB.
const AT_A_TIME: usize = 2;

/// Most that one worker has to do for auth services at a time: the last of them is answered within two seconds or so.
const MOST: u64 = 64;

/// Longest wait, in milliseconds.
const PATIENCE: u64 = 10_000;

/// The turns of one worker.
pub struct Hashing {
    turns: Arc<Semaphore>,
    wanted: AtomicU64,
}

impl Default for Hashing {
    fn default() -> Hashing {
        Hashing { turns: Arc::new(Semaphore::new(AT_A_TIME)), wanted: AtomicU64::new(0) }
    }
}

impl Hashing {
    /// Does work when its turn comes. The turn lasts as long as the work does, also when nobody waits for it any more: who
    /// hangs up and asks again has no more done at a time.
    pub async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = self.turns.clone().acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

/// Whether a password is the one that `stored` was made of. While too many wait, and where it takes too long, the request
/// ends with 503, as busy: what somebody types can be typed again.
pub async fn matches(ex: &Exchange<'_>, stored: Vec<u8>, password: Vec<u8>) -> Result<bool, Stop> {
    let hashing = &ex.visit.worker.hashing;
    if hashing.wanted.load(Ordering::Relaxed) >= MOST {
        return Err(busy(ex));
    }
    let _wanted = Counted::new(&hashing.wanted);
    let comparison = hashing.in_turn(move || password::matches(&stored, &password));
    match ex.visit.client.waiting(PATIENCE, true, comparison).await {
        Ok(Ok(right)) => Ok(right),
        Err(Interrupted::ClientGone) => Err(Stop::Gone),
        Ok(Err(_)) | Err(Interrupted::Elapsed) => Err(busy(ex)),
    }
}

/// Says when to try again, where the request ends as busy.
pub fn come_again(ex: &mut Exchange<'_>) {
    let is_busy = ex.visit.auth.borrow().reason == Some(Reason::Busy);
    if is_busy {
        ex.response.fields.set("Retry-After", b"2");
    }
}

fn busy(ex: &Exchange<'_>) -> Stop {
    auth_outcome::set_reason(ex, Reason::Busy);
    ex.log(Level::Error, format_args!("too many passwords are to be compared"));
    Stop::Status(503)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    #[test]
    fn a_turn_lasts_as_long_as_the_work() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let hashing = Hashing::default();
        let ends: Vec<mpsc::Sender<()>> = runtime.block_on(async {
            let mut ends = Vec::new();
            for _ in 0..AT_A_TIME {
                let (end, ended) = mpsc::channel();
                let mut given_up = std::pin::pin!(hashing.in_turn(move || ended.recv()));
                // Begun, and nobody waits for it.
                let begun = std::future::poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx).is_pending()));
                assert!(begun.await);
                ends.push(end);
            }
            ends
        });
        assert_eq!(hashing.turns.available_permits(), 0);
        drop(ends);
        runtime.block_on(hashing.in_turn(|| ())).unwrap();
    }
}
