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
    // A decoded `%`, `#` or `?` makes the segment an ordinary one, though they are written as they are.
    let mut rest = path;
    while let Some((byte, decoded, behind)) = next(rest)? {
        rest = behind;
        match byte {
            b'?' | b'#' if !decoded => break,
            b'/' => {
                if !out.is_empty() {
                    resolve(out, &mut segment)?;
                }
                // Behind a slash another one is left out, or opens an empty segment.
                if merge_slashes && segment > 0 && segment == out.len() {
                    continue;
                }
                out.push(b'/');
                segment = out.len();
            }
            _ => out.push(byte),
        }
    }
    resolve(out, &mut segment)
}

/// At the end of a segment: `.` and `..` are taken back.
fn resolve(out: &mut Vec<u8>, segment: &mut usize) -> Result<(), BadUri> {
    match out.get(*segment..) {
        Some(b".") => out.truncate(*segment),
        Some(b"..") => {
            // The slash before the segment that `..` takes back; behind it the next segment begins.
            let before = segment.checked_sub(2).and_then(|end| out.get(..=end)).ok_or(BadUri)?;
            let slash = before.iter().rposition(|&byte| byte == b'/').ok_or(BadUri)?;
            out.truncate(slash + 1);
            *segment = out.len();
        }
        _ => {}
    }
    Ok(())
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
