//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its key, in PEM format.
pub struct Pair {
    /// The certificate, and those between it and its authority.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Pair {
    /// The same for a client.
    pub fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }
}

/// One that signed itself.
pub fn self_signed(name: &str) -> Pair {
    self_signed_with(name, &PKCS_ECDSA_P256_SHA256)
}

/// The same with a key of RSA.
pub fn self_signed_rsa(name: &str) -> Pair {
    self_signed_with(name, &PKCS_RSA_SHA256)
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn self_signed_with(name: &str, algorithm: &'static SignatureAlgorithm) -> Pair {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = params(name).self_signed(&key).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// Who issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM format.
    pub certificate: String,
}

impl Authority {
    /// One that nobody stands above.
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate with this number.
    pub fn issue(&self, name: &str, number: u64) -> Pair {
        self.issue_as(name, number, |_| {})
    }

    /// One whose time is over.
    pub fn issue_expired(&self, name: &str) -> Pair {
        self.issue_as(name, 1, |params| {
            params.not_before = date_time_ymd(2001, 2, 3);
            params.not_after = date_time_ymd(2002, 2, 3);
        })
    }

    /// An authority that stands below this one, with a certificate of this number that names this responder.
    pub fn below(&self, name: &str, number: u64, responder: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(SerialNumber::from(number));
        params.custom_extensions = vec![names_responder(responder)];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// One that names who answers about it (OCSP).
    pub fn issue_with_responder(&self, name: &str, number: u64, responder: &str) -> Pair {
        self.issue_as(name, number, |params| params.custom_extensions = vec![names_responder(responder)])
    }

    /// One for who answers in its name about what it has revoked.
    pub fn issue_to_responder(&self, name: &str) -> Pair {
        self.issue_as(name, 99, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        })
    }

    /// Its own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair { certificate: self.certificate.clone(), key: self.issuer.key().serialize_pem() }
    }

    fn issue_as(&self, name: &str, number: u64, change: impl Fn(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name);
        params.serial_number = Some(SerialNumber::from(number));
        params.distinguished_name.push(DnType::OrganizationName, "Doorward, Inc.");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// A list that revokes the certificates with these numbers.
    pub fn revoke(&self, numbers: &[u64]) -> String {
        let revoked = numbers.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// `authorityInfoAccess` with the URL of a responder (RFC 5280, 4.2.2.1).
fn names_responder(url: &str) -> CustomExtension {
    let length = |bytes: usize| u8::try_from(bytes).ok().filter(|length| *length < 0x80).unwrap();
    let framed = |tag: u8, content: &[u8]| [&[tag, length(content.len())], content].concat();
    let method = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
    let described = framed(0x30, &[&method[..], &framed(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], framed(0x30, &described))
}
