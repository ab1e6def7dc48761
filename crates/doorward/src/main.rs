//! Doorward: an API gateway that takes `nginx.conf` as it is and gets authentication right. See ARCHITECTURE.md.

mod authorization;
mod body;
mod boxed;
mod cidr;
mod client;
mod compile;
mod config;
mod connection;
mod deliver;
mod directives;
mod error_pages;
mod exchange;
mod field_names;
mod fields;
mod flights;
mod hashing;
mod hostnames;
mod http2;
mod included;
mod locate;
mod log;
mod media_types;
mod metrics;
mod module;
mod modules;
mod own_request;
mod plan;
mod product;
mod program;
mod random;
mod read_ahead;
mod regex;
mod request_body;
mod request_fields;
mod run;
mod time;
mod tls;
mod variables;
mod warnings;
mod words;
mod worker;
mod zone;

/// Memory is asked for in small pieces on the path of every request: this allocator serves them in less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    program::main()
}
