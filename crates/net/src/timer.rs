//! Timeouts that cost a request nothing: a deadline moved later is a store, one tokio timer drives them all.
//!
//! A connection is one task and owns one [`Deadline`]. Each of its waits goes through [`Deadline::within`], which looks
//! at the clock only if the wait did not end at once. The worker's queue holds at most one entry per deadline; it is
//! touched when a deadline becomes earlier than its entry, and when an entry comes due (then it is queued again if the
//! deadline has moved later meanwhile, as it nearly always has).

mod queue;

use crate::clock::{self, Millis};
use queue::{Queue, Slot};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Marks a moment that never comes.
const NEVER: Millis = Millis::MAX;

/// The deadlines of one worker thread. Clones share the same queue.
#[derive(Clone)]
pub struct Timers(Rc<Shared>);

/// One task's timeouts. Every wait on it must happen in one task: it remembers one waker.
pub struct Deadline {
    timers: Rc<Shared>,
    slot: u32,
    /// The moment asked for with [`Deadline::set`].
    set: Cell<Millis>,
}

/// The time given to [`Deadline::within`] has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

struct Shared {
    queue: RefCell<Queue>,
    driver: RefCell<Option<Waker>>,
    /// When the driver wakes by itself.
    sleeps_until: Cell<Millis>,
}

impl Timers {
    /// An empty queue and the task that drives it. Must be called on a tokio `LocalRuntime`.
    pub fn start() -> Timers {
        let shared = Rc::new(Shared {
            queue: RefCell::default(),
            driver: RefCell::new(None),
            sleeps_until: Cell::new(NEVER),
        });
        tokio::task::spawn_local(drive(Rc::downgrade(&shared)));
        Timers(shared)
    }

    /// Wakes every task that has waited with a deadline: something changed that all of them should look at.
    pub fn wake_all(&self) {
        let wakers: Vec<Waker> = self.0.queue.borrow().slots.iter().filter_map(|s| s.waker.clone()).collect();
        for waker in wakers {
            waker.wake();
        }
    }

    /// A deadline for one task, not set.
    pub fn deadline(&self) -> Deadline {
        let slot = self.0.queue.borrow_mut().add();
        Deadline { timers: self.0.clone(), slot, set: Cell::new(NEVER) }
    }
}

/// Sleeps until the earliest entry, wakes whose time has come; ends when the worker's last deadline is gone.
async fn drive(shared: Weak<Shared>) {
    let tick = clock::tick();
    let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(3600)));
    poll_fn(move |cx| {
        loop {
            let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
            let now = clock::now();
            while let Some(waker) = shared.next_due(now) {
                waker.wake();
            }
            let earliest = shared.queue.borrow().earliest();
            shared.sleeps_until.set(earliest);
            let known = shared.driver.borrow().as_ref().is_some_and(|known| known.will_wake(cx.waker()));
            if !known {
                *shared.driver.borrow_mut() = Some(cx.waker().clone());
            }
            if earliest == NEVER {
                return Poll::Pending;
            }
            // The coarse clock may be a tick behind: waking a tick later finds the entry due the first time.
            let pause = Duration::from_millis(earliest.saturating_sub(now).saturating_add(tick));
            let at = tokio::time::Instant::now();
            sleep.as_mut().reset(at.checked_add(pause).unwrap_or(at + Duration::from_secs(86400)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Shared {
    /// The waker of the next task whose time has come. Taken out, so that nothing is borrowed while it is woken.
    fn next_due(&self, now: Millis) -> Option<Waker> {
        let mut queue = self.queue.borrow_mut();
        loop {
            let waker = queue.pop_due(now)?;
            if waker.is_some() {
                return waker;
            }
        }
    }

    fn change(&self, slot: u32, change: impl FnOnce(&mut Slot)) {
        let mut queue = self.queue.borrow_mut();
        if let Some(slot) = queue.slots.get_mut(slot as usize) {
            change(slot);
        }
        queue.queue_if_earlier(slot);
        if queue.earliest() < self.sleeps_until.get() {
            self.sleeps_until.set(queue.earliest());
            drop(queue);
            if let Some(driver) = &*self.driver.borrow() {
                driver.wake_by_ref();
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

impl Deadline {
    /// Runs `future` for at most `ms` milliseconds. It is polled before the clock is looked at, so a wait that is over
    /// at once costs nothing. Waits may be nested (the earliest ends first) or run side by side in the same task.
    pub fn within<F: Future>(&self, ms: Millis, future: F) -> Within<'_, F> {
        Within { wait: Wait { deadline: self, ms, at: None }, future }
    }

    /// Sets the deadline `ms` milliseconds from now, in place of the one set before.
    pub fn set(&self, ms: Millis) {
        let at = clock::now().saturating_add(ms);
        self.set.set(at);
        self.timers.change(self.slot, |slot| slot.set = at);
    }

    /// Takes back what [`Deadline::set`] asked for.
    pub fn clear(&self) {
        self.set.set(NEVER);
        self.timers.change(self.slot, |slot| slot.set = NEVER);
    }

    /// Whether the deadline that was set has passed.
    pub fn expired(&self) -> bool {
        let at = self.set.get();
        at != NEVER && clock::now() >= at
    }

    /// Ready when the deadline that was set has passed; until then the task is woken when it does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.expired() {
            return Poll::Ready(());
        }
        self.remember(cx);
        Poll::Pending
    }

    /// Stores the task's waker unless it is the one already stored.
    fn remember(&self, cx: &mut Context<'_>) {
        let mut queue = self.timers.queue.borrow_mut();
        let Some(slot) = queue.slots.get_mut(self.slot as usize) else { return };
        if slot.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return;
        }
        let old = slot.waker.replace(cx.waker().clone());
        drop(queue);
        // The last waker of a task drops the task, and with it perhaps another deadline: not while borrowed.
        drop(old);
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let waker = self.timers.queue.borrow_mut().remove(self.slot);
        drop(waker);
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("slot", &self.slot).field("set", &self.set.get()).finish()
    }
}

pin_project_lite::pin_project! {
    /// What [`Deadline::within`] returns: the future's output, or [`Elapsed`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Within<'a, F> {
        wait: Wait<'a>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        this.wait.poll(cx).map(Err)
    }
}

/// The part of [`Within`] that knows the time; ends its claim on the deadline when dropped.
struct Wait<'a> {
    deadline: &'a Deadline,
    ms: Millis,
    at: Option<Millis>,
}

impl Wait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let now = clock::now();
        let first = self.at.is_none();
        let at = *self.at.get_or_insert_with(|| now.saturating_add(self.ms));
        if now >= at && !first {
            return Poll::Ready(Elapsed);
        }
        self.deadline.timers.change(self.deadline.slot, |slot| {
            slot.waits += u32::from(first);
            // Alone, this wait decides; among others the earliest does, and a wake too many does no harm.
            slot.wait = if slot.waits == 1 { at } else { slot.wait.min(at) };
        });
        self.deadline.remember(cx);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.at.is_some() {
            self.deadline.timers.change(self.deadline.slot, |slot| {
                slot.waits = slot.waits.saturating_sub(1);
                if slot.waits == 0 {
                    slot.wait = NEVER;
                }
            });
        }
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::time::Instant;
    use tokio::runtime::{Builder, Handle, LocalOptions};

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.unwrap().block_on(async {
            tokio::time::timeout(Duration::from_secs(20), future).await.expect("a timer that does not fire")
        })
    }

    /// Pending once, then ready: a wait that the event loop ends.
    async fn turn() {
        tokio::task::yield_now().await;
    }

    fn queued(timers: &Timers) -> usize {
        let mut queue = timers.0.queue.borrow_mut();
        let mut entries = 0;
        while queue.pop_due(NEVER - 1).is_some() {
            entries += 1;
        }
        entries
    }

    #[test]
    fn ten_thousand_tasks_time_out_when_they_should() {
        run(async {
            let timers = Timers::start();
            let tasks: Vec<_> = (0..10_000_u64)
                .map(|task| {
                    let deadline = timers.deadline();
                    tokio::task::spawn_local(async move {
                        let ms = 100 + task * 7 % 200;
                        let start = clock::now();
                        assert_eq!(deadline.within(ms, pending::<()>()).await, Err(Elapsed));
                        (ms, clock::now() - start)
                    })
                })
                .collect();
            for task in tasks {
                let (asked, took) = task.await.unwrap();
                assert!(took >= asked, "{took} ms instead of {asked}");
                assert!(took < asked + 10_000, "{took} ms instead of {asked}");
            }
            assert_eq!(timers.0.queue.borrow().pushes, 10_000);
            assert_eq!(queued(&timers), 0);
        });
    }

    #[test]
    fn a_deadline_that_moves_later_is_not_queued_again() {
        run(async {
            let timers = Timers::start();
            let deadline = timers.deadline();
            let start = Instant::now();
            // Much longer than the timeout in all, so the entry comes due while waits go on.
            while start.elapsed() < Duration::from_millis(2500) {
                let wait = tokio::time::sleep(Duration::from_millis(5));
                assert_eq!(deadline.within(1000, wait).await, Ok(()));
            }
            assert_eq!(timers.0.queue.borrow().pushes, 1);
            // One that becomes earlier is.
            let other = timers.deadline();
            assert_eq!(other.within(10_000, turn()).await, Ok(()));
            assert_eq!(other.within(20, pending::<()>()).await, Err(Elapsed));
            assert_eq!(timers.0.queue.borrow().pushes, 3);
        });
    }

    #[test]
    fn a_wait_that_is_over_at_once_leaves_no_trace() {
        run(async {
            let timers = Timers::start();
            let deadline = timers.deadline();
            assert_eq!(deadline.within(10, async { 7 }).await, Ok(7));
            assert_eq!(deadline.within(0, async { 8 }).await, Ok(8));
            assert_eq!(deadline.within(0, pending::<()>()).await, Err(Elapsed));
            assert_eq!(timers.0.queue.borrow().pushes, 1);
        });
    }

    #[test]
    fn of_nested_waits_the_earlier_ends_and_the_outer_goes_on() {
        run(async {
            let timers = Timers::start();
            let deadline = timers.deadline();
            // What does not end when it should is ended by the limit of `run`.
            let inner = deadline.within(60_000, pending::<()>());
            assert_eq!(deadline.within(30, inner).await, Err(Elapsed));

            let (start, inner_ended) = (Instant::now(), Cell::new(false));
            let outer = deadline.within(3000, async {
                assert_eq!(deadline.within(30, pending::<()>()).await, Err(Elapsed));
                assert_eq!(deadline.within(60_000, turn()).await, Ok(()));
                assert_eq!(deadline.within(30, pending::<()>()).await, Err(Elapsed));
                inner_ended.set(true);
                pending::<()>().await;
            });
            assert_eq!(outer.await, Err(Elapsed));
            assert!(inner_ended.get() && start.elapsed().as_millis() >= 2990, "{:?}", start.elapsed());
        });
    }

    #[test]
    fn waits_side_by_side_each_end() {
        run(async {
            let timers = Timers::start();
            let deadline = timers.deadline();
            for (one, other) in [(20, 2000), (2000, 20)] {
                let start = Instant::now();
                let mut one = pin!(deadline.within(one, pending::<()>()));
                let mut other = pin!(deadline.within(other, pending::<()>()));
                let mut ends = [None, None];
                poll_fn(|cx| {
                    for (wait, end) in [&mut one, &mut other].into_iter().zip(&mut ends) {
                        if end.is_none() && wait.as_mut().poll(cx).is_ready() {
                            *end = Some(start.elapsed().as_millis());
                        }
                    }
                    if ends.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                ends.sort();
                assert!(ends[0] < Some(1900) && ends[1] > Some(1990), "{ends:?}");
            }
        });
    }

    #[test]
    fn a_deadline_set_wakes_its_task_once_it_has_passed() {
        run(async {
            let timers = Timers::start();
            let deadline = timers.deadline();
            deadline.set(10_000);
            deadline.set(30);
            assert!(!deadline.expired());
            poll_fn(|cx| deadline.poll_expired(cx)).await;
            assert!(deadline.expired());
            deadline.clear();
            assert!(!deadline.expired());
        });
    }

    #[test]
    fn dropped_deadlines_leave_nothing_and_the_driver_ends_with_them() {
        run(async {
            let timers = Timers::start();
            for _ in 0..100 {
                let deadlines: Vec<_> = (0..3).map(|_| timers.deadline()).collect();
                for (deadline, ms) in deadlines.iter().zip([5000, 1000, 9000]) {
                    deadline.set(ms);
                }
            }
            assert_eq!(timers.0.queue.borrow().slots.len(), 3);
            assert_eq!(queued(&timers), 0);
            turn().await;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
            drop(timers);
            for _ in 0..3 {
                turn().await;
            }
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        });
    }

    #[test]
    fn an_idle_connection_stays_small() {
        assert!(size_of::<Deadline>() <= 24, "{}", size_of::<Deadline>());
        assert!(size_of::<Slot>() <= 56, "{}", size_of::<Slot>());
        // Some features of tokio, which other crates of a build may ask for, add a word; where there is no TLS, its place
        // is another.
        assert!(size_of::<crate::Stream>() <= 56, "{}", size_of::<crate::Stream>());
        // A wait adds a reference and two numbers to its future.
        assert!(size_of::<Within<'_, [u64; 4]>>() <= 32 + 32, "{}", size_of::<Within<'_, [u64; 4]>>());
    }
}
