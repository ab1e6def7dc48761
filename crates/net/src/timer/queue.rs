//! The deadlines of a worker in order of time.

use super::NEVER;
use crate::clock::Millis;
use std::task::Waker;

/// Entries ordered by time in a binary heap, each slot knowing its place in it, so that it can be taken out.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    heap: Vec<Entry>,
    #[cfg(test)]
    pub(super) pushes: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    at: Millis,
    slot: u32,
}

/// What a deadline waits for.
pub(super) struct Slot {
    /// Earliest end among the running waits.
    pub(super) wait: Millis,
    /// The moment asked for with `set`, until it has been told.
    pub(super) set: Millis,
    /// How many waits are running.
    pub(super) waits: u32,
    /// Place in the heap.
    place: Option<u32>,
    pub(super) waker: Option<Waker>,
}

impl Slot {
    const EMPTY: Slot = Slot { wait: NEVER, set: NEVER, waits: 0, place: None, waker: None };
}

impl Queue {
    /// A slot that waits for nothing.
    pub(super) fn add(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        self.slots.push(Slot::EMPTY);
        (self.slots.len() - 1) as u32
    }

    /// Frees a slot and takes its entry out; returns its waker, to be dropped when nothing is borrowed.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Waker> {
        if let Some(place) = self.place(slot) {
            self.take_out(place);
        }
        self.free.push(slot);
        let slot = self.slots.get_mut(slot as usize)?;
        std::mem::replace(slot, Slot::EMPTY).waker
    }

    /// When the first entry is due, at the latest `NEVER`.
    pub(super) fn earliest(&self) -> Millis {
        self.heap.first().map_or(NEVER, |entry| entry.at)
    }

    /// Takes the first entry out if it is due, or puts it where it has moved to. `None`: nothing (more) is due.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<Option<Waker>> {
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
    pub(super) fn queue_if_earlier(&mut self, slot: u32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Any mix of changes leaves every slot with an entry no later than its deadline, and nothing comes too early.
    #[test]
    fn the_order_holds_whatever_is_changed() {
        let mut queue = Queue::default();
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let mut live: Vec<u32> = (0..64).map(|_| queue.add()).collect();
        let mut now = 0;
        for _ in 0..20_000 {
            let index = next(live.len() as u64) as usize;
            let slot = live[index];
            match next(8) {
                0 => {
                    queue.remove(slot);
                    live[index] = queue.add();
                }
                1 => queue.slots[slot as usize].wait = NEVER,
                2 => {
                    now += next(20);
                    while let Some(waker) = queue.pop_due(now) {
                        assert!(waker.is_none());
                    }
                    assert!(live.iter().all(|slot| queue.slots[*slot as usize].wait > now));
                }
                _ => {
                    queue.slots[slot as usize].wait = now + 1 + next(100);
                    queue.queue_if_earlier(slot);
                }
            }
            for (place, entry) in queue.heap.iter().enumerate() {
                assert_eq!(queue.slots[entry.slot as usize].place, Some(place as u32));
                assert!(place == 0 || queue.heap[(place - 1) / 2].at <= entry.at);
            }
            for slot in queue.slots.iter().filter(|slot| slot.wait != NEVER) {
                assert!(queue.heap[slot.place.unwrap() as usize].at <= slot.wait);
            }
        }
    }
}
