//! The threads that serve, and what they are told: a new configuration, to end, to end at once.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use net::Listener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::serving::Event;
use super::sockets::Sockets;
use crate::config::Config;
use crate::log::{Level, system_error};
use crate::modules::auth_service;
use crate::modules::cache;
use crate::modules::otel::Sending;
use crate::modules::upstream;
use crate::worker::{Counters, Service, Tenure, Worker};

/// What a thread is told.
enum Order {
    /// Serve new connections with this configuration, from these sockets of its listeners.
    Serve(Arc<Config>, Vec<(usize, Arc<OwnedFd>)>, Arc<Tenure>),
    /// Take no new connections, and end with the last one.
    Quit,
    /// End now.
    Stop,
}

/// The threads of a process.
pub struct Workers {
    /// Those that take new connections, in order.
    threads: Vec<UnboundedSender<Order>>,
    /// Those that the configuration does not ask for any more.
    leaving: Vec<UnboundedSender<Order>>,
    /// How many have not ended.
    alive: usize,
    tenure: Option<Arc<Tenure>>,
    counters: Arc<Counters>,
    events: Sender<Event>,
}

impl Workers {
    /// Starts as many as the configuration says. Each says [`Event::Ended`] at its end.
    pub fn start(config: &Arc<Config>, sockets: &Sockets, events: Sender<Event>) -> io::Result<Workers> {
        let mut workers = Workers {
            threads: Vec::new(),
            leaving: Vec::new(),
            alive: 0,
            tenure: None,
            counters: Arc::default(),
            events,
        };
        workers.serve(config, sockets)?;
        Ok(workers)
    }

    fn add(&mut self) -> io::Result<()> {
        let (orders, inbox) = unbounded_channel();
        let (counters, events) = (self.counters.clone(), self.events.clone());
        let body = move || {
            let mut end = End { events, well: false };
            end.well = thread(counters, inbox).is_ok();
        };
        std::thread::Builder::new().name(format!("worker {}", self.threads.len())).spawn(body)?;
        self.alive += 1;
        self.threads.push(orders);
        Ok(())
    }

    /// Puts a configuration in force for new connections, in as many threads as it says.
    pub fn serve(&mut self, config: &Arc<Config>, sockets: &Sockets) -> io::Result<()> {
        let wanted = config.main.worker_processes;
        let mut started = Ok(());
        while self.threads.len() < wanted && started.is_ok() {
            started = self.add();
        }
        cache::keep(&config.caches, &config.error_log);
        let tenure = Arc::new(Tenure::new(config));
        if let Some(old) = self.tenure.replace(tenure.clone()) {
            old.retired.store(true, Ordering::Relaxed);
        }
        if self.threads.len() > wanted {
            let surplus = self.threads.split_off(wanted);
            tell(&surplus, || Order::Quit);
            self.leaving.retain(|orders| !orders.is_closed());
            self.leaving.extend(surplus);
        }
        let count = self.threads.len();
        for (number, orders) in self.threads.iter().enumerate() {
            let listening = sockets_of(number, count, config, sockets);
            // A thread that is gone has nothing to serve.
            let _ = orders.send(Order::Serve(config.clone(), listening, tenure.clone()));
        }
        started
    }

    /// Lets every request end.
    pub fn quit(&mut self) {
        if let Some(tenure) = &self.tenure {
            tenure.retired.store(true, Ordering::Relaxed);
        }
        tell(&self.threads, || Order::Quit);
    }

    /// Ends at once.
    pub fn stop(&mut self) {
        tell(&self.threads, || Order::Stop);
        tell(&self.leaving, || Order::Stop);
    }

    /// To be called for each [`Event::Ended`].
    pub fn one_has_ended(&mut self) {
        self.alive = self.alive.saturating_sub(1);
    }

    /// Whether some have not ended.
    pub fn are_there(&self) -> bool {
        self.alive > 0
    }
}

fn tell(threads: &[UnboundedSender<Order>], order: impl Fn() -> Order) {
    for orders in threads {
        let _ = orders.send(order());
    }
}

/// What one of `count` threads accepts from: sockets that there is one of are shared, of several each has its own.
///
/// A shared socket wakes every idle thread for a connection that one of them gets. Measured with two threads, that is one
/// more empty `accept4` in ten, no less throughput than with `reuseport`, and shares of connections nearly as even.
fn sockets_of(number: usize, count: usize, config: &Config, sockets: &Sockets) -> Vec<(usize, Arc<OwnedFd>)> {
    let mut mine = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let fds = sockets.get(&listener.address).map(Vec::as_slice).unwrap_or_default();
        let is_mine = |at: usize| fds.len() == 1 || at % count.max(1) == number;
        mine.extend(fds.iter().enumerate().filter(|(at, _)| is_mine(*at)).map(|(_, fd)| (index, fd.clone())));
    }
    mine
}

/// Says that a thread has ended, however that came.
struct End {
    events: Sender<Event>,
    well: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Ended { well: self.well });
    }
}

/// The life of one thread.
fn thread(counters: Arc<Counters>, inbox: UnboundedReceiver<Order>) -> io::Result<()> {
    thread_local! {
        static CURRENT: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| {
            CURRENT.with_borrow(|worker| {
                if let Some(worker) = worker {
                    worker.end_turn();
                }
            });
        })
        .build_local(LocalOptions::default())?;
    let worker = runtime.block_on(async {
        let worker = Rc::new(Worker::new(counters));
        CURRENT.set(Some(worker.clone()));
        obey(&worker, inbox).await;
        worker
    });
    // What is still open is closed here, and may have something to log.
    drop(runtime);
    worker.log_lines.finish();
    CURRENT.set(None);
    Ok(())
}

async fn obey(worker: &Rc<Worker>, mut inbox: UnboundedReceiver<Order>) {
    let mut accepting: Vec<JoinHandle<()>> = Vec::new();
    let mut sending: Vec<Sending> = Vec::new();
    let mut current: Option<Term> = None;
    let mut draining = false;
    loop {
        let order = poll_fn(|cx| match inbox.poll_recv(cx) {
            Poll::Pending if draining => worker.poll_drained(cx).map(|()| None),
            order => order,
        });
        match order.await {
            Some(Order::Serve(config, listening, tenure)) => {
                let term = Term {
                    tenure: Arc::downgrade(&tenure),
                    shutdown_timeout: config.main.worker_shutdown_timeout,
                };
                upstream::keep_resolving(&config, &tenure);
                auth_service::keep(&config);
                let (spans, sending_spans) = Sending::start(&config).unzip();
                sending.retain(|task| !task.is_over());
                sending.extend(sending_spans);
                let service = Rc::new(Service::new(config, tenure, spans));
                let new =
                    listening.into_iter().filter_map(|(at, fd)| accept(worker, &service, at, &fd)).collect();
                for task in std::mem::replace(&mut accepting, new) {
                    task.abort();
                }
                if let Some(old) = current.replace(term) {
                    old.end(worker);
                }
            }
            Some(Order::Quit) if draining => {}
            Some(Order::Quit) => {
                draining = true;
                // Who has connected already is served: the queues are emptied before they are closed.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                for task in accepting.drain(..) {
                    task.abort();
                }
                if let Some(old) = current.take() {
                    old.end(worker);
                }
            }
            Some(Order::Stop) | None => break,
        }
    }
    for task in sending {
        task.end().await;
    }
}

/// Takes connections from a socket for a configuration.
fn accept(worker: &Rc<Worker>, service: &Rc<Service>, at: usize, fd: &OwnedFd) -> Option<JoinHandle<()>> {
    match Listener::new(fd.as_fd()) {
        Ok(listener) => Some(tokio::task::spawn_local(worker.clone().accept(service.clone(), listener, at))),
        Err(error) => {
            let log = &service.config.error_log;
            log.write(
                Level::Alert,
                format_args!("epoll_ctl() of a listening socket failed {}", system_error(&error)),
            );
            None
        }
    }
}

/// A configuration's time as one thread sees it.
struct Term {
    tenure: Weak<Tenure>,
    shutdown_timeout: Option<u64>,
}

impl Term {
    /// Closes what is idle now, and, where the time for a graceful end is limited, the rest when it is over.
    fn end(self, worker: &Rc<Worker>) {
        worker.timers.wake_all();
        let Some(ms) = self.shutdown_timeout else { return };
        let worker = Rc::downgrade(worker);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            if let (Some(tenure), Some(worker)) = (self.tenure.upgrade(), worker.upgrade()) {
                tenure.over.store(true, Ordering::Relaxed);
                drop(tenure);
                worker.timers.wake_all();
            }
        });
    }
}

/// The end of the program is no line of a configuration's own.
impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            tenure.silent.store(true, Ordering::Relaxed);
        }
    }
}
