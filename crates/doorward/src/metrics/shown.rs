//! All numbers of one moment, by family, whatever they are shown as.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Family, Histogram, Kind, Labels, Metrics, Reading, Series};

/// A family with its numbers.
pub struct Shown {
    /// The family.
    pub family: &'static Family,
    /// What kind of numbers they are.
    pub kind: Kind,
    /// The numbers, in the order of their labels.
    pub samples: BTreeMap<Labels, Value>,
}

/// One number, or distribution.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A distribution of times.
    Times(Arc<Histogram>),
}

/// Reads every number: what is counted, and what else is known. Families are in the order of their names, and no two
/// samples of one have the same labels.
pub fn collect<'r>(metrics: &Metrics, readings: impl Iterator<Item = &'r Reading>) -> Vec<Shown> {
    let mut all: BTreeMap<&'static str, Shown> = BTreeMap::new();
    for (family, members) in metrics.families() {
        let kind = match members.first() {
            Some((_, Series::Histogram(_))) => Kind::Histogram,
            Some((_, Series::Gauge(_))) => Kind::Gauge,
            _ => Kind::Counter,
        };
        let mut samples = BTreeMap::new();
        for (mut labels, series) in members {
            match series {
                Series::Counter(counter) => {
                    samples.insert(labels, Value::Number(counter.get() as f64));
                }
                Series::Gauge(gauge) => {
                    samples.insert(labels, Value::Number(gauge.get() as f64));
                }
                Series::Histogram(histogram) => {
                    samples.insert(labels, Value::Times(histogram));
                }
                Series::Statuses(label, statuses) => {
                    labels.push((label, String::new()));
                    for (status, number) in statuses.seen() {
                        if let Some((_, value)) = labels.last_mut() {
                            *value = status.to_string();
                        }
                        samples.insert(labels.clone(), Value::Number(number as f64));
                    }
                }
            }
        }
        all.insert(family.name, Shown { family, kind, samples });
    }
    for reading in readings {
        let Reading { family, kind, labels, value } = reading;
        let shown =
            all.entry(family.name).or_insert_with(|| Shown { family, kind: *kind, samples: BTreeMap::new() });
        shown.samples.insert(labels.clone(), Value::Number(value()));
    }
    all.into_values().collect()
}
