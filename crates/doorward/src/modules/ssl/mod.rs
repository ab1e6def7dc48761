//! `ngx_http_ssl_module`: TLS with clients.

mod accept;
mod commands;
mod facts;
mod named;
mod ocsp;
pub mod preview;
mod sessions;
mod settings;
mod variables;
mod verify;

pub use accept::accept;
pub use facts::{Tls, Wanted};
pub use ocsp::MODULE as OCSP;
pub use settings::{MODULE, ServerTls, settle};
pub use verify::{MODULE as VERIFY, refusal};
