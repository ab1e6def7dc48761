//! How long an answer may be served without asking again, read from its fields as nginx reads them.

use wire::{Name, list};

use super::entry::fingerprint;

/// Fields that `proxy_ignore_headers` takes out of the decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignored {
    /// `X-Accel-Expires`.
    pub accel_expires: bool,
    /// `Expires`.
    pub expires: bool,
    /// `Cache-Control`.
    pub cache_control: bool,
    /// `Set-Cookie`.
    pub set_cookie: bool,
    /// `Vary`.
    pub vary: bool,
}

impl Ignored {
    /// Finds the names in a list of lower-case names.
    pub fn of(names: &[Vec<u8>]) -> Ignored {
        let has = |name: &[u8]| names.iter().any(|n| n == name);
        Ignored {
            accel_expires: has(b"x-accel-expires"),
            expires: has(b"expires"),
            cache_control: has(b"cache-control"),
            set_cookie: has(b"set-cookie"),
            vary: has(b"vary"),
        }
    }
}

/// The moments of an answer's life, in seconds since 1970 or from there on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The last second in which it is fresh; 0 when nothing was said.
    pub valid: i64,
    /// For how many seconds longer it may be served while it is being updated (RFC 5861, 3).
    pub updating: i64,
    /// For how many seconds longer it may be served when updating it fails (RFC 5861, 4).
    pub error: i64,
    /// When it was received or last confirmed.
    pub date: i64,
}

/// What the fields of an answer say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Whether it may be stored at all.
    pub storable: bool,
    /// For how long.
    pub times: Times,
    /// The names in `Vary`, joined.
    pub vary: Vec<u8>,
}

/// The longest `Vary` that is stored by (nginx's NGX_HTTP_CACHE_VARY_LEN).
const VARY_LEN: usize = 128;

/// Reads the fields of an answer, in their order: a field may overrule those before it, and nginx has each look at
/// what those said.
pub fn read<'a>(fields: impl Iterator<Item = (Name, &'a [u8])>, ignored: Ignored, now: i64) -> Said {
    let mut said = Said { storable: true, ..Said::default() };
    let mut times = Times { date: now, ..Times::default() };
    let (mut no_cache, mut expired, mut accel) = (false, false, false);
    for (name, value) in fields {
        match name {
            Name::SetCookie if !ignored.set_cookie => said.storable = false,
            Name::CacheControl if !ignored.cache_control => {
                let decided = times.valid != 0 && accel;
                if !decided {
                    let forbids = |word: &[u8]| list::contains(value, word);
                    if forbids(b"no-cache") || forbids(b"no-store") || forbids(b"private") {
                        no_cache = true;
                        continue;
                    }
                    match list::seconds(value, b"s-maxage").or_else(|| list::seconds(value, b"max-age")) {
                        None => {}
                        Some(Err(_)) => {
                            said.storable = false;
                            continue;
                        }
                        Some(Ok(0)) => {
                            no_cache = true;
                            continue;
                        }
                        Some(Ok(seconds)) => {
                            times.valid = now.saturating_add_unsigned(seconds);
                            expired = false;
                        }
                    }
                }
                match list::seconds(value, b"stale-while-revalidate") {
                    None => {}
                    Some(Err(_)) => {
                        said.storable = false;
                        continue;
                    }
                    Some(Ok(seconds)) => {
                        times.updating = seconds as i64;
                        times.error = seconds as i64;
                    }
                }
                match list::seconds(value, b"stale-if-error") {
                    None => {}
                    Some(Err(_)) => said.storable = false,
                    Some(Ok(seconds)) => times.error = seconds as i64,
                }
            }
            Name::Expires if !ignored.expires && times.valid == 0 => {
                match wire::date::parse(value).and_then(|date| i64::try_from(date).ok()) {
                    Some(date) if date >= now => times.valid = date,
                    _ => expired = true,
                }
            }
            Name::XAccelExpires => {
                accel = true;
                if ignored.accel_expires {
                    continue;
                }
                let (digits, from) = match value.strip_prefix(b"@") {
                    Some(digits) => (digits, None),
                    None => (value, Some(now)),
                };
                match (conf::value::number(digits), from) {
                    (None, _) => {}
                    (Some(0), Some(_)) => said.storable = false,
                    (Some(seconds), from) => {
                        times.valid = from.unwrap_or(0).saturating_add(seconds);
                        no_cache = false;
                        expired = false;
                    }
                }
            }
            Name::Vary if !ignored.vary && said.storable => {
                if value == b"*" {
                    said.storable = false;
                    continue;
                }
                if !said.vary.is_empty() {
                    said.vary.extend_from_slice(b", ");
                }
                said.vary.extend_from_slice(value);
                if said.vary.len() > VARY_LEN {
                    said.storable = false;
                }
            }
            _ => {}
        }
    }
    said.storable &= !no_cache && !expired;
    said.times = times;
    said
}

/// What of a request an answer with that `Vary` was chosen by: nothing, or a fingerprint of the fields that it names,
/// which may hold credentials.
pub fn variant<'a>(vary: &[u8], fields: &(impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone)) -> Vec<u8> {
    if vary.is_empty() {
        return Vec::new();
    }
    let mut text = Vec::new();
    append_wishes(vary, fields, &mut text);
    fingerprint(&text).to_vec()
}

/// Each name with its values, lists of preferences without their blanks, so that equal wishes are equal text.
fn append_wishes<'a>(
    vary: &[u8],
    fields: &(impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone),
    out: &mut Vec<u8>,
) {
    let blank = |b: &u8| matches!(b, b' ' | b',');
    for name in vary.split(blank).filter(|name| !name.is_empty()) {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.push(b':');
        let preferences = [&b"accept-charset"[..], b"accept-encoding", b"accept-language"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
        let mut first = true;
        let mut add = |text: &[u8], out: &mut Vec<u8>| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(text);
        };
        for (_, value) in fields.clone().filter(|(field, _)| field.eq_ignore_ascii_case(name)) {
            if preferences {
                value.split(blank).filter(|item| !item.is_empty()).for_each(|item| add(item, out));
            } else {
                add(value, out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 784_111_777;

    fn said(fields: &[(Name, &str)]) -> Said {
        read(fields.iter().map(|(n, v)| (*n, v.as_bytes())), Ignored::default(), NOW)
    }

    fn valid(fields: &[(Name, &str)]) -> Option<i64> {
        let said = said(fields);
        said.storable.then_some(if said.times.valid == 0 { 0 } else { said.times.valid - NOW })
    }

    #[test]
    fn cache_control_says_how_long() {
        let cc = Name::CacheControl;
        assert_eq!(valid(&[]), Some(0));
        assert_eq!(valid(&[(cc, "max-age=60")]), Some(60));
        assert_eq!(valid(&[(cc, "Max-Age=60, S-MaxAge=5")]), Some(5));
        for never in ["no-cache", "NO-STORE", "private", "max-age=0", "max-age=1x", "max-age=60, private"] {
            assert_eq!(valid(&[(cc, never)]), None, "{never}");
        }
        // A later line overrules how long, but not a refusal.
        assert_eq!(valid(&[(cc, "max-age=60"), (cc, "max-age=5")]), Some(5));
        assert_eq!(valid(&[(cc, "no-cache"), (cc, "max-age=5")]), None);
        let stale = said(&[(cc, "max-age=1, stale-while-revalidate=10, stale-if-error=20")]);
        assert_eq!((stale.times.updating, stale.times.error), (10, 20));
        assert_eq!(said(&[(cc, "stale-while-revalidate=10")]).times.error, 10);
        assert!(!said(&[(cc, "stale-if-error=x")]).storable);
        assert_eq!(said(&[(cc, "max-age=99999999999999999999")]).times.valid, i64::MAX);
    }

    #[test]
    fn expires_counts_where_nothing_better_was_said() {
        let (cc, ex, xa) = (Name::CacheControl, Name::Expires, Name::XAccelExpires);
        assert_eq!(valid(&[(ex, "Sun, 06 Nov 1994 08:49:47 GMT")]), Some(10));
        assert_eq!(valid(&[(ex, "Sun, 06 Nov 1994 08:49:36 GMT")]), None);
        assert_eq!(valid(&[(ex, "0")]), None);
        assert_eq!(valid(&[(cc, "max-age=60"), (ex, "0")]), Some(60));
        assert_eq!(valid(&[(ex, "0"), (cc, "max-age=60")]), Some(60));
        assert_eq!(valid(&[(xa, "7"), (cc, "no-cache"), (ex, "0")]), Some(7));
        assert_eq!(valid(&[(cc, "no-cache"), (xa, "7")]), Some(7));
        assert_eq!(valid(&[(xa, "@784111780")]), Some(3));
        assert_eq!(valid(&[(xa, "0"), (cc, "max-age=60")]), None);
        assert_eq!(valid(&[(xa, "soon"), (cc, "max-age=60")]), Some(60));
    }

    #[test]
    fn cookies_and_vary_bound_who_is_served() {
        assert_eq!(valid(&[(Name::SetCookie, "a=b"), (Name::CacheControl, "max-age=60")]), None);
        assert_eq!(valid(&[(Name::Vary, "*")]), None);
        assert_eq!(said(&[(Name::Vary, "Accept"), (Name::Vary, "Origin")]).vary, b"Accept, Origin");
        assert!(!said(&[(Name::Vary, &"x".repeat(129))]).storable);
        let ignored = Ignored::of(&[b"set-cookie".to_vec(), b"vary".to_vec()]);
        let fields = [(Name::SetCookie, &b"a=b"[..]), (Name::Vary, b"*")];
        assert!(read(fields.into_iter(), ignored, NOW).storable);
    }

    #[test]
    fn equal_wishes_are_equal_variants() {
        let of = |fields: &[(&str, &str)]| {
            let mut out = Vec::new();
            let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            append_wishes(b"Accept-Encoding, X-Who", &fields.iter().copied(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let plain = "accept-encoding:gzip,br\r\nx-who:\r\n";
        assert_eq!(of(&[("accept-encoding", "gzip,  br")]), plain);
        assert_eq!(of(&[("Accept-Encoding", "gzip"), ("accept-encoding", "br")]), plain);
        assert_eq!(of(&[("X-Who", "a b")]), "accept-encoding:\r\nx-who:a b\r\n");
    }

    #[test]
    fn a_variant_does_not_tell_what_the_request_said() {
        let of = |token: &'static [u8]| {
            variant(b"Authorization", &[(&b"authorization"[..], token)].iter().copied())
        };
        let one = of(b"Bearer secret");
        assert!(!one.windows(6).any(|part| part == b"secret"));
        assert_eq!(one, of(b"Bearer secret"));
        assert_ne!(one, of(b"Bearer Secret"));
        assert!(variant(b"", &[].iter().copied()).is_empty());
    }
}
