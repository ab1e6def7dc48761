//! TLS on rustls: what a connection says over its socket.

mod stream;

pub(crate) use stream::Tls;
