//! HTTP as bytes: messages, fields and bodies, read and written without any input or output of its own.

mod name;
mod range;

pub mod cookie;
pub mod date;
pub mod destination;
pub mod fastcgi;
pub mod field;
pub mod form;
pub mod h1;
pub mod h2;
pub mod host;
pub mod list;
pub mod proxy_protocol;
pub mod status;
pub mod uri;

pub use field::Field;
pub use name::Name;
pub use range::Range;
