//! What PEM files hold: chains of certificates, private keys, also encrypted ones, and lists of revoked certificates.

use std::fmt;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use md5::{Digest, Md5};
use pem::Pem;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};
use rustls::sign::CertifiedKey;
use x509_parser::asn1_rs::Sequence;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a file is not what it is named as. `Display` is what follows behind a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// It is no PEM.
    NotPem,
    /// It has no block of the kind that is asked for.
    Missing(&'static str),
    /// A block does not hold what its first line says.
    Malformed(&'static str),
    /// The key is encrypted, and there is no password.
    NeedsPassword,
    /// None of the passwords opens the key.
    WrongPassword,
    /// The key is encrypted in a way that is not known.
    UnknownCipher(String),
    /// The key is of a kind that TLS is not done with here.
    UnknownKey(String),
    /// The certificate is another key's.
    Mismatch,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NotPem => f.write_str("it is no PEM"),
            FileError::Missing(what) => write!(f, "there is no {what} in it"),
            FileError::Malformed(what) => write!(f, "it holds no {what} that can be read"),
            FileError::NeedsPassword => f.write_str("the key is encrypted, and no password is known"),
            FileError::WrongPassword => f.write_str("bad decrypt: none of the passwords opens the key"),
            FileError::UnknownCipher(cipher) => write!(f, "the key is encrypted with {cipher}"),
            FileError::UnknownKey(kind) => write!(f, "the key is of an unknown kind ({kind})"),
            FileError::Mismatch => f.write_str("key values mismatch"),
        }
    }
}

impl FileError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            FileError::NotPem | FileError::Missing(_) | FileError::Malformed(_) => {
                "name a file in PEM format (-----BEGIN ...)"
            }
            FileError::NeedsPassword => "name a file with its password: ssl_password_file",
            FileError::WrongPassword => "put the right password on a line of its own in ssl_password_file",
            FileError::UnknownCipher(_) => "encrypt it anew: openssl pkcs8 -topk8 -in KEY -out NEW",
            FileError::UnknownKey(_) => {
                "make a key with RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or Ed25519"
            }
            FileError::Mismatch => "name the key that the certificate was made for",
        }
    }
}

impl std::error::Error for FileError {}

/// The certificates of a file, in order. `TRUSTED CERTIFICATE` is OpenSSL's, with settings behind it that are passed over.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    const WHAT: &str = "certificate";
    let mut found = Vec::new();
    for block in blocks(text)? {
        if !matches!(block.tag(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            continue;
        }
        let contents = block.contents();
        let (behind, _) = X509Certificate::from_der(contents).map_err(|_| FileError::Malformed(WHAT))?;
        let length = contents.len() - behind.len();
        found.push(CertificateDer::from(contents.get(..length).unwrap_or_default().to_vec()));
    }
    if found.is_empty() { Err(FileError::Missing(WHAT)) } else { Ok(found) }
}

/// The lists of revoked certificates of a file.
pub fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let lists: Vec<_> = blocks(text)?
        .into_iter()
        .filter(|block| block.tag() == "X509 CRL")
        .map(|block| CertificateRevocationListDer::from(block.into_contents()))
        .collect();
    if lists.is_empty() { Err(FileError::Missing("list of revoked certificates")) } else { Ok(lists) }
}

/// Whether the bytes are an answer about revocation (RFC 6960, 4.2.1) and nothing else.
pub fn ocsp_response(bytes: &[u8]) -> Result<(), FileError> {
    const WHAT: &str = "OCSP response";
    let (rest, sequence) = Sequence::from_der(bytes).map_err(|_| FileError::Malformed(WHAT))?;
    // A status of "successful" comes first, as an enumeration.
    let is_answer = rest.is_empty() && sequence.content.starts_with(&[10, 1, 0]);
    if is_answer { Ok(()) } else { Err(FileError::Malformed(WHAT)) }
}

/// The private key of a file; the passwords are tried one after the other.
pub fn private_key(text: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>, FileError> {
    for block in blocks(text)? {
        if let Some(info) = block.headers().get("DEK-Info") {
            let contents =
                opened(passwords, |password| decrypt_traditional(info, block.contents(), password))?;
            return key_of(block.tag(), contents);
        }
        match block.tag() {
            "ENCRYPTED PRIVATE KEY" => {
                let sealed = pkcs8::EncryptedPrivateKeyInfoRef::try_from(block.contents())
                    .map_err(|_| FileError::UnknownCipher("something that is not known".to_owned()))?;
                return opened(passwords, |password| {
                    let key = sealed.decrypt(password).map_err(|_| FileError::WrongPassword)?;
                    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
                });
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                let tag = block.tag().to_owned();
                return key_of(&tag, block.into_contents());
            }
            tag if tag.ends_with("PRIVATE KEY") => return Err(FileError::UnknownKey(tag.to_owned())),
            _ => {}
        }
    }
    Err(FileError::Missing("private key"))
}

fn key_of(tag: &str, contents: Vec<u8>) -> Result<PrivateKeyDer<'static>, FileError> {
    match tag {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(contents).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(contents).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(contents).into()),
        tag => Err(FileError::UnknownKey(tag.to_owned())),
    }
}

/// A chain with its key, ready for handshakes.
pub fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, FileError> {
    let key = any_supported_type(key).map_err(|error| FileError::UnknownKey(error.to_string()))?;
    let leaf = chain.first().ok_or(FileError::Missing("certificate"))?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| FileError::Malformed("certificate"))?;
    if key.public_key().is_some_and(|public| *public != *parsed.subject_pki.raw) {
        return Err(FileError::Mismatch);
    }
    Ok(CertifiedKey::new(chain, key))
}

fn blocks(text: &[u8]) -> Result<Vec<Pem>, FileError> {
    pem::parse_many(text).map_err(|_| FileError::NotPem)
}

fn opened<T>(passwords: &[Vec<u8>], open: impl Fn(&[u8]) -> Result<T, FileError>) -> Result<T, FileError> {
    if passwords.is_empty() {
        return Err(FileError::NeedsPassword);
    }
    let mut result = Err(FileError::WrongPassword);
    for password in passwords {
        result = open(password);
        if !matches!(result, Err(FileError::WrongPassword)) {
            break;
        }
    }
    result
}

/// Opens a block in the format of RFC 1421 as OpenSSL fills it in (`openssl rsa -traditional -aes256`): the key of the
/// cipher is MD5 of password and salt, again and again (`EVP_BytesToKey`).
fn decrypt_traditional(info: &str, sealed: &[u8], password: &[u8]) -> Result<Vec<u8>, FileError> {
    let (cipher, iv) = info.split_once(',').ok_or(FileError::Malformed("private key"))?;
    let (algorithm, length): (&'static Algorithm, usize) = match cipher {
        "AES-128-CBC" => (&AES_128, 16),
        "AES-192-CBC" => (&AES_192, 24),
        "AES-256-CBC" => (&AES_256, 32),
        other => return Err(FileError::UnknownCipher(other.to_owned())),
    };
    let iv = hex(iv.trim()).ok_or(FileError::Malformed("private key"))?;
    let mut key: Vec<u8> = Vec::new();
    while key.len() < length {
        let last = key.len().saturating_sub(16);
        let mut hash = Md5::new();
        hash.update(key.get(last..).unwrap_or_default());
        hash.update(password);
        hash.update(iv.get(..8).unwrap_or_default());
        key.extend_from_slice(&hash.finalize());
    }
    key.truncate(length);
    let wrong = |_| FileError::WrongPassword;
    let key = UnboundCipherKey::new(algorithm, &key).map_err(wrong)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(wrong)?;
    let mut contents = sealed.to_vec();
    let open = key.decrypt(&mut contents, DecryptionContext::Iv128(iv.into())).map_err(wrong)?;
    // A wrong password passes the check of the padding once in 256 times.
    if open.first() != Some(&0x30) {
        return Err(FileError::WrongPassword);
    }
    Ok(open.to_vec())
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One key, made by OpenSSL 3.0: open, as `openssl pkcs8 -topk8` encrypts it, and as `openssl ec` did.
    const OPEN: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXf8Y3ZD6pWxHstGp\n\
        t8Cki3PcHliNVE3DujnR3RBzOjehRANCAASTumRqyv0bQKn/2SJv+JgyN/xikO2G\n\
        OKacl/ZaPWAXQN8RkVD/QhJWAWFhuZO7WaVTkAdZgi8CUlsOx5A/Spzp\n\
        -----END PRIVATE KEY-----";
    const SEALED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjHWsDAAhuFaQICA+gw\n\
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJgWU2XzK0PU0YiXiTKI4KQEgZCD\n\
        /YdSGI0+UKoWjIs1Mnjmsr1BUT6RvYp6stRzByznCSSatRl+CxO6I2rbkxmuwr5E\n\
        ahOrCHcebvNJfb0YKflitqxAY0kCl/PVa4r6TwV6/lNEgR+K6tHq1dkVA3BEmNyn\n\
        e4EGhewUEUBpEAJq/Qqcd5O0F71Gk25OuMqqwFUupwA0wWWWzVhUcO0jfVYWnTk=\n\
        -----END ENCRYPTED PRIVATE KEY-----";
    const TRADITIONAL: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        Proc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-128-CBC,19BD7EBB60C8891D89EFACFE447E57C8\n\
        \n\
        rGrn781kJPDu4EoQ7gkOlovqgKiIpbOJJbxajgP8jwRvIKEBWat/AQ0741Sdo2u2\n\
        hDRcG0Cysp6OfOCQa5pmhVi+CEr6lYi1JOge+praTW62fkdcE/UkfvgetDd5ck4d\n\
        M/vFfzse8JgPk0yVEJ5czTUJh4FIDd8JxowK8qyFfVs=\n\
        -----END EC PRIVATE KEY-----";
    /// Its certificate as `openssl x509 -trustout -addtrust clientAuth` writes it.
    const TRUSTED: &str = "-----BEGIN TRUSTED CERTIFICATE-----\n\
        MIIBcDCCARWgAwIBAgIUQed6ytaqdHd4fboAa3zusVtotOswCgYIKoZIzj0EAwIw\n\
        DDEKMAgGA1UEAwwBeDAgFw0yNjExMjgwMzQ1MzFaGA8yMTI2MTEwNDAzNDUzMVow\n\
        DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJO6ZGrK/RtA\n\
        qf/ZIm/4mDI3/GKQ7YY4ppyX9lo9YBdA3xGRUP9CElYBYWG5k7tZpVOQB1mCLwJS\n\
        Ww7HkD9KnOmjUzBRMB0GA1UdDgQWBBSDh/JyN4ciW2gGyiecaJKVs38taTAfBgNV\n\
        HSMEGDAWgBSDh/JyN4ciW2gGyiecaJKVs38taTAPBgNVHRMBAf8EBTADAQH/MAoG\n\
        CCqGSM49BAMCA0kAMEYCIQDtl8/H47eLq+fWO4m92im2lar+N1PZ1xNwvmoyKgDS\n\
        jQIhAItalWmig7ijNISRPO4/i9rpw7VxHcle0V7wSullVujDMAwwCgYIKwYBBQUH\n\
        AwI=\n\
        -----END TRUSTED CERTIFICATE-----";

    fn words(list: &[&str]) -> Vec<Vec<u8>> {
        list.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn encrypted_keys_are_opened_by_the_right_password() {
        let open = private_key(OPEN.as_bytes(), &[]).unwrap();
        let public =
            |key: &PrivateKeyDer<'static>| any_supported_type(key).unwrap().public_key().unwrap().to_vec();
        for sealed in [SEALED, TRADITIONAL] {
            let text = sealed.as_bytes();
            assert_eq!(private_key(text, &[]), Err(FileError::NeedsPassword));
            assert_eq!(private_key(text, &words(&["wrong", "also wrong"])), Err(FileError::WrongPassword));
            let key = private_key(text, &words(&["wrong", "secret"])).unwrap();
            assert_eq!(public(&key), public(&open));
        }
        let unknown = TRADITIONAL.replace("AES-128-CBC", "DES-EDE3-CBC");
        let refused = private_key(unknown.as_bytes(), &words(&["secret"]));
        assert_eq!(refused, Err(FileError::UnknownCipher("DES-EDE3-CBC".to_owned())));
    }

    #[test]
    fn a_certificate_is_cut_off_from_what_openssl_adds() {
        let chain = certificates(TRUSTED.as_bytes()).unwrap();
        assert!(X509Certificate::from_der(&chain[0]).is_ok_and(|(behind, _)| behind.is_empty()));
        let key = private_key(OPEN.as_bytes(), &[]).unwrap();
        assert!(certified(chain.clone(), &key).is_ok());
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let refused = certified(chain, &private_key(other.as_bytes(), &[]).unwrap());
        assert_eq!(refused.err(), Some(FileError::Mismatch));
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert_eq!(certificates(b""), Err(FileError::Missing("certificate")));
        assert_eq!(certificates(OPEN.as_bytes()), Err(FileError::Missing("certificate")));
        assert_eq!(private_key(TRUSTED.as_bytes(), &[]), Err(FileError::Missing("private key")));
        assert!(revocation_lists(TRUSTED.as_bytes()).is_err());
        let broken = TRUSTED.replace("MII", "AAA");
        assert!(certificates(broken.as_bytes()).is_err());
    }
}
