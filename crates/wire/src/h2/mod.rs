//! HTTP/2 (RFC 9113) without input or output: what a stream's fields say as the head of a request, and where frames begin.

mod frames;
mod refusal;
mod request;

pub use frames::{FrameError, FrameHead, Frames, kind};
pub use refusal::RequestError;
pub use request::{Pseudo, request};
