//! Any bytes as the certificates that a peer shows: nobody is believed. What the authority has signed here is expired, or was
//! signed by somebody who is, and nothing else can have its signature.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use net::tls::verify::{Purpose, Refusal, Trust};
use rustls_pki_types::{CertificateDer, UnixTime};

/// 2030: made with `openssl ca`, the authority is good until 2126.
const NOW: Duration = Duration::from_secs(1_900_000_000);
const AUTHORITY: &[u8] = include_bytes!("../fixtures/authority.der");
const EXPIRED: [&[u8]; 2] =
    [include_bytes!("../seeds/certificate/expired"), include_bytes!("../seeds/certificate/expired_between")];

fuzz_target!(|bytes: &[u8]| {
    let trust = Trust::new([AUTHORITY]).expect("an authority");
    let now = UnixTime::since_unix_epoch(NOW);
    let shown = certificates(bytes);
    for purpose in [Purpose::Client, Purpose::Server] {
        let refusal = trust.verify(&shown, 5, purpose, now).expect_err("somebody is believed");
        if EXPIRED.contains(&bytes) {
            assert_eq!(refusal, Refusal::Expired);
        }
    }
    assert!(trust.chain(&shown, 5, now).len() <= shown.len() + 1);
});

/// The bytes, cut where each certificate says that it ends.
fn certificates(mut bytes: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut certificates = Vec::new();
    while let [0x30, 0x82, high, low, ..] = bytes {
        let end = (4 + usize::from(u16::from_be_bytes([*high, *low]))).min(bytes.len());
        certificates.push(CertificateDer::from(&bytes[..end]));
        bytes = &bytes[end..];
    }
    if !bytes.is_empty() {
        certificates.push(CertificateDer::from(bytes));
    }
    certificates
}
