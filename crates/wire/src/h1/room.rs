//! How much of a request head fits, counted as nginx's buffers would fill (`client_header_buffer_size`,
//! `large_client_header_buffers`).

use super::request_head::Limits;

/// The buffer that nginx would be filling now.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Room {
    base: usize,
    size: usize,
    large: usize,
}

impl Room {
    /// The first buffer, in which `skipped` bytes of empty lines were thrown away.
    pub(super) fn new(limits: &Limits, skipped: usize) -> Room {
        let size = limits.header_buffer.max(1);
        Room { base: if skipped < size { 0 } else { skipped - skipped % size }, size, large: 0 }
    }

    /// Whether a line from `start` to `end` (behind its line feed) finds a buffer that holds all of it.
    ///
    /// A line that does not fit what is left of a buffer moves to a new large one as a whole.
    #[inline]
    pub(super) fn holds(&mut self, start: usize, end: usize, limits: &Limits) -> bool {
        while end - self.base > self.size {
            let full = self.base + self.size;
            if full.saturating_sub(start) >= limits.large_size || self.large >= limits.large_buffers {
                return false;
            }
            self.large += 1;
            (self.base, self.size) = (start, limits.large_size);
        }
        true
    }

    /// Where the present buffer ends.
    pub(super) fn end(&self) -> usize {
        self.base + self.size
    }
}
