//! Looking for the byte that ends a token, eight bytes at a time.

use crate::name::Window;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = ONES << 7;

/// Where the first colon stands.
#[inline]
pub(super) fn colon(window: &Window) -> Option<usize> {
    window.as_chunks().0.iter().enumerate().find_map(|(at, word)| Some(at * 8 + first(equal(word, b':'))?))
}

/// Where the first CR, LF or NUL stands.
pub(super) fn line_break(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = control(rest)?;
        if matches!(rest.get(at), Some(b'\r' | b'\n' | 0)) {
            return Some(from + at);
        }
        from += at + 1;
    }
}

/// Where the first byte up to CR stands: CR, LF and NUL, tabs and other controls.
#[inline]
pub(super) fn control(bytes: &[u8]) -> Option<usize> {
    find(bytes, |word| below(word, b'\r' + 1), |byte| byte <= b'\r')
}

/// Where the first control byte, space or DEL stands.
#[inline]
pub(super) fn target_end(bytes: &[u8]) -> Option<usize> {
    let wanted = |byte| byte <= b' ' || byte == 0x7f;
    find(bytes, |word| below(word, b' ' + 1) | equal(word, 0x7f), wanted)
}

/// Where the first wanted byte stands, which `marks` marks in a word.
#[inline(always)]
fn find(bytes: &[u8], marks: impl Fn(&[u8; 8]) -> u64, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        if let Some(first) = first(marks(word)) {
            return Some(at + first);
        }
        at += 8;
    }
    // The last word: those of its bytes that were looked at before are known not to be wanted.
    if let Some(word) = bytes.last_chunk() {
        return first(marks(word)).map(|first| bytes.len() - 8 + first);
    }
    bytes.iter().position(|&byte| wanted(byte))
}

/// Marks the bytes of a word that are below `limit` (up to 128). The first mark is right; what is above it may be
/// marked by its borrow.
#[inline(always)]
fn below(word: &[u8; 8], limit: u8) -> u64 {
    let word = u64::from_le_bytes(*word);
    word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH_BITS
}

/// Marks the bytes of a word that are `byte`. As for [`below`], the first mark is right.
#[inline(always)]
fn equal(word: &[u8; 8], byte: u8) -> u64 {
    let difference = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
    below(&difference.to_le_bytes(), 1)
}

/// Which byte of its word the first mark stands for.
#[inline(always)]
fn first(marks: u64) -> Option<usize> {
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
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
            prop_assert_eq!(control(&bytes), plain(|byte| byte <= 0x0d));
            prop_assert_eq!(target_end(&bytes), plain(|byte| byte <= 0x20 || byte == 0x7f));
        }
    }
}
