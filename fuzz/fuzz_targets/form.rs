//! Any bytes as a form, and as the place that a login leads to: a value is found as it was sent, and no place is another host's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::destination::{self, Destination};
use wire::form;
use wire::uri;

fuzz_target!(|bytes: &[u8]| {
    place(bytes);
    for name in [&b"return"[..], b"user", b"token", b""] {
        if let Ok(Some(value)) = form::value(bytes, name) {
            assert!(value.len() <= bytes.len());
            place(&value);
        }
    }
    // Whatever somebody types arrives as it was typed.
    let mut sent = b"user=ada&password=".to_vec();
    bytes.iter().for_each(|byte| sent.extend_from_slice(format!("%{byte:02x}").as_bytes()));
    assert_eq!(form::value(&sent, b"password").as_ref(), Ok(&Some(bytes.to_vec())));
});

/// What a browser makes of a place (WHATWG URL): tabs and line ends go, `\` is `/`.
fn place(text: &[u8]) {
    let seen: Vec<u8> = text
        .iter()
        .filter(|byte| !b"\t\r\n".contains(byte))
        .map(|byte| if *byte == b'\\' { b'/' } else { *byte })
        .collect();
    match destination::of(text) {
        None => {}
        Some(Destination::Path) => {
            // What follows the path is decoded by nobody.
            let path = seen.split(|byte| b"?#".contains(byte)).next().unwrap_or_default();
            let mut plain = Vec::new();
            uri::unescape(path, &mut plain);
            for text in [&seen, &plain] {
                assert!(text.starts_with(b"/") && !text.starts_with(b"//"));
            }
            assert!(seen == text && text.iter().all(u8::is_ascii_graphic));
        }
        Some(Destination::Url(length)) => {
            let authority = destination::authority(text, length);
            assert_eq!(authority.len(), length);
            assert!(!authority.is_empty() && !authority.iter().any(|byte| b"@/?#\\".contains(byte)));
            let rest = &seen["https://".len() + length..];
            assert!(seen.starts_with(b"https://") && (rest.is_empty() || b"/?#".contains(&rest[0])));
        }
    }
}
