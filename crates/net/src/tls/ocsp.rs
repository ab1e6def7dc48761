//! What an authority says about a certificate when it is asked whether it was revoked (OCSP, RFC 6960), as OpenSSL asks and checks
//! it for nginx.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::UnixTime;
use x509_cert::der::asn1::{Null, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, Request, ResponderId, SingleResponse, TbsRequest, Version,
};
use x509_parser::asn1_rs::{Any, FromDer, Sequence};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_OCSP, OID_PKIX_AUTHORITY_INFO_ACCESS};

use super::verify::certificate::Certificate;
use super::verify::{Malformed, signature};

/// The hash that names issuers: what nginx asks with, and every responder knows.
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

/// `id-pkix-ocsp-basic`, the one kind of answer that there is.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");

/// How far clocks may differ, in seconds, as in nginx.
const SKEW: i64 = 300;

/// A certificate that its issuer is asked about.
#[derive(Debug)]
pub struct Question {
    issuer: Vec<u8>,
    id: CertId,
    responder: Option<String>,
}

/// What the issuer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it was revoked.
    pub status: Status,
    /// Until when this counts, in seconds since 1970; none where a new answer may be had at any time.
    pub next_update: Option<u64>,
}

/// Who may have signed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The issuer, or who it has told to (RFC 6960, 4.2.2.2).
    Authorized,
    /// Anybody whose certificate comes with it: for who passes it on to somebody that looks at that.
    Anybody,
}

/// Whether a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was not.
    Good,
    /// It was.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// Why an answer is none. `Display` is what nginx and OpenSSL say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// It cannot be read.
    Malformed,
    /// The responder refuses to answer.
    NotSuccessful(OcspResponseStatus),
    /// It is of a kind that nobody knows.
    UnknownKind,
    /// Who signed it is not named in it, and is not the issuer.
    NoSigner,
    /// Who signed it was not told to by the issuer.
    NotAuthorized,
    /// The signature is wrong.
    BadSignature,
    /// It is about other certificates.
    NotFound,
    /// It says something that must be understood, and is not.
    UnhandledCritical,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verify = |f: &mut fmt::Formatter<'_>, why| write!(f, "OCSP_basic_verify() failed (SSL: {why})");
        match self {
            AnswerError::Malformed => f.write_str("d2i_OCSP_RESPONSE() failed"),
            AnswerError::NotSuccessful(status) => {
                let (number, words) = match status {
                    OcspResponseStatus::Successful => (0, "successful"),
                    OcspResponseStatus::MalformedRequest => (1, "malformedrequest"),
                    OcspResponseStatus::InternalError => (2, "internalerror"),
                    OcspResponseStatus::TryLater => (3, "trylater"),
                    OcspResponseStatus::SigRequired => (5, "sigrequired"),
                    OcspResponseStatus::Unauthorized => (6, "unauthorized"),
                };
                write!(f, "OCSP response not successful ({number}: {words})")
            }
            AnswerError::UnknownKind => f.write_str("OCSP_response_get1_basic() failed"),
            AnswerError::NoSigner => verify(f, "signer certificate not found"),
            AnswerError::NotAuthorized => verify(f, "missing ocspsigning usage"),
            AnswerError::BadSignature => verify(f, "signature failure"),
            AnswerError::NotFound => f.write_str("certificate status not found in the OCSP response"),
            AnswerError::UnhandledCritical => verify(f, "unhandled critical extension"),
            AnswerError::NotYetValid => {
                f.write_str("OCSP_check_validity() failed (SSL: status not yet valid)")
            }
            AnswerError::Expired => f.write_str("OCSP_check_validity() failed (SSL: status expired)"),
        }
    }
}

impl std::error::Error for AnswerError {}

impl Question {
    /// Asks about a certificate (DER) that `issuer` (DER) has issued.
    pub fn new(certificate: &[u8], issuer: &[u8]) -> Result<Question, Malformed> {
        let (about, by) = (Certificate::parse(certificate)?, Certificate::parse(issuer)?);
        let octets = |bytes: &[u8]| OctetString::new(bytes).map_err(|_| Malformed);
        let id = CertId {
            hash_algorithm: AlgorithmIdentifierOwned { oid: SHA1, parameters: Some(Null.into()) },
            issuer_name_hash: octets(&sha1(by.subject()))?,
            issuer_key_hash: octets(&sha1(by.key()))?,
            serial_number: SerialNumber::new(about.parsed().raw_serial()).map_err(|_| Malformed)?,
        };
        Ok(Question { issuer: issuer.to_vec(), id, responder: responder(&about) })
    }

    /// Asks about a certificate that one of these has issued; none where none of them has.
    pub fn among<'d>(certificate: &[u8], issuers: impl IntoIterator<Item = &'d [u8]>) -> Option<Question> {
        let about = Certificate::parse(certificate).ok()?;
        let has_issued = |der: &&[u8]| {
            Certificate::parse(der).is_ok_and(|by| about.may_be_issued_by(&by) && about.is_signed_by(&by))
        };
        Question::new(certificate, issuers.into_iter().find(has_issued)?).ok()
    }

    /// The question as it is sent (DER). As in nginx it has no nonce, so that responders can answer from what they have signed
    /// before; how old an answer is, it says itself.
    pub fn request(&self) -> Result<Vec<u8>, Malformed> {
        let request = Request { req_cert: self.id.clone(), single_request_extensions: None };
        let tbs_request = TbsRequest {
            version: Version::V1,
            requestor_name: None,
            request_list: vec![request],
            request_extensions: None,
        };
        OcspRequest { tbs_request, optional_signature: None }.to_der().map_err(|_| Malformed)
    }

    /// What tells the certificate from all others.
    pub fn key(&self) -> Vec<u8> {
        [
            self.id.issuer_name_hash.as_bytes(),
            self.id.issuer_key_hash.as_bytes(),
            self.id.serial_number.as_bytes(),
        ]
        .concat()
    }

    /// The URL where its issuer answers, as the certificate says.
    pub fn responder(&self) -> Option<&str> {
        self.responder.as_deref()
    }

    /// Reads an answer (DER): it must be signed by `signer`, be about this certificate, and be in force.
    pub fn read(&self, answer: &[u8], now: UnixTime, signer: Signer) -> Result<Answer, AnswerError> {
        let now = i64::try_from(now.as_secs()).map_err(|_| AnswerError::Malformed)?;
        let response = OcspResponse::from_der(answer).map_err(|_| AnswerError::Malformed)?;
        if response.response_status != OcspResponseStatus::Successful {
            return Err(AnswerError::NotSuccessful(response.response_status));
        }
        let bytes = response.response_bytes.ok_or(AnswerError::UnknownKind)?;
        if bytes.response_type != BASIC {
            return Err(AnswerError::UnknownKind);
        }
        let whole = bytes.response.as_bytes();
        let basic = BasicOcspResponse::from_der(whole).map_err(|_| AnswerError::Malformed)?;
        self.check_signer(&basic, whole, now, signer)?;
        let found = basic.tbs_response_data.responses.iter().find(|single| same(&single.cert_id, &self.id));
        let found = found.ok_or(AnswerError::NotFound)?;
        let extensions = [&basic.tbs_response_data.response_extensions, &found.single_extensions];
        if extensions.into_iter().flatten().flatten().any(|extension| extension.critical) {
            return Err(AnswerError::UnhandledCritical);
        }
        in_force(found, now)
    }

    fn check_signer(
        &self,
        basic: &BasicOcspResponse,
        whole: &[u8],
        now: i64,
        by: Signer,
    ) -> Result<(), AnswerError> {
        let malformed = |_| AnswerError::Malformed;
        let issuer = Certificate::parse(&self.issuer).map_err(|Malformed| AnswerError::Malformed)?;
        let mut brought = Vec::new();
        for certificate in basic.certs.iter().flatten() {
            brought.push(certificate.to_der().map_err(malformed)?);
        }
        let is_named = |candidate: &Certificate<'_>| match &basic.tbs_response_data.responder_id {
            ResponderId::ByName(name) => name.to_der().is_ok_and(|name| name == candidate.subject()),
            ResponderId::ByKey(hash) => hash.as_bytes() == sha1(candidate.key()),
        };
        let is_signed = |by: &Certificate<'_>| {
            let signature = basic.signature.as_bytes().ok_or(AnswerError::Malformed)?;
            let (_, sequence) = Sequence::from_der(whole).map_err(|_| AnswerError::Malformed)?;
            let (behind, _) = Any::from_der(&sequence.content).map_err(|_| AnswerError::Malformed)?;
            let length = sequence.content.len() - behind.len();
            match signature::is_signed(by.parsed(), whole, length, signature) {
                true => Ok(()),
                false => Err(AnswerError::BadSignature),
            }
        };
        if is_named(&issuer) {
            return is_signed(&issuer);
        }
        let brought = brought.iter().filter_map(|der| Certificate::parse(der).ok()).find(is_named);
        let signer = brought.ok_or(AnswerError::NoSigner)?;
        is_signed(&signer)?;
        if by == Signer::Anybody {
            return Ok(());
        }
        let may = signer.may_be_issued_by(&issuer)
            && signer.is_signed_by(&issuer)
            && signer.may_sign_answers()
            && signer.is_valid(now)
            && !signer.has_unknown_critical();
        if may { Ok(()) } else { Err(AnswerError::NotAuthorized) }
    }
}

fn in_force(found: &SingleResponse, now: i64) -> Result<Answer, AnswerError> {
    let seconds = |time: &OcspGeneralizedTime| time.0.to_unix_duration().as_secs();
    let signed = |time: &OcspGeneralizedTime| i64::try_from(seconds(time)).unwrap_or(i64::MAX);
    if signed(&found.this_update) > now.saturating_add(SKEW) {
        return Err(AnswerError::NotYetValid);
    }
    if found.next_update.as_ref().is_some_and(|next| signed(next) < now.saturating_sub(SKEW)) {
        return Err(AnswerError::Expired);
    }
    let status = match found.cert_status {
        CertStatus::Good(_) => Status::Good,
        CertStatus::Revoked(_) => Status::Revoked,
        CertStatus::Unknown(_) => Status::Unknown,
    };
    Ok(Answer { status, next_update: found.next_update.as_ref().map(seconds) })
}

/// Whether two names are of the same certificate; parameters of a hash that has none are written in two ways.
fn same(one: &CertId, other: &CertId) -> bool {
    one.hash_algorithm.oid == other.hash_algorithm.oid
        && one.issuer_name_hash == other.issuer_name_hash
        && one.issuer_key_hash == other.issuer_key_hash
        && one.serial_number == other.serial_number
}

fn responder(certificate: &Certificate<'_>) -> Option<String> {
    let extension = certificate.parsed().get_extension_unique(&OID_PKIX_AUTHORITY_INFO_ACCESS).ok()??;
    let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { return None };
    access.accessdescs.iter().find_map(|described| match &described.access_location {
        GeneralName::URI(url) if described.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP => {
            Some((*url).to_owned())
        }
        _ => None,
    })
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        SerialNumber as Number, SigningKey, date_time_ymd,
    };
    use x509_cert::der::asn1::{BitString, GeneralizedTime};
    use x509_cert::ext::Extension;
    use x509_cert::name::Name;
    use x509_ocsp::{ResponseBytes, ResponseData};

    use super::*;

    /// 2026-06-01, and how long answers of these tests count.
    const NOW: u64 = 1_780_272_000;
    const DAY: u64 = 86_400;

    /// An authority, what it has issued, and who signs for it.
    struct Issued {
        issuer: Vec<u8>,
        key: KeyPair,
        leaf: Vec<u8>,
        delegate: Vec<u8>,
        delegate_key: KeyPair,
    }

    fn issued(change_delegate: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let named = |name: &str| {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut authority = named("authority.test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = authority.self_signed(&key).unwrap().der().to_vec();
        let by = Issuer::from_params(&authority, &key);
        let mut params = named("client.test");
        params.serial_number = Some(Number::from(5_u64));
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &by).unwrap().der().to_vec();
        let delegate_key = KeyPair::generate().unwrap();
        let mut params = named("ocsp.test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        change_delegate(&mut params);
        let delegate = params.signed_by(&delegate_key, &by).unwrap().der().to_vec();
        Issued { issuer, key, leaf, delegate, delegate_key }
    }

    fn time(seconds: u64) -> OcspGeneralizedTime {
        GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(seconds)).unwrap().into()
    }

    impl Issued {
        fn question(&self) -> Question {
            Question::new(&self.leaf, &self.issuer).unwrap()
        }

        /// That the certificate is good for a day, changed before it is signed.
        fn answer(&self, by_delegate: bool, change: impl FnOnce(&mut ResponseData)) -> Vec<u8> {
            let (signer, key) =
                if by_delegate { (&self.delegate, &self.delegate_key) } else { (&self.issuer, &self.key) };
            let name = Name::from_der(Certificate::parse(signer).unwrap().subject()).unwrap();
            let single = SingleResponse {
                cert_id: self.question().id,
                cert_status: CertStatus::good(),
                this_update: time(NOW),
                next_update: Some(time(NOW + DAY)),
                single_extensions: None,
            };
            let mut tbs_response_data = ResponseData {
                version: Version::V1,
                responder_id: ResponderId::ByName(name),
                produced_at: time(NOW),
                responses: vec![single],
                response_extensions: None,
            };
            change(&mut tbs_response_data);
            let signature = key.sign(&tbs_response_data.to_der().unwrap()).unwrap();
            let basic = BasicOcspResponse {
                tbs_response_data,
                signature_algorithm: AlgorithmIdentifierOwned {
                    oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
                    parameters: None,
                },
                signature: BitString::from_bytes(&signature).unwrap(),
                certs: Some(vec![x509_cert::Certificate::from_der(signer).unwrap()]),
            };
            let response = OctetString::new(basic.to_der().unwrap()).unwrap();
            let response_bytes = Some(ResponseBytes { response_type: BASIC, response });
            OcspResponse { response_status: OcspResponseStatus::Successful, response_bytes }.to_der().unwrap()
        }

        fn read(&self, answer: &[u8], at: u64) -> Result<Status, AnswerError> {
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
            self.question().read(answer, at, Signer::Authorized).map(|answer| answer.status)
        }
    }

    #[test]
    fn an_answer_counts_from_when_it_was_made_until_it_says() {
        let issued = issued(|_| {});
        let answer = issued.answer(false, |_| {});
        for (at, expected) in [
            (NOW - 301, Err(AnswerError::NotYetValid)),
            (NOW - 300, Ok(Status::Good)),
            (NOW + DAY + 300, Ok(Status::Good)),
            (NOW + DAY + 301, Err(AnswerError::Expired)),
        ] {
            assert_eq!(issued.read(&answer, at), expected, "{at}");
        }
        let endless = issued.answer(false, |data| data.responses[0].next_update = None);
        assert_eq!(issued.read(&endless, NOW + 1000 * DAY), Ok(Status::Good));
    }

    #[test]
    fn the_issuer_signs_or_who_it_has_told_to() {
        let good = issued(|_| {});
        assert_eq!(good.read(&good.answer(true, |_| {}), NOW), Ok(Status::Good));
        let untold = issued(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!(untold.read(&untold.answer(true, |_| {}), NOW), Err(AnswerError::NotAuthorized));
        let expired = issued(|params| params.not_after = date_time_ymd(2026, 5, 1));
        assert_eq!(expired.read(&expired.answer(true, |_| {}), NOW), Err(AnswerError::NotAuthorized));
        // Another authority of the same name, and what it has told somebody.
        let other = issued(|_| {});
        let about_good = |data: &mut ResponseData| data.responses[0].cert_id = good.question().id;
        assert_eq!(good.read(&other.answer(false, about_good), NOW), Err(AnswerError::BadSignature));
        assert_eq!(good.read(&other.answer(true, about_good), NOW), Err(AnswerError::NotAuthorized));
        let nobody = |data: &mut ResponseData| {
            data.responder_id = ResponderId::ByKey(OctetString::new([7; 20]).unwrap());
        };
        assert_eq!(good.read(&good.answer(false, nobody), NOW), Err(AnswerError::NoSigner));
        let by_key = |data: &mut ResponseData| {
            let key = sha1(Certificate::parse(&good.issuer).unwrap().key());
            data.responder_id = ResponderId::ByKey(OctetString::new(key).unwrap());
        };
        assert_eq!(good.read(&good.answer(false, by_key), NOW), Ok(Status::Good));
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_none() {
        let issued = issued(|_| {});
        let other = |data: &mut ResponseData| {
            data.responses[0].cert_id.serial_number = SerialNumber::new(&[6]).unwrap();
        };
        assert_eq!(issued.read(&issued.answer(false, other), NOW), Err(AnswerError::NotFound));
        let critical = |data: &mut ResponseData| {
            let extn_value = OctetString::new([5, 0]).unwrap();
            let extension = Extension { extn_id: SHA1, critical: true, extn_value };
            data.responses[0].single_extensions = Some(vec![extension]);
        };
        assert_eq!(issued.read(&issued.answer(false, critical), NOW), Err(AnswerError::UnhandledCritical));
        let refused = OcspResponse { response_status: OcspResponseStatus::TryLater, response_bytes: None };
        let error = issued.read(&refused.to_der().unwrap(), NOW).unwrap_err();
        assert_eq!(error.to_string(), "OCSP response not successful (3: trylater)");
        // Nothing that lacks its end is one, and nothing panics.
        let whole = issued.answer(true, |_| {});
        for end in 0..whole.len() {
            assert_eq!(issued.read(&whole[..end], NOW), Err(AnswerError::Malformed), "{end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            // The certificates are not signed by the answer, and what is outside of the one that signs may be anything.
            let _ = issued.read(&changed, NOW);
        }
    }
}
