//! Which of the browsers that nginx treats in their own way sent a request.

use wire::Name;

use crate::exchange::Exchange;

/// Browsers with peculiarities that nginx knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Internet Explorer up to 6 without its second service pack.
    OldMsie,
    /// A later Internet Explorer.
    Msie,
    /// Chrome.
    Chrome,
    /// Safari on a Mac.
    Safari,
    /// Any other.
    Other,
}

impl Browser {
    /// The browser that a `User-Agent` field names, as nginx reads it.
    pub fn of(agent: &[u8]) -> Browser {
        let find = |needle: &[u8]| agent.windows(needle.len()).position(|w| w == needle);
        if find(b"Opera").is_some() {
            return Browser::Other;
        }
        if let Some(version) = find(b"MSIE ").and_then(|at| agent.get(at + 5..)).filter(|v| v.len() > 2) {
            let old = match version {
                [b'4' | b'5', b'.', ..] => true,
                [b'6', b'.', ..] => find(b"SV1").is_none(),
                _ => false,
            };
            return if old { Browser::OldMsie } else { Browser::Msie };
        }
        if find(b"Gecko/").is_some() {
            Browser::Other
        } else if find(b"Chrome/").is_some() {
            Browser::Chrome
        } else if find(b"Safari/").is_some() && find(b"Mac OS X").is_some() {
            Browser::Safari
        } else {
            Browser::Other
        }
    }

    /// The browser that sent this request.
    pub fn of_request(ex: &Exchange<'_>) -> Browser {
        Browser::of(ex.request_field(Name::UserAgent).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_browsers_are_told_from_those_that_only_mention_them() {
        assert_eq!(Browser::of(b"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"), Browser::OldMsie);
        assert_eq!(Browser::of(b"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)"), Browser::Msie);
        assert_eq!(Browser::of(b"Mozilla/4.0 (compatible; MSIE 6.0; en) Opera 8.54"), Browser::Other);
        assert_eq!(Browser::of(b"MSIE 5.0"), Browser::OldMsie);
        assert_eq!(Browser::of(b"MSIE 5"), Browser::Other);
        assert_eq!(Browser::of(b"Mac OS X Safari/7534.48.3"), Browser::Safari);
        assert_eq!(Browser::of(b"Mac OS X AppleWebKit/537 Chrome/120 Safari/537"), Browser::Chrome);
    }
}
