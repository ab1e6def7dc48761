//! Machines: listening, sockets, TLS, timers, idle connections, inherited sockets and processes; nothing of HTTP.
//!
//! Everything that waits runs on one tokio `LocalRuntime` per worker thread, and nothing here is `Send` on purpose.

pub mod accept;
pub mod address;
pub mod buffers;
pub mod clock;
pub mod handoff;
pub mod inherited;
pub mod listen;
pub mod names;
pub mod pool;
pub mod process;
pub mod socket;
pub mod stream;
mod sys;
pub mod timer;
pub mod tls;

pub use accept::Listener;
pub use address::Address;
pub use buffers::Buffers;
pub use clock::Millis;
pub use names::Names;
pub use pool::Pool;
pub use process::thread_id;
pub use socket::{Connect, Keepalive, Socket, TcpInfo};
pub use stream::Stream;
pub use timer::{Deadline, Elapsed, Timers};
