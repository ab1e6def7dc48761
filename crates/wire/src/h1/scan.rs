//! Looking for the byte that ends a token, eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// Where the first CR, LF or NUL stands at or behind `from`.
#[inline]
pub(super) fn line_break(buf: &[u8], from: usize) -> Option<usize> {
    let mut pos = from;
    while let Some(word) = word(buf, pos) {
        // The lowest marked byte is truly below 0x0e; bytes above it may be marked by its borrow.
        let marks = word.wrapping_sub(ONES * 0x0e) & !word & HIGH_BITS;
        if marks == 0 {
            pos += 8;
            continue;
        }
        pos += marks.trailing_zeros() as usize / 8;
        if matches!(buf.get(pos), Some(b'\r' | b'\n' | 0)) {
            return Some(pos);
        }
        pos += 1;
    }
    let tail = buf.get(pos..)?;
    tail.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)).map(|at| pos + at)
}

/// Where the first control byte, space or DEL stands at or behind `from`.
#[inline]
pub(super) fn target_end(buf: &[u8], from: usize) -> Option<usize> {
    let mut pos = from;
    while let Some(word) = word(buf, pos) {
        let dels = word ^ (ONES * 0x7f);
        let marks = (word.wrapping_sub(ONES * 0x21) & !word | dels.wrapping_sub(ONES) & !dels) & HIGH_BITS;
        if marks != 0 {
            return Some(pos + marks.trailing_zeros() as usize / 8);
        }
        pos += 8;
    }
    let tail = buf.get(pos..)?;
    tail.iter().position(|&byte| byte <= b' ' || byte == 0x7f).map(|at| pos + at)
}

#[inline]
fn word(buf: &[u8], pos: usize) -> Option<u64> {
    buf.get(pos..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_find_what_bytes_find(bytes in proptest::collection::vec(any::<u8>(), 0..80), from in 0usize..90) {
            let plain = |wanted: fn(u8) -> bool| {
                bytes.get(from..).and_then(|rest| rest.iter().position(|&byte| wanted(byte))).map(|at| from + at)
            };
            prop_assert_eq!(line_break(&bytes, from), plain(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            prop_assert_eq!(target_end(&bytes, from), plain(|byte| byte <= 0x20 || byte == 0x7f));
        }
    }
}
