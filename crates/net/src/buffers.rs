//! A worker's free list of byte buffers, so that an idle connection holds none and an active one allocates none.

use std::cell::RefCell;

/// Empty buffers waiting for their next use. Cheap to take from and put back to; one per worker thread.
#[derive(Debug)]
pub struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    count: usize,
    capacity: usize,
}

impl Buffers {
    /// Keeps at most `count` buffers, none with a capacity above `capacity` bytes.
    pub fn new(count: usize, capacity: usize) -> Buffers {
        Buffers { free: RefCell::new(Vec::new()), count, capacity }
    }

    /// An empty buffer with room for at least `min_capacity` bytes.
    pub fn take(&self, min_capacity: usize) -> Vec<u8> {
        let mut buffer = self.free.borrow_mut().pop().unwrap_or_default();
        buffer.reserve_exact(min_capacity);
        buffer
    }

    /// Gives a buffer back: it is emptied, and kept unless it is too large, has no memory, or enough are kept.
    pub fn put(&self, mut buffer: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if free.len() < self.count && (1..=self.capacity).contains(&buffer.capacity()) {
            buffer.clear();
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_bounds_hold() {
        let buffers = Buffers::new(2, 100);
        let mut one = buffers.take(50);
        one.extend_from_slice(b"secret");
        let place = one.as_ptr();
        buffers.put(one);
        let again = buffers.take(10);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 50);

        for size in [0, 60, 101, 60, 60] {
            buffers.put(Vec::with_capacity(size));
        }
        assert_eq!(buffers.free.borrow().len(), 2);
    }
}
