//! Any bytes as an API key, as a session id, as the address of a store: nothing panics, and what is taken is what it looks like.
#![no_main]

use auth::api_key::{self, Presented};
use auth::session;
use auth::store::{Address, hex, unhex};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(key) = Presented::parse(bytes) {
        assert_eq!(bytes.len(), api_key::LENGTH);
        let secret = bytes.strip_prefix(format!("dw_{}_", key.id).as_bytes()).expect("its id is in it");
        assert!(secret.iter().all(u8::is_ascii_alphanumeric));
        assert!(!key.matches(&[0; 32]));
    }
    if let Some(digest) = session::digest_of(bytes) {
        assert_eq!(bytes.len(), session::LENGTH);
        assert!(bytes.iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(unhex(&hex(&digest)), Some(digest));
    }
    if let Ok(text) = str::from_utf8(bytes) {
        if let Some(digest) = unhex(text) {
            assert_eq!(hex(&digest), text.to_ascii_lowercase());
        }
        if let Err(error) = Address::parse(text) {
            // A password in it is not said again. The words of the sentence itself may be.
            let said = |error: auth::store::StoreError| error.to_string();
            let about_nothing = Address::parse("").map_err(said).expect_err("nothing is no address");
            assert!(text.len() < 24 || about_nothing.contains(text) || !said(error).contains(text));
        }
    }
});
