//! Whether a chain of certificates leads to one that is trusted, as OpenSSL answers it for nginx.
//!
//! webpki answers a stricter question: it refuses certificates without alternative names, of version 1, or of authorities where a
//! server's is expected, which are in use wherever `openssl req -x509` made them, and it does not look at the dates of what is
//! trusted. So the path is found here; signatures are checked by rustls's cryptography, and constraints of names by webpki.

pub(super) mod certificate;
mod crl;
mod name;
mod refusal;
pub(super) mod signature;

use certificate::{Authority, Certificate};
use crl::Crl;
use rustls::pki_types::{CertificateDer, UnixTime};

pub use name::matches_name;
pub use refusal::Refusal;
pub use signature::{schemes, verify_handshake};

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To show that it is the server.
    Server,
    /// To show who the client is.
    Client,
}

/// Whom to trust: authorities (`ssl_client_certificate`, `proxy_ssl_trusted_certificate`) and what they have revoked.
#[derive(Debug, Default)]
pub struct Trust {
    anchors: Vec<Anchor>,
    /// `None` asks for no lists; otherwise every certificate of a path needs one of its issuer.
    crls: Option<Vec<Crl>>,
}

/// A certificate that is trusted.
#[derive(Debug)]
struct Anchor {
    der: Vec<u8>,
    /// Its subject as it is encoded.
    subject: Vec<u8>,
}

/// A certificate or a list of revoked ones that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Trust {
    /// Trusts these certificates (DER).
    pub fn new<'d>(certificates: impl IntoIterator<Item = &'d [u8]>) -> Result<Trust, Malformed> {
        let mut anchors: Vec<Anchor> = Vec::new();
        for der in certificates {
            let subject = Certificate::parse(der)?.subject().to_vec();
            if anchors.iter().all(|known| known.der != der) {
                anchors.push(Anchor { der: der.to_vec(), subject });
            }
        }
        Ok(Trust { anchors, crls: None })
    }

    /// Refuses what these lists (DER) revoke, and every certificate whose issuer has no list among them.
    pub fn with_crls<'d>(mut self, lists: impl IntoIterator<Item = &'d [u8]>) -> Result<Trust, Malformed> {
        self.crls = Some(lists.into_iter().map(Crl::parse).collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Verifies what the peer has shown (its own certificate first), with at most `depth` certificates between its own and the
    /// trusted one. Where several things are wrong, the last that OpenSSL finds is said, as nginx does.
    pub fn verify(
        &self,
        shown: &[CertificateDer<'_>],
        depth: usize,
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let seconds = i64::try_from(now.as_secs()).map_err(|_| Refusal::Unspecified)?;
        let mut pool = Vec::with_capacity(shown.len());
        for der in shown {
            pool.push(Certificate::parse(der).map_err(|Malformed| Refusal::Unspecified)?);
        }
        if pool.is_empty() {
            return Err(Refusal::Unspecified);
        }
        let path = self.path(pool, depth, seconds);
        let mut verdict = Verdict(path.fault);
        path.extensions(purpose, &mut verdict);
        if let Some(lists) = &self.crls {
            path.revocation(lists, seconds, &mut verdict);
        }
        path.signatures_and_dates(seconds, &mut verdict);
        path.names(purpose, now, &mut verdict);
        verdict.0.map_or(Ok(()), Err)
    }

    /// The certificates (DER) of the path that [`Trust::verify`] has found, the peer's own first.
    pub fn chain(&self, shown: &[CertificateDer<'_>], depth: usize, now: UnixTime) -> Vec<Vec<u8>> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let pool: Vec<_> = shown.iter().map_while(|der| Certificate::parse(der).ok()).collect();
        if pool.is_empty() {
            return Vec::new();
        }
        self.path(pool, depth, now)
            .certificates
            .iter()
            .map(|certificate| certificate.der().to_vec())
            .collect()
    }

    /// Goes from the peer's certificate, the first of `pool`, from issuer to issuer. What is trusted comes before what was shown,
    /// and above something trusted is only what is trusted.
    fn path<'a>(&'a self, mut pool: Vec<Certificate<'a>>, depth: usize, now: i64) -> Path<'a> {
        let mut certificates = vec![pool.remove(0)];
        let mut trusted = 0;
        let fault = loop {
            let Some(last) = certificates.last() else { break Some(Refusal::Unspecified) };
            if last.is_self_signed() {
                if self.anchors.iter().any(|anchor| anchor.der == last.der()) {
                    break None;
                }
                let alone = certificates.len() == 1;
                break Some(if alone { Refusal::SelfSigned } else { Refusal::SelfSignedInChain });
            }
            let unknown = if trusted > 0 { Refusal::IssuerNotFound } else { Refusal::IssuerNotFoundLocally };
            if certificates.len() > depth.saturating_add(1) {
                // OpenSSL finds "certificate chain too long" first and then says that it did not look further.
                break Some(unknown);
            }
            if let Some(issuer) = self.issuer(last, &certificates, now) {
                trusted += 1;
                certificates.push(issuer);
            } else if trusted == 0
                && let Some(at) = shown_issuer(last, &pool, now)
            {
                certificates.push(pool.swap_remove(at));
            } else {
                break Some(unknown);
            }
        };
        Path { certificates, fault }
    }

    /// The trusted certificate that issued this one: of several with its name, one whose key fits and that is valid.
    fn issuer<'a>(
        &'a self,
        of: &Certificate<'a>,
        path: &[Certificate<'a>],
        now: i64,
    ) -> Option<Certificate<'a>> {
        let mut named: Vec<Certificate<'a>> = self
            .anchors
            .iter()
            .filter(|anchor| anchor.subject == of.issuer())
            .filter(|anchor| path.iter().all(|passed| passed.der() != anchor.der))
            .filter_map(|anchor| Certificate::parse(&anchor.der).ok())
            .filter(|candidate| of.may_be_issued_by(candidate))
            .collect();
        if named.len() > 1 {
            named.sort_by_key(|issuer| (of.is_signed_by(issuer), issuer.is_valid(now)));
        }
        named.pop()
    }
}

/// The same among what was shown. Its signature is looked at afterwards: a peer cannot make us check many.
fn shown_issuer(of: &Certificate<'_>, pool: &[Certificate<'_>], now: i64) -> Option<usize> {
    let mut named = pool.iter().enumerate().filter(|(_, candidate)| of.may_be_issued_by(candidate));
    let (first, certificate) = named.next()?;
    if certificate.is_valid(now) {
        return Some(first);
    }
    Some(named.find(|(_, candidate)| candidate.is_valid(now)).map_or(first, |(at, _)| at))
}

/// The last thing that was found wrong.
struct Verdict(Option<Refusal>);

impl Verdict {
    fn refuse_if(&mut self, wrong: bool, refusal: Refusal) {
        if wrong {
            self.0 = Some(refusal);
        }
    }
}

/// The certificates from the peer's own upwards.
struct Path<'a> {
    certificates: Vec<Certificate<'a>>,
    /// Why it does not end at something trusted.
    fault: Option<Refusal>,
}

impl Path<'_> {
    /// What certificates say about what they may be used for (RFC 5280, section 6.1.4).
    fn extensions(&self, purpose: Purpose, verdict: &mut Verdict) {
        let last = self.certificates.len() - 1;
        // Authorities between, not counting those that follow themselves.
        let mut between = 0;
        for (at, certificate) in self.certificates.iter().enumerate() {
            verdict.refuse_if(certificate.has_unknown_critical(), Refusal::UnhandledCritical);
            if at == 0 {
                verdict.refuse_if(!certificate.is_for(purpose), Refusal::WrongPurpose);
                continue;
            }
            let authority = certificate.authority();
            verdict.refuse_if(
                authority == Authority::No || (at < last && authority != Authority::Yes),
                Refusal::InvalidAuthority,
            );
            verdict.refuse_if(
                authority == Authority::No || !certificate.may_issue_for(purpose),
                Refusal::WrongPurpose,
            );
            verdict.refuse_if(
                at > 1 && certificate.path_length().is_some_and(|most| between > most),
                Refusal::PathTooLong,
            );
            if certificate.subject() != certificate.issuer() {
                between += 1;
            }
        }
    }

    /// Every certificate needs a list of its issuer that is in force and does not name it.
    fn revocation(&self, lists: &[Crl], now: i64, verdict: &mut Verdict) {
        for (at, certificate) in self.certificates.iter().enumerate() {
            let issuer = match self.certificates.get(at + 1) {
                Some(issuer) => Some(issuer),
                None => Some(certificate).filter(|certificate| certificate.is_self_signed()),
            };
            crl::check(lists, certificate, issuer, now, verdict);
        }
    }

    /// From the top down, so that what is wrong with the peer's own certificate is what is said.
    fn signatures_and_dates(&self, now: i64, verdict: &mut Verdict) {
        let alone = self.certificates.len() == 1;
        for (at, certificate) in self.certificates.iter().enumerate().rev() {
            match self.certificates.get(at + 1) {
                Some(issuer) => {
                    verdict.refuse_if(!issuer.may_sign(), Refusal::NoCertificateSigning);
                    verdict.refuse_if(!certificate.is_signed_by(issuer), Refusal::BadSignature);
                }
                None if certificate.is_self_signed() => {}
                None if alone => verdict.refuse_if(true, Refusal::FirstNotVerified),
                // The path has no end, which has been said.
                None => continue,
            }
            verdict.refuse_if(now < certificate.not_before(), Refusal::NotYetValid);
            verdict.refuse_if(now > certificate.not_after(), Refusal::Expired);
        }
    }

    /// Where an authority may issue only for some names, webpki says whether it did. It knows nothing of names that stand in the
    /// subject alone, so a server's certificate has to have others here.
    fn names(&self, purpose: Purpose, now: UnixTime, verdict: &mut Verdict) {
        let Some((leaf, above)) = self.certificates.split_first() else { return };
        if verdict.0.is_some() || above.iter().all(|certificate| !certificate.constrains_names()) {
            return;
        }
        let nameless = purpose == Purpose::Server && !leaf.has_dns_names();
        let kept = !nameless && signature::webpki_accepts(leaf, above, purpose, now);
        verdict.refuse_if(!kept, Refusal::NameNotPermitted);
    }
}

#[cfg(test)]
mod tests;
