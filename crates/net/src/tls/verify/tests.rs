//! Chains made for the purpose, each with one thing wrong. What OpenSSL says of them was asked of OpenSSL 3.0.

use super::*;
use rcgen::{
    BasicConstraints, Certificate as Made, CertificateParams, CertificateRevocationListParams,
    CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::time::Duration;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

/// What a certificate is made of, before somebody signs it.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn changed(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

fn authority(name: &str) -> CertificateParams {
    changed(named(name), |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
}

/// A certificate with its key: it can issue others.
struct Holder {
    params: CertificateParams,
    key: KeyPair,
    made: Made,
}

impl Holder {
    fn self_signed(params: CertificateParams) -> Holder {
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Holder { params, key, made }
    }

    fn issue(&self, params: CertificateParams) -> Holder {
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        Holder { params, key, made }
    }

    /// A list that revokes these numbers, in force for some years.
    fn list(&self, years: std::ops::Range<i32>, revoked: &[u64]) -> Vec<u8> {
        let revoked_certs = revoked.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(years.start, 1, 1),
            next_update: date_time_ymd(years.end, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec()
    }
}

fn trust(holders: &[&Holder]) -> Trust {
    Trust::new(holders.iter().map(|holder| &holder.made.der()[..])).unwrap()
}

fn verify_for(trust: &Trust, shown: &[&Holder], depth: usize, purpose: Purpose) -> Result<(), Refusal> {
    let shown: Vec<_> = shown.iter().map(|holder| holder.made.der().clone()).collect();
    trust.verify(&shown, depth, purpose, UnixTime::since_unix_epoch(Duration::from_secs(NOW)))
}

fn verify(trust: &Trust, shown: &[&Holder]) -> Result<(), Refusal> {
    verify_for(trust, shown, 1, Purpose::Server)
}

#[test]
fn a_chain_to_a_trusted_root_is_accepted_with_or_without_the_root() {
    let root = Holder::self_signed(authority("root"));
    let between = root.issue(authority("between"));
    let leaf = between.issue(named("leaf"));
    assert_eq!(verify(&trust(&[&root]), &[&leaf, &between]), Ok(()));
    assert_eq!(verify(&trust(&[&root]), &[&leaf, &between, &root]), Ok(()));
    assert_eq!(verify(&trust(&[&between, &root]), &[&leaf]), Ok(()), "what is missing may be trusted");
    assert_eq!(verify(&trust(&[&root]), &[&between]), Ok(()), "an authority may be a server itself");
}

#[test]
fn what_is_not_trusted_is_refused_by_where_the_chain_ends() {
    let (root, other) = (Holder::self_signed(authority("root")), Holder::self_signed(authority("other")));
    let between = root.issue(authority("between"));
    let leaf = between.issue(named("leaf"));
    assert_eq!(verify(&trust(&[&root]), &[&leaf]), Err(Refusal::FirstNotVerified));
    assert_eq!(verify(&trust(&[&other]), &[&leaf, &between]), Err(Refusal::IssuerNotFoundLocally));
    assert_eq!(verify(&trust(&[&other]), &[&leaf, &between, &root]), Err(Refusal::SelfSignedInChain));
    assert_eq!(verify(&trust(&[&other]), &[&root]), Err(Refusal::SelfSigned));
    assert_eq!(verify(&trust(&[&between]), &[&leaf, &between, &root]), Err(Refusal::IssuerNotFound));
    assert_eq!(verify(&trust(&[&leaf]), &[&leaf]), Err(Refusal::FirstNotVerified));
    assert_eq!(verify(&Trust::default(), &[&leaf, &between, &root]), Err(Refusal::SelfSignedInChain));
    assert_eq!(verify(&trust(&[&root]), &[]), Err(Refusal::Unspecified));
}

#[test]
fn a_self_signed_certificate_is_trusted_when_it_is_in_the_file() {
    for params in [named("server"), authority("server")] {
        let own = Holder::self_signed(params);
        assert_eq!(verify(&trust(&[&own]), &[&own]), Ok(()));
    }
    let (own, imposter) = (Holder::self_signed(named("server")), Holder::self_signed(named("server")));
    assert_eq!(verify(&trust(&[&own]), &[&imposter]), Err(Refusal::SelfSigned));
}

#[test]
fn an_issuer_of_the_same_name_with_another_key_is_not_the_issuer() {
    let named = |name| changed(named(name), |params| params.use_authority_key_identifier_extension = false);
    let (root, imposter) = (Holder::self_signed(authority("root")), Holder::self_signed(authority("root")));
    let leaf = root.issue(named("leaf"));
    assert_eq!(verify(&trust(&[&imposter]), &[&leaf]), Err(Refusal::BadSignature));
    assert_eq!(verify(&trust(&[&imposter, &root]), &[&leaf]), Ok(()));
    assert_eq!(verify(&trust(&[&root, &imposter]), &[&leaf]), Ok(()));
}

/// Every way to change one byte a little.
fn changes(der: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..der.len()).flat_map(|at| [1, 0x20, 0x80].map(|bit| (at, bit))).map(|(at, bit)| {
        let mut changed = der.to_vec();
        changed[at] ^= bit;
        changed
    })
}

#[test]
fn a_changed_certificate_is_refused_whatever_was_changed() {
    let root = Holder::self_signed(authority("root"));
    let between = root.issue(authority("between"));
    let leaf = between.issue(named("leaf.test"));
    let trust = trust(&[&root]);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    let verdict = |leaf: Vec<u8>, between: Vec<u8>| {
        trust.verify(&[leaf.into(), between.into()], 1, Purpose::Server, now)
    };
    let (leaf, between) = (leaf.made.der().to_vec(), between.made.der().to_vec());
    assert_eq!(verdict(leaf.clone(), between.clone()), Ok(()));
    for changed in changes(&leaf) {
        assert!(verdict(changed.clone(), between.clone()).is_err(), "{changed:x?}");
    }
    for changed in changes(&between) {
        assert!(verdict(leaf.clone(), changed.clone()).is_err(), "{changed:x?}");
    }
}

#[test]
fn no_change_of_a_list_takes_a_revocation_back() {
    let root = Holder::self_signed(authority("root"));
    let leaf = root.issue(changed(named("leaf"), |params| params.serial_number = Some(201.into())));
    for changed in changes(&root.list(2025..2027, &[7, 201])) {
        if let Ok(trust) = trust(&[&root]).with_crls([&changed[..]]) {
            assert!(verify(&trust, &[&leaf]).is_err(), "{changed:x?}");
        }
    }
}

#[test]
fn dates_count_for_every_certificate_of_the_chain() {
    let over = |params| changed(params, |params| params.not_after = date_time_ymd(2025, 12, 31));
    let to_come = |params| changed(params, |params| params.not_before = date_time_ymd(2026, 1, 2));
    let root = Holder::self_signed(authority("root"));
    assert_eq!(verify(&trust(&[&root]), &[&root.issue(over(named("leaf")))]), Err(Refusal::Expired));
    assert_eq!(verify(&trust(&[&root]), &[&root.issue(to_come(named("leaf")))]), Err(Refusal::NotYetValid));
    let between = root.issue(over(authority("between")));
    assert_eq!(verify(&trust(&[&root]), &[&between.issue(named("leaf")), &between]), Err(Refusal::Expired));
    let root = Holder::self_signed(over(authority("root")));
    assert_eq!(verify(&trust(&[&root]), &[&root.issue(named("leaf"))]), Err(Refusal::Expired));
    let own = Holder::self_signed(over(named("own")));
    assert_eq!(verify(&trust(&[&own]), &[&own]), Err(Refusal::Expired));
}

#[test]
fn depth_counts_what_is_between_the_peer_and_the_root() {
    let root = Holder::self_signed(authority("root"));
    let upper = root.issue(authority("upper"));
    let lower = upper.issue(authority("lower"));
    let leaf = lower.issue(named("leaf"));
    let at = |depth, shown: &[&Holder]| verify_for(&trust(&[&root]), shown, depth, Purpose::Server);
    assert_eq!(at(0, &[&root.issue(named("leaf"))]), Ok(()));
    assert_eq!(at(0, &[&upper.issue(named("leaf")), &upper]), Err(Refusal::IssuerNotFoundLocally));
    assert_eq!(at(1, &[&leaf, &lower, &upper]), Err(Refusal::IssuerNotFoundLocally));
    assert_eq!(at(2, &[&leaf, &lower, &upper]), Ok(()));
    assert_eq!(at(2, &[&leaf, &upper, &lower, &root]), Ok(()), "they are sorted by who issued them");
}

#[test]
fn only_authorities_issue() {
    let root = Holder::self_signed(authority("root"));
    let server = root.issue(changed(named("server"), |params| params.is_ca = IsCa::ExplicitNoCa));
    assert_eq!(
        verify(&trust(&[&root]), &[&server.issue(named("leaf")), &server]),
        Err(Refusal::WrongPurpose)
    );
    let silent = root.issue(named("silent"));
    assert_eq!(
        verify(&trust(&[&root]), &[&silent.issue(named("leaf")), &silent]),
        Err(Refusal::WrongPurpose)
    );
    let own = Holder::self_signed(named("own"));
    assert_eq!(verify(&trust(&[&own]), &[&own.issue(named("leaf"))]), Err(Refusal::WrongPurpose));
    let usages = vec![KeyUsagePurpose::DigitalSignature];
    let signs_nothing = Holder::self_signed(changed(authority("root"), |params| params.key_usages = usages));
    let leaf = signs_nothing.issue(named("leaf"));
    assert_eq!(verify(&trust(&[&signs_nothing]), &[&leaf]), Err(Refusal::NoCertificateSigning));
}

#[test]
fn an_authority_limits_how_many_follow_it() {
    let root = Holder::self_signed(authority("root"));
    let none_below = IsCa::Ca(BasicConstraints::Constrained(0));
    let upper = root.issue(changed(authority("upper"), |params| params.is_ca = none_below));
    let lower = upper.issue(authority("lower"));
    let shown = [&lower.issue(named("leaf")), &lower, &upper];
    assert_eq!(verify_for(&trust(&[&root]), &shown, 2, Purpose::Server), Err(Refusal::PathTooLong));
    assert_eq!(verify(&trust(&[&root]), &[&upper.issue(named("leaf")), &upper]), Ok(()));
}

#[test]
fn a_certificate_is_used_for_what_it_is_for() {
    let root = Holder::self_signed(authority("root"));
    let usage = |usage| changed(named("leaf"), |params| params.extended_key_usages = vec![usage]);
    let server = root.issue(usage(ExtendedKeyUsagePurpose::ServerAuth));
    let client = root.issue(usage(ExtendedKeyUsagePurpose::ClientAuth));
    let as_client = |shown| verify_for(&trust(&[&root]), &[shown], 1, Purpose::Client);
    assert_eq!(verify(&trust(&[&root]), &[&server]), Ok(()));
    assert_eq!(verify(&trust(&[&root]), &[&client]), Err(Refusal::WrongPurpose));
    assert_eq!(as_client(&client), Ok(()));
    assert_eq!(as_client(&server), Err(Refusal::WrongPurpose));
    let key = |usage| changed(named("leaf"), |params| params.key_usages = vec![usage]);
    let encipherment = root.issue(key(KeyUsagePurpose::KeyEncipherment));
    assert_eq!(verify(&trust(&[&root]), &[&encipherment]), Ok(()));
    assert_eq!(as_client(&encipherment), Err(Refusal::WrongPurpose));
    assert_eq!(
        verify(&trust(&[&root]), &[&root.issue(key(KeyUsagePurpose::CrlSign))]),
        Err(Refusal::WrongPurpose)
    );
}

#[test]
fn what_must_be_understood_and_is_not_refuses() {
    let root = Holder::self_signed(authority("root"));
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    let with = |extension| changed(named("leaf"), |params| params.custom_extensions = vec![extension]);
    assert_eq!(verify(&trust(&[&root]), &[&root.issue(with(extension.clone()))]), Ok(()));
    extension.set_criticality(true);
    assert_eq!(verify(&trust(&[&root]), &[&root.issue(with(extension))]), Err(Refusal::UnhandledCritical));
}

#[test]
fn an_authority_may_be_limited_to_names() {
    let root = Holder::self_signed(authority("root"));
    let permitted = GeneralSubtree::DnsName("good.test".to_owned());
    let limits = NameConstraints { permitted_subtrees: vec![permitted], excluded_subtrees: Vec::new() };
    let limited = root.issue(changed(authority("limited"), |params| params.name_constraints = Some(limits)));
    let of = |host: &str| {
        let names = CertificateParams::new([host.to_owned()]).unwrap().subject_alt_names;
        verify(
            &trust(&[&root]),
            &[&limited.issue(changed(named("x"), |params| params.subject_alt_names = names)), &limited],
        )
    };
    assert_eq!(of("a.good.test"), Ok(()));
    assert_eq!(of("bad.test"), Err(Refusal::NameNotPermitted));
    let by_subject = limited.issue(named("bad.test"));
    assert_eq!(verify(&trust(&[&root]), &[&by_subject, &limited]), Err(Refusal::NameNotPermitted));
}

#[test]
fn lists_revoke_and_must_be_there_for_every_issuer() {
    let root = Holder::self_signed(authority("root"));
    let number = |params, number: u64| changed(params, |params| params.serial_number = Some(number.into()));
    let between = root.issue(number(authority("between"), 200));
    let leaf = between.issue(number(named("leaf"), 201));
    let with = |lists: &[Vec<u8>]| {
        let trust = trust(&[&root]).with_crls(lists.iter().map(|list| &list[..])).unwrap();
        verify(&trust, &[&leaf, &between])
    };
    let (of_root, of_between) = (root.list(2025..2027, &[7]), between.list(2025..2027, &[200]));
    assert_eq!(with(&[of_root.clone(), of_between.clone()]), Ok(()));
    assert_eq!(with(&[of_root.clone(), between.list(2025..2027, &[5, 201])]), Err(Refusal::Revoked));
    assert_eq!(with(&[root.list(2025..2027, &[200]), of_between.clone()]), Err(Refusal::Revoked));
    assert_eq!(with(std::slice::from_ref(&of_root)), Err(Refusal::NoCrl));
    assert_eq!(with(&[]), Err(Refusal::NoCrl));
    assert_eq!(with(&[of_root.clone(), between.list(2024..2025, &[])]), Err(Refusal::CrlExpired));
    assert_eq!(with(&[of_root.clone(), between.list(2027..2028, &[])]), Err(Refusal::CrlNotYetValid));
    let renewed = [of_root.clone(), between.list(2024..2025, &[201]), of_between.clone()];
    assert_eq!(with(&renewed), Ok(()), "the list in force is the one that counts");
    let mut forged = of_between.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(with(&[of_root, forged]), Err(Refusal::BadCrlSignature));
}

#[test]
fn what_cannot_be_read_is_not_trusted() {
    let root = Holder::self_signed(authority("root"));
    let mut longer = root.made.der().to_vec();
    longer.push(0);
    assert!(Trust::new([&longer[..]]).is_err());
    assert!(Trust::new([&longer[..longer.len() - 2]]).is_err());
    assert!(Trust::default().with_crls([&longer[..]]).is_err());
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
    assert_eq!(trust(&[&root]).verify(&[longer.into()], 1, Purpose::Server, now), Err(Refusal::Unspecified));
}

#[test]
fn names_are_those_of_hosts() {
    let of = |subject: &str, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names = CertificateParams::new(names).unwrap().subject_alt_names;
        Holder::self_signed(changed(named(subject), |params| params.subject_alt_names = names))
            .made
            .der()
            .to_vec()
    };
    let certificate = of("subject.test", &["one.test", "*.two.test", "*.test"]);
    let is = |host: &str| matches_name(&certificate, host.as_bytes());
    assert!(is("one.test") && is("ONE.test") && is("a.two.test"));
    for other in
        ["", "two.test", "a.b.two.test", ".two.test", "three.test", "subject.test", "*.two.test.", "one.tes"]
    {
        assert!(!is(other), "{other}");
    }
    // Only where there are no others are names in the subject those of hosts.
    let certificate = of("subject.test", &["127.0.0.1"]);
    assert!(matches_name(&certificate, b"subject.test"));
    assert!(!matches_name(&certificate, b"127.0.0.1"), "nginx compares addresses as names");
    assert!(matches_name(&of("127.0.0.1", &[]), b"127.0.0.1"));
    assert!(matches_name(&of("*.subject.test", &[]), b"a.subject.test"));
}
