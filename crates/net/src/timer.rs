//! Timeouts that cost a request nothing: a deadline moved later is a store, one tokio timer drives them all.
//!
//! A connection is one task and owns one [`Deadline`]. Each of its waits goes through [`Deadline::within`], which looks
//! at the clock only if the wait did not end at once. The worker's queue holds at most one entry per deadline; it is
//! touched when a deadline becomes earlier than its entry, and when an entry comes due (then it is queued again if the
//! deadline has moved later meanwhile, as it nearly always has).

use crate::clock::{self, Millis};
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
        self.deadline.timers.change(self.deadline.slot, |slot| {
            slot.waits += u32::from(first);
            // Alone, this wait decides; among others the earliest does, and a wake too many does no harm.
            slot.wait = if slot.waits == 1 { at } else { slot.wait.min(at) };
        });
        if now >= at {
            return Poll::Ready(Elapsed);
        }
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

/// Entries ordered by time in a binary heap, each slot knowing its place in it, so that it can be taken out.
#[derive(Default)]
struct Queue {
    slots: Vec<Slot>,
    free: Vec<u32>,
    heap: Vec<Entry>,
    #[cfg(test)]
    pushes: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    at: Millis,
    slot: u32,
}

struct Slot {
    /// Earliest end among the running waits.
    wait: Millis,
    /// The moment asked for with `set`, until it has been told.
    set: Millis,
    /// How many waits are running.
    waits: u32,
    /// Place in the heap.
    place: Option<u32>,
    waker: Option<Waker>,
}

impl Slot {
    const EMPTY: Slot = Slot { wait: NEVER, set: NEVER, waits: 0, place: None, waker: None };
}

impl Queue {
    fn add(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        self.slots.push(Slot::EMPTY);
        (self.slots.len() - 1) as u32
    }

    fn remove(&mut self, slot: u32) -> Option<Waker> {
        if let Some(place) = self.place(slot) {
            self.take_out(place);
        }
        self.free.push(slot);
        let slot = self.slots.get_mut(slot as usize)?;
        std::mem::replace(slot, Slot::EMPTY).waker
    }

    fn earliest(&self) -> Millis {
        self.heap.first().map_or(NEVER, |entry| entry.at)
    }

    /// Takes the first entry out if it is due, or puts it where it has moved to. `None`: nothing (more) is due.
    fn pop_due(&mut self, now: Millis) -> Option<Option<Waker>> {
        let entry = *self.heap.first().filter(|entry| entry.at <= now)?;
        let slot = self.slots.get_mut(entry.slot as usize)?;
        let due = slot.wait.min(slot.set) <= now;
        if slot.wait <= now {
            slot.wait = NEVER;
        }
        if slot.set <= now {
            slot.set = NEVER;
        }
        let next = slot.wait.min(slot.set);
        let waker = if due { slot.waker.take() } else { None };
        if next == NEVER {
            self.take_out(0);
        } else {
            if let Some(first) = self.heap.first_mut() {
                first.at = next;
            }
            self.sift_down(0);
        }
        Some(waker)
    }

    /// Makes sure that the slot has an entry no later than its deadline.
    fn queue_if_earlier(&mut self, slot: u32) {
        let Some(wanted) = self.slots.get(slot as usize) else { return };
        let at = wanted.wait.min(wanted.set);
        if at == NEVER {
            return;
        }
        let place = match wanted.place {
            Some(place) => {
                let place = place as usize;
                match self.heap.get_mut(place) {
                    Some(entry) if at < entry.at => entry.at = at,
                    _ => return,
                }
                place
            }
            None => {
                self.heap.push(Entry { at, slot });
                self.heap.len() - 1
            }
        };
        #[cfg(test)]
        {
            self.pushes += 1;
        }
        self.sift_up(place);
    }

    fn place(&self, slot: u32) -> Option<usize> {
        self.slots.get(slot as usize)?.place.map(|place| place as usize)
    }

    fn take_out(&mut self, place: usize) {
        let Some(last) = self.heap.len().checked_sub(1) else { return };
        if place > last {
            return;
        }
        let gone = self.heap.swap_remove(place);
        if let Some(slot) = self.slots.get_mut(gone.slot as usize) {
            slot.place = None;
        }
        if place < last {
            let place = self.sift_up(place);
            self.sift_down(place);
        }
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.at(parent) <= self.at(place) {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        self.settle(place);
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child = if self.at(right) < self.at(left) { right } else { left };
            if self.at(place) <= self.at(child) {
                break;
            }
            self.swap(place, child);
            place = child;
        }
        self.settle(place);
    }

    fn at(&self, place: usize) -> Millis {
        self.heap.get(place).map_or(NEVER, |entry| entry.at)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.settle(one);
        self.settle(other);
    }

    /// Tells the slot at `place` where it is.
    fn settle(&mut self, place: usize) {
        if let Some(entry) = self.heap.get(place)
            && let Some(slot) = self.slots.get_mut(entry.slot as usize)
        {
            slot.place = Some(place as u32);
        }
    }
}
