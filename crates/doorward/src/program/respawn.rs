//! A brake on worker processes that end as soon as they are started.

use std::time::{Duration, Instant};

/// A worker process that lived so long was not broken from the start.
const LIFE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long to wait before the next start: not at all, unless the one before ended at once; then longer each time.
#[derive(Default)]
pub struct Brake {
    started: Option<Instant>,
    pause: Duration,
    until: Option<Instant>,
}

impl Brake {
    /// A process was started.
    pub fn started(&mut self) {
        self.started = Some(Instant::now());
        self.until = None;
    }

    /// It has ended.
    pub fn ended(&mut self) {
        let lived = self.started.map_or(LIFE, |started| started.elapsed());
        self.pause =
            if lived >= LIFE { Duration::ZERO } else { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
        self.until = Some(Instant::now() + self.pause);
    }

    /// Whether the next may be started.
    pub fn is_off(&self) -> bool {
        self.left().is_zero()
    }

    /// How long to wait still.
    pub fn left(&self) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_while_processes_end_at_once_and_only_then() {
        let mut brake = Brake::default();
        assert!(brake.is_off());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            brake.started();
            brake.ended();
            pauses.push(brake.pause);
            assert!(brake.until.is_some());
        }
        assert!(pauses.is_sorted() && pauses[0] == FIRST_PAUSE && pauses[7] == LONGEST_PAUSE, "{pauses:?}");
        assert!(!brake.is_off());
        brake.started = Instant::now().checked_sub(LIFE);
        brake.ended();
        assert!(brake.is_off());
    }
}
