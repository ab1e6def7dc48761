//! What a client may make of a connection besides requests: who sends frames that are of no use is cut off.

use wire::h2::{Frames, kind};

/// Bytes for each byte of a request or a response (nginx's bound of a flood).
const BYTES_EACH: u64 = 8;

/// Bytes of requests and responses that every connection is granted before that: so many times eight may come in vain.
const GRANTED: u64 = 256 << 10;

/// Why a client is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Abuse {
    /// Frames that carry nothing: PING, SETTINGS, WINDOW_UPDATE, empty ones. nginx's sentence.
    #[error("http2 flood detected")]
    Flood,
    /// Requests that are taken back ("rapid reset", CVE-2023-44487).
    #[error("client reset too many streams")]
    Resets,
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
}

impl Guard {
    /// `resets` requests may be taken back, and one more for each that is answered.
    pub(super) fn new(resets: u64) -> Guard {
        Guard { frames: Frames::new(), read: 0, useful: 0, resets, most_resets: resets }
    }

    /// Looks at what was read.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> Result<(), Abuse> {
        self.read += bytes.len() as u64;
        let mut taken_back = 0;
        while let Some(frame) = self.frames.next(&mut bytes) {
            match frame.kind {
                kind::DATA | kind::HEADERS | kind::CONTINUATION => self.useful += u64::from(frame.length),
                kind::RST_STREAM => taken_back += 1,
                _ => {}
            }
        }
        self.resets = self.resets.checked_sub(taken_back).ok_or(Abuse::Resets)?;
        if self.read / BYTES_EACH > self.useful + GRANTED { Err(Abuse::Flood) } else { Ok(()) }
    }

    /// Something was sent that the client asked for.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.useful += bytes;
    }

    /// A request was answered.
    pub(super) fn answered(&mut self) {
        self.resets = self.most_resets.min(self.resets + 1);
    }

    /// Whether the client has begun a head that is not complete.
    pub(super) fn is_within(&self) -> bool {
        self.frames.is_within()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];

    fn guard() -> Guard {
        let mut guard = Guard::new(10);
        guard.look(wire::h1::HTTP2_PREFACE).unwrap();
        guard
    }

    #[test]
    fn frames_in_vain_are_a_flood_unless_something_is_sent_too() {
        let mut flood = guard();
        let pings = (0..1 << 20).take_while(|_| flood.look(&PING).is_ok()).count();
        assert!((100_000..200_000).contains(&pings), "{pings}");

        let mut download = guard();
        for _ in 0..pings * 2 {
            download.sent(16 << 10);
            assert_eq!(download.look(&PING), Ok(()));
        }
    }

    #[test]
    fn who_takes_requests_back_must_have_some_answered() {
        let mut attacker = guard();
        let resets = (0..1000).take_while(|_| attacker.look(&RESET).is_ok()).count();
        assert_eq!(resets, 10);
        assert_eq!(attacker.look(&RESET), Err(Abuse::Resets));

        let mut client = guard();
        for _ in 0..1000 {
            client.answered();
            assert_eq!(client.look(&RESET), Ok(()));
        }
    }
}
