//! Where somebody may be sent on who brings the destination along: places that no browser takes for another one's.

/// A destination, as it may stand in a `Location` field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// A path of the host that is asked, with what follows it.
    Path,
    /// An https URL; its authority, a host and perhaps a port, has this length and begins behind `https://`.
    Url(usize),
}

const SCHEME: &[u8] = b"https://";

/// What a destination is; `None` for what is neither a path nor an https URL, or looks to some browser like another one.
///
/// Browsers take `\` for `/`, leave out tabs and line ends, and take `//host` for a URL (WHATWG URL, section 4.4); others
/// decode a path before they look at it. So nothing that is one of these, encoded or not, is a path here.
pub fn of(text: &[u8]) -> Option<Destination> {
    if !text.iter().all(|byte| byte.is_ascii_graphic() && !b"\\<>\"".contains(byte)) {
        return None;
    }
    if let Some(rest) = text.strip_prefix(SCHEME) {
        let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        // No `@`: what stands before it is no host.
        return rest
            .get(..end)
            .filter(|authority| crate::host::host(authority).is_ok())
            .map(|_| Destination::Url(end));
    }
    let mut plain = Vec::with_capacity(text.len());
    let end = text.iter().position(|byte| b"?#".contains(byte)).unwrap_or(text.len());
    crate::uri::unescape(text.get(..end)?, &mut plain);
    let is_path = text.starts_with(b"/")
        && !matches!(plain.get(1), Some(b'/' | b'\\'))
        && !plain.iter().any(u8::is_ascii_control);
    is_path.then_some(Destination::Path)
}

/// The authority of a URL that [`of`] has found one in.
pub fn authority(text: &[u8], length: usize) -> &[u8] {
    text.get(SCHEME.len()..SCHEME.len() + length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_https_urls_are_destinations() {
        for path in [
            "/",
            "/a",
            "/a/b?c=d&e=%2F%2f#f",
            "/?//x",
            "/a//b",
            "/a/%2f",
            "/@x",
            "/a:b",
            "/%41",
            "/x?u=https://y",
        ] {
            assert_eq!(of(path.as_bytes()), Some(Destination::Path), "{path}");
        }
        for (url, authority_of_it) in [
            ("https://a.example", "a.example"),
            ("https://a.example/x?y#z", "a.example"),
            ("https://A.example:8443?x", "A.example:8443"),
            ("https://[::1]/", "[::1]"),
        ] {
            let Some(Destination::Url(length)) = of(url.as_bytes()) else { panic!("{url}") };
            assert_eq!(authority(url.as_bytes(), length), authority_of_it.as_bytes());
        }
    }

    #[test]
    fn what_a_browser_could_take_for_another_host_is_none() {
        for text in [
            "",
            "a",
            "a/b",
            "?x",
            "#x",
            "//evil",
            "///evil",
            "/\\evil",
            "\\/evil",
            "\\\\evil",
            "/\t/evil",
            "\t//evil",
            "/\n/evil",
            " /a",
            "/a b",
            "/%2fevil",
            "/%2Fevil",
            "/%5cevil",
            "/%5Cevil",
            "/%2f%2fevil",
            "/%09/evil",
            "/a%0d%0aSet-Cookie:x",
            "/%00",
            "/a\r\nX: y",
            "http://a.example/",
            "https:/a.example",
            "https:a.example",
            "https:///evil",
            "HTTPS://a.example",
            "https://",
            "https://a@evil/",
            "https://a:b@evil/",
            "https://a.example\\@evil",
            "https://a b/",
            "https://?x",
            "https://a.example:99999/",
            "javascript:alert(1)",
            "data:text/html,x",
            "//a.example",
            "/\u{2f}\u{2f}evil\u{e4}",
            "/ä",
            "https://a..example/",
        ] {
            assert_eq!(of(text.as_bytes()), None, "{text:?}");
        }
    }
}
