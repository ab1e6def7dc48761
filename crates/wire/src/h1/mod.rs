//! HTTP/1 (RFC 9112) without input or output: heads and bodies are read from buffers the caller grows.

pub mod body;
mod lines;
pub mod request;
mod request_line;
pub mod response;
mod room;
mod scan;

pub use body::{BodyError, Chunked, Decoded, Decoder, chunk_header};
pub use request::{Connection, Limits, Method, RequestError, RequestHead, RequestParser, Version};
pub use response::{Duplicate, ResponseError, ResponseHead, ResponseParser};

/// What a client sends first when it wants HTTP/2 without asking (RFC 9113, 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
