//! HTTP/1 (RFC 9112) without input or output: heads and bodies are read from buffers the caller grows.

mod body;
mod lines;
mod refusal;
mod request;
mod request_head;
mod request_line;
mod response;
mod room;
mod scan;

pub use body::{BodyError, Chunked, Decoded, Decoder, chunk_header};
pub use refusal::RequestError;
pub use request::RequestParser;
pub(crate) use request::{UNIQUE, number};
pub use request_head::{Connection, Limits, Method, RequestHead, Version};
pub(crate) use request_line::{in_method, split_target};
pub use response::{Duplicate, ResponseError, ResponseHead, ResponseParser};

/// What a client sends first when it wants HTTP/2 without asking (RFC 9113, 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
