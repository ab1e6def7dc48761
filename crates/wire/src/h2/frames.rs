//! Where frames begin in what a client sends, and of which kind they are (RFC 9113, 4.1).

/// The kinds of frames that somebody asks about (RFC 9113, 6).
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// Fields, or the first of them.
    pub const HEADERS: u8 = 1;
    /// The end of a stream before its end.
    pub const RST_STREAM: u8 = 3;
    /// More fields.
    pub const CONTINUATION: u8 = 9;
}

/// No more fields follow those of the frame.
const END_HEADERS: u8 = 4;

/// What is in front of a frame's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: u32,
    /// One of [`kind`], or another.
    pub kind: u8,
    /// What they mean depends on the kind.
    pub flags: u8,
}

/// Finds the frames in what a client sends, however it arrives. Nothing is kept but what is missing of the present one.
#[derive(Clone, Debug)]
pub struct Frames {
    head: [u8; FrameHead::SIZE],
    /// Bytes of the head that were seen.
    seen: usize,
    /// Bytes of the payload that were not.
    left: usize,
    /// The present frame holds fields.
    of_fields: bool,
    /// More fields must follow.
    in_fields: bool,
}

impl FrameHead {
    const SIZE: usize = 9;
}

impl Frames {
    /// At the first byte of a connection, where the client's preface is.
    pub fn new() -> Frames {
        let left = crate::h1::HTTP2_PREFACE.len();
        Frames { head: [0; FrameHead::SIZE], seen: 0, left, of_fields: false, in_fields: false }
    }

    /// The next frame that begins in `bytes`, which is left with what follows its head; none when it is used up.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let skipped = self.left.min(bytes.len());
        self.left -= skipped;
        *bytes = bytes.get(skipped..).unwrap_or_default();
        let missing = self.head.get_mut(self.seen..).unwrap_or_default();
        let taken = missing.len().min(bytes.len());
        let (now, rest) = bytes.split_at(taken);
        missing.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
        *bytes = rest;
        self.seen += taken;
        if self.seen < FrameHead::SIZE {
            return None;
        }
        self.seen = 0;
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.left = length as usize;
        self.of_fields = matches!(kind, kind::HEADERS | kind::CONTINUATION);
        if self.of_fields {
            self.in_fields = flags & END_HEADERS == 0;
        }
        Some(FrameHead { length, kind, flags })
    }

    /// Whether the head of a frame, or the fields that began with one, are not complete.
    pub fn is_within(&self) -> bool {
        self.seen > 0 || self.in_fields || (self.of_fields && self.left > 0)
    }
}

impl Default for Frames {
    fn default() -> Frames {
        Frames::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn heads(frames: &mut Frames, mut bytes: &[u8]) -> Vec<FrameHead> {
        std::iter::from_fn(|| frames.next(&mut bytes)).collect()
    }

    #[test]
    fn fields_are_complete_with_their_last_frame() {
        let mut frames = Frames::new();
        heads(&mut frames, crate::h1::HTTP2_PREFACE);
        assert!(!frames.is_within());
        heads(&mut frames, &frame(kind::HEADERS, 0, b"ab"));
        assert!(frames.is_within());
        heads(&mut frames, &frame(kind::CONTINUATION, END_HEADERS, b""));
        assert!(!frames.is_within());
        heads(&mut frames, &frame(kind::HEADERS, END_HEADERS, b"abc")[..11]);
        assert!(frames.is_within());
        heads(&mut frames, b"c");
        assert!(!frames.is_within());
        heads(&mut frames, &frame(kind::DATA, 0, b"abc")[..11]);
        assert!(!frames.is_within());
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_they_arrive(
            sent in prop::collection::vec((0u8..12, any::<u8>(), prop::collection::vec(any::<u8>(), 0..30)), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut bytes = crate::h1::HTTP2_PREFACE.to_vec();
            for (kind, flags, payload) in &sent {
                bytes.extend(frame(*kind, *flags, payload));
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut frames, mut found, mut from) = (Frames::new(), Vec::new(), 0);
            for cut in cuts {
                found.extend(heads(&mut frames, &bytes[from..cut]));
                from = cut;
            }
            let expected: Vec<FrameHead> = sent
                .iter()
                .map(|(kind, flags, payload)| FrameHead { length: payload.len() as u32, kind: *kind, flags: *flags })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
