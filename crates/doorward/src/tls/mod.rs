//! What directives of TLS have in common, whether clients or upstreams are at the other end: files, and OpenSSL's words.

pub mod files;
pub mod on_demand;
pub mod words;
