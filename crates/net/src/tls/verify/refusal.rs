//! Why a chain is refused, with OpenSSL's numbers and words: operators and tools know them.

use std::fmt;

/// Declares every reason with its number (`X509_V_ERR_*`) and its words.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $number:literal $words:literal,)*) => {
        /// Why a chain is refused; shown as OpenSSL's words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// OpenSSL's number.
            pub fn number(self) -> u16 {
                match self { $(Refusal::$name => $number,)* }
            }

            /// OpenSSL's words.
            pub fn words(self) -> &'static str {
                match self { $(Refusal::$name => $words,)* }
            }
        }
    };
}

refusals! {
    /// It cannot be read.
    Unspecified = 1 "unspecified certificate verification error",
    /// What is trusted does not end at a certificate that signed itself.
    IssuerNotFound = 2 "unable to get issuer certificate",
    /// There is no list of the issuer.
    NoCrl = 3 "unable to get certificate CRL",
    /// The issuer's key did not sign it.
    BadSignature = 7 "certificate signature failure",
    /// The issuer's key did not sign the list.
    BadCrlSignature = 8 "CRL signature failure",
    /// Its time has not begun.
    NotYetValid = 9 "certificate is not yet valid",
    /// Its time is over.
    Expired = 10 "certificate has expired",
    /// The list's time has not begun.
    CrlNotYetValid = 11 "CRL is not yet valid",
    /// The list's time is over.
    CrlExpired = 12 "CRL has expired",
    /// It signed itself, and is not trusted.
    SelfSigned = 18 "self-signed certificate",
    /// The chain ends at a certificate that signed itself, and is not trusted.
    SelfSignedInChain = 19 "self-signed certificate in certificate chain",
    /// Nobody that is trusted has issued what the chain ends with.
    IssuerNotFoundLocally = 20 "unable to get local issuer certificate",
    /// The peer's certificate is all there is, and who issued it is not known.
    FirstNotVerified = 21 "unable to verify the first certificate",
    /// A list names it.
    Revoked = 23 "certificate revoked",
    /// An authority is further from the peer's certificate than it allows.
    PathTooLong = 25 "path length constraint exceeded",
    /// It is not for this.
    WrongPurpose = 26 "unsuitable certificate purpose",
    /// The issuer's key may not sign certificates.
    NoCertificateSigning = 32 "key usage does not include certificate signing",
    /// There is a list, but who issued it is not known.
    NoCrlIssuer = 33 "unable to get CRL issuer certificate",
    /// It says something that must be understood, and is not.
    UnhandledCritical = 34 "unhandled critical extension",
    /// The issuer's key may not sign lists.
    NoCrlSigning = 35 "key usage does not include CRL signing",
    /// The list says something that must be understood, and is not.
    UnhandledCriticalCrl = 36 "unhandled critical CRL extension",
    /// An authority may not issue for this name.
    NameNotPermitted = 47 "permitted subtree violation",
    /// What issued it is no authority.
    InvalidAuthority = 79 "invalid CA certificate",
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for Refusal {}
