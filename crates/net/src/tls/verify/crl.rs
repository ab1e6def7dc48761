//! Lists of revoked certificates (RFC 5280, section 5).

use super::certificate::{Certificate, key_fits, significant};
use super::{Malformed, Refusal, Verdict, signature};
use std::collections::HashSet;
use x509_parser::extensions::AuthorityKeyIdentifier;
use x509_parser::oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// A list, read once: there may be a hundred thousand numbers in it.
#[derive(Debug)]
pub(super) struct Crl {
    der: Vec<u8>,
    /// How many bytes of it are signed.
    signed: usize,
    signature: Vec<u8>,
    issuer: Vec<u8>,
    /// The identifier of the issuer's key, encoded.
    authority_key: Option<Vec<u8>>,
    this_update: i64,
    next_update: Option<i64>,
    revoked: HashSet<Box<[u8]>, foldhash::fast::FixedState>,
    unknown_critical: bool,
}

impl Crl {
    pub fn parse(der: &[u8]) -> Result<Crl, Malformed> {
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| Malformed)?;
        let tbs = &list.tbs_cert_list;
        if !rest.is_empty()
            || !signature::is_framed(der, tbs.as_ref().len(), &list.signature_value)
            || tbs.extensions_map().is_err()
            || list.signature_algorithm != tbs.signature
        {
            return Err(Malformed);
        }
        let authority_key = tbs.find_extension(&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER);
        let entries = || list.iter_revoked_certificates();
        Ok(Crl {
            signed: tbs.as_ref().len(),
            signature: list.signature_value.data.to_vec(),
            issuer: list.issuer().as_raw().to_vec(),
            authority_key: authority_key.map(|extension| extension.value.to_vec()),
            this_update: list.last_update().timestamp(),
            next_update: list.next_update().map(|time| time.timestamp()),
            revoked: entries().map(|entry| significant(entry.raw_serial()).into()).collect(),
            // A list for a part of what the issuer issued, or with numbers of other issuers, says so in a critical extension.
            unknown_critical: tbs.iter_extensions().any(|extension| extension.critical)
                || entries().any(|entry| entry.extensions().iter().any(|extension| extension.critical)),
            der: der.to_vec(),
        })
    }

    fn is_in_force(&self, now: i64) -> bool {
        self.this_update <= now && self.next_update.is_none_or(|next| now <= next)
    }

    fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        signature::is_signed(issuer.parsed(), &self.der, self.signed, &self.signature)
    }

    /// Whether its own words fit the key of this issuer.
    fn fits(&self, issuer: &Certificate<'_>) -> bool {
        let Some(value) = &self.authority_key else { return true };
        AuthorityKeyIdentifier::from_der(value).is_ok_and(|(_, key)| key_fits(&key, issuer))
    }
}

/// Looks for a certificate in its issuer's list: the one in force, of several the newest.
pub(super) fn check(
    lists: &[Crl],
    certificate: &Certificate<'_>,
    issuer: Option<&Certificate<'_>>,
    now: i64,
    verdict: &mut Verdict,
) {
    let list = lists
        .iter()
        .filter(|list| list.issuer == certificate.issuer())
        .filter(|list| issuer.is_none_or(|issuer| list.fits(issuer)))
        .max_by_key(|list| (list.is_in_force(now), list.this_update));
    let Some(list) = list else { return verdict.refuse_if(true, Refusal::NoCrl) };
    let Some(issuer) = issuer else { return verdict.refuse_if(true, Refusal::NoCrlIssuer) };
    verdict.refuse_if(!issuer.may_sign_lists(), Refusal::NoCrlSigning);
    verdict.refuse_if(now < list.this_update, Refusal::CrlNotYetValid);
    verdict.refuse_if(list.next_update.is_some_and(|next| now > next), Refusal::CrlExpired);
    verdict.refuse_if(!list.is_signed_by(issuer), Refusal::BadCrlSignature);
    verdict.refuse_if(list.unknown_critical, Refusal::UnhandledCriticalCrl);
    verdict.refuse_if(list.revoked.contains(certificate.serial()), Refusal::Revoked);
}
