//! Who is banned (`auth_limit ... ban=`), without what nobody may see.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// The bans that are shown of each zone, the latest ones.
const SHOWN: usize = 100;

/// A key and how many milliseconds it is banned for.
pub type Ban = (Box<[u8]>, u64);

/// The bans of one zone.
pub struct Bans {
    zone: String,
    key: Key,
    latest: Box<dyn Fn(usize) -> Vec<Ban> + Send + Sync>,
}

/// What a zone's keys are.
#[derive(Clone, Copy)]
enum Key {
    /// An address in bytes.
    Bytes,
    /// An address as text.
    Text,
    /// Anything else: a token, for instance.
    Secret,
}

impl Bans {
    /// The bans of a zone whose keys are the values of `key`.
    pub fn of(zone: &str, key: &[u8], latest: impl Fn(usize) -> Vec<Ban> + Send + Sync + 'static) -> Bans {
        let key = match key {
            b"$binary_remote_addr" | b"${binary_remote_addr}" => Key::Bytes,
            b"$remote_addr" | b"${remote_addr}" => Key::Text,
            _ => Key::Secret,
        };
        Bans { zone: zone.to_owned(), key, latest: Box::new(latest) }
    }

    /// The latest of them as JSON.
    pub fn latest(&self) -> Vec<Value> {
        let shown = |(key, ms): Ban| json!({ "zone": self.zone, "key": self.key.shown(&key), "seconds": ms.div_ceil(1000) });
        (self.latest)(SHOWN).into_iter().map(shown).collect()
    }
}

impl Key {
    fn shown(self, key: &[u8]) -> String {
        let address = match self {
            Key::Bytes => <[u8; 4]>::try_from(key)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from))
                .ok()
                .map(|ip| ip.to_string()),
            Key::Text => str::from_utf8(key).ok().map(str::to_owned),
            Key::Secret => None,
        };
        address.unwrap_or_else(|| hashed(key))
    }
}

/// A name for a key that tells it from others, and nothing of it.
fn hashed(key: &[u8]) -> String {
    static SECRET: LazyLock<[u8; 32]> = LazyLock::new(crate::random::bytes);
    let mut text = "#".to_owned();
    for byte in blake3::keyed_hash(&SECRET, key).as_bytes().iter().take(6) {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_and_nothing_else() {
        assert_eq!(Key::Bytes.shown(&[192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(Key::Bytes.shown(&[0; 16]), "::");
        assert_eq!(Key::Text.shown(b"192.0.2.1"), "192.0.2.1");
        let token = Key::Secret.shown(b"Bearer secret");
        assert!(token.starts_with('#') && token.len() == 13 && !token.contains("secret"));
        assert_eq!(token, Key::Secret.shown(b"Bearer secret"));
        assert_ne!(token, Key::Secret.shown(b"Bearer other"));
    }
}
