//! TLS on rustls: what a connection says over its socket, and whom to trust, in OpenSSL's words where nginx has them.

mod stream;
pub mod verify;

pub(crate) use stream::Tls;
