//! A piece of a message, kept as two offsets into the buffer that holds the message.

/// Bytes `start..end` of the buffer a head was parsed from.
///
/// Offsets survive the buffer's growth and moves, which is why heads hold these and not slices.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first byte's offset.
    pub start: u32,
    /// The offset behind the last byte.
    pub end: u32,
}

impl Range {
    /// A range of two offsets. Heads are bounded far below 4 GiB; an offset beyond that makes an empty range.
    #[inline]
    pub fn new(start: usize, end: usize) -> Range {
        match u32::try_from(start | end) {
            Ok(_) => Range { start: start as u32, end: end as u32 },
            Err(_) => Range::default(),
        }
    }

    /// The bytes of this range in `buf`; none when `buf` is not the buffer it was made for.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How many bytes it spans.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it spans no byte.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}
