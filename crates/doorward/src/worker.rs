//! A worker: one thread with its event loop, its pools, its share of the connections.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use net::pool::Pooled;
use net::{Buffers, Listener, Pool, Timers};
use wire::h1::{RequestHead, RequestParser, ResponseHead, ResponseParser};

use crate::client::Client;
use crate::config::Config;
use crate::connection::{self, End};
use crate::hashing::Hashing;
use crate::http2;
use crate::log::{ErrorLog, Level, system_error};
use crate::modules::otel::Spans;

/// How often idle connections are looked at.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(1);

/// How many pieces of memory of each kind a worker keeps for their next use.
const KEPT: usize = 256;

/// What all requests of one thread share.
pub struct Worker {
    /// Memory for messages.
    pub buffers: Buffers,
    /// Timeouts.
    pub timers: Timers,
    /// Counters of the whole process.
    pub counters: Arc<Counters>,
    /// Parsed heads waiting for their next use.
    #[expect(clippy::vec_box, reason = "they come and go as boxes: moving one costs nothing")]
    pub heads: RefCell<Vec<Box<(RequestHead, RequestParser)>>>,
    /// The same for answers of upstreams.
    #[expect(clippy::vec_box, reason = "the same")]
    pub answers: RefCell<Vec<Box<(ResponseHead, ResponseParser)>>>,
    /// Turns at hashing passwords, which other threads do meanwhile.
    pub hashing: Hashing,
    /// Pools that hold more than they may, until this turn of the event loop ends.
    full_pools: RefCell<Vec<(Rc<Service>, usize)>>,
    open: Cell<usize>,
    /// Who waits until no connection is open.
    drained: RefCell<Option<Waker>>,
    date: Cell<(u64, [u8; 29])>,
    /// Access log lines of this turn of the event loop.
    pub log_lines: crate::log::Lines,
    /// Log files with variables in their names.
    pub log_files: crate::modules::access_log::Opened,
}

/// What `stub_status` shows, over all workers.
#[derive(Default)]
pub struct Counters {
    /// Connections accepted; also the last connection's number.
    pub accepted: AtomicU64,
    /// Connections open.
    pub active: AtomicU64,
    /// Requests begun.
    pub requests: AtomicU64,
    /// Connections whose request head is being read.
    pub reading: AtomicU64,
    /// Connections whose request is being answered.
    pub writing: AtomicU64,
}

/// A configuration in force in one worker: what the connections that began with it share.
pub struct Service {
    /// The configuration.
    pub config: Arc<Config>,
    /// Idle connections to each upstream.
    pub pools: Vec<RefCell<Pool<PoolKey>>>,
    /// Whether each pool's idle connections are being looked at.
    sweeping: Vec<Cell<bool>>,
    /// Names found by each `resolver`; made when one is first asked.
    pub names: Vec<tokio::sync::OnceCell<net::Names>>,
    /// Spans on their way to a collector.
    pub spans: Option<Spans>,
    /// Its time in force.
    pub tenure: Arc<Tenure>,
}

/// The time that a configuration is in force. It is over when the last connection that began with it has ended.
pub struct Tenure {
    /// Whether a newer configuration has taken over, or the program is about to end.
    pub retired: AtomicBool,
    /// Whether the time for a graceful end is over: connections are closed whatever they do.
    pub over: AtomicBool,
    /// Whether its end is part of the program's own, and not worth a line.
    pub silent: AtomicBool,
    log: ErrorLog,
    generation: u64,
}

impl Tenure {
    /// The time of a configuration begins.
    pub fn new(config: &Config) -> Tenure {
        Tenure {
            retired: AtomicBool::new(false),
            over: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            log: config.error_log.clone(),
            generation: config.generation,
        }
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if *self.retired.get_mut() && !*self.silent.get_mut() {
            // nginx's words for the end of the workers that served a configuration: tools wait for them.
            let (generation, pid) = (self.generation, std::process::id());
            let text = format_args!("configuration {generation} of worker process {pid} exited with code 0");
            self.log.write(Level::Notice, text);
        }
    }
}

/// What tells idle connections of one upstream apart: the server, the location where `local` says so, and over TLS who talks
/// to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The server's own number in the group.
    pub peer: usize,
    /// The location, 0 where all share.
    pub location: usize,
    /// Over TLS, what [`crate::modules::proxy_ssl::Peer::identity`] says: a connection that was opened for one name, certificate or
    /// trust must not carry what is meant for another.
    pub tls: Option<[u8; 32]>,
}

impl Service {
    /// Puts a configuration in force.
    pub fn new(config: Arc<Config>, tenure: Arc<Tenure>, spans: Option<Spans>) -> Service {
        let pool = |u: &Arc<crate::modules::upstream::Upstream>| {
            RefCell::new(Pool::new(net::pool::Limits {
                connections: u.keep_alive.connections,
                requests: u.keep_alive.requests,
                time: u.keep_alive.time,
                timeout: u.keep_alive.timeout,
            }))
        };
        let names = config.resolvers.iter().map(|_| tokio::sync::OnceCell::new()).collect();
        let sweeping = config.upstreams.iter().map(|_| Cell::new(false)).collect();
        Service { pools: config.upstreams.iter().map(pool).collect(), sweeping, names, config, spans, tenure }
    }

    /// Keeps a connection to a server of an upstream for its next use.
    pub fn keep(self: &Rc<Self>, worker: &Worker, upstream: usize, key: PoolKey, connection: Pooled) {
        let Some(cell) = self.pools.get(upstream) else { return };
        let mut pool = cell.borrow_mut();
        let was_over = pool.is_over();
        pool.put(key, connection);
        if pool.is_over() && !was_over {
            worker.full_pools.borrow_mut().push((self.clone(), upstream));
        }
        if self.sweeping.get(upstream).is_some_and(|sweeping| !sweeping.replace(true)) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self), upstream));
        }
    }

    /// Whether connections should end as soon as they are idle.
    pub fn is_retired(&self) -> bool {
        self.tenure.retired.load(Ordering::Relaxed)
    }

    /// What a future comes to, or `None` if the time for a graceful end is over first.
    ///
    /// It is borrowed, since a future that is moved into another one is stored twice.
    pub fn unless_over<F: Future>(&self, mut future: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |cx| {
            let _turn = net::clock::Turn::begin();
            match future.as_mut().poll(cx) {
                Poll::Pending if self.tenure.over.load(Ordering::Relaxed) => Poll::Ready(None),
                polled => polled.map(Some),
            }
        })
    }
}

/// Closes idle connections whose time is over, or that the server has closed, for as long as there are any.
async fn sweep(service: Weak<Service>, upstream: usize) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(service) = service.upgrade() else { return };
        let Some(pool) = service.pools.get(upstream) else { return };
        pool.borrow_mut().sweep();
        if pool.borrow().is_empty() {
            if let Some(sweeping) = service.sweeping.get(upstream) {
                sweeping.set(false);
            }
            return;
        }
    }
}

impl Worker {
    /// A worker for this thread; to be made inside its runtime.
    pub fn new(counters: Arc<Counters>) -> Worker {
        Worker {
            buffers: Buffers::new(KEPT),
            timers: Timers::start(),
            counters,
            heads: RefCell::default(),
            answers: RefCell::default(),
            hashing: Hashing::default(),
            full_pools: RefCell::default(),
            open: Cell::new(0),
            drained: RefCell::default(),
            date: Cell::new((0, [b' '; 29])),
            log_lines: Default::default(),
            log_files: Default::default(),
        }
    }

    /// Does what is left for the end of a turn of the event loop: to be called before it waits.
    pub fn end_turn(&self) {
        self.log_lines.flush();
        for (service, upstream) in self.full_pools.borrow_mut().drain(..) {
            if let Some(pool) = service.pools.get(upstream) {
                pool.borrow_mut().trim();
            }
        }
    }

    /// The date for `Date` fields, formatted once in a second.
    pub fn date(&self) -> [u8; 29] {
        let (now, _) = net::clock::wall();
        let (second, date) = self.date.get();
        if second == now {
            return date;
        }
        let date = wire::date::format(now);
        self.date.set((now, date));
        date
    }

    /// Takes connections from a listener until the configuration is retired.
    pub async fn accept(self: Rc<Self>, service: Rc<Service>, listener: Listener, index: usize) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let counters = &self.counters;
                    let number = counters.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    let client = Client::new(stream, peer, number, index, self.timers.deadline());
                    tokio::task::spawn_local(self.clone().serve(client, service.clone()));
                }
                Err(error) => {
                    let log = &service.config.error_log;
                    log.write(Level::Crit, format_args!("accept4() failed {}", system_error(&error)));
                    // Out of files, most likely: others must get the chance to close some.
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
            }
        }
    }

    /// Serves a connection to its end, or until the time for a graceful end is over.
    // A block and no `async fn`, which would store its arguments twice: an idle connection is small.
    #[expect(clippy::manual_async_fn, reason = "see above")]
    fn serve(self: Rc<Self>, client: Client, service: Rc<Service>) -> impl Future<Output = ()> {
        async move {
            let _open = Open::new(&self);
            // What is cut off here was waiting for a request, or for the end of one.
            let end = service.unless_over(pin!(connection::serve(&client, &service, &self))).await;
            match end {
                Some(End::Reset) => client.reset(),
                Some(End::Http2) => Box::pin(http2::serve(client, service.clone(), self.clone())).await,
                Some(End::Closed) | None => {}
            }
        }
    }

    /// Keeps a parsed head for its next use, unless enough are kept.
    pub fn keep_head(&self, head: Box<(RequestHead, RequestParser)>) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < KEPT {
            heads.push(head);
        }
    }

    /// The same for the head of an answer.
    pub fn keep_answer(&self, answer: Box<(ResponseHead, ResponseParser)>) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() < KEPT {
            answers.push(answer);
        }
    }

    /// Ready when no connection is open; until then the task is woken when the last one closes.
    pub fn poll_drained(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.get() == 0 {
            return Poll::Ready(());
        }
        *self.drained.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// An open connection in the worker's books, however it ends.
struct Open<'w> {
    worker: &'w Worker,
}

impl<'w> Open<'w> {
    fn new(worker: &'w Worker) -> Open<'w> {
        worker.counters.active.fetch_add(1, Ordering::Relaxed);
        worker.open.set(worker.open.get() + 1);
        Open { worker }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.worker.counters.active.fetch_sub(1, Ordering::Relaxed);
        self.worker.open.set(self.worker.open.get() - 1);
        if self.worker.open.get() == 0
            && let Some(waker) = self.worker.drained.take()
        {
            waker.wake();
        }
    }
}

/// Counts one more for as long as it is there.
pub struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    /// One more.
    pub fn new(counter: &'a AtomicU64) -> Counted<'a> {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
