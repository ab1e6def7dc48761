//! Fields as HTTP/2 writes them (HPACK, RFC 7541): what is sent is not compressed, what is read uses no dynamic table,
//! which the client does not offer.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A field's name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Writes fields, each as it is (section 6.2.2).
pub(crate) fn encode(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), 0x7f, &mut block);
            block.extend(text);
        }
    }
    block
}

fn integer(mut number: usize, most: u8, out: &mut Vec<u8>) {
    if number < usize::from(most) {
        out.push(number as u8);
        return;
    }
    out.push(most);
    number -= usize::from(most);
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a whole block; `None` where it breaks the rules.
pub(crate) fn decode(block: &[u8]) -> Option<Vec<Field>> {
    let mut rest = block;
    let mut fields = Vec::new();
    while let Some(&first) = rest.first() {
        if first & 0x80 != 0 {
            let (name, value) = known(number(&mut rest, 0x7f)?)?;
            fields.push((name.into(), value.into()));
            continue;
        }
        if first & 0xe0 == 0x20 {
            // The table that was not offered has no other size.
            number(&mut rest, 0x1f).filter(|size| *size == 0)?;
            continue;
        }
        let most = if first & 0xc0 == 0x40 { 0x3f } else { 0x0f };
        let name = match number(&mut rest, most)? {
            0 => text(&mut rest)?,
            index => known(index)?.0.into(),
        };
        fields.push((name, text(&mut rest)?));
    }
    Some(fields)
}

fn number(rest: &mut &[u8], most: u8) -> Option<usize> {
    let (first, mut behind) = rest.split_first()?;
    let mut number = usize::from(first & most);
    if number == usize::from(most) {
        for shift in [0, 7, 14, 21] {
            let (byte, more) = behind.split_first()?;
            behind = more;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = behind;
    Some(number)
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let packed = rest.first()? & 0x80 != 0;
    let length = number(rest, 0x7f)?;
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    if packed { unpack(text) } else { Some(text.to_vec()) }
}

/// How long the code of each byte is, `A` for 5 bits, and at the end that of the end (appendix B).
const LENGTHS: &[u8; 257] = b"ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABB\
BACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWVZ";

/// Takes back a Huffman code. The code is canonical, so that its lengths say all of it: shorter codes come first, and
/// those of one length in the order of the bytes.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    static CODES: OnceLock<BTreeMap<(u32, u32), u8>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        let mut order: Vec<(u32, usize)> =
            LENGTHS.iter().enumerate().map(|(byte, letter)| (u32::from(letter - b'A') + 5, byte)).collect();
        order.sort_unstable();
        let (mut code, mut last) = (0, 0);
        let mut codes = BTreeMap::new();
        for (length, byte) in order {
            code <<= length - last;
            last = length;
            if let Ok(byte) = u8::try_from(byte) {
                codes.insert((length, code), byte);
            }
            code += 1;
        }
        codes
    });
    let (mut code, mut length) = (0, 0);
    let mut text = Vec::new();
    for byte in packed {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            if let Some(byte) = codes.get(&(length, code)) {
                text.push(*byte);
                (code, length) = (0, 0);
            } else if length == 30 {
                return None;
            }
        }
    }
    // What fills the last byte is the beginning of the end's code: ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

fn known(index: usize) -> Option<(&'static str, &'static str)> {
    KNOWN.get(index.checked_sub(1)?).copied()
}

/// The static table (appendix A).
const KNOWN: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
