//! JSON Web Tokens that are signed (RFC 7519 in the compact form of RFC 7515), and the keys that they are checked with
//! (RFC 7517, RFC 7518, RFC 8037).
//!
//! A token says itself which algorithm and which key it was signed with; what it says only chooses among the keys that the
//! operator gave, and never overrides what these are for (RFC 8725, 3.1).

mod algorithm;
mod key;
mod key_set;
#[cfg(test)]
mod tests;
mod token;

pub use algorithm::Algorithm;
pub use key::Fault;
pub use key_set::{Ignored, KeySet, NotASet, Place};
pub use token::{Refusal, Signed, Token};

/// Longest token that is looked at, in bytes: fields of requests are rarely let in longer.
pub const MOST_TOKEN: usize = 32 << 10;

/// Longest text of a set of keys, in bytes.
pub const MOST_SET: usize = 1 << 20;

/// Most keys of a set.
pub const MOST_KEYS: usize = 100;
