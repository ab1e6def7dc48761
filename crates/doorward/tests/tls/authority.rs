//! Certificates for tests.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

/// A certificate with its key, in PEM format.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// One that signed itself.
pub fn self_signed(name: &str) -> Pair {
    self_signed_with(name, &PKCS_ECDSA_P256_SHA256)
}

/// The same with a key of RSA.
pub fn self_signed_rsa(name: &str) -> Pair {
    self_signed_with(name, &PKCS_RSA_SHA256)
}

fn self_signed_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Pair {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}
