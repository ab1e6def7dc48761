//! MD5-crypt: a thousand rounds of MD5, as crypt(3) (`$1$`) and Apache (`$apr1$`) make them.

use md5::{Digest, Md5};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: usize = 1000;

/// What a password file would keep: magic, salt and hash. `setting` is what follows the magic; of it, the salt counts.
pub(crate) fn hash(magic: &[u8], setting: &[u8], password: &[u8]) -> Vec<u8> {
    let salt = setting.split(|b| *b == b'$').next().unwrap_or_default();
    let salt = salt.get(..8).unwrap_or(salt);
    let mut stored = [magic, salt, b"$"].concat();
    encode(&digest(magic, salt, password), &mut stored);
    stored
}

fn digest(magic: &[u8], salt: &[u8], password: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for piece in password.chunks(16) {
        first.update(inner.get(..piece.len()).unwrap_or_default());
    }
    // One byte for each bit of the length, by an old mistake: a zero or the first of the password.
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    let mut result: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let (start, end): (&[u8], &[u8]) =
            if round & 1 == 1 { (password, &result) } else { (&result, password) };
        let mut md5 = Md5::new().chain_update(start);
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(end);
        result = md5.finalize().into();
    }
    result
}

/// Base64 of crypt(3): its own alphabet, the bytes out of order, the low bits first.
fn encode(digest: &[u8; 16], out: &mut Vec<u8>) {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut push = |mut bits: u32, count: usize| {
        for _ in 0..count {
            out.push(ALPHABET[(bits & 63) as usize]);
            bits >>= 6;
        }
    };
    for [a, b, c] in ORDER {
        push(u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]), 4);
    }
    push(u32::from(digest[11]), 2);
}
