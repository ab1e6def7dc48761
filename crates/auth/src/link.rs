//! Links that carry a hash of themselves and a secret.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// Whether `hash` is the MD5 of these pieces together, compared in constant time. MD5 because such links are around: for
/// anything new it is too weak.
pub fn is_md5_of(hash: &[u8], pieces: &[&[u8]]) -> bool {
    let digest = pieces.iter().fold(Md5::new(), Digest::chain_update).finalize();
    digest.as_slice().ct_eq(hash).into()
}
