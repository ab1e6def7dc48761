//! Counters of what was served. They are made while a configuration is compiled, so that it bounds how many there are
//! and no client can add one; they go on through reloads, and end with the last configuration that counts in them.

mod histogram;
pub mod process;
mod reading;
mod server;
mod shown;
pub mod text;
mod upstream;

pub use histogram::{BOUNDS, Histogram};
pub use reading::{Kind, Reading};
pub use server::{ServerCounts, TlsCounts};
pub use shown::{Shown, Value, collect};
pub use upstream::{PeerCounts, readings as upstream_readings};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A name for counters that differ in their labels only.
#[derive(Debug)]
pub struct Family {
    /// The name as Prometheus sees it, without the suffixes that it adds (`_bucket`, `_sum`, `_count`).
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
}

/// What tells counters of one family apart: names and values, in the order shown.
pub type Labels = Vec<(&'static str, String)>;

/// A number that only grows.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    #[inline]
    pub fn add_one(&self) {
        self.add(1);
    }

    /// So many more.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Default, Debug)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    #[inline]
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    #[inline]
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of reloads. A worker process has them from its master, which counts them too.
#[derive(Default, Debug)]
pub struct Reloads {
    /// How many put a new configuration in force.
    pub succeeded: Counter,
    /// How many changed nothing.
    pub failed: Counter,
    last_failed: AtomicBool,
}

impl Reloads {
    /// Counts one.
    pub fn count(&self, success: bool) {
        let counter = if success { &self.succeeded } else { &self.failed };
        counter.add_one();
        self.last_failed.store(!success, Ordering::Relaxed);
    }

    /// Whether the last one changed nothing.
    pub fn last_failed(&self) -> bool {
        self.last_failed.load(Ordering::Relaxed)
    }
}

/// Numbers by HTTP status.
#[derive(Debug)]
pub struct Statuses([Counter; 500]);

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses([const { Counter(AtomicU64::new(0)) }; 500])
    }
}

impl Statuses {
    /// One more with this status; what is none (below 100, above 599) is not counted.
    #[inline]
    pub fn add_one(&self, status: u16) {
        if let Some(counter) = usize::from(status).checked_sub(100).and_then(|at| self.0.get(at)) {
            counter.add_one();
        }
    }

    /// Every status that occurred, with its number.
    pub fn seen(&self) -> impl Iterator<Item = (u16, u64)> {
        let numbers = (100..600).zip(&self.0).map(|(status, counter)| (status, counter.get()));
        numbers.filter(|(_, number)| *number > 0)
    }

    /// How many there were in one class of statuses, 1 to 5.
    pub fn class(&self, class: u16) -> u64 {
        let first = usize::from(class.saturating_sub(1)) * 100;
        self.0.iter().skip(first).take(100).map(Counter::get).sum()
    }

    /// How many there were in all.
    pub fn all(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// One counter of a family, of whatever kind.
#[derive(Clone, Debug)]
pub enum Series {
    /// A plain number.
    Counter(Arc<Counter>),
    /// A number that goes up and down.
    Gauge(Arc<Gauge>),
    /// Numbers by status, which is a label more, of this name.
    Statuses(&'static str, Arc<Statuses>),
    /// A distribution of times.
    Histogram(Arc<Histogram>),
}

enum Known {
    Counter(Weak<Counter>),
    Gauge(Weak<Gauge>),
    Statuses(&'static str, Weak<Statuses>),
    Histogram(Weak<Histogram>),
}

impl Known {
    fn series(&self) -> Option<Series> {
        match self {
            Known::Counter(known) => known.upgrade().map(Series::Counter),
            Known::Gauge(known) => known.upgrade().map(Series::Gauge),
            Known::Statuses(label, known) => known.upgrade().map(|known| Series::Statuses(label, known)),
            Known::Histogram(known) => known.upgrade().map(Series::Histogram),
        }
    }
}

type Members = BTreeMap<Labels, Known>;

/// Every counter of the process.
#[derive(Default)]
pub struct Metrics {
    families: Mutex<BTreeMap<&'static str, (&'static Family, Members)>>,
}

impl Metrics {
    /// The counter of these labels: the one that an earlier configuration counted in, while that is in force.
    pub fn counter(&self, family: &'static Family, labels: Labels) -> Arc<Counter> {
        self.known(
            family,
            labels,
            |known| match known {
                Known::Counter(known) => known.upgrade(),
                _ => None,
            },
            |made| Known::Counter(Arc::downgrade(made)),
        )
    }

    /// The same for a number that goes up and down.
    pub fn gauge(&self, family: &'static Family, labels: Labels) -> Arc<Gauge> {
        self.known(
            family,
            labels,
            |known| match known {
                Known::Gauge(known) => known.upgrade(),
                _ => None,
            },
            |made| Known::Gauge(Arc::downgrade(made)),
        )
    }

    /// The same for numbers by status.
    pub fn statuses(&self, family: &'static Family, labels: Labels) -> Arc<Statuses> {
        self.by_status(family, labels, "status")
    }

    /// The same where the label that names the status is called otherwise.
    pub fn by_status(&self, family: &'static Family, labels: Labels, label: &'static str) -> Arc<Statuses> {
        self.known(
            family,
            labels,
            |known| match known {
                Known::Statuses(_, known) => known.upgrade(),
                _ => None,
            },
            |made| Known::Statuses(label, Arc::downgrade(made)),
        )
    }

    /// The same for times.
    pub fn histogram(&self, family: &'static Family, labels: Labels) -> Arc<Histogram> {
        self.known(
            family,
            labels,
            |known| match known {
                Known::Histogram(known) => known.upgrade(),
                _ => None,
            },
            |made| Known::Histogram(Arc::downgrade(made)),
        )
    }

    fn known<T: Default>(
        &self,
        family: &'static Family,
        labels: Labels,
        find: impl FnOnce(&Known) -> Option<Arc<T>>,
        keep: impl FnOnce(&Arc<T>) -> Known,
    ) -> Arc<T> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, members) = families.entry(family.name).or_insert_with(|| (family, BTreeMap::new()));
        if let Some(known) = members.get(&labels).and_then(find) {
            return known;
        }
        let made = Arc::new(T::default());
        members.insert(labels, keep(&made));
        made
    }

    /// Every family by name, with its counters in the order of their labels; forgets those that nobody counts in.
    pub fn families(&self) -> Vec<(&'static Family, Vec<(Labels, Series)>)> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, members) in families.values_mut() {
            members.retain(|_, known| known.series().is_some());
        }
        families.retain(|_, (_, members)| !members.is_empty());
        let all = families.values().map(|(family, members)| {
            let series = members.iter().filter_map(|(labels, known)| Some((labels.clone(), known.series()?)));
            (*family, series.collect())
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FAMILY: Family = Family { name: "tests_total", help: "Tests." };

    #[test]
    fn counters_go_on_while_somebody_counts_in_them() {
        let metrics = Metrics::default();
        let labels = || vec![("server", "example.com".to_owned())];
        let first = metrics.counter(&FAMILY, labels());
        first.add_one();
        let again = metrics.counter(&FAMILY, labels());
        again.add_one();
        assert_eq!(first.get(), 2);
        assert_eq!(metrics.counter(&FAMILY, Vec::new()).get(), 0);
        assert_eq!(metrics.families().len(), 1);
        drop((first, again));
        assert!(metrics.families().is_empty());
        assert_eq!(metrics.counter(&FAMILY, labels()).get(), 0);
    }

    #[test]
    fn statuses_outside_of_http_are_not_counted() {
        let statuses = Statuses::default();
        for status in [0, 99, 100, 401, 401, 599, 600, u16::MAX] {
            statuses.add_one(status);
        }
        assert_eq!(statuses.seen().collect::<Vec<_>>(), [(100, 1), (401, 2), (599, 1)]);
        assert_eq!([1, 2, 3, 4, 5].map(|class| statuses.class(class)), [1, 0, 0, 2, 1]);
        assert_eq!(statuses.all(), 4);
    }
}
