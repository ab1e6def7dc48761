//! Fields of a message: where their name and value stand, and which of the known names it is.

use crate::Range;

/// One field line of a head or a trailer section.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name as it was sent.
    pub name: Range,
    /// The value without the spaces around it.
    pub value: Range,
    /// The name when it is a known one.
    pub id: Name,
}

impl Field {
    /// Whether this field's name is `name`, in any case; for names that have no [`Name`] of their own.
    pub fn is(&self, buf: &[u8], name: &[u8]) -> bool {
        self.name.of(buf).eq_ignore_ascii_case(name)
    }
}

/// The first field called `id`.
pub fn find(fields: &[Field], id: Name) -> Option<&Field> {
    fields.iter().find(|field| field.id == id)
}

/// Defines [`Name`] from rows sorted by length, so that looking a name up compares it with few others.
macro_rules! names {
    ($($len:literal { $($variant:ident $text:literal $lower:literal)* })*) => {
        /// A field name that some part of the gateway asks for.
        #[repr(u8)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
        pub enum Name {
            /// None of the names below.
            #[default]
            Other,
            $($(#[doc = concat!("`", $text, "`")] $variant,)*)*
        }

        impl Name {
            /// Every known name, without `Other`.
            pub const ALL: &'static [Name] = &[$($(Name::$variant,)*)*];

            /// The name that `bytes` spell, in any case.
            #[inline]
            pub fn of(bytes: &[u8]) -> Name {
                match bytes.len() {
                    $($len => {
                        let Ok(mut name) = <[u8; $len]>::try_from(bytes) else { return Name::Other };
                        name.make_ascii_lowercase();
                        match &name {
                            $($lower => Name::$variant,)*
                            _ => Name::Other,
                        }
                    })*
                    _ => Name::Other,
                }
            }

            /// The usual spelling; empty for `Other`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Name::Other => "",
                    $($(Name::$variant => $text,)*)*
                }
            }
        }
    };
}

names! {
    2 {
        Te "TE" b"te"
    }
    3 {
        Via "Via" b"via"
        Age "Age" b"age"
    }
    4 {
        Host "Host" b"host"
        Date "Date" b"date"
        ETag "ETag" b"etag"
        Vary "Vary" b"vary"
        Link "Link" b"link"
    }
    5 {
        Range "Range" b"range"
        Depth "Depth" b"depth"
        Allow "Allow" b"allow"
    }
    6 {
        Expect "Expect" b"expect"
        Cookie "Cookie" b"cookie"
        Server "Server" b"server"
        Status "Status" b"status"
        Accept "Accept" b"accept"
        Origin "Origin" b"origin"
        Pragma "Pragma" b"pragma"
    }
    7 {
        Upgrade "Upgrade" b"upgrade"
        Trailer "Trailer" b"trailer"
        Referer "Referer" b"referer"
        Expires "Expires" b"expires"
        Refresh "Refresh" b"refresh"
    }
    8 {
        IfMatch "If-Match" b"if-match"
        IfRange "If-Range" b"if-range"
        Location "Location" b"location"
        Priority "Priority" b"priority"
    }
    9 {
        XRealIp "X-Real-IP" b"x-real-ip"
        Overwrite "Overwrite" b"overwrite"
        Forwarded "Forwarded" b"forwarded"
    }
    10 {
        Connection "Connection" b"connection"
        KeepAlive "Keep-Alive" b"keep-alive"
        UserAgent "User-Agent" b"user-agent"
        SetCookie "Set-Cookie" b"set-cookie"
        EarlyData "Early-Data" b"early-data"
    }
    11 {
        Destination "Destination" b"destination"
    }
    12 {
        ContentType "Content-Type" b"content-type"
        XRequestId "X-Request-ID" b"x-request-id"
    }
    13 {
        Authorization "Authorization" b"authorization"
        IfNoneMatch "If-None-Match" b"if-none-match"
        CacheControl "Cache-Control" b"cache-control"
        LastModified "Last-Modified" b"last-modified"
        AcceptRanges "Accept-Ranges" b"accept-ranges"
        ContentRange "Content-Range" b"content-range"
    }
    14 {
        ContentLength "Content-Length" b"content-length"
        XOriginalUri "X-Original-URI" b"x-original-uri"
        XOriginalUrl "X-Original-URL" b"x-original-url"
        Http2Settings "HTTP2-Settings" b"http2-settings"
    }
    15 {
        AcceptEncoding "Accept-Encoding" b"accept-encoding"
        XForwardedFor "X-Forwarded-For" b"x-forwarded-for"
        XAccelExpires "X-Accel-Expires" b"x-accel-expires"
        XAccelCharset "X-Accel-Charset" b"x-accel-charset"
        AcceptLanguage "Accept-Language" b"accept-language"
        XForwardedUri "X-Forwarded-Uri" b"x-forwarded-uri"
    }
    16 {
        WwwAuthenticate "WWW-Authenticate" b"www-authenticate"
        ContentEncoding "Content-Encoding" b"content-encoding"
        ContentLanguage "Content-Language" b"content-language"
        ContentLocation "Content-Location" b"content-location"
        XAccelRedirect "X-Accel-Redirect" b"x-accel-redirect"
        ProxyConnection "Proxy-Connection" b"proxy-connection"
        XForwardedHost "X-Forwarded-Host" b"x-forwarded-host"
        XForwardedPort "X-Forwarded-Port" b"x-forwarded-port"
    }
    17 {
        TransferEncoding "Transfer-Encoding" b"transfer-encoding"
        IfModifiedSince "If-Modified-Since" b"if-modified-since"
        XAccelBuffering "X-Accel-Buffering" b"x-accel-buffering"
        XForwardedProto "X-Forwarded-Proto" b"x-forwarded-proto"
        XOriginalMethod "X-Original-Method" b"x-original-method"
    }
    18 {
        XAccelLimitRate "X-Accel-Limit-Rate" b"x-accel-limit-rate"
        ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate"
        XForwardedMethod "X-Forwarded-Method" b"x-forwarded-method"
    }
    19 {
        IfUnmodifiedSince "If-Unmodified-Since" b"if-unmodified-since"
        ContentDisposition "Content-Disposition" b"content-disposition"
        ProxyAuthorization "Proxy-Authorization" b"proxy-authorization"
    }
}

/// A set of names, for asking which fields were seen.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct NameSet([u64; 2]);

impl NameSet {
    pub(crate) const fn of(names: &[Name]) -> NameSet {
        NameSet([0; 2]).with(names)
    }

    pub(crate) const fn with(self, names: &[Name]) -> NameSet {
        let (mut set, mut rest) = (self.0, names);
        while let [name, others @ ..] = rest {
            set[(*name as usize >> 6) & 1] |= 1 << (*name as u8 & 63);
            rest = others;
        }
        NameSet(set)
    }

    #[inline]
    pub(crate) fn contains(self, name: Name) -> bool {
        self.0[(name as usize >> 6) & 1] & (1 << (name as u8 & 63)) != 0
    }

    /// Adds a name; false when it was there already.
    #[inline]
    pub(crate) fn insert(&mut self, name: Name) -> bool {
        let was = self.contains(name);
        self.0[(name as usize >> 6) & 1] |= 1 << (name as u8 & 63);
        !was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_spelling_in_any_case() {
        for name in Name::ALL {
            assert_eq!(Name::of(name.as_str().as_bytes()), *name);
            assert_eq!(Name::of(name.as_str().to_uppercase().as_bytes()), *name);
            assert!((*name as u8) < 128, "NameSet has room for 128 names");
        }
        assert_eq!(Name::of(b"Hos"), Name::Other);
        assert_eq!(Name::of(b"Content\rLength"), Name::Other);
        assert_eq!(Name::of(b""), Name::Other);
    }
}
