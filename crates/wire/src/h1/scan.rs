//! Looking for the byte that ends a token, eight bytes at a time.

use crate::name::Window;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// Where the first colon stands.
#[inline]
pub(super) fn colon(window: &Window) -> Option<usize> {
    for (at, bytes) in window.as_chunks().0.iter().enumerate() {
        let colons = u64::from_le_bytes(*bytes) ^ (ONES * b':' as u64);
        let marks = colons.wrapping_sub(ONES) & !colons & HIGH_BITS;
        if marks != 0 {
            return Some(at * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    None
}

/// Where the first CR, LF or NUL stands.
#[inline]
pub(super) fn line_break(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| word.wrapping_sub(ONES * 0x0e) & !word, |byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Where the first control byte, space or DEL stands.
#[inline]
pub(super) fn target_end(bytes: &[u8]) -> Option<usize> {
    let marks = |word: u64| {
        let dels = word ^ (ONES * 0x7f);
        word.wrapping_sub(ONES * 0x21) & !word | dels.wrapping_sub(ONES) & !dels
    };
    find(bytes, marks, |byte| byte <= b' ' || byte == 0x7f)
}

/// Where the first wanted byte stands. `marks` sets the high bit of each such byte of a word, and may set that of
/// others, which are looked at then.
#[inline(always)]
fn find(bytes: &[u8], marks: impl Fn(u64) -> u64, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, tail) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let mut marks = marks(word) & HIGH_BITS;
        while marks != 0 {
            let byte = marks.trailing_zeros() / 8;
            if wanted((word >> (byte * 8)) as u8) {
                return Some(at * 8 + byte as usize);
            }
            marks &= marks - 1;
        }
    }
    tail.iter().position(|&byte| wanted(byte)).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::WINDOW;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_find_the_first_colon(mut window: Window, colons in proptest::collection::vec(0..WINDOW, 0..4)) {
            for at in colons {
                // A neighbour that differs in one bit must not be taken for it.
                (window[at], window[(at + 1) % WINDOW]) = (b':', b';');
            }
            prop_assert_eq!(colon(&window), window.iter().position(|&byte| byte == b':'));
        }

        #[test]
        fn words_find_what_bytes_find(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let plain = |wanted: fn(u8) -> bool| bytes.iter().position(|&byte| wanted(byte));
            prop_assert_eq!(line_break(&bytes), plain(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            prop_assert_eq!(target_end(&bytes), plain(|byte| byte <= 0x20 || byte == 0x7f));
        }
    }
}
