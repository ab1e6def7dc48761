//! Why a request is refused, in nginx's words and with its statuses.

use crate::Field;

/// Why a request is refused, after which the connection ends. Display is nginx's sentence for the error_log, level
/// info.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum RequestError {
    #[error("client sent invalid method")]
    InvalidMethod,
    #[error("client sent invalid request")]
    InvalidRequest,
    #[error("client sent invalid version")]
    InvalidVersion,
    #[error("client sent invalid method in HTTP/0.9 request")]
    InvalidMethod09,
    #[error("client sent too long URI")]
    TooLongUri,
    #[error("client sent invalid host in request line")]
    InvalidHostInLine,
    #[error("client sent too large request")]
    TooLargeRequest,
    #[error("client sent too long header line: \"{0}...\"")]
    TooLongField(String),
    #[error("client sent too many header lines")]
    TooManyFields,
    #[error("client sent invalid header line: \"{0}\\x{1:02x}...\"")]
    InvalidField(String, u8),
    #[error("client sent duplicate header line: \"{0}\", previous value: \"{1}\"")]
    DuplicateField(String, String),
    #[error("client sent duplicate host header: \"{0}\", previous value: \"{1}\"")]
    DuplicateHost(String, String),
    #[error("client sent invalid host header")]
    InvalidHost,
    #[error("client sent HTTP/1.1 request without \"Host\" header")]
    MissingHost,
    #[error("client sent invalid \"Content-Length\" header")]
    InvalidContentLength,
    #[error("client sent HTTP/1.0 request with \"Transfer-Encoding\" header")]
    TransferEncodingIn10,
    #[error("client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    LengthAndEncoding,
    #[error("client sent unknown \"Transfer-Encoding\": \"{0}\"")]
    UnknownTransferEncoding(String),
    #[error("client sent CONNECT method")]
    Connect,
    #[error("client sent CONNECT request with body")]
    ConnectWithBody,
    #[error("client sent TRACE method")]
    Trace,
}

impl RequestError {
    /// nginx's status. 494 is its own for heads that are too large: `error_page` may name it, the client is sent 400.
    pub fn status(&self) -> u16 {
        match self {
            RequestError::InvalidVersion => 505,
            RequestError::TooLongUri => 414,
            RequestError::TooLargeRequest | RequestError::TooLongField(_) | RequestError::TooManyFields => {
                494
            }
            RequestError::UnknownTransferEncoding(_) => 501,
            RequestError::Connect | RequestError::Trace => 405,
            _ => 400,
        }
    }

    /// Whether the client is likely still sending, so that the close must linger for the answer to arrive.
    pub fn lingers(&self) -> bool {
        self.status() == 494
    }
}

/// `Name: value`, for the log.
pub(super) fn whole(buf: &[u8], field: Field) -> String {
    format!("{}: {}", text(field.name.of(buf)), text(field.value.of(buf)))
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
