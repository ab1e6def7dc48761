//! Named shared state that outlives a reload: limits, caches, counters.

mod table;

pub use table::Table;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Every zone of the process by name.
#[derive(Default)]
pub struct Zones {
    /// What is counted.
    pub metrics: crate::metrics::Metrics,
    /// What came of reloads.
    pub reloads: crate::metrics::Reloads,
    by_name: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

impl Zones {
    /// The zone of that name and kind, made when there is none, or one of another kind (a zone that changed its
    /// meaning starts anew, as in nginx).
    pub fn get_or_make<T: Any + Send + Sync>(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        self.get_or_replace(name, |_| true, make)
    }

    /// The same, but made anew too where the one that is there does not fit any more.
    pub fn get_or_replace<T: Any + Send + Sync>(
        &self,
        name: &str,
        fits: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut zones = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let known = zones.get(name).and_then(|zone| zone.clone().downcast::<T>().ok());
        if let Some(zone) = known.filter(|zone| fits(zone)) {
            return zone;
        }
        let zone = Arc::new(make());
        zones.insert(name.to_owned(), zone.clone());
        zone
    }

    /// The zone of that name, where it is of that kind.
    pub fn get<T: Any + Send + Sync>(&self, name: &str) -> Option<Arc<T>> {
        let zones = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        zones.get(name).and_then(|zone| zone.clone().downcast().ok())
    }
}
