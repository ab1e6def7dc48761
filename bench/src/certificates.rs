//! The certificates that the gateways show: of one name, with either kind of key.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

use crate::Outcome;

/// Writes `ecdsa.pem` and `rsa.pem` into the folder: a self-signed certificate and its key each.
pub(crate) fn write(folder: &Path) -> Outcome<()> {
    let kinds: [(&str, &'static SignatureAlgorithm); 2] =
        [("ecdsa.pem", &PKCS_ECDSA_P256_SHA256), ("rsa.pem", &PKCS_RSA_SHA256)];
    for (name, algorithm) in kinds {
        let key = KeyPair::generate_for(algorithm)?;
        let certificate = CertificateParams::new(["example.com".to_owned()])?.self_signed(&key)?;
        fs::write(folder.join(name), certificate.pem() + &key.serialize_pem())?;
    }
    Ok(())
}
