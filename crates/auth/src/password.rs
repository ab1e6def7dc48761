//! Passwords against what a password file or a store keeps of them.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use password_hash::phc::PasswordHash;
use password_hash::{PasswordHasher, PasswordVerifier};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::secret::NoRandomness;
use crate::{des_crypt, md5_crypt};

/// Longest password that is hashed by one of the costly methods, in bytes, as in libxcrypt: the work of the old ones grows
/// with its length.
pub const LONGEST: usize = 511;

/// Argon2id's work for new passwords: 19 MiB, 2 passes, 1 lane (OWASP's Password Storage Cheat Sheet).
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Most memory, in KiB, and most passes that a stored password may ask for.
const MOST_MEMORY: u32 = 1 << 20;
const MOST_PASSES: u32 = 64;

/// Kept of no password, with the work of [`hash`]: compare with it where there is no such user, so that the time of the answer does not tell
/// that.
pub const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$RG9vcndhcmROb2JvZHkhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How a password is kept (nginx's ngx_crypt and crypt(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `{PLAIN}password`
    Plain,
    /// `{SHA}`, base64 of SHA-1
    Sha,
    /// `{SSHA}`, base64 of SHA-1 with a salt behind it
    SaltedSha,
    /// `$apr1$`, Apache's MD5
    Apr1,
    /// `$1$`, MD5
    Md5,
    /// `$5$`, `$6$`
    ShaCrypt,
    /// `$2a$`, `$2b$`, `$2y$`
    Bcrypt,
    /// `$argon2id$`, what [`hash`] makes (RFC 9106)
    Argon2id,
    /// Thirteen characters: the oldest crypt(3)
    Des,
    /// Nothing that can be compared with: no password is right
    Unknown,
}

impl Scheme {
    /// The scheme of a stored password.
    pub fn of(stored: &[u8]) -> Scheme {
        const PREFIXES: [(&str, Scheme); 11] = [
            ("{PLAIN}", Scheme::Plain),
            ("{SHA}", Scheme::Sha),
            ("{SSHA}", Scheme::SaltedSha),
            ("$apr1$", Scheme::Apr1),
            ("$1$", Scheme::Md5),
            ("$5$", Scheme::ShaCrypt),
            ("$6$", Scheme::ShaCrypt),
            ("$2a$", Scheme::Bcrypt),
            ("$2b$", Scheme::Bcrypt),
            ("$2y$", Scheme::Bcrypt),
            ("$argon2id$", Scheme::Argon2id),
        ];
        let found = PREFIXES.iter().find(|(prefix, _)| stored.starts_with(prefix.as_bytes()));
        match found {
            Some((_, scheme)) => *scheme,
            None if des_crypt::is_stored(stored) => Scheme::Des,
            None => Scheme::Unknown,
        }
    }

    /// Whether a comparison takes so long that others should not wait for it.
    pub fn is_costly(self) -> bool {
        match self {
            Scheme::Apr1
            | Scheme::Md5
            | Scheme::ShaCrypt
            | Scheme::Bcrypt
            | Scheme::Argon2id
            | Scheme::Des => true,
            Scheme::Plain | Scheme::Sha | Scheme::SaltedSha | Scheme::Unknown => false,
        }
    }
}

/// Whether `password` is the one that `stored` was made of. What cannot be read is nobody's password.
pub fn matches(stored: &[u8], password: &[u8]) -> bool {
    let scheme = Scheme::of(stored);
    if scheme.is_costly() && password.len() > LONGEST {
        return false;
    }
    let rest = |prefix: &str| stored.get(prefix.len()..).unwrap_or_default();
    match scheme {
        Scheme::Plain => equal(password, rest("{PLAIN}")),
        Scheme::Sha => match STANDARD.decode(rest("{SHA}")) {
            Ok(hash) => equal(&Sha1::digest(password), &hash),
            Err(_) => false,
        },
        Scheme::SaltedSha => salted_sha(rest("{SSHA}"), password),
        Scheme::Apr1 => equal(&md5_crypt::hash(b"$apr1$", rest("$apr1$"), password), stored),
        Scheme::Md5 => equal(&md5_crypt::hash(b"$1$", rest("$1$"), password), stored),
        Scheme::ShaCrypt => str::from_utf8(stored)
            .is_ok_and(|stored| sha_crypt::ShaCrypt::default().verify_password(password, stored).is_ok()),
        Scheme::Bcrypt => {
            str::from_utf8(stored).is_ok_and(|stored| bcrypt::verify(password, stored).unwrap_or(false))
        }
        Scheme::Argon2id => argon2id(stored, password),
        Scheme::Des => equal(&des_crypt::hash(stored, password), stored),
        Scheme::Unknown => false,
    }
}

/// Why a password is not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// It is empty, or longer than [`LONGEST`].
    #[error("a password has 1 to {LONGEST} bytes")]
    Length,
    /// There is no salt.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The hash function has failed.
    #[error("the password cannot be hashed")]
    Failed,
}

/// What to keep of a new password: Argon2id as a PHC string. Takes some 20 ms and 19 MiB.
pub fn hash(password: &[u8]) -> Result<String, HashError> {
    if password.is_empty() || password.len() > LONGEST {
        return Err(HashError::Length);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| NoRandomness)?;
    let work = Params::new(MEMORY, PASSES, LANES, None).map_err(|_| HashError::Failed)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, work);
    let hash: PasswordHash =
        hasher.hash_password_with_salt(password, &salt).map_err(|_| HashError::Failed)?;
    Ok(hash.to_string())
}

fn argon2id(stored: &[u8], password: &[u8]) -> bool {
    let Some(hash) = str::from_utf8(stored).ok().and_then(|stored| PasswordHash::new(stored).ok()) else {
        return false;
    };
    // Whoever may write a password file shall not take the machine's memory by it.
    let bounded = Params::try_from(&hash)
        .is_ok_and(|work| work.m_cost() <= MOST_MEMORY && work.t_cost() <= MOST_PASSES);
    bounded && Argon2::default().verify_password(password, &hash).is_ok()
}

fn salted_sha(encoded: &[u8], password: &[u8]) -> bool {
    let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
    let Ok(decoded) = decoded else { return false };
    let Some((hash, salt)) = decoded.split_at_checked(20) else { return false };
    equal(&Sha1::new().chain_update(password).chain_update(salt).finalize(), hash)
}

/// Compares without telling by its time where the difference is; the length is no secret.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by crypt(3), htpasswd, `openssl passwd` and argon2(1), not by this code.
    const STORED: &[(&str, Scheme)] = &[
        ("{PLAIN}password", Scheme::Plain),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Scheme::Sha),
        ("{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", Scheme::SaltedSha),
        ("$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.", Scheme::Apr1),
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", Scheme::Md5),
        ("$5$saltsalt$gOjOtoMpVhru2uyjeJSEc/JaLQWOXMNmlOnj6T4AtC.", Scheme::ShaCrypt),
        ("$5$rounds=1000$saltsaltsaltsalt$46g7V4dvuCn.OnQdXlYlsOGBZWJUhNq6wgX4js7U5W/", Scheme::ShaCrypt),
        (
            "$6$salt./Az$SJhQ71hj/viY8e3iu2n4VlTq4SIkgKLAPPWInPa4fDzDCzjaZ2aQf2WpoSrXIZW0F6rNf5.fapF1ojd968Yhj1",
            Scheme::ShaCrypt,
        ),
        ("$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", Scheme::Bcrypt),
        ("$2a$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm", Scheme::Bcrypt),
        ("$2b$04$abcdefghijklmnopqrstuughE8Ev8uGFaUgY2cNEySvxngrb/Jzdm", Scheme::Bcrypt),
        (
            "$argon2id$v=19$m=4096,t=2,p=1$c2FsdHNhbHQ$v5q2ISRQtFGr/QWDqpF/KKryoHpDlz6TwOcN1qmEPQM",
            Scheme::Argon2id,
        ),
        ("sa3tHJ3/KuYvI", Scheme::Des),
        ("./xZjzHv5vzVE", Scheme::Des),
        ("zZDDIZ0NOlPzw", Scheme::Des),
    ];

    #[test]
    fn the_right_password_and_no_other() {
        for (stored, scheme) in STORED {
            assert_eq!(Scheme::of(stored.as_bytes()), *scheme, "{stored}");
            assert!(matches(stored.as_bytes(), b"password"), "{stored}");
            for wrong in ["passwor", "", "Password", "password2", "passw\0rd"] {
                // The oldest crypt sees eight characters.
                if *scheme != Scheme::Des || wrong != "password2" {
                    assert!(!matches(stored.as_bytes(), wrong.as_bytes()), "{stored} {wrong}");
                }
            }
        }
    }

    #[test]
    fn what_is_broken_lets_nobody_in() {
        for stored in [
            "",
            "$1$",
            "$apr1$",
            "$5$",
            "$6$",
            "$6$rounds=x$a$b",
            "$2y$",
            "$2y$99$x",
            "{SHA}",
            "{SSHA}",
            "{SHA}_____",
            "{SSHA}Zm9vCg==",
            "{MD5}x",
            "password",
            "sa*tsatsatsat",
            "$y$j9T$x$y",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$",
            "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            NOBODYS,
        ] {
            for password in ["", "password", "1", stored] {
                assert!(!matches(stored.as_bytes(), password.as_bytes()), "{stored} {password}");
            }
        }
        assert!(!matches(b"$6$saltstring$x", &[b'a'; 4096]));
    }

    #[test]
    fn a_new_password_is_kept_as_argon2id_and_never_twice_the_same() {
        let (one, two) = (hash(b"password").unwrap(), hash(b"password").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(matches(one.as_bytes(), b"password") && matches(two.as_bytes(), b"password"));
        assert!(!matches(one.as_bytes(), b"Password"));
        assert!(matches!(hash(b""), Err(HashError::Length)));
        assert!(matches!(hash(&[b'a'; LONGEST + 1]), Err(HashError::Length)));
    }

    #[test]
    fn a_comparison_for_nobody_does_the_same_work() {
        let work = |stored: &str| Params::try_from(&PasswordHash::new(stored).unwrap()).unwrap();
        assert_eq!(work(NOBODYS), work(&hash(b"password").unwrap()));
    }
}
