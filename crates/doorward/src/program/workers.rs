//! The threads that serve, and what they are told: a new configuration, to end, to end at once.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use net::Listener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::serve::Sockets;
use crate::config::Config;
use crate::log::Level;
use crate::worker::{Counters, Service, Tenure, Worker};

/// What a worker is told.
enum Order {
    /// Serve new connections with this configuration.
    Serve(Arc<Config>, Vec<(usize, Arc<OwnedFd>)>, Arc<Tenure>),
    /// Take no new connections, and end with the last one.
    Quit,
    /// End now.
    Stop,
}

/// The workers of a process.
pub struct Workers {
    threads: Vec<(JoinHandle<()>, UnboundedSender<Order>)>,
    tenure: Option<Arc<Tenure>>,
    counters: Arc<Counters>,
}

impl Workers {
    /// Starts as many as the configuration says.
    pub fn start(config: Arc<Config>, sockets: &Sockets) -> io::Result<Workers> {
        let mut workers = Workers { threads: Vec::new(), tenure: None, counters: Arc::default() };
        for number in 0..config.main.worker_processes {
            workers.add(number)?;
        }
        workers.serve(config, sockets);
        Ok(workers)
    }

    fn add(&mut self, number: usize) -> io::Result<()> {
        let (orders, inbox) = unbounded_channel();
        let counters = self.counters.clone();
        let body = move || thread(counters, inbox);
        let thread = std::thread::Builder::new().name(format!("worker {number}")).spawn(body)?;
        self.threads.push((thread, orders));
        Ok(())
    }

    /// Puts a configuration in force for new connections.
    pub fn serve(&mut self, config: Arc<Config>, sockets: &Sockets) {
        let tenure = Arc::new(Tenure::new(&config));
        if let Some(old) = self.tenure.replace(tenure.clone()) {
            old.retired.store(true, Ordering::Relaxed);
        }
        let listening: Vec<(usize, Arc<OwnedFd>)> = config
            .listeners
            .iter()
            .enumerate()
            .filter_map(|(at, listener)| Some((at, sockets.get(&listener.address)?.clone())))
            .collect();
        for (_, orders) in &self.threads {
            // A thread that is gone has nothing to serve.
            let _ = orders.send(Order::Serve(config.clone(), listening.clone(), tenure.clone()));
        }
    }

    /// Lets every request end.
    pub fn quit(&mut self) {
        if let Some(tenure) = &self.tenure {
            tenure.retired.store(true, Ordering::Relaxed);
        }
        self.tell(|| Order::Quit);
    }

    /// Ends at once.
    pub fn stop(&mut self) {
        self.tell(|| Order::Stop);
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for (_, orders) in &self.threads {
            let _ = orders.send(order());
        }
    }

    /// Whether all of them have ended.
    pub fn have_ended(&self) -> bool {
        self.threads.iter().all(|(thread, _)| thread.is_finished())
    }
}

/// The life of one worker thread.
fn thread(counters: Arc<Counters>, inbox: UnboundedReceiver<Order>) {
    // Lines of a turn of the event loop are written when it has nothing more to do.
    thread_local! {
        static CURRENT: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| {
            CURRENT.with_borrow(|worker| {
                if let Some(worker) = worker {
                    worker.log_lines.flush();
                }
            });
        })
        .build_local(LocalOptions::default());
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let worker = Rc::new(Worker::new(counters));
        CURRENT.set(Some(worker.clone()));
        obey(&worker, inbox).await;
        worker.log_lines.flush();
    });
    CURRENT.set(None);
}

async fn obey(worker: &Rc<Worker>, mut inbox: UnboundedReceiver<Order>) {
    let mut accepting: Vec<tokio::task::JoinHandle<()>> = Vec::new();
    let mut shutdown_timeout = None;
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Serve(config, listening, tenure) => {
                shutdown_timeout = config.main.worker_shutdown_timeout;
                let service = Rc::new(Service::new(config, tenure));
                let old = std::mem::take(&mut accepting);
                for (index, fd) in listening {
                    match Listener::new(fd.as_fd()) {
                        Ok(listener) => {
                            let accept = worker.clone().accept(service.clone(), listener, index);
                            accepting.push(tokio::task::spawn_local(accept));
                        }
                        Err(error) => {
                            let log = &service.config.error_log;
                            log.write(
                                Level::Alert,
                                format_args!("epoll_ctl() of a listening socket failed ({error})"),
                            );
                        }
                    }
                }
                for task in old {
                    task.abort();
                }
                worker.timers.wake_all();
            }
            Order::Quit => {
                for task in accepting.drain(..) {
                    task.abort();
                }
                worker.timers.wake_all();
                let drained = worker.all_closed();
                match shutdown_timeout {
                    None => drained.await,
                    // The time is up: what is still open is closed by the end of the thread.
                    Some(ms) => drop(tokio::time::timeout(Duration::from_millis(ms), drained).await),
                }
                return;
            }
            Order::Stop => return,
        }
    }
}

/// Kept so that a configuration says when its last connection is gone.
impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            tenure.retired.store(true, Ordering::Relaxed);
            tenure.silent.store(true, Ordering::Relaxed);
        }
    }
}
