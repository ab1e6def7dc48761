//! What a certificate says, as far as trust is concerned.

use super::{Malformed, Purpose, signature};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{AuthorityKeyIdentifier, GeneralName, KeyUsage, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CERT_TYPE,
    OID_X509_EXT_CERTIFICATE_POLICIES, OID_X509_EXT_CRL_DISTRIBUTION_POINTS, OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

/// Extensions that are looked at, or that change nothing where nobody asks for a policy.
const KNOWN: [Oid<'static>; 10] = [
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
    OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_CERT_TYPE,
    OID_X509_EXT_CERTIFICATE_POLICIES,
    OID_X509_EXT_CRL_DISTRIBUTION_POINTS,
    OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
];

/// A certificate that has been read.
pub(in crate::tls) struct Certificate<'a> {
    parsed: X509Certificate<'a>,
}

/// Whether a certificate is one of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Authority {
    No,
    Yes,
    /// It does not say so, but is old enough to be one if it is trusted itself.
    Trusted,
}

impl<'a> Certificate<'a> {
    /// Reads it; what says the same twice, or what cannot be read to the end, is none.
    pub fn parse(der: &'a [u8]) -> Result<Certificate<'a>, Malformed> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| Malformed)?;
        let unread = |extension: &x509_parser::extensions::X509Extension<'_>| {
            KNOWN.contains(&extension.oid) && extension.parsed_extension().error().is_some()
        };
        if !rest.is_empty()
            || !signature::is_framed(der, parsed.tbs_certificate.as_ref().len(), &parsed.signature_value)
            || parsed.extensions_map().is_err()
            || parsed.iter_extensions().any(unread)
            || parsed.signature_algorithm != parsed.tbs_certificate.signature
        {
            return Err(Malformed);
        }
        Ok(Certificate { parsed })
    }

    pub fn der(&self) -> &'a [u8] {
        self.parsed.as_raw()
    }

    pub fn parsed(&self) -> &X509Certificate<'a> {
        &self.parsed
    }

    /// Its subject, encoded.
    pub fn subject(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject.as_raw()
    }

    /// The bits of its key.
    pub fn key(&self) -> &[u8] {
        &self.parsed.public_key().subject_public_key.data
    }

    /// Its issuer, encoded.
    pub fn issuer(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.issuer.as_raw()
    }

    /// Its number without leading zeros.
    pub fn serial(&self) -> &'a [u8] {
        significant(self.parsed.raw_serial())
    }

    pub fn not_before(&self) -> i64 {
        self.parsed.validity().not_before.timestamp()
    }

    pub fn not_after(&self) -> i64 {
        self.parsed.validity().not_after.timestamp()
    }

    pub fn is_valid(&self, now: i64) -> bool {
        (self.not_before()..=self.not_after()).contains(&now)
    }

    /// By its names; the signature is not looked at.
    pub fn is_self_signed(&self) -> bool {
        self.may_be_issued_by(self)
    }

    /// Whether names and identifiers fit; the signature is not looked at.
    pub fn may_be_issued_by(&self, issuer: &Certificate<'_>) -> bool {
        self.issuer() == issuer.subject() && self.authority_key().is_none_or(|key| key_fits(key, issuer))
    }

    pub fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        let length = self.parsed.tbs_certificate.as_ref().len();
        signature::is_signed(&issuer.parsed, self.der(), length, &self.parsed.signature_value.data)
    }

    fn extension(&self, oid: &Oid<'_>) -> Option<&ParsedExtension<'a>> {
        Some(self.parsed.get_extension_unique(oid).ok()??.parsed_extension())
    }

    fn authority_key(&self) -> Option<&AuthorityKeyIdentifier<'a>> {
        match self.extension(&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER)? {
            ParsedExtension::AuthorityKeyIdentifier(key) => Some(key),
            _ => None,
        }
    }

    fn subject_key(&self) -> Option<&'a [u8]> {
        match self.extension(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)? {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
            _ => None,
        }
    }

    fn key_usage(&self) -> Option<&KeyUsage> {
        match self.extension(&OID_X509_EXT_KEY_USAGE)? {
            ParsedExtension::KeyUsage(usage) => Some(usage),
            _ => None,
        }
    }

    /// Whether its key may sign certificates.
    pub fn may_sign(&self) -> bool {
        self.key_usage().is_none_or(KeyUsage::key_cert_sign)
    }

    /// Whether its key may sign lists of revoked certificates.
    pub fn may_sign_lists(&self) -> bool {
        self.key_usage().is_none_or(KeyUsage::crl_sign)
    }

    /// Whether its key may sign answers about what its issuer has revoked.
    pub fn may_sign_answers(&self) -> bool {
        matches!(
            self.extension(&OID_X509_EXT_EXTENDED_KEY_USAGE),
            Some(ParsedExtension::ExtendedKeyUsage(usage)) if usage.ocsp_signing
        )
    }

    pub fn authority(&self) -> Authority {
        if !self.may_sign() {
            return Authority::No;
        }
        match self.extension(&OID_X509_EXT_BASIC_CONSTRAINTS) {
            Some(ParsedExtension::BasicConstraints(constraints)) if constraints.ca => Authority::Yes,
            Some(_) => Authority::No,
            None if self.parsed.version() == X509Version::V1 && self.is_self_signed() => Authority::Trusted,
            None if self.key_usage().is_some() => Authority::Trusted,
            None => Authority::No,
        }
    }

    /// How many authorities may stand between it and the peer's certificate.
    pub fn path_length(&self) -> Option<u32> {
        match self.extension(&OID_X509_EXT_BASIC_CONSTRAINTS)? {
            ParsedExtension::BasicConstraints(constraints) => constraints.path_len_constraint,
            _ => None,
        }
    }

    /// Whether what it issues may be shown for this.
    pub fn may_issue_for(&self, purpose: Purpose) -> bool {
        match self.extension(&OID_X509_EXT_EXTENDED_KEY_USAGE) {
            Some(ParsedExtension::ExtendedKeyUsage(usage)) => match purpose {
                Purpose::Server => usage.server_auth,
                Purpose::Client => usage.client_auth,
            },
            Some(_) => false,
            None => true,
        }
    }

    /// Whether it may be shown for this itself.
    pub fn is_for(&self, purpose: Purpose) -> bool {
        let key = self.key_usage().is_none_or(|usage| {
            usage.digital_signature()
                || usage.key_agreement()
                || (purpose == Purpose::Server && usage.key_encipherment())
        });
        let kind = match self.extension(&OID_X509_EXT_CERT_TYPE) {
            Some(ParsedExtension::NSCertType(kind)) => match purpose {
                Purpose::Server => kind.ssl_server(),
                Purpose::Client => kind.ssl_client(),
            },
            Some(_) => false,
            None => true,
        };
        key && kind && self.may_issue_for(purpose)
    }

    /// Whether it says something that must be understood, and is not.
    pub fn has_unknown_critical(&self) -> bool {
        self.parsed.iter_extensions().any(|extension| extension.critical && !KNOWN.contains(&extension.oid))
    }

    pub fn constrains_names(&self) -> bool {
        self.extension(&OID_X509_EXT_NAME_CONSTRAINTS).is_some()
    }

    /// Its alternative names that are hosts.
    pub fn dns_names(&self) -> impl Iterator<Item = &'a str> {
        let names = match self.extension(&OID_X509_EXT_SUBJECT_ALT_NAME) {
            Some(ParsedExtension::SubjectAlternativeName(names)) => names.general_names.as_slice(),
            _ => &[],
        };
        names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
    }

    pub fn has_dns_names(&self) -> bool {
        self.dns_names().next().is_some()
    }
}

/// Whether a certificate is the issuer that an identifier points to, as far as both say.
pub(super) fn key_fits(key: &AuthorityKeyIdentifier<'_>, issuer: &Certificate<'_>) -> bool {
    let identifier = match (&key.key_identifier, issuer.subject_key()) {
        (Some(wanted), Some(has)) => wanted.0 == has,
        _ => true,
    };
    identifier && key.authority_cert_serial.is_none_or(|serial| significant(serial) == issuer.serial())
}

/// A number without leading zeros.
pub(super) fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
