//! Spans of one worker on their way to the collector: bounded in number and in bytes, so that a collector that does not
//! take them costs nothing but the spans.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use net::Millis;
use tokio::sync::Notify;

use super::span;
use crate::log::{ErrorLog, Level};
use crate::metrics::{Counter, Family};

/// A batch of so many bytes is full whatever `batch_size` says: clients decide how long their fields are.
const BATCH_BYTES: usize = 1 << 20;

/// How many spans of all workers nobody will see.
pub static DROPPED: Family = Family {
    name: "doorward_otel_dropped_spans_total",
    help: "Spans that a collector did not take, or that there was no room for.",
};

/// Spans that wait for their export.
pub struct Queue {
    limits: Limits,
    log: ErrorLog,
    /// The last is being filled unless it is full or sealed; the first may be under way.
    batches: RefCell<VecDeque<Batch>>,
    /// Spans that nobody will see, since the start.
    dropped: Cell<u64>,
    /// The same of all workers, where something shows it.
    counter: Option<Arc<Counter>>,
    /// When a line last said so.
    said: Cell<Option<Millis>>,
    closed: Cell<bool>,
    changed: Notify,
}

/// How much a queue takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Spans in a batch.
    pub batch_size: u64,
    /// Batches.
    pub batch_count: u64,
    /// Longest wait of a span for others, in milliseconds; also the least time between two lines about spans dropped.
    pub interval: u64,
}

#[derive(Default)]
struct Batch {
    spans: u64,
    /// As [`span::append_to`] writes them.
    bytes: Vec<u8>,
    /// When its first span came.
    began: Millis,
    sealed: bool,
}

impl Queue {
    pub(super) fn new(limits: Limits, log: ErrorLog, counter: Option<Arc<Counter>>) -> Queue {
        Queue {
            limits,
            log,
            batches: RefCell::default(),
            dropped: Cell::new(0),
            counter,
            said: Cell::new(None),
            closed: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// Takes a span, which `write` appends, where there is room for it.
    pub(super) fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut batches = self.batches.borrow_mut();
        if batches.back().is_none_or(|batch| self.is_full(batch)) {
            if batches.len() as u64 >= self.limits.batch_count {
                drop(batches);
                return self.dropped(1);
            }
            batches.push_back(Batch { began: net::clock::now(), ..Batch::default() });
        }
        let Some(batch) = batches.back_mut() else { return };
        span::append_to(&mut batch.bytes, write);
        batch.spans += 1;
        if batch.spans == 1 || self.is_full(batch) {
            self.changed.notify_one();
        }
    }

    /// Counts spans that nobody will see.
    pub(super) fn dropped(&self, spans: u64) {
        let (now, all) = (net::clock::now(), self.dropped.get() + spans);
        self.dropped.set(all);
        if let Some(counter) = &self.counter {
            counter.add(spans);
        }
        if self.said.get().is_none_or(|said| now - said >= self.limits.interval) {
            self.said.set(Some(now));
            self.log.write(Level::Notice, format_args!("OTel dropped records: {all}"));
        }
    }

    fn is_full(&self, batch: &Batch) -> bool {
        batch.sealed || batch.spans >= self.limits.batch_size || batch.bytes.len() >= BATCH_BYTES
    }

    /// Waits until the first batch is full, or as old as `interval` says, or nothing more will come. False when there is
    /// none, and never will be.
    pub(super) async fn due(&self) -> bool {
        loop {
            let wait = match self.batches.borrow().front() {
                None if self.closed.get() => return false,
                None => None,
                Some(batch) if self.closed.get() || self.is_full(batch) => Some(0),
                Some(batch) => Some((batch.began + self.limits.interval).saturating_sub(net::clock::now())),
            };
            let changed = self.changed.notified();
            match wait {
                None => changed.await,
                Some(0) => break,
                // Either way it is looked at again.
                Some(ms) => drop(tokio::time::timeout(std::time::Duration::from_millis(ms), changed).await),
            }
        }
        if let Some(batch) = self.batches.borrow_mut().front_mut() {
            batch.sealed = true;
        }
        true
    }

    /// Works with the spans of the first batch, which must be [`Queue::due`].
    pub(super) fn first<T>(&self, work: impl FnOnce(&[u8]) -> T) -> T {
        work(self.batches.borrow().front().map_or(&[], |batch| &batch.bytes))
    }

    /// The first batch makes room: how many spans it had.
    pub(super) fn remove_first(&self) -> u64 {
        self.batches.borrow_mut().pop_front().map_or(0, |batch| batch.spans)
    }

    /// Nothing more will come, or nobody wants to wait for it.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }

    /// Waits so many milliseconds, or until the queue is closed: whether it is.
    pub(super) async fn closed_within(&self, ms: u64) -> bool {
        let end = net::clock::now() + ms;
        loop {
            let left = end.saturating_sub(net::clock::now());
            if self.closed.get() || left == 0 {
                return self.closed.get();
            }
            let changed = self.changed.notified();
            drop(tokio::time::timeout(std::time::Duration::from_millis(left), changed).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(batch_size: u64, batch_count: u64) -> Queue {
        Queue::new(Limits { batch_size, batch_count, interval: 60_000 }, ErrorLog::default(), None)
    }

    fn memory(queue: &Queue) -> usize {
        queue.batches.borrow().iter().map(|batch| batch.bytes.len()).sum()
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let queue = queue(3, 2);
        for _ in 0..10 {
            queue.add(|out| out.extend_from_slice(b"span"));
        }
        assert_eq!(queue.dropped.get(), 4);
        assert_eq!(queue.remove_first(), 3);
        queue.add(|out| out.extend_from_slice(b"span"));
        assert_eq!(queue.dropped.get(), 4);
    }

    #[test]
    fn memory_is_bounded_however_long_spans_are() {
        let queue = queue(1_000_000, 4);
        for _ in 0..1000 {
            queue.add(|out| out.resize(out.len() + 40_000, b'a'));
        }
        assert!(memory(&queue) < 4 * (BATCH_BYTES + 41_000), "{}", memory(&queue));
        assert!(queue.dropped.get() > 800);
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_nothing_more_will_come() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let queue = queue(2, 2);
        let is_due = || {
            let ms = std::time::Duration::from_millis(20);
            runtime.block_on(async { tokio::time::timeout(ms, queue.due()).await.ok() })
        };
        assert_eq!(is_due(), None);
        queue.add(|out| out.push(1));
        assert_eq!(is_due(), None);
        queue.add(|out| out.push(2));
        assert_eq!(is_due(), Some(true));
        queue.remove_first();
        queue.add(|out| out.push(3));
        queue.close();
        assert_eq!(is_due(), Some(true));
        queue.remove_first();
        assert_eq!(is_due(), Some(false));
    }
}
