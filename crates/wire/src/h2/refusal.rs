//! Why a request of HTTP/2 is refused, in nginx's words and with its statuses.

/// Why a request is refused. Display is nginx's sentence for the error_log, level info.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's sentence is its documentation")]
pub enum RequestError {
    #[error("client sent no :{0} header")]
    Missing(&'static str),
    #[error("client sent empty :{0} header")]
    Empty(&'static str),
    #[error("client sent invalid :{0} header: \"{1}\"")]
    Invalid(&'static str, String),
    #[error("client sent invalid method: \"{0}\"")]
    InvalidMethod(String),
    #[error("client sent invalid \":authority\" header")]
    InvalidAuthority,
    #[error("client sent invalid header name: \"{0}\"")]
    InvalidName(String),
    #[error("client sent header \"{0}\" with invalid value: \"{1}\"")]
    InvalidValue(String, String),
    #[error("client sent too large header field")]
    TooLargeField,
    #[error("client sent too large header")]
    TooLarge,
    #[error("client sent too many header lines")]
    TooManyFields,
    #[error("client sent duplicate header line: \"{0}\", previous value: \"{1}\"")]
    DuplicateField(String, String),
    #[error("client sent duplicate host header: \"{0}\", previous value: \"{1}\"")]
    DuplicateHost(String, String),
    #[error("client sent invalid host header")]
    InvalidHost,
    #[error("client sent \"{0}\" header")]
    OfConnection(&'static str),
    #[error("client sent invalid \"TE\" header")]
    InvalidTe,
    #[error("client sent neither \":authority\" nor \"Host\" header")]
    NoHost,
    #[error("client sent \":authority\" and \"Host\" headers with different values")]
    TwoHosts,
    #[error("client sent invalid \"Content-Length\" header")]
    InvalidContentLength,
    #[error("client prematurely closed stream")]
    EndsEarly,
    #[error("client sent CONNECT method")]
    Connect,
    #[error("client sent TRACE method")]
    Trace,
}

impl RequestError {
    /// nginx's status. 494 is its own for heads that are too large: `error_page` may name it, the client is sent 400.
    pub fn status(&self) -> u16 {
        match self {
            RequestError::TooManyFields => 494,
            RequestError::Connect | RequestError::Trace => 405,
            _ => 400,
        }
    }

    /// Whether it ends the whole connection (ENHANCE_YOUR_CALM), not the request alone.
    pub fn ends_connection(&self) -> bool {
        matches!(self, RequestError::TooLarge | RequestError::TooLargeField)
    }
}
