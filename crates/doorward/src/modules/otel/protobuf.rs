//! The few forms of protobuf's wire format that OTLP needs (https://protobuf.dev/programming-guides/encoding/).

/// A number.
pub(super) fn varint(field: u32, value: u64, out: &mut Vec<u8>) {
    append_varint(u64::from(field) << 3, out);
    append_varint(value, out);
}

/// Eight bytes.
pub(super) fn fixed64(field: u32, value: u64, out: &mut Vec<u8>) {
    append_varint(u64::from(field) << 3 | 1, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Four bytes.
pub(super) fn fixed32(field: u32, value: u32, out: &mut Vec<u8>) {
    append_varint(u64::from(field) << 3 | 5, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Bytes.
pub(super) fn bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    start(field, value.len(), out);
    out.extend_from_slice(value);
}

/// A string. What is no UTF-8 is replaced: a receiver would refuse the whole message for it.
pub(super) fn string(field: u32, value: &[u8], out: &mut Vec<u8>) {
    bytes(field, String::from_utf8_lossy(value).as_bytes(), out);
}

/// A message inside; what `write` appends is its content.
pub(super) fn message(field: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    write(out);
    let content = out.len();
    start(field, content - at, out);
    // The content is written before its length is known.
    let start = out.len() - content;
    if let Some(whole) = out.get_mut(at..) {
        whole.rotate_right(start);
    }
}

/// What stands before so many bytes of a field.
pub(super) fn start(field: u32, length: usize, out: &mut Vec<u8>) {
    append_varint(u64::from(field) << 3 | 2, out);
    append_varint(length as u64, out);
}

fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
