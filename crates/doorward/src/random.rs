//! Randomness, and the machine's name, from the system.

use std::sync::LazyLock;

/// Bytes that nobody can guess.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The system's source does not fail once it is seeded; identifiers must not repeat if it ever did.
    if getrandom::fill(&mut bytes).is_err() {
        let now = net::clock::now().to_ne_bytes();
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = now[at % 8] ^ at as u8;
        }
    }
    bytes
}

static HOSTNAME: LazyLock<Vec<u8>> = LazyLock::new(|| {
    use std::os::unix::ffi::OsStringExt;
    nix::unistd::gethostname().map(OsStringExt::into_vec).unwrap_or_default()
});

/// The machine's name.
pub fn hostname() -> &'static [u8] {
    &HOSTNAME
}
