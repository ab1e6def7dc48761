//! Where frames begin in what a client sends, and of which kind they are (RFC 9113, 4.1).

/// The kinds of frames that somebody asks about (RFC 9113, 6).
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// Fields, or the first of them.
    pub const HEADERS: u8 = 1;
    /// What a stream depends on.
    pub const PRIORITY: u8 = 2;
    /// The end of a stream before its end.
    pub const RST_STREAM: u8 = 3;
    /// What an end wants to be respected.
    pub const SETTINGS: u8 = 4;
    /// A response that nobody asked for, of a server.
    pub const PUSH_PROMISE: u8 = 5;
    /// Whether the other end is there.
    pub const PING: u8 = 6;
    /// The end of a connection.
    pub const GOAWAY: u8 = 7;
    /// Room for more of a body.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More fields.
    pub const CONTINUATION: u8 = 9;
}

/// No more fields follow those of the frame.
const END_HEADERS: u8 = 4;

/// The fields have what their stream depends on before them: five bytes.
const HAS_PRIORITY: u8 = 0x20;

/// The bits of a stream's number.
const STREAM: u32 = (1 << 31) - 1;

/// What is in front of a frame's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: u32,
    /// One of [`kind`], or another.
    pub kind: u8,
    /// What they mean depends on the kind.
    pub flags: u8,
    /// The stream that it belongs to, 0 for the connection.
    pub stream: u32,
}

/// Why a connection cannot go on behind the head of a frame (RFC 9113, 6). Display is nginx's sentence for the error_log, level
/// info.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Frames of its kind are not of that length: FRAME_SIZE_ERROR.
    #[error("client sent {0} frame with incorrect length {1}")]
    Length(&'static str, u32),
    /// Only servers promise: PROTOCOL_ERROR.
    #[error("client sent PUSH_PROMISE frame")]
    PushPromise,
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
    /// The stream of the present frame.
    stream: u32,
}

impl FrameHead {
    /// Bytes of it.
    pub const SIZE: usize = 9;

    /// Whether a client may send it.
    pub fn check(&self) -> Result<(), FrameError> {
        let (name, fits) = match self.kind {
            kind::PRIORITY => ("PRIORITY", self.length == 5),
            kind::RST_STREAM => ("RST_STREAM", self.length == 4),
            kind::SETTINGS => ("SETTINGS", self.length.is_multiple_of(6)),
            kind::PUSH_PROMISE => return Err(FrameError::PushPromise),
            kind::PING => ("PING", self.length == 8),
            kind::GOAWAY => ("GOAWAY", self.length >= 8),
            kind::WINDOW_UPDATE => ("WINDOW_UPDATE", self.length == 4),
            _ => return Ok(()),
        };
        if fits { Ok(()) } else { Err(FrameError::Length(name, self.length)) }
    }

    /// Bytes of packed fields in its payload, with padding where there is any.
    pub fn fields(&self) -> u32 {
        let priority = self.kind == kind::HEADERS && self.flags & HAS_PRIORITY != 0;
        if priority { self.length.saturating_sub(5) } else { self.length }
    }

    /// Whether fields end with it.
    pub fn ends_fields(&self) -> bool {
        matches!(self.kind, kind::HEADERS | kind::CONTINUATION) && self.flags & END_HEADERS != 0
    }
}

impl Frames {
    /// At the first byte of a connection, where the client's preface is.
    pub fn new() -> Frames {
        let left = crate::h1::HTTP2_PREFACE.len();
        Frames { head: [0; FrameHead::SIZE], seen: 0, left, of_fields: false, in_fields: false, stream: 0 }
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
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.left = length as usize;
        self.stream = u32::from_be_bytes(stream) & STREAM;
        self.of_fields = matches!(kind, kind::HEADERS | kind::CONTINUATION);
        if self.of_fields {
            self.in_fields = flags & END_HEADERS == 0;
        }
        Some(FrameHead { length, kind, flags, stream: self.stream })
    }

    /// The stream whose fields have begun and are not complete.
    pub fn within(&self) -> Option<u32> {
        (self.in_fields || (self.of_fields && self.left > 0)).then_some(self.stream)
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
        assert_eq!(frames.within(), None);
        heads(&mut frames, &frame(kind::HEADERS, 0, b"ab"));
        assert_eq!(frames.within(), Some(1));
        heads(&mut frames, &frame(kind::CONTINUATION, END_HEADERS, b""));
        assert_eq!(frames.within(), None);
        heads(&mut frames, &frame(kind::HEADERS, END_HEADERS, b"abc")[..11]);
        assert_eq!(frames.within(), Some(1));
        heads(&mut frames, b"c");
        assert_eq!(frames.within(), None);
        heads(&mut frames, &frame(kind::DATA, 0, b"abc")[..11]);
        assert_eq!(frames.within(), None);
    }

    #[test]
    fn frames_have_the_lengths_of_their_kind() {
        let refused = |kind, length| FrameHead { length, kind, flags: 0, stream: 0 }.check().err();
        // RFC 9113, 6.3 to 6.9.
        let lengths = [
            (kind::PRIORITY, &[5][..], &[0, 4, 6][..]),
            (kind::RST_STREAM, &[4], &[3, 5]),
            (kind::SETTINGS, &[0, 6, 60], &[1, 7]),
            (kind::PING, &[8], &[0, 7, 9]),
            (kind::GOAWAY, &[8, 100], &[0, 7]),
            (kind::WINDOW_UPDATE, &[4], &[0, 8]),
            (kind::DATA, &[0, 1], &[]),
            (99, &[0, 1], &[]),
        ];
        for (kind, right, wrong) in lengths {
            assert!(right.iter().all(|length| refused(kind, *length).is_none()), "{kind}");
            assert!(
                wrong.iter().all(|length| matches!(refused(kind, *length), Some(FrameError::Length(..)))),
                "{kind}"
            );
        }
        assert_eq!(refused(kind::PUSH_PROMISE, 4), Some(FrameError::PushPromise));
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
                .map(|(kind, flags, payload)| FrameHead { length: payload.len() as u32, kind: *kind, flags: *flags, stream: 1 })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
