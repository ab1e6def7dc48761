//! HTTP/2 (RFC 9113) without input or output: what a stream's fields say as the head of a request.

mod refusal;
mod request;

pub use refusal::RequestError;
pub use request::{Pseudo, request};
