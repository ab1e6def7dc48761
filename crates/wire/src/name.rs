//! The names of fields that some part of the gateway asks for: found in a few comparisons of words, and kept in sets.

/// Defines [`Name`] from each name's variant and usual spelling.
macro_rules! names {
    ($($variant:ident $text:literal)*) => {
        /// A field name that some part of the gateway asks for.
        #[repr(u8)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
        pub enum Name {
            /// None of the names below.
            #[default]
            Other,
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl Name {
            /// Every known name, without `Other`.
            pub const ALL: &'static [Name] = &[$(Name::$variant,)*];

            /// The usual spelling; empty for `Other`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Name::Other => "",
                    $(Name::$variant => $text,)*
                }
            }
        }
    };
}

names! {
    // What the heads themselves look at.
    Host "Host"
    Connection "Connection"
    Upgrade "Upgrade"
    Expect "Expect"
    Authorization "Authorization"
    ProxyAuthorization "Proxy-Authorization"
    ContentLength "Content-Length"
    TransferEncoding "Transfer-Encoding"
    ContentRange "Content-Range"
    IfRange "If-Range"
    IfMatch "If-Match"
    IfNoneMatch "If-None-Match"
    IfModifiedSince "If-Modified-Since"
    IfUnmodifiedSince "If-Unmodified-Since"
    Status "Status"
    Server "Server"
    Date "Date"
    ContentType "Content-Type"
    LastModified "Last-Modified"
    ETag "ETag"
    Location "Location"
    Refresh "Refresh"
    Expires "Expires"
    XAccelExpires "X-Accel-Expires"
    XAccelRedirect "X-Accel-Redirect"
    XAccelLimitRate "X-Accel-Limit-Rate"
    // What others ask for.
    Te "TE"
    Via "Via"
    Age "Age"
    Vary "Vary"
    Link "Link"
    Range "Range"
    Depth "Depth"
    Allow "Allow"
    Cookie "Cookie"
    Accept "Accept"
    Origin "Origin"
    Pragma "Pragma"
    Trailer "Trailer"
    Referer "Referer"
    Priority "Priority"
    XRealIp "X-Real-IP"
    Overwrite "Overwrite"
    Forwarded "Forwarded"
    KeepAlive "Keep-Alive"
    UserAgent "User-Agent"
    SetCookie "Set-Cookie"
    EarlyData "Early-Data"
    Destination "Destination"
    XRequestId "X-Request-ID"
    CacheControl "Cache-Control"
    AcceptRanges "Accept-Ranges"
    XOriginalUri "X-Original-URI"
    XOriginalUrl "X-Original-URL"
    Http2Settings "HTTP2-Settings"
    AcceptEncoding "Accept-Encoding"
    XForwardedFor "X-Forwarded-For"
    XAccelCharset "X-Accel-Charset"
    AcceptLanguage "Accept-Language"
    XForwardedUri "X-Forwarded-Uri"
    WwwAuthenticate "WWW-Authenticate"
    ContentEncoding "Content-Encoding"
    ContentLanguage "Content-Language"
    ContentLocation "Content-Location"
    ProxyConnection "Proxy-Connection"
    XForwardedHost "X-Forwarded-Host"
    XForwardedPort "X-Forwarded-Port"
    XAccelBuffering "X-Accel-Buffering"
    XForwardedProto "X-Forwarded-Proto"
    XOriginalMethod "X-Original-Method"
    ProxyAuthenticate "Proxy-Authenticate"
    XForwardedMethod "X-Forwarded-Method"
    ContentDisposition "Content-Disposition"
}

impl Name {
    /// The name that `bytes` spell, in any case.
    pub fn of(bytes: &[u8]) -> Name {
        let mut window = [0; WINDOW];
        match window.get_mut(..bytes.len()) {
            Some(start) => start.copy_from_slice(bytes),
            None => return Name::Other,
        }
        Name::at(&window, bytes.len())
    }

    /// The name that the first `len` bytes of a window spell, in any case.
    #[inline]
    pub(crate) fn at(window: &Window, len: usize) -> Name {
        let Some(&last) = window.get(..len).and_then(<[u8]>::last_chunk) else { return Name::Other };
        let name = SLOTS[slot(len, window[0], last, MULTIPLIER)];
        if SPELLINGS[name as usize].is_at(window, len) { name } else { Name::Other }
    }
}

/// As many bytes as are looked at for a name; no known one is longer.
pub(crate) const WINDOW: usize = 24;

/// The bytes of a buffer from a name's first on, or that name and anything behind it.
pub(crate) type Window = [u8; WINDOW];

/// A name in lower case as words of a window.
#[derive(Clone, Copy)]
struct Spelling {
    len: usize,
    words: [u64; 3],
    /// The bits that may be set or not: the case of letters, and all that is behind the name.
    free: [u64; 3],
}

impl Spelling {
    const fn of(name: &[u8]) -> Spelling {
        let (mut words, mut free) = ([[0xff; 8]; 3], [[0xff; 8]; 3]);
        let mut at = 0;
        while at < name.len() {
            words[at / 8][at % 8] = name[at].to_ascii_lowercase();
            free[at / 8][at % 8] = if name[at].is_ascii_alphabetic() { 0x20 } else { 0 };
            at += 1;
        }
        Spelling { len: name.len(), words: as_words(words), free: as_words(free) }
    }

    /// Exact for every byte: a bit is only free where it makes no difference.
    #[inline]
    fn is_at(&self, window: &Window, len: usize) -> bool {
        let mut difference = 0;
        for ((bytes, free), word) in window.as_chunks().0.iter().zip(self.free).zip(self.words) {
            difference |= (u64::from_le_bytes(*bytes) | free) ^ word;
        }
        self.len == len && difference == 0
    }
}

const fn as_words(bytes: [[u8; 8]; 3]) -> [u64; 3] {
    [u64::from_le_bytes(bytes[0]), u64::from_le_bytes(bytes[1]), u64::from_le_bytes(bytes[2])]
}

/// How each name is spelled, by its number.
static SPELLINGS: [Spelling; Name::ALL.len() + 1] = {
    let mut spellings = [Spelling::of(b""); Name::ALL.len() + 1];
    let mut at = 0;
    while at < Name::ALL.len() {
        let name = Name::ALL[at];
        spellings[name as usize] = Spelling::of(name.as_str().as_bytes());
        at += 1;
    }
    spellings
};

/// Which name may be meant by a length and the first and the last two bytes.
static SLOTS: [Name; SIZE] = match slots(MULTIPLIER) {
    Some(slots) => slots,
    None => [Name::Other; SIZE],
};

const SIZE: usize = 1 << SIZE_BITS;
const SIZE_BITS: u32 = 10;

/// The first that gives each name a slot of its own.
const MULTIPLIER: u32 = {
    let mut multiplier = 0x9e37_79b1;
    while slots(multiplier).is_none() {
        multiplier += 2;
    }
    multiplier
};

#[inline]
const fn slot(len: usize, first: u8, last: [u8; 2], multiplier: u32) -> usize {
    // The length is where the fold of the case does not reach.
    let key = (len as u32) << 24 | (u16::from_le_bytes(last) as u32) << 8 | first as u32 | 0x20_2020;
    (key.wrapping_mul(multiplier) >> (u32::BITS - SIZE_BITS)) as usize
}

/// Every name in its slot, when none of them meet.
const fn slots(multiplier: u32) -> Option<[Name; SIZE]> {
    let mut slots = [Name::Other; SIZE];
    let mut at = 0;
    while at < Name::ALL.len() {
        let text = Name::ALL[at].as_str().as_bytes();
        let last = [text[text.len() - 2], text[text.len() - 1]];
        let slot = slot(text.len(), text[0], last, multiplier);
        if slots[slot] as u8 != Name::Other as u8 {
            return None;
        }
        slots[slot] = Name::ALL[at];
        at += 1;
    }
    Some(slots)
}

/// A set of names that the heads themselves look at, for asking which were seen.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct NameSet(u64);

impl NameSet {
    pub(crate) const fn of(names: &[Name]) -> NameSet {
        NameSet(0).with(names)
    }

    pub(crate) const fn with(mut self, names: &[Name]) -> NameSet {
        let mut rest = names;
        while let [name, others @ ..] = rest {
            assert!((*name as u32) < u64::BITS, "a name that no set has room for");
            self.0 |= 1 << *name as u32;
            rest = others;
        }
        self
    }

    #[inline]
    pub(crate) const fn contains(self, name: Name) -> bool {
        (name as u32) < u64::BITS && self.0 >> name as u32 & 1 != 0
    }

    /// Adds a name; false when it was there already.
    #[inline]
    pub(crate) const fn insert(&mut self, name: Name) -> bool {
        let was = self.0;
        self.0 |= 1u64.unbounded_shl(name as u32);
        was != self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_is_found_by_its_spelling_in_any_case() {
        for name in Name::ALL {
            assert_eq!(Name::of(name.as_str().as_bytes()), *name);
            assert_eq!(Name::of(name.as_str().to_uppercase().as_bytes()), *name);
        }
        assert_eq!(Name::of(b"Hos"), Name::Other);
        assert_eq!(Name::of(b"Content\rLength"), Name::Other);
        assert_eq!(Name::of(b""), Name::Other);
    }

    /// One byte of each name is replaced by each other byte: only its other case may stay that name.
    #[test]
    fn no_other_spelling_is_taken_for_a_name() {
        for name in Name::ALL {
            for at in 0..name.as_str().len() {
                for byte in 0..=255u8 {
                    let mut text = name.as_str().as_bytes().to_vec();
                    text[at] = byte;
                    let known =
                        Name::ALL.iter().find(|known| text.eq_ignore_ascii_case(known.as_str().as_bytes()));
                    assert_eq!(Name::of(&text), known.copied().unwrap_or_default(), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_behind_a_name_does_not_matter(window: Window, at in 0..Name::ALL.len(), len in 0..WINDOW) {
            let name = Name::ALL[at];
            let (text, mut window) = (name.as_str().as_bytes(), window);
            window[..text.len()].copy_from_slice(text);
            prop_assert_eq!(Name::at(&window, text.len()), name);
            prop_assert_eq!(Name::at(&window, len), Name::of(&window[..len]));
        }
    }
}
