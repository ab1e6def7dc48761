//! What a client may make of a connection besides requests: who sends frames that are of no use, or that cannot be, is cut off.

use std::collections::VecDeque;

use h2::Reason;
use wire::h2::{FrameError, FrameHead, Frames, kind};

use crate::log::Level;

/// Bytes for each byte of a request or a response (nginx's bound of a flood).
const BYTES_EACH: u64 = 8;

/// Bytes of requests and responses that every connection is granted before that: so many times eight may come in vain.
const GRANTED: u64 = 256 << 10;

/// Why a client is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Offence {
    /// Frames that carry nothing: PING, SETTINGS, WINDOW_UPDATE, empty ones. nginx's sentence.
    #[error("http2 flood detected: the connection is closed")]
    Flood,
    /// Requests that are taken back ("rapid reset", CVE-2023-44487).
    #[error("client reset too many streams: the connection is closed")]
    Resets,
    /// A frame that is known by its head to be none.
    #[error("{0} while processing HTTP/2 connection")]
    Frame(#[from] FrameError),
}

impl Offence {
    /// What the client is told.
    pub(super) fn reason(self) -> Reason {
        match self {
            Offence::Flood | Offence::Resets => Reason::ENHANCE_YOUR_CALM,
            Offence::Frame(FrameError::Length(..)) => Reason::FRAME_SIZE_ERROR,
            Offence::Frame(FrameError::PushPromise) => Reason::PROTOCOL_ERROR,
        }
    }

    /// How the operator is told.
    pub(super) fn level(self) -> Level {
        match self {
            Offence::Flood | Offence::Resets => Level::Warn,
            Offence::Frame(_) => Level::Info,
        }
    }
}

/// Looks at all that a client sends.
pub(super) struct Guard {
    frames: Frames,
    /// Bytes read, and those of them and of responses that were of use.
    read: u64,
    useful: u64,
    /// How many more requests may be taken back.
    resets: u64,
    most_resets: u64,
    /// Bytes of the fields of the present or the last head.
    fields: u32,
    /// Heads that are complete and whose requests have not begun: stream and bytes. No more than `most_resets`.
    heads: VecDeque<(u32, u32)>,
}

impl Guard {
    /// `resets` requests may be taken back, and one more for each that is answered.
    pub(super) fn new(resets: u64) -> Guard {
        Guard {
            frames: Frames::new(),
            read: 0,
            useful: 0,
            resets,
            most_resets: resets,
            fields: 0,
            heads: VecDeque::new(),
        }
    }

    /// Looks at what was read. A frame that cannot be is taken away, with what follows it.
    pub(super) fn look(&mut self, read: &mut Vec<u8>) -> Result<(), Offence> {
        self.read += read.len() as u64;
        let mut taken_back = 0;
        let mut bytes = &read[..];
        while let Some(frame) = self.frames.next(&mut bytes) {
            if let Err(error) = frame.check() {
                let seen = read.len() - bytes.len();
                read.truncate(seen.saturating_sub(FrameHead::SIZE));
                return Err(error.into());
            }
            match frame.kind {
                kind::DATA => self.useful += u64::from(frame.length),
                kind::HEADERS | kind::CONTINUATION => self.look_at_fields(frame),
                kind::RST_STREAM => taken_back += 1,
                _ => {}
            }
        }
        self.resets = self.resets.checked_sub(taken_back).ok_or(Offence::Resets)?;
        if self.read / BYTES_EACH > self.useful + GRANTED { Err(Offence::Flood) } else { Ok(()) }
    }

    fn look_at_fields(&mut self, frame: FrameHead) {
        self.useful += u64::from(frame.length);
        if frame.kind == kind::HEADERS {
            self.fields = 0;
        }
        self.fields = self.fields.saturating_add(frame.fields());
        if frame.ends_fields() {
            if self.heads.len() as u64 >= self.most_resets {
                self.heads.pop_front();
            }
            self.heads.push_back((frame.stream, self.fields));
        }
    }

    /// The bytes that the head of a request took, which begins now; streams are asked about in their order. None where too many
    /// heads came that no request began with.
    pub(super) fn take_head(&mut self, stream: u32) -> Option<u32> {
        while let Some((of, length)) = self.heads.front().copied().filter(|(of, _)| *of <= stream) {
            self.heads.pop_front();
            if of == stream {
                return Some(length);
            }
        }
        None
    }

    /// Something was sent that the client asked for.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.useful += bytes;
    }

    /// A request was answered.
    pub(super) fn answered(&mut self) {
        self.resets = self.most_resets.min(self.resets + 1);
    }

    /// The stream whose head the client has begun and not completed.
    pub(super) fn within(&self) -> Option<u32> {
        self.frames.within()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];

    fn guard() -> Guard {
        let mut guard = Guard::new(10);
        guard.look(&mut wire::h1::HTTP2_PREFACE.to_vec()).unwrap();
        guard
    }

    #[test]
    fn frames_in_vain_are_a_flood_unless_something_is_sent_too() {
        let mut flood = guard();
        let pings = (0..1 << 20).take_while(|_| flood.look(&mut PING.to_vec()).is_ok()).count();
        assert!((100_000..200_000).contains(&pings), "{pings}");

        let mut download = guard();
        for _ in 0..pings * 2 {
            download.sent(16 << 10);
            assert_eq!(download.look(&mut PING.to_vec()), Ok(()));
        }
    }

    #[test]
    fn who_takes_requests_back_must_have_some_answered() {
        let mut attacker = guard();
        let resets = (0..1000).take_while(|_| attacker.look(&mut RESET.to_vec()).is_ok()).count();
        assert_eq!(resets, 10);
        assert_eq!(attacker.look(&mut RESET.to_vec()), Err(Offence::Resets));

        let mut client = guard();
        for _ in 0..1000 {
            client.answered();
            assert_eq!(client.look(&mut RESET.to_vec()), Ok(()));
        }
    }

    #[test]
    fn a_frame_that_cannot_be_is_taken_away_with_what_follows() {
        let goaway = [0, 0, 0, 7, 0, 0, 0, 0, 0];
        let mut read = [&PING[..], &goaway, &PING].concat();
        let error = Offence::Frame(FrameError::Length("GOAWAY", 0));
        assert_eq!(guard().look(&mut read), Err(error));
        assert_eq!(read, PING);

        // What came of its head before is nothing without the rest.
        let mut guard = guard();
        assert_eq!(guard.look(&mut goaway[..5].to_vec()), Ok(()));
        let mut rest = goaway[5..].to_vec();
        assert_eq!(guard.look(&mut rest), Err(error));
        assert_eq!(rest, b"");
    }

    #[test]
    fn heads_have_the_bytes_of_their_frames() {
        let head = |kind, flags, stream, length: usize| {
            [&[0, 0, length as u8, kind, flags, 0, 0, 0, stream][..], &vec![0; length]].concat()
        };
        let mut guard = guard();
        let mut sent = [
            head(kind::HEADERS, 0, 1, 7),
            head(kind::CONTINUATION, 4, 1, 3),
            // One that no request begins with, and one with a priority.
            head(kind::HEADERS, 4, 3, 20),
            head(kind::HEADERS, 4 | 0x20, 5, 15),
            // Trailers.
            head(kind::HEADERS, 4, 1, 30),
        ]
        .concat();
        assert_eq!(guard.look(&mut sent), Ok(()));
        assert_eq!([1, 5, 7].map(|stream| guard.take_head(stream)), [Some(10), Some(10), None]);
        for at in 0..100 {
            guard.look(&mut head(kind::HEADERS, 4, 2 * at + 9, 1)).unwrap();
        }
        assert_eq!(guard.heads.len(), 10);
    }
}
