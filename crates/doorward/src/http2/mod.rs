//! Connections of HTTP/2 (RFC 9113): one task drives the frames, each stream is a task that runs its request.

mod diagnostics;
mod driver;
mod guard;
mod io;
mod piece;
mod request;
mod stream;

pub use piece::Piece;
pub use stream::Stream;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::client::Client;
use crate::config::{Listener, Server};
use crate::connection::first_server;
use crate::log::Level;
use crate::modules::core::CoreValues;
use crate::worker::{Service, Worker};
use guard::{Guard, Offence};
use io::Output;

/// How many requests may be taken back before some are answered, for each that may run at a time.
const RESETS_EACH: u64 = 4;

/// The least that is counted as requests at a time for that.
const LEAST_STREAMS: u64 = 25;

/// How much is read from one connection before others have their turn, in bytes.
const TURN: usize = 256 << 10;

/// What the tasks of a connection share.
struct Shared {
    client: Client,
    service: Rc<Service>,
    worker: Rc<Worker>,
    output: RefCell<Output>,
    guard: RefCell<Guard>,
    /// What the client did that it is cut off for.
    offence: Cell<Option<Offence>>,
    /// How much more is read before others have their turn, in bytes.
    turn: Cell<usize>,
    /// Streams whose tasks run.
    active: Cell<usize>,
    /// The task that drives the connection.
    driver: RefCell<Option<Waker>>,
}

impl Shared {
    fn default_server(&self) -> &Server {
        first_server(&self.client, &self.service.config)
    }

    fn core(&self) -> &CoreValues {
        &self.default_server().plan.core
    }

    /// The driver is to look at the connection again.
    fn wake(&self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    fn log(&self, level: Level, message: std::fmt::Arguments<'_>) {
        let server = self.default_server();
        let name = String::from_utf8_lossy(&server.name);
        let context = format!(", client: {}, server: {name}", self.client.peer.ip_text());
        server.plan.core.error_log.write_on(level, self.client.number, message, &context);
    }
}

/// Whether client and server came to HTTP/2 while they shook hands (ALPN).
pub fn is_chosen(client: &Client) -> bool {
    client.tls.get().and_then(|tls| tls.alpn()) == Some(b"h2")
}

/// Whether a listener's clients may begin with HTTP/2.
pub fn is_offered(client: &Client, service: &Service) -> bool {
    let config = &*service.config;
    is_served(first_server(client, config), &config.listeners[client.listener])
}

/// Whether a server's requests may come in HTTP/2.
pub fn is_served(server: &Server, listener: &Listener) -> bool {
    listener.http2 || server.http2.on
}

/// Reads until it is known whether the client begins with the preface of HTTP/2 (RFC 9113, 3.4).
pub async fn begins(client: &Client, ms: u64) -> bool {
    let mut unread = client.unread.take();
    let preface = wire::h1::HTTP2_PREFACE;
    let within = async {
        loop {
            let seen = unread.len().min(preface.len());
            if seen == preface.len() || unread.get(..seen) != preface.get(..seen) {
                return unread.starts_with(preface);
            }
            match client.read(&mut unread, 4096, ms).await {
                Ok(read) if read > 0 => {}
                _ => return false,
            }
        }
    };
    let begins = client.deadline.within(ms, within).await.unwrap_or(false);
    *client.unread.borrow_mut() = unread;
    begins
}

/// Serves a connection of HTTP/2 to its end.
pub async fn serve(client: Client, service: Rc<Service>, worker: Rc<Worker>) {
    client.send_at_once();
    diagnostics::listen();
    // Streams show it as theirs.
    client.local();
    let unread = client.unread.take();
    let most = first_server(&client, &service.config).http2.max_concurrent_streams;
    let shared = Rc::new(Shared {
        client,
        service,
        worker,
        output: RefCell::default(),
        guard: RefCell::new(Guard::new(RESETS_EACH * most.max(LEAST_STREAMS))),
        offence: Cell::new(None),
        turn: Cell::new(TURN),
        active: Cell::new(0),
        driver: RefCell::default(),
    });
    let over = shared.service.unless_over(pin!(driver::drive(&shared, unread))).await;
    if over.is_none() {
        // Every stream sees for itself that the time is over.
        return;
    }
    // A stream may still write its log line, or fill a cache.
    shared
        .service
        .unless_over(pin!(poll_fn(|cx| {
            *shared.driver.borrow_mut() = Some(cx.waker().clone());
            if shared.active.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
        })))
        .await;
}
