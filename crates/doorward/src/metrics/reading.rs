//! Numbers that are not counted for the metrics' sake, but are there: they are read when somebody asks.

use std::fmt;

use super::{Family, Labels};

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is a distribution of times.
    Histogram,
}

/// A number and how to read it. A configuration holds those of what it is made of.
pub struct Reading {
    /// Whose it is.
    pub family: &'static Family,
    /// Its kind.
    pub kind: Kind,
    /// What tells it from others of the family.
    pub labels: Labels,
    /// Reads it.
    pub value: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Reading {
    /// A number that goes up and down.
    pub fn gauge(
        family: &'static Family,
        labels: Labels,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Reading {
        Reading { family, kind: Kind::Gauge, labels, value: Box::new(value) }
    }

    /// A number that only grows, and is known as it is or from others that are counted.
    pub fn counter(
        family: &'static Family,
        labels: Labels,
        value: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Reading {
        Reading { family, kind: Kind::Counter, labels, value: Box::new(move || value() as f64) }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.family.name, self.labels)
    }
}
