//! `ngx_http_upstream_module`: groups of servers, which of them is asked, and what was tried.

mod attempts;
mod balance;
mod group;
mod least_time;
mod method;
mod resolving;
mod server;
mod sticky;
mod url;

pub use attempts::{Attempt, Attempts, append_fields, append_seconds};
pub use balance::{Choice, Failure, Tried};
pub use group::{Groups, Upstream};
pub use resolving::keep as keep_resolving;
pub use sticky::Session;
pub use url::{Scheme, Target};

use crate::module::Module;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_upstream_module",
    directives: group::DIRECTIVES,
    variables: attempts::VARIABLES,
    plan: |_, _, _| Ok(()),
};

/// The directives inside an `upstream` block.
pub static SERVERS: Module = Module {
    name: "ngx_http_upstream_module",
    directives: group::SERVERS,
    variables: &[],
    plan: |_, _, _| Ok(()),
};
