//! Named shared state that outlives a reload: limits, caches, counters.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Every zone of the process by name.
#[derive(Default)]
pub struct Zones {
    by_name: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
}

impl Zones {
    /// The zone of that name and kind, made when there is none, or one of another kind (a zone that changed its
    /// meaning starts anew, as in nginx).
    pub fn get_or_make<T: Any + Send + Sync>(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut zones = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = zones.get(name).and_then(|zone| zone.clone().downcast::<T>().ok()) {
            return zone;
        }
        let zone = Arc::new(make());
        zones.insert(name.to_owned(), zone.clone());
        zone
    }
}
