//! What can be seen of a running gateway: its metrics, Prometheus that reads them, and its status page.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

#[path = "../support/browser.rs"]
mod browser;
mod gateway;
mod page;
mod prometheus;
mod status;
#[path = "../support/mod.rs"]
mod support;

use support::{free_ports, wait_for};
