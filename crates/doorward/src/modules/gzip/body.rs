//! A body that is compressed as it is read.

use flate2::{Compress, CompressError, Compression, FlushCompress, Status};

use crate::body::{Body, Truncated};
use crate::exchange::Exchange;
use crate::log::Level;

/// How much is compressed at a time.
const PIECE: usize = 32 << 10;

/// The least room that compressed bytes are given.
const ROOM: usize = 1 << 10;

/// The largest and the smallest window, as powers of two (RFC 1951).
const WINDOW: std::ops::RangeInclusive<u8> = 9..=15;

/// A body on its way through the compressor.
pub struct Gzipping {
    body: Body,
    /// `None` until there is something to compress.
    compress: Option<Compress>,
    level: u32,
    window: u8,
    /// Whether each piece is sent on as it comes.
    flushes: bool,
    ended: bool,
}

impl Gzipping {
    /// Compresses a body, whose length may be known; with `flushes` nothing of it is held back for what comes later.
    pub fn new(body: Body, level: u32, length: Option<u64>, flushes: bool) -> Gzipping {
        // A short body needs less memory, as in nginx: the window is as large as the body, no more.
        let holds = |bits: &u8| length.is_none_or(|length| length.saturating_add(262) <= 1 << bits);
        let window = WINDOW.clone().find(holds).filter(|_| length.is_some()).unwrap_or(*WINDOW.end());
        Gzipping { body, compress: None, level, window, flushes, ended: false }
    }

    /// What is compressed.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Whether nothing more will come.
    pub fn is_done(&self) -> bool {
        self.ended
    }

    /// Lets go of it.
    pub async fn discard(self, ex: &mut Exchange<'_>) {
        Box::pin(self.body.discard(ex)).await;
    }

    /// Appends the next compressed bytes; false at the end.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        if self.ended {
            return Ok(false);
        }
        let start = out.len();
        let mut piece = ex.visit.worker.buffers.take(PIECE);
        let result = loop {
            piece.clear();
            let more = match Box::pin(self.body.next(ex, &mut piece, most.clamp(1, PIECE))).await {
                Ok(more) => more,
                Err(truncated) => {
                    // What has come is the client's, and it sees that there should be more.
                    let _ = self.push(&piece, FlushCompress::Sync, out);
                    break Err(truncated);
                }
            };
            let last = !more || self.body.is_done();
            let flush = match (last, self.flushes) {
                (true, _) => FlushCompress::Finish,
                (false, true) => FlushCompress::Sync,
                (false, false) => FlushCompress::None,
            };
            if let Err(error) = self.push(&piece, flush, out) {
                ex.log(Level::Alert, format_args!("deflate() failed: {error}"));
                break Err(Truncated);
            }
            if let Some(compress) = &self.compress {
                ex.visit.gzipped.set((compress.total_in(), compress.total_out()));
            }
            if last {
                self.ended = true;
                self.compress = None;
                break Ok(true);
            }
            if out.len() > start {
                break Ok(true);
            }
        };
        ex.visit.worker.buffers.put(piece);
        result
    }

    fn push(
        &mut self,
        mut input: &[u8],
        flush: FlushCompress,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        let (level, window) = (self.level, self.window);
        let compress =
            self.compress.get_or_insert_with(|| Compress::new_gzip(Compression::new(level), window));
        loop {
            out.reserve(ROOM);
            let before = compress.total_in();
            let status = compress.compress_vec(input, out, flush)?;
            let taken = usize::try_from(compress.total_in() - before).unwrap_or(usize::MAX);
            input = input.get(taken..).unwrap_or_default();
            // Room that is left shows that there is nothing more to be had.
            let drained = input.is_empty() && out.len() < out.capacity();
            if status == Status::StreamEnd || (drained && !matches!(flush, FlushCompress::Finish)) {
                return Ok(());
            }
        }
    }
}

/// `$gzip_ratio`: how many times shorter the body became, with two digits, rounded as nginx does; false where none did.
pub(super) fn append_ratio((before, after): (u64, u64), out: &mut Vec<u8>) -> bool {
    if after == 0 {
        return false;
    }
    let hundredths = (before.saturating_mul(1000) / after + 5) / 10;
    out.extend_from_slice(format!("{}.{:02}", hundredths / 100, hundredths % 100).as_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::append_ratio;

    #[test]
    fn a_ratio_has_two_digits() {
        let ratio = |before, after| {
            let mut out = Vec::new();
            append_ratio((before, after), &mut out).then(|| String::from_utf8(out).unwrap())
        };
        assert_eq!(ratio(1000, 100).as_deref(), Some("10.00"));
        assert_eq!(ratio(2125, 1000).as_deref(), Some("2.13"));
        assert_eq!(ratio(2124, 1000).as_deref(), Some("2.12"));
        assert_eq!(ratio(1999, 1000).as_deref(), Some("2.00"));
        assert_eq!(ratio(1, 3).as_deref(), Some("0.33"));
        assert_eq!(ratio(0, 0), None);
    }
}
