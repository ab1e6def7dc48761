//! What the targets have in common: in which pieces bytes arrive, and what a field of a head may not hold.

use wire::{Field, Range};

/// Ways for `bytes` to arrive: as a whole, byte by byte, and in pieces of lengths that the bytes themselves choose.
/// Each way is the ends of its pieces; the last end is the end of the bytes.
pub fn arrivals(bytes: &[u8]) -> [Vec<usize>; 3] {
    let every = (1..=bytes.len()).collect();
    // FNV-1a: an input that was found arrives in the same pieces again.
    let mut seed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let (mut chosen, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        at = (at + 1 + (seed >> 60) as usize).min(bytes.len());
        chosen.push(at);
    }
    let mut ways = [vec![bytes.len()], every, chosen];
    for ends in &mut ways {
        if ends.is_empty() {
            ends.push(bytes.len());
        }
    }
    ways
}

/// A field lies in the head and would stay one field if it were sent on.
pub fn check_field(field: &Field, head: &[u8]) {
    check_range(field.name, head);
    check_range(field.value, head);
    assert!(!field.name.is_empty(), "a field without a name");
    assert!(!field.name.of(head).iter().any(|byte| b"\r\n\0:".contains(byte)), "{:?}", field.name.of(head));
    assert!(!field.value.of(head).iter().any(|byte| b"\r\n\0".contains(byte)), "{:?}", field.value.of(head));
}

/// A range is none of another buffer.
pub fn check_range(range: Range, head: &[u8]) {
    assert!(
        range.start <= range.end && range.end as usize <= head.len(),
        "{range:?} of {} bytes",
        head.len()
    );
}
