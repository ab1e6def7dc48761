//! Why a handshake failed, in OpenSSL's words and numbers, which logs are searched for.

use std::fmt;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// A failure as OpenSSL writes it: `error:0A000102:SSL routines::unsupported protocol`.
#[derive(Clone, Debug)]
pub struct Reason<'e>(pub &'e Error);

/// What OpenSSL calls the library that its TLS is.
const LIBRARY: u32 = 0x0a00_0000;

/// Where the numbers of alerts start among its reasons.
const ALERTS: u32 = 1000;

impl Reason<'_> {
    /// OpenSSL's number of the reason and its words.
    fn known(&self) -> Option<(u32, &'static str)> {
        Some(match self.0 {
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
                (244, "unexpected message")
            }
            Error::InvalidMessage(message) => match message {
                InvalidMessage::UnknownProtocolVersion => (267, "wrong version number"),
                InvalidMessage::InvalidContentType => (443, "bad record type"),
                InvalidMessage::MessageTooLarge => (198, "packet length too long"),
                InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge => {
                    (152, "excessive message size")
                }
                InvalidMessage::InvalidCcs => (103, "bad change cipher spec"),
                InvalidMessage::MessageTooShort | InvalidMessage::MissingData(_) => (159, "length mismatch"),
                InvalidMessage::InvalidServerName => (110, "bad extension"),
                _ => (137, "decode error"),
            },
            Error::DecryptError => (281, "decryption failed or bad record mac"),
            Error::PeerSentOversizedRecord => (150, "encrypted length too long"),
            Error::NoApplicationProtocol => (235, "no application protocol"),
            Error::NoCertificatesPresented => (199, "peer did not return a certificate"),
            Error::PeerIncompatible(what) => match what {
                PeerIncompatible::NoCipherSuitesInCommon => (193, "no shared cipher"),
                PeerIncompatible::NoKxGroupsInCommon => (101, "no suitable key share"),
                PeerIncompatible::NoSignatureSchemesInCommon => (118, "no suitable signature algorithm"),
                PeerIncompatible::SignatureAlgorithmsExtensionRequired => (112, "missing sigalgs extension"),
                PeerIncompatible::KeyShareExtensionRequired
                | PeerIncompatible::NamedGroupsExtensionRequired => (101, "no suitable key share"),
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled => (258, "unsupported protocol"),
                _ => return None,
            },
            Error::PeerMisbehaved(what) => match what {
                PeerMisbehaved::TooManyRenegotiationRequests => (182, "no renegotiation"),
                PeerMisbehaved::TooManyWarningAlertsReceived => (409, "too many warn alerts"),
                PeerMisbehaved::TooMuchEarlyDataReceived => (270, "too much skipped early data"),
                PeerMisbehaved::InvalidKeyShare | PeerMisbehaved::WrongGroupForKeyShare => {
                    (108, "bad key share")
                }
                PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported => {
                    (373, "inappropriate fallback")
                }
                PeerMisbehaved::IncorrectBinder => (253, "binder does not verify"),
                _ => return None,
            },
            // What a peer's signature is wrong with.
            Error::InvalidCertificate(rustls::CertificateError::BadSignature) => (123, "bad signature"),
            _ => return None,
        })
    }

    /// Whether the peer or the network is to blame, and nothing here.
    pub fn is_the_peers(&self) -> bool {
        !matches!(
            self.0,
            Error::EncryptError
                | Error::General(_)
                | Error::FailedToGetCurrentTime
                | Error::FailedToGetRandomBytes
                | Error::HandshakeNotComplete
                | Error::BadMaxFragmentSize
                | Error::InconsistentKeys(_)
                | Error::Other(_)
        )
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Error::AlertReceived(alert) = self.0 {
            let number = u32::from(u8::from(*alert));
            let (code, kind, words) = (LIBRARY + ALERTS + number, alert_kind(*alert), alert_words(*alert));
            return write!(f, "error:{code:08X}:SSL routines::{kind} {words}:SSL alert number {number}");
        }
        match self.known() {
            Some((number, words)) => write!(f, "error:{:08X}:SSL routines::{words}", LIBRARY + number),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Since when OpenSSL knows an alert, which it says with it.
fn alert_kind(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnexpectedMessage
        | AlertDescription::BadRecordMac
        | AlertDescription::DecompressionFailure
        | AlertDescription::HandshakeFailure
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::IllegalParameter => "ssl/tls alert",
        AlertDescription::MissingExtension | AlertDescription::CertificateRequired => "tlsv13 alert",
        AlertDescription::UnsupportedExtension
        | AlertDescription::UnrecognisedName
        | AlertDescription::BadCertificateStatusResponse => "tlsv1",
        _ => "tlsv1 alert",
    }
}

/// OpenSSL's words for an alert.
fn alert_words(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CloseNotify => "close notify",
        AlertDescription::UnexpectedMessage => "unexpected message",
        AlertDescription::BadRecordMac => "bad record mac",
        AlertDescription::DecryptionFailed => "decryption failed",
        AlertDescription::RecordOverflow => "record overflow",
        AlertDescription::DecompressionFailure => "decompression failure",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::NoCertificate => "no certificate",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "certificate revoked",
        AlertDescription::CertificateExpired => "certificate expired",
        AlertDescription::CertificateUnknown => "certificate unknown",
        AlertDescription::IllegalParameter => "illegal parameter",
        AlertDescription::UnknownCA => "unknown ca",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::DecodeError => "decode error",
        AlertDescription::DecryptError => "decrypt error",
        AlertDescription::ExportRestriction => "export restriction",
        AlertDescription::ProtocolVersion => "protocol version",
        AlertDescription::InsufficientSecurity => "insufficient security",
        AlertDescription::InternalError => "internal error",
        AlertDescription::InappropriateFallback => "inappropriate fallback",
        AlertDescription::UserCanceled => "user canceled",
        AlertDescription::NoRenegotiation => "no renegotiation",
        AlertDescription::MissingExtension => "missing extension",
        AlertDescription::UnsupportedExtension => "unsupported extension",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::BadCertificateStatusResponse => "bad certificate status response",
        AlertDescription::UnknownPSKIdentity => "unknown psk identity",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_written_as_openssl_writes_them() {
        // As OpenSSL 3.5 answers to the same clients.
        let said = |error: Error| Reason(&error).to_string();
        assert_eq!(
            said(PeerIncompatible::NoCipherSuitesInCommon.into()),
            "error:0A0000C1:SSL routines::no shared cipher"
        );
        assert_eq!(
            said(PeerIncompatible::Tls12NotOfferedOrEnabled.into()),
            "error:0A000102:SSL routines::unsupported protocol"
        );
        assert_eq!(
            said(Error::AlertReceived(AlertDescription::BadCertificate)),
            "error:0A000412:SSL routines::ssl/tls alert bad certificate:SSL alert number 42"
        );
        assert_eq!(
            said(Error::AlertReceived(AlertDescription::ProtocolVersion)),
            "error:0A00042E:SSL routines::tlsv1 alert protocol version:SSL alert number 70"
        );
    }
}
