//! A worker's free lists of byte buffers, so that an idle connection holds none and an active one allocates none.

use std::cell::RefCell;

/// Room for a head, or a line of a log.
pub const SMALL: usize = 4 << 10;

/// Room for a piece of a body.
pub const LARGE: usize = 32 << 10;

/// What grew beyond this is not kept.
const LARGEST: usize = 2 * LARGE;

/// Empty buffers waiting for their next use, in two sizes: one that is asked for is never grown, which would copy it.
/// Cheap to take from and put back to; one per worker thread.
#[derive(Debug)]
pub struct Buffers {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    count: usize,
}

impl Buffers {
    /// Keeps at most `count` buffers of each size.
    pub fn new(count: usize) -> Buffers {
        Buffers { small: RefCell::default(), large: RefCell::default(), count }
    }

    /// An empty buffer with room for at least `min_capacity` bytes.
    pub fn take(&self, min_capacity: usize) -> Vec<u8> {
        let (list, size) = if min_capacity <= SMALL { (&self.small, SMALL) } else { (&self.large, LARGE) };
        if min_capacity > size {
            return Vec::with_capacity(min_capacity);
        }
        list.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(size))
    }

    /// Gives a buffer back: it is emptied, and kept if it is of one of the two sizes and not enough are kept.
    pub fn put(&self, mut buffer: Vec<u8>) {
        let mut free = match buffer.capacity() {
            SMALL..LARGE => self.small.borrow_mut(),
            LARGE..=LARGEST => self.large.borrow_mut(),
            _ => return,
        };
        if free.len() < self.count {
            buffer.clear();
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_of_its_size() {
        let buffers = Buffers::new(2);
        let mut one = buffers.take(50);
        one.extend_from_slice(b"secret");
        let place = one.as_ptr();
        buffers.put(one);
        assert!(buffers.take(SMALL + 1).capacity() >= LARGE);
        let again = buffers.take(10);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn few_are_kept_and_no_odd_ones() {
        let buffers = Buffers::new(2);
        for size in [0, 60, SMALL, SMALL, SMALL, LARGE, 3 * LARGE] {
            buffers.put(Vec::with_capacity(size));
        }
        assert_eq!((buffers.small.borrow().len(), buffers.large.borrow().len()), (2, 1));
    }
}
