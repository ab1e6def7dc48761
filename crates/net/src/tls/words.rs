//! OpenSSL's words for protocols, cipher suites, groups and signatures, and what the library in use has of them.

use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::ciphers::CIPHERS;

/// What words stand for, and those of them that stand for nothing here.
#[derive(Clone, Debug)]
pub struct Chosen<T> {
    /// What is there, in order of preference.
    pub chosen: Vec<T>,
    /// Words of OpenSSL's for what the library does not have.
    pub dropped: Vec<String>,
    /// Words that OpenSSL does not know either.
    pub unknown: Vec<String>,
}

impl<T> Default for Chosen<T> {
    fn default() -> Self {
        Chosen { chosen: Vec::new(), dropped: Vec::new(), unknown: Vec::new() }
    }
}

/// The versions that `ssl_protocols` names: `TLSv1.2`, `TLSv1.3`; older ones are dropped.
pub fn protocols<'a>(words: impl Iterator<Item = &'a str>) -> Chosen<&'static SupportedProtocolVersion> {
    let mut found = Chosen::default();
    for word in words {
        match word {
            "TLSv1.2" => found.chosen.push(&rustls::version::TLS12),
            "TLSv1.3" => found.chosen.push(&rustls::version::TLS13),
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => found.dropped.push(word.to_owned()),
            _ => found.unknown.push(word.to_owned()),
        }
    }
    found
}

/// A cipher suite of TLS 1.2.
struct Suite {
    suite: SupportedCipherSuite,
    name: &'static str,
    /// Signs with ECDSA, not with RSA.
    ecdsa: bool,
    /// Bits of its key.
    bits: u16,
    chacha: bool,
}

/// All that there are, as OpenSSL orders them.
static SUITES: [Suite; 6] = [
    suite(
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        true,
        256,
        false,
    ),
    suite(
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        false,
        256,
        false,
    ),
    suite(
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        true,
        256,
        true,
    ),
    suite(
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        false,
        256,
        true,
    ),
    suite(
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        true,
        128,
        false,
    ),
    suite(
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        false,
        128,
        false,
    ),
];

const fn suite(
    suite: SupportedCipherSuite,
    name: &'static str,
    ecdsa: bool,
    bits: u16,
    chacha: bool,
) -> Suite {
    Suite { suite, name, ecdsa, bits, chacha }
}

/// Those of TLS 1.3, which OpenSSL's cipher strings have no part in, as OpenSSL orders them.
pub static TLS13_SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
];

/// OpenSSL's words for groups of cipher suites none of which the library has.
static EMPTY_GROUPS: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "EDH",
    "EXP",
    "EXPORT",
    "IDEA",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "aDSS",
    "aNULL",
    "aPSK",
    "aSRP",
    "eNULL",
    "kDH",
    "kDHE",
    "kDHEPSK",
    "kECDHEPSK",
    "kEDH",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
];

impl Suite {
    /// Whether the word stands for this suite, alone or among others.
    fn is(&self, word: &str) -> bool {
        match word {
            "ALL" | "DEFAULT" | "HIGH" | "TLSv1.2" | "FIPS" | "ECDHE" | "EECDH" | "ECDH" | "kECDHE"
            | "kEECDH" => true,
            "ECDSA" | "aECDSA" => self.ecdsa,
            "aRSA" => !self.ecdsa,
            "AES" | "AESGCM" => !self.chacha,
            "AES128" => self.bits == 128,
            "AES256" => self.bits == 256 && !self.chacha,
            "CHACHA20" => self.chacha,
            _ => self.name == word,
        }
    }
}

/// The cipher suites of TLS 1.2 that a string of OpenSSL's asks for (openssl-ciphers(1)), best first.
///
/// Words for TLS 1.3 are passed over, as OpenSSL does: its suites are always there.
pub fn ciphers(list: &str) -> Chosen<SupportedCipherSuite> {
    let mut found = Chosen::default();
    let mut active: Vec<&Suite> = Vec::new();
    let mut killed: Vec<&'static str> = Vec::new();
    for token in list.split([':', ',', ' ', ';']).filter(|token| !token.is_empty()) {
        if token == "@STRENGTH" {
            active.sort_by_key(|suite| std::cmp::Reverse(suite.bits));
            continue;
        }
        let (mark, word) = match token.strip_prefix(['!', '-', '+']) {
            Some(word) => (token.as_bytes().first().copied(), word),
            None => (None, token),
        };
        if word.starts_with('@') || word.starts_with("TLS_") {
            continue;
        }
        let selected = |suite: &&Suite| word.split('+').all(|part| suite.is(part));
        let matching: Vec<&Suite> = SUITES.iter().filter(selected).collect();
        match mark {
            Some(mark) => {
                let (taken, kept): (Vec<&Suite>, Vec<&Suite>) = active.into_iter().partition(selected);
                active = kept;
                match mark {
                    b'+' => active.extend(taken),
                    b'!' => killed.extend(matching.iter().map(|suite| suite.name)),
                    _ => {}
                }
            }
            None if matching.is_empty() => {
                let known = |part: &str| is_known(part);
                let words = if word.split('+').all(known) { &mut found.dropped } else { &mut found.unknown };
                words.push(word.to_owned());
            }
            None => {
                for suite in matching {
                    let there = active.iter().any(|known| known.name == suite.name);
                    if !there && !killed.contains(&suite.name) {
                        active.push(suite);
                    }
                }
            }
        }
    }
    found.chosen = active.into_iter().map(|suite| suite.suite).collect();
    found
}

fn is_known(word: &str) -> bool {
    EMPTY_GROUPS.contains(&word)
        || CIPHERS.iter().any(|(_, name)| *name == word)
        || SUITES.iter().any(|suite| suite.is(word))
}

/// The cipher suites of TLS 1.3 that a list names, best first.
pub fn tls13_ciphers(list: &str) -> Chosen<SupportedCipherSuite> {
    let mut found = Chosen::default();
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let offered = TLS13_SUITES.iter().find(|suite| cipher_name(suite.suite()) == Some(word));
        match (offered, word) {
            (Some(suite), _) => found.chosen.push(*suite),
            (None, "TLS_AES_128_CCM_SHA256" | "TLS_AES_128_CCM_8_SHA256") => {
                found.dropped.push(word.to_owned());
            }
            (None, _) => found.unknown.push(word.to_owned()),
        }
    }
    found
}

/// Groups for key exchange by OpenSSL's name and TLS's.
static GROUPS: &[(&str, &[&str], NamedGroup)] = &[
    ("X25519MLKEM768", &[], NamedGroup::X25519MLKEM768),
    ("X25519", &["x25519"], NamedGroup::X25519),
    ("prime256v1", &["P-256", "secp256r1"], NamedGroup::secp256r1),
    ("secp384r1", &["P-384"], NamedGroup::secp384r1),
    ("SecP256r1MLKEM768", &[], NamedGroup::secp256r1MLKEM768),
    ("MLKEM768", &[], NamedGroup::MLKEM768),
    ("MLKEM1024", &[], NamedGroup::MLKEM1024),
    ("secp521r1", &["P-521"], NamedGroup::secp521r1),
    ("X448", &["x448"], NamedGroup::X448),
    ("ffdhe2048", &[], NamedGroup::FFDHE2048),
    ("ffdhe3072", &[], NamedGroup::FFDHE3072),
    ("ffdhe4096", &[], NamedGroup::FFDHE4096),
    ("ffdhe6144", &[], NamedGroup::FFDHE6144),
    ("ffdhe8192", &[], NamedGroup::FFDHE8192),
    ("MLKEM512", &[], NamedGroup::MLKEM512),
    ("SecP384r1MLKEM1024", &[], NamedGroup::Unknown(0x11ed)),
    ("brainpoolP256r1", &[], NamedGroup::Unknown(26)),
    ("brainpoolP384r1", &[], NamedGroup::Unknown(27)),
    ("brainpoolP512r1", &[], NamedGroup::Unknown(28)),
    ("secp224r1", &["P-224"], NamedGroup::Unknown(21)),
    ("secp256k1", &[], NamedGroup::Unknown(22)),
];

/// What the library has of them.
static OFFERED: [&dyn SupportedKxGroup; 7] = [
    kx_group::X25519MLKEM768,
    kx_group::X25519,
    kx_group::SECP256R1,
    kx_group::SECP384R1,
    kx_group::SECP256R1MLKEM768,
    kx_group::MLKEM768,
    kx_group::MLKEM1024,
];

/// The groups of `ssl_ecdh_curve`: `auto`, or names with colons between them.
pub fn groups(list: &str) -> Chosen<&'static dyn SupportedKxGroup> {
    let mut found = Chosen::default();
    if list == "auto" {
        // Hybrid first: what is recorded today is not to be read by the computers of tomorrow.
        found.chosen.extend(OFFERED.iter().take(4));
        return found;
    }
    for word in list.split([':', '/']).filter(|word| !word.is_empty()) {
        // OpenSSL 3.5: `*` asks for a key share, `?` lets a name be unknown.
        let name = word.trim_start_matches(['*', '?']);
        let known = GROUPS.iter().find(|(openssl, others, _)| {
            openssl.eq_ignore_ascii_case(name) || others.iter().any(|other| other.eq_ignore_ascii_case(name))
        });
        let Some((_, _, group)) = known else {
            if !word.contains('?') {
                found.unknown.push(name.to_owned());
            }
            continue;
        };
        match OFFERED.iter().find(|offered| offered.name() == *group) {
            Some(offered) => found.chosen.push(*offered),
            None => found.dropped.push(name.to_owned()),
        }
    }
    found
}

/// What is to be done with: suites of TLS 1.3 and TLS 1.2, and groups.
pub fn provider(
    tls13: &[SupportedCipherSuite],
    tls12: &[SupportedCipherSuite],
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: tls13.iter().chain(tls12).copied().collect(),
        kx_groups: groups,
        ..rustls::crypto::aws_lc_rs::default_provider()
    }
}

/// `$ssl_protocol`: OpenSSL's name of a version.
pub fn protocol_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_1 => "TLSv1.1",
        ProtocolVersion::TLSv1_0 => "TLSv1",
        _ => "unknown",
    }
}

/// OpenSSL's name of a cipher suite, where it has one.
pub fn cipher_name(suite: CipherSuite) -> Option<&'static str> {
    let number = u16::from(suite);
    let at = CIPHERS.binary_search_by_key(&number, |(number, _)| *number).ok()?;
    CIPHERS.get(at).map(|(_, name)| *name)
}

/// OpenSSL's name of a group, where it has one.
pub fn group_name(group: NamedGroup) -> Option<&'static str> {
    let number = u16::from(group);
    GROUPS.iter().find(|(_, _, known)| u16::from(*known) == number).map(|(name, _, _)| *name)
}

/// The name of a way to sign in TLS's registry, as OpenSSL shows it.
pub fn signature_name(scheme: SignatureScheme) -> &'static str {
    match scheme {
        SignatureScheme::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        SignatureScheme::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        SignatureScheme::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        SignatureScheme::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        SignatureScheme::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        SignatureScheme::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        SignatureScheme::ED25519 => "ed25519",
        SignatureScheme::ED448 => "ed448",
        SignatureScheme::ML_DSA_44 => "mldsa44",
        SignatureScheme::ML_DSA_65 => "mldsa65",
        SignatureScheme::ML_DSA_87 => "mldsa87",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        ciphers(list).chosen.iter().map(|suite| cipher_name(suite.suite()).unwrap()).collect()
    }

    #[test]
    fn strings_choose_as_openssl_does() {
        // Each is what `openssl ciphers` 3.0 answers, without what the library does not have.
        assert_eq!(names("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(
            names("ECDHE+AESGCM"),
            [
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256"
            ]
        );
        assert_eq!(
            names("CHACHA20:ALL:!aECDSA"),
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(
            names("aRSA:+AES256"),
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(names("AES128:-aRSA:!ECDSA:AES128"), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(
            names("AES128+aRSA:CHACHA20+aRSA:@STRENGTH"),
            ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert!(names("!ALL:ALL").is_empty());
    }

    #[test]
    fn what_is_not_there_is_told_from_what_nobody_knows() {
        let found =
            ciphers("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:kRSA+AES:NONSENSE:!3DES:TLS_AES_128_CCM_SHA256");
        assert_eq!(found.chosen.len(), 1);
        assert_eq!(found.dropped, ["AES128-SHA", "kRSA+AES"]);
        assert_eq!(found.unknown, ["NONSENSE"]);
        let found = tls13_ciphers("TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_X");
        assert_eq!(found.chosen.len(), 1);
        assert_eq!(
            (found.dropped, found.unknown),
            (vec!["TLS_AES_128_CCM_SHA256".to_owned()], vec!["TLS_X".to_owned()])
        );
        let found = groups("X25519:P-256:secp521r1:?grease:nonsense");
        assert_eq!(found.chosen.len(), 2);
        assert_eq!(
            (found.dropped, found.unknown),
            (vec!["secp521r1".to_owned()], vec!["nonsense".to_owned()])
        );
        let found = protocols(["TLSv1", "TLSv1.2", "TLS"].into_iter());
        assert_eq!(found.chosen.len(), 1);
        assert_eq!((found.dropped, found.unknown), (vec!["TLSv1".to_owned()], vec!["TLS".to_owned()]));
    }

    #[test]
    fn numbers_are_in_order_so_that_they_are_found() {
        assert!(CIPHERS.is_sorted_by_key(|(number, _)| *number));
        assert_eq!(cipher_name(CipherSuite::TLS13_AES_256_GCM_SHA384), Some("TLS_AES_256_GCM_SHA384"));
        assert_eq!(group_name(NamedGroup::secp256r1), Some("prime256v1"));
        assert_eq!(group_name(NamedGroup::Unknown(0x6a6a)), None);
    }
}
