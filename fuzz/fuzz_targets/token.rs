//! Any bytes as a token, as its header, as its claims: nothing passes that no key signed, and no claim begins another line.
#![no_main]

use std::sync::{Arc, LazyLock};

use auth::json::{look_up, text};
use auth::jwt::{KeySet, MOST_TOKEN, Signed, Token};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

const SECRET: [u8; 32] = [7; 32];

/// A secret, and a public key of each other kind, whose private part nobody here has.
static KEYS: LazyLock<[Arc<KeySet>; 1]> = LazyLock::new(|| {
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let keys = format!(
        r#"{{"keys":[{{"kty":"oct","kid":"a","k":"{secret}"}},
        {{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}},
        {{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}]}}"#
    );
    [Arc::new(KeySet::parse(keys.as_bytes()).expect("a set of keys"))]
});

fuzz_target!(|bytes: &[u8]| {
    // As it came: no bytes of a fuzzer are a signature.
    assert!(Signed::parse(bytes).and_then(|signed| signed.verify(&*KEYS)).is_err());
    // Signed: what is right then is what JSON it is.
    let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, claims) = bytes.split_at(cut);
    signed(br#"{"alg":"HS256","kid":"a"}"#, bytes);
    signed(header, claims.get(1..).unwrap_or_default());
});

fn signed(header: &[u8], claims: &[u8]) {
    let content = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), content.as_bytes());
    let token = format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature));
    if let Ok(right) = Signed::parse(token.as_bytes()).and_then(|signed| signed.verify(&*KEYS)) {
        assert!(token.len() <= MOST_TOKEN);
        says(&right);
        // One bit of the signature is another signature.
        let mut other = token.into_bytes();
        let last = other.len() - 5;
        other[last] = if other[last] == b'A' { b'B' } else { b'A' };
        assert!(Signed::parse(&other).and_then(|signed| signed.verify(&*KEYS)).is_err());
    }
}

fn says(token: &Token) {
    let _ = token.check_time(1.8e9, 60.0);
    assert!(!token.payload.iter().any(u8::is_ascii_control));
    for part in [&token.header, &token.claims] {
        for name in part.keys() {
            let value = look_up(part, &[name]).expect("a member that is there");
            let mut out = b"before".to_vec();
            let found = text(value, &mut out);
            assert!(!out.iter().any(u8::is_ascii_control));
            assert!(found || out == b"before");
        }
    }
}
