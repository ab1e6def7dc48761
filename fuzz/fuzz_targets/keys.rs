//! Any bytes as a set of keys: what is read of it is a set within its bounds, and the same again.
#![no_main]

use auth::jwt::{KeySet, MOST_KEYS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    match KeySet::parse(bytes) {
        Ok(keys) => {
            assert!(keys.len() + keys.ignored().len() <= MOST_KEYS);
            assert!(keys.ignored().iter().all(|key| (1..=lines).contains(&key.place.line)));
            assert!(keys.short_secrets().len() <= keys.len() && keys.private_parts().len() <= keys.len());
            let again = KeySet::parse(bytes).expect("what was a set");
            assert_eq!((again.len(), again.ignored()), (keys.len(), keys.ignored()));
            assert_ne!(again.number(), keys.number());
        }
        Err(not) => {
            // A reader of JSON counts the line behind the last one, too.
            assert!((1..=lines + 1).contains(&not.line), "{not:?}");
            assert!(!not.why.is_empty());
        }
    }
});
