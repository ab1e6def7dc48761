//! Targets: normalising paths, percent-encoding in nginx's dialects, arguments.

/// The path or URI cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid URI")]
pub struct BadUri;

/// Decodes and cleans a path the way nginx makes `$uri`: `%XX` decoded, `/./` and `/../` resolved, `//` merged when
/// asked to, everything from a bare `?` or `#` on cut off. `out` is emptied first.
///
/// Refused: broken `%XX`, `%00`, a path that does not begin with `/`, and one that climbs above the root.
pub fn normalize(path: &[u8], merge_slashes: bool, out: &mut Vec<u8>) -> Result<(), BadUri> {
    out.clear();
    if path.first() != Some(&b'/') {
        return Err(BadUri);
    }
    // Where the segment being written begins, behind its slash.
    let mut segment = 0;
    let mut rest = path;
    while let Some((byte, decoded, behind)) = next(rest)? {
        rest = behind;
        match byte {
            b'?' | b'#' if !decoded => break,
            b'/' => {
                let resolved = resolve(out, &mut segment)?;
                let doubled = merge_slashes && segment > 0 && segment == out.len();
                if !resolved && !doubled {
                    out.push(b'/');
                    segment = out.len();
                }
            }
            _ => out.push(byte),
        }
    }
    resolve(out, &mut segment).map(|_| ())
}

/// At the end of a segment: takes `.` and `..` back, so that `out` ends with the slash before what they named; true
/// when it did. An escaped dot is a dot here, as in nginx.
fn resolve(out: &mut Vec<u8>, segment: &mut usize) -> Result<bool, BadUri> {
    match out.get(*segment..) {
        Some(b".") => out.truncate(*segment),
        Some(b"..") => {
            let before = segment.checked_sub(2).and_then(|end| out.get(..=end)).ok_or(BadUri)?;
            let slash = before.iter().rposition(|&byte| byte == b'/').ok_or(BadUri)?;
            out.truncate(slash + 1);
            *segment = out.len();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The first byte, whether it was percent-encoded, and what is behind it.
type Next<'a> = Option<(u8, bool, &'a [u8])>;

fn next(text: &[u8]) -> Result<Next<'_>, BadUri> {
    match text {
        [] => Ok(None),
        [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
            (Some(0), Some(0)) | (None, _) | (_, None) => Err(BadUri),
            (Some(high), Some(low)) => Ok(Some((high << 4 | low, true, rest))),
        },
        [b'%', ..] => Err(BadUri),
        [byte, rest @ ..] => Ok(Some((*byte, false, rest))),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Checks a URI that a trusted party gave, for instance in X-Accel-Redirect: writes its decoded path into `out` and
/// returns its arguments. Unlike [`normalize`] it refuses `..` segments and resolves nothing.
///
/// Stricter than nginx: a `..` segment right before `?` is refused too.
pub fn unsafe_uri<'a>(uri: &'a [u8], out: &mut Vec<u8>) -> Result<Option<&'a [u8]>, BadUri> {
    out.clear();
    let (path, args) = match uri.iter().position(|&byte| byte == b'?') {
        Some(at) => (uri.get(..at).unwrap_or_default(), uri.get(at + 1..)),
        None => (uri, None),
    };
    unescape(path, out);
    for path in [path, out] {
        if path.is_empty() || path.contains(&0) || path.split(|&byte| byte == b'/').any(|name| name == b"..")
        {
            return Err(BadUri);
        }
    }
    Ok(args)
}

/// Why a path is read in more than one way: in a sentence, `a path with ...`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's words are its documentation")]
pub enum Ambiguity {
    #[error("an encoded slash")]
    Slash,
    #[error("an encoded dot")]
    Dot,
    #[error("an encoded NUL")]
    Nul,
    #[error("a backslash")]
    Backslash,
    #[error("a dot segment")]
    DotSegment,
    #[error("a parameter at a dot segment")]
    DotParameter,
}

/// Whether a path, as it was sent, is one that some read as another: what is encoded counts however often it is.
pub fn ambiguity(path: &[u8]) -> Option<Ambiguity> {
    for (at, &byte) in path.iter().enumerate() {
        let meant = if byte == b'%' { decoded(path.get(at + 1..).unwrap_or_default()) } else { Some(byte) };
        match meant {
            Some(b'\\') => return Some(Ambiguity::Backslash),
            Some(0) => return Some(Ambiguity::Nul),
            Some(b'/') if byte == b'%' => return Some(Ambiguity::Slash),
            Some(b'.') if byte == b'%' => return Some(Ambiguity::Dot),
            _ => {}
        }
    }
    path.split(|&byte| byte == b'/').find_map(|segment| {
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        match name {
            b"." | b".." if name.len() < segment.len() => Some(Ambiguity::DotParameter),
            b"." | b".." => Some(Ambiguity::DotSegment),
            _ => None,
        }
    })
}

/// The byte that what is behind a `%` means to who decodes it until nothing is encoded any more.
fn decoded(mut behind: &[u8]) -> Option<u8> {
    while let Some(rest) = behind.strip_prefix(b"25") {
        behind = rest;
    }
    match behind {
        [high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// The part of a path behind the last dot of its last segment; a dot the segment begins with does not count.
pub fn extension(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(at) if at > 0 => name.get(at + 1..).unwrap_or_default(),
        _ => b"",
    }
}

/// The value of the argument `name`, in any case, where `name=` first stands (`$arg_name`).
pub fn arg<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|&byte| byte == b'&').find_map(|argument| {
        let (start, rest) = argument.split_at_checked(name.len())?;
        if start.eq_ignore_ascii_case(name) { rest.strip_prefix(b"=") } else { None }
    })
}

/// What a text is percent-encoded for, which decides the bytes that are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Escape {
    /// A path.
    Uri,
    /// A query, whole.
    Args,
    /// One argument: all but letters, digits and `-._~`.
    UriComponent,
    /// A URI inside HTML.
    Html,
    /// A URI in a Refresh field or element.
    Refresh,
    /// A memcached key.
    Memcached,
}

/// Appends `text` with the bytes encoded that `kind` does not allow.
pub fn escape(kind: Escape, text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len());
    for &byte in text {
        if must_escape(kind, byte) {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        } else {
            out.push(byte);
        }
    }
}

/// Whether [`escape`] would change the text.
pub fn needs_escape(kind: Escape, text: &[u8]) -> bool {
    text.iter().any(|&byte| must_escape(kind, byte))
}

#[inline]
fn must_escape(kind: Escape, byte: u8) -> bool {
    ESCAPED[byte as usize] & (1 << kind as u8) != 0
}

/// For each byte the kinds that encode it, a bit each. The sets are those of nginx's ngx_escape_uri, which lets `}`
/// through in Refresh and encodes `~` there.
static ESCAPED: [u8; 256] = {
    const fn has(set: &[u8], byte: u8) -> bool {
        let mut rest = set;
        while let [first, others @ ..] = rest {
            if *first == byte {
                return true;
            }
            rest = others;
        }
        false
    }
    let mut table = [0u8; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let control = byte < 0x20;
        let beyond = byte >= 0x7f;
        let unreserved = byte.is_ascii_alphanumeric() || has(b"-._~", byte);
        let sets = [
            (Escape::Uri, control || beyond || has(b" \"#%<>?\\^`{|}", byte)),
            (Escape::Args, control || beyond || has(b" \"#%&+;<>?\\^`{|}", byte)),
            (Escape::UriComponent, !unreserved),
            (Escape::Html, control || beyond || has(b" \"#%'<>\\^`{|}", byte)),
            (Escape::Refresh, control || beyond || has(b" \"'<>\\^`{|~", byte)),
            (Escape::Memcached, control || has(b" %", byte)),
        ];
        let mut set = 0;
        while set < sets.len() {
            if sets[set].1 {
                table[at] |= 1 << sets[set].0 as u8;
            }
            set += 1;
        }
        at += 1;
    }
    table
};

/// Appends `text` with `%XX` decoded. Broken escapes lose their percent sign, and a first digit, as in nginx.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let Some((&high, behind)) = rest.split_first() else { break };
        rest = behind;
        let Some(high) = hex(high) else {
            out.push(high);
            continue;
        };
        let Some((&low, behind)) = rest.split_first() else { break };
        rest = behind;
        if let Some(low) = hex(low) {
            out.push(high << 4 | low);
        }
    }
}

/// Appends `text` decoded for a redirect: only what may stand bare in a URI is, and nothing behind a `?`.
pub fn unescape_redirect(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        match rest {
            [] => return,
            [b'?', ..] => {
                out.extend_from_slice(rest);
                return;
            }
            [b'%', first, second, behind @ ..] => {
                match (hex(*first), hex(*second)) {
                    (Some(3), Some(15)) => {
                        out.push(b'?');
                        out.extend_from_slice(behind);
                        return;
                    }
                    (Some(high), Some(low)) => {
                        let byte = high << 4 | low;
                        if byte > b'%' && byte < 0x7f {
                            out.push(byte);
                        } else {
                            out.extend_from_slice(&[b'%', *first, *second]);
                        }
                    }
                    (None, _) => out.extend_from_slice(&[*first, *second]),
                    (_, None) => {}
                }
                rest = behind;
            }
            [byte, behind @ ..] => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normalized(path: &str, merge: bool) -> Option<String> {
        let mut out = Vec::new();
        normalize(path.as_bytes(), merge, &mut out).ok()?;
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn paths_that_are_read_in_more_than_one_way() {
        use Ambiguity::*;
        for (path, found) in [
            (&b"/a/b.c;v=1/..d/.e/f.%20%25"[..], None),
            (b"/", None),
            (b"/a%2Fb", Some(Slash)),
            (b"/a%252fb", Some(Slash)),
            (b"/a%25252fb", Some(Slash)),
            (b"/a/%2e%2e/b", Some(Dot)),
            (b"/a/%252E/b", Some(Dot)),
            (b"/a%00", Some(Nul)),
            (b"/a\\b", Some(Backslash)),
            (b"/a%5cb", Some(Backslash)),
            (b"/a/../b", Some(DotSegment)),
            (b"/a/.", Some(DotSegment)),
            (b"/a/..;/b", Some(DotParameter)),
            (b"/a/.;x=1", Some(DotParameter)),
        ] {
            assert_eq!(ambiguity(path), found, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn paths_are_cleaned_as_nginx_does() {
        for (path, clean) in [
            ("/", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/a/b/../../c/", "/c/"),
            ("//a///b", "/a/b"),
            ("/a//../b", "/b"),
            ("/a/.b", "/a/.b"),
            ("/a/..b", "/a/..b"),
            ("/a/...", "/a/..."),
            ("/a/b..", "/a/b.."),
            ("/%61%2F%2e%2E/b", "/b"),
            ("/a%2f/b", "/a/b"),
            ("/a%3Fb%23c%25d", "/a?b#c%d"),
            ("/%2e%3f/x", "/.?/x"),
            ("/%252e%252e/", "/%2e%2e/"),
            ("/a+b%2Bc%20d", "/a+b+c d"),
            ("/a#b", "/a"),
            ("/a/..#b", "/"),
            ("/a/..?b", "/"),
            ("/a%0d%0ab", "/a\r\nb"),
        ] {
            assert_eq!(normalized(path, true).as_deref(), Some(clean), "{path}");
        }
        for (path, clean) in [
            ("//a///b", "//a///b"),
            ("/a/./b", "/a/b"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/.//b", "//b"),
        ] {
            assert_eq!(normalized(path, false).as_deref(), Some(clean), "{path} without merging");
        }
        for path in
            ["/..", "/../", "/a/../..", "/a/../../b", "/%2e./", "/%", "/%4", "/%4g", "/%00", "", "a", "?x"]
        {
            assert_eq!(normalized(path, true), None, "{path}");
        }
        assert_eq!(normalized("//../", true), None);
    }

    #[test]
    fn unsafe_uris_are_refused() {
        let mut out = Vec::new();
        assert_eq!(unsafe_uri(b"/a%20b/..c?x=%2e", &mut out), Ok(Some(b"x=%2e".as_slice())));
        assert_eq!(out, b"/a b/..c");
        assert_eq!(unsafe_uri(b"a", &mut out), Ok(None));
        for uri in ["", "?x", "..", "../a", "/a/..", "/a/../b", "/%2e%2e/", "/a/%2e.", "/a%00", "/a/..?x"] {
            assert_eq!(unsafe_uri(uri.as_bytes(), &mut out), Err(BadUri), "{uri}");
        }
    }

    #[test]
    fn escapes_follow_nginx_tables() {
        let escaped = |kind| {
            let mut out = Vec::new();
            escape(kind, b"a b\"#%&'+/;<=>?[\\]^`{|}~\x7f\xe9\n", &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(escaped(Escape::Uri), "a%20b%22%23%25&'+/;%3C=%3E%3F[%5C]%5E%60%7B%7C%7D~%7F%E9%0A");
        assert_eq!(
            escaped(Escape::Args),
            "a%20b%22%23%25%26'%2B/%3B%3C=%3E%3F[%5C]%5E%60%7B%7C%7D~%7F%E9%0A"
        );
        assert_eq!(
            escaped(Escape::UriComponent),
            "a%20b%22%23%25%26%27%2B%2F%3B%3C%3D%3E%3F%5B%5C%5D%5E%60%7B%7C%7D~%7F%E9%0A"
        );
        assert_eq!(escaped(Escape::Html), "a%20b%22%23%25&%27+/;%3C=%3E?[%5C]%5E%60%7B%7C%7D~%7F%E9%0A");
        assert_eq!(escaped(Escape::Refresh), "a%20b%22#%&%27+/;%3C=%3E?[%5C]%5E%60%7B%7C}%7E%7F%E9%0A");
        let key = "a%20b\"#%25&'+/;<=>?[\\]^`{|}~\u{7f}\u{fffd}%0A";
        assert_eq!(escaped(Escape::Memcached), key);
    }

    #[test]
    fn arguments_and_extensions() {
        assert_eq!(arg(b"a=1&B=2&ab=3&c&d=", b"b"), Some(b"2".as_slice()));
        assert_eq!(arg(b"xa=1&a=2", b"a"), Some(b"2".as_slice()));
        assert_eq!(arg(b"a=1&d=", b"d"), Some(b"".as_slice()));
        assert_eq!(arg(b"c&c=3", b"c"), Some(b"3".as_slice()));
        assert_eq!(arg(b"", b"a"), None);
        for (path, ext) in
            [("/a.html", "html"), ("/a.b/c", ""), ("/.ht", ""), ("/a.tar.gz", "gz"), ("/a.", "")]
        {
            assert_eq!(extension(path.as_bytes()), ext.as_bytes(), "{path}");
        }
    }

    #[test]
    fn redirects_keep_what_must_be_encoded() {
        let redirect = |text: &[u8]| {
            let mut out = Vec::new();
            unescape_redirect(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(redirect(b"/a%41%20%25%7f?%41"), "/aA%20%25%7f?%41");
        assert_eq!(redirect(b"/a%3f%41"), "/a?%41");
    }

    proptest! {
        #[test]
        fn a_clean_path_has_no_dots_left(path in "/[a./%2eF?#]{0,24}", merge: bool) {
            let mut out = Vec::new();
            if normalize(path.as_bytes(), merge, &mut out).is_ok() {
                prop_assert!(out.starts_with(b"/"));
                prop_assert!(out.split(|&byte| byte == b'/').all(|name| name != b"." && name != b".."));
            }
        }

        #[test]
        fn what_is_escaped_comes_back(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (mut escaped, mut back) = (Vec::new(), Vec::new());
            escape(Escape::UriComponent, &text, &mut escaped);
            prop_assert_eq!(needs_escape(Escape::UriComponent, &text), escaped != text);
            unescape(&escaped, &mut back);
            prop_assert_eq!(back, text);
        }
    }
}
