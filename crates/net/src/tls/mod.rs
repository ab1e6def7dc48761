//! TLS on rustls: what files and words of a configuration mean to it, what a connection says over its socket, and whom to
//! trust, in OpenSSL's words where nginx has them.

pub mod certificate;
mod ciphers;
pub mod client_auth;
pub mod connect;
pub mod files;
pub mod ocsp;
pub mod reason;
pub mod signatures;
mod stream;
pub mod tickets;
pub mod verify;
pub mod words;

pub(crate) use stream::Tls;
