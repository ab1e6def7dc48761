//! The coarse clocks: cheap enough to be read at every wait, behind by at most one tick of the kernel (1 to 10 ms).

use std::cell::Cell;

use nix::time::{ClockId, clock_getres, clock_gettime};

/// Milliseconds of a clock that never goes back, since some moment before the process started.
pub type Millis = u64;

thread_local! {
    /// The moment at which this thread's [`Turn`] began; 0 outside of one.
    static TURN: Cell<Millis> = const { Cell::new(0) };
}

/// The moment now, for measuring and for deadlines. Within a [`Turn`] it is the moment at which that began.
pub fn now() -> Millis {
    match TURN.get() {
        0 => read(ClockId::CLOCK_MONOTONIC_COARSE),
        began => began,
    }
}

/// One poll of a task that does not block: as long as it lasts, the clock stands still on its thread and costs nothing.
#[derive(Debug)]
pub struct Turn {
    /// Whether it is part of another one, which ends later.
    inner: bool,
}

impl Turn {
    /// Begins a turn, or a part of the one that this thread is in.
    pub fn begin() -> Turn {
        let inner = TURN.get() != 0;
        if !inner {
            TURN.set(read(ClockId::CLOCK_MONOTONIC_COARSE));
        }
        Turn { inner }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.inner {
            TURN.set(0);
        }
    }
}

/// The time of day: seconds since 1970 (UTC) and milliseconds of the second.
pub fn wall() -> (u64, u32) {
    let at = read(ClockId::CLOCK_REALTIME_COARSE);
    (at / 1000, (at % 1000) as u32)
}

/// A moment in the machine's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The year.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
    /// Seconds east of UTC.
    pub offset: i64,
}

/// A moment, given in seconds since 1970, in the machine's time zone.
pub fn local(unix: u64) -> Local {
    crate::sys::local_time(unix)
}

/// How far the clocks may be behind, in whole milliseconds, at least one.
pub fn tick() -> Millis {
    let nanoseconds = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .map_or(10_000_000, |tick| tick.tv_sec() * 1_000_000_000 + tick.tv_nsec());
    u64::try_from(nanoseconds).unwrap_or(0).div_ceil(1_000_000).max(1)
}

/// Both clocks exist since Linux 2.6.32; before 1970 is taken as 1970.
fn read(clock: ClockId) -> u64 {
    let Ok(at) = clock_gettime(clock) else { return 0 };
    u64::try_from(at.tv_sec() * 1000 + at.tv_nsec() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant, SystemTime};

    #[test]
    fn the_clock_stands_still_for_a_turn() {
        let turn = Turn::begin();
        let began = now();
        std::thread::sleep(Duration::from_millis(2 * tick() + 1));
        drop(Turn::begin());
        assert_eq!(now(), began);
        drop(turn);
        assert!(now() > began);
    }

    #[test]
    fn coarse_clocks_follow_the_fine_ones() {
        // Between two looks at the coarse clock as much time passes as between fine ones around and within them.
        let (around, coarse, within) = (Instant::now(), now(), Instant::now());
        std::thread::sleep(Duration::from_millis(60));
        let within = within.elapsed().as_millis() as u64;
        let coarse = now() - coarse;
        let around = around.elapsed().as_millis() as u64;
        let behind = tick() + 1;
        let could_be = within.saturating_sub(behind)..=around + behind;
        assert!(could_be.contains(&coarse), "{coarse} against {within} to {around}");

        let unix = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
        let (before, (seconds, ms), after) = (unix(), wall(), unix());
        let coarse = seconds * 1000 + u64::from(ms);
        assert!((before.saturating_sub(behind)..=after).contains(&coarse), "{before} {coarse} {after}");
    }
}
