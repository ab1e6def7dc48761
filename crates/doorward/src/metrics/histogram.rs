//! How long things took, as a histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds: from half a millisecond, where a service next door answers, to ten seconds.
pub const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Times by their length. Each is counted in one bucket; readers add them up.
#[derive(Default, Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// Counts a time.
    #[inline]
    pub fn observe(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < time);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.microseconds.fetch_add(time, Ordering::Relaxed);
    }

    /// How many times were no longer than each of [`BOUNDS`], then how many there were.
    pub fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|at| {
            sum += self.buckets.get(at).map_or(0, |bucket| bucket.load(Ordering::Relaxed));
            sum
        })
    }

    /// How many times there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The average time in milliseconds, 0 where there was none.
    pub fn average(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum().as_secs_f64() * 1000.0 / count as f64,
        }
    }

    /// All times together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.microseconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_up_to_its_bound() {
        let histogram = Histogram::default();
        for microseconds in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let cumulative = histogram.cumulative();
        assert_eq!((cumulative[0], cumulative[1], cumulative[13], cumulative[14]), (2, 3, 4, 5));
        assert_eq!(histogram.sum(), Duration::from_micros(20_001_002));
    }
}
