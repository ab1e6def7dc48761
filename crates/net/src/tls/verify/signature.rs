//! Signatures, checked by rustls's cryptography.

use super::Purpose;
use super::certificate::Certificate;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::OnceLock;
use x509_parser::asn1_rs::{BitString, Sequence};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Every algorithm that is known.
fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    static ALGORITHMS: OnceLock<WebPkiSupportedAlgorithms> = OnceLock::new();
    ALGORITHMS.get_or_init(|| rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms)
}

/// Whether the key of `issuer` signed the first `length` bytes in the sequence `signed`, with the algorithm named behind them.
pub(in crate::tls) fn is_signed(
    issuer: &X509Certificate<'_>,
    signed: &[u8],
    length: usize,
    signature: &[u8],
) -> bool {
    let whole = content(signed).unwrap_or_default();
    let Some((message, behind)) = whole.split_at_checked(length) else { return false };
    let (Some(algorithm), Some(key)) = (content(behind), key_algorithm(issuer)) else { return false };
    let bits = &issuer.public_key().subject_public_key;
    algorithms()
        .all
        .iter()
        .filter(|known| *known.signature_alg_id() == *algorithm && *known.public_key_alg_id() == *key)
        .any(|known| known.verify_signature(&bits.data, message, signature).is_ok())
}

/// Whether a signed structure is framed as DER frames it: what is outside of the first `length` bytes in it is not signed, and the
/// parser takes other tags for it, too.
pub(super) fn is_framed(signed: &[u8], length: usize, signature: &BitString<'_>) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let behind = content(signed).and_then(|whole| whole.get(length..)).unwrap_or_default();
    let last = Sequence::from_der(behind).map_or(&[][..], |(rest, _)| rest);
    signed.first() == Some(&SEQUENCE)
        && behind.first() == Some(&SEQUENCE)
        && last.first() == Some(&BIT_STRING)
        && signature.unused_bits == 0
}

/// The algorithm of a certificate's key, encoded without its own tag.
fn key_algorithm<'a>(certificate: &X509Certificate<'a>) -> Option<&'a [u8]> {
    content(content(certificate.tbs_certificate.subject_pki.raw)?)
}

/// What stands in the sequence that comes first.
fn content(der: &[u8]) -> Option<&[u8]> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    match sequence.content {
        std::borrow::Cow::Borrowed(content) => Some(content),
        std::borrow::Cow::Owned(_) => None,
    }
}

/// Checks that the peer holds the key of its certificate, in TLS 1.2 and 1.3. rustls's own checks want more of the certificate than
/// that its key can be read.
pub fn verify_handshake(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    version: rustls::ProtocolVersion,
) -> Result<(), Error> {
    let certificate = Certificate::parse(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let info = certificate.parsed().public_key();
    if version == rustls::ProtocolVersion::TLSv1_3 {
        let key = SubjectPublicKeyInfoDer::from(info.raw);
        return rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signed, algorithms())
            .map(|_| ());
    }
    let key = key_algorithm(certificate.parsed());
    let known = algorithms().mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let fits = known
        .into_iter()
        .flat_map(|(_, algorithms)| algorithms.iter())
        .filter(|algorithm| Some(&*algorithm.public_key_alg_id()) == key)
        .any(|algorithm| {
            algorithm.verify_signature(&info.subject_public_key.data, message, signed.signature()).is_ok()
        });
    if fits { Ok(()) } else { Err(Error::InvalidCertificate(CertificateError::BadSignature)) }
}

/// The schemes that [`verify_handshake`] can check.
pub fn schemes() -> Vec<SignatureScheme> {
    algorithms().supported_schemes()
}

/// Whether webpki accepts a path, which ends at what is trusted.
pub(super) fn webpki_accepts(
    leaf: &Certificate<'_>,
    above: &[Certificate<'_>],
    purpose: Purpose,
    now: UnixTime,
) -> bool {
    let Some((anchor, between)) = above.split_last() else { return false };
    let (leaf, anchor) = (CertificateDer::from(leaf.der()), CertificateDer::from(anchor.der()));
    let between: Vec<_> = between.iter().map(|certificate| CertificateDer::from(certificate.der())).collect();
    let (Ok(leaf), Ok(anchor)) =
        (webpki::EndEntityCert::try_from(&leaf), webpki::anchor_from_trusted_cert(&anchor))
    else {
        return false;
    };
    let usage = match purpose {
        Purpose::Server => webpki::KeyUsage::server_auth(),
        Purpose::Client => webpki::KeyUsage::client_auth(),
    };
    leaf.verify_for_usage(algorithms().all, &[anchor], &between, now, usage, None, None).is_ok()
}
