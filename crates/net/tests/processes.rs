//! Processes.
fn main() {}
