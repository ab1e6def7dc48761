//! Any bytes as an authority's answer about a certificate that it has revoked or does not know: none says that it is good.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use net::tls::ocsp::{Question, Signer, Status};
use rustls_pki_types::UnixTime;

/// 2030: the answers were made with `openssl ocsp`, and count until 2126.
const NOW: Duration = Duration::from_secs(1_900_000_000);
const AUTHORITY: &[u8] = include_bytes!("../fixtures/authority.der");
const CLIENT: &[u8] = include_bytes!("../fixtures/client.der");
const REVOKED: &[u8] = include_bytes!("../seeds/revocation/revoked");

fuzz_target!(|bytes: &[u8]| {
    let question = Question::new(CLIENT, AUTHORITY).expect("a question");
    let answer = question.read(bytes, UnixTime::since_unix_epoch(NOW), Signer::Authorized);
    let status = answer.map(|answer| answer.status);
    assert_ne!(status, Ok(Status::Good));
    if bytes == REVOKED {
        assert_eq!(status, Ok(Status::Revoked));
    }
});
