//! How long a decision may be used: what the operator allows, and less where the answer or the token says so.

use wire::{Name, list};

use super::token;
use crate::authorization::bearer;

/// What the answer and the token leave of the operator's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// In milliseconds; 0 where the answer may not be used for another request.
    pub time: u64,
    /// Whether it may be used longer when the service fails (not under `must-revalidate`).
    pub graceful: bool,
}

const NONE: Lifetime = Lifetime { time: 0, graceful: false };

/// The lifetime of an answer with these fields that may live `time` milliseconds; `is_in_key` says whether the key depends
/// on a field of the request, and `now` is in seconds since 1970.
///
/// `private` allows it: the key holds the credentials, so that this cache is as private as a browser's.
pub fn of_answer<'a>(
    time: u64,
    fields: impl Iterator<Item = (Name, &'a [u8])>,
    is_in_key: impl Fn(&[u8]) -> bool,
    now: u64,
) -> Lifetime {
    let (mut max_age, mut shared_max_age, mut expires, mut age) = (None, None, None, 0);
    let mut graceful = true;
    for (name, value) in fields {
        match name {
            Name::SetCookie => return NONE,
            Name::Vary if !list::split(value).all(|field| field != b"*" && is_in_key(field)) => return NONE,
            Name::CacheControl => {
                for directive in list::split(value) {
                    let (word, argument) = match directive.iter().position(|byte| *byte == b'=') {
                        Some(at) => (&directive[..at], directive.get(at + 1..).unwrap_or_default()),
                        None => (directive, &b""[..]),
                    };
                    let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
                    if is(b"no-store") || is(b"no-cache") {
                        return NONE;
                    } else if is(b"max-age") {
                        max_age = Some(seconds(argument));
                    } else if is(b"s-maxage") {
                        shared_max_age = Some(seconds(argument));
                    } else if is(b"must-revalidate") || is(b"proxy-revalidate") {
                        graceful = false;
                    }
                }
            }
            // What is no date is over (RFC 9111, 5.3).
            Name::Expires => expires = Some(wire::date::parse(value).map_or(0, |at| at.saturating_sub(now))),
            Name::Age => age = seconds(value),
            _ => {}
        }
    }
    let said = shared_max_age.or(max_age).map(|seconds| seconds.saturating_sub(age)).or(expires);
    Lifetime { time: said.map_or(time, |seconds| time.min(seconds.saturating_mul(1000))), graceful }
}

impl Lifetime {
    /// What is left under the client's token, the value of its `Authorization` field; `now` is in milliseconds since 1970.
    pub fn within_token(self, authorization: Option<&[u8]>, now: u64) -> Lifetime {
        match authorization.and_then(bearer).and_then(token::expiry) {
            // The grace would go beyond the token's own end.
            Some(expiry) => {
                let left = expiry.saturating_mul(1000).saturating_sub(now);
                Lifetime { time: self.time.min(left), graceful: self.graceful && left > self.time }
            }
            None => self,
        }
    }
}

/// A number of seconds; what is none is 0, so that nothing lives longer for it.
fn seconds(text: &[u8]) -> u64 {
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    conf::value::number(text).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(fields: &[(Name, &str)]) -> Lifetime {
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        of_answer(60_000, fields, |field| field.eq_ignore_ascii_case(b"cookie"), 1_000_000_000)
    }

    fn time(fields: &[(Name, &str)]) -> u64 {
        lifetime(fields).time
    }

    #[test]
    fn an_answer_can_only_shorten_its_life() {
        assert_eq!(lifetime(&[]), Lifetime { time: 60_000, graceful: true });
        let controlled = |value| time(&[(Name::CacheControl, value)]);
        assert_eq!(controlled("private, max-age=10"), 10_000);
        assert_eq!(controlled("max-age=3600"), 60_000);
        assert_eq!(controlled("max-age=10, s-maxage=20"), 20_000);
        assert_eq!(controlled("Max-Age=\"5\""), 5_000);
        for none in ["no-store", "x, No-Cache", "no-cache=\"a\"", "max-age=0", "max-age=soon", "max-age=-1"] {
            assert_eq!(controlled(none), 0, "{none}");
        }
        assert_eq!(time(&[(Name::CacheControl, "max-age=30"), (Name::Age, "20")]), 10_000);
        assert_eq!(time(&[(Name::Expires, "Sun, 09 Sep 2001 01:46:45 GMT")]), 5_000);
        assert_eq!(time(&[(Name::Expires, "0")]), 0);
        assert_eq!(time(&[(Name::Expires, "0"), (Name::CacheControl, "max-age=7")]), 7_000);
        assert!(!lifetime(&[(Name::CacheControl, "max-age=9, must-revalidate")]).graceful);
    }

    #[test]
    fn an_answer_for_one_request_lives_for_no_other() {
        assert_eq!(time(&[(Name::SetCookie, "a=b")]), 0);
        assert_eq!(time(&[(Name::Vary, "*")]), 0);
        assert_eq!(time(&[(Name::Vary, "Cookie"), (Name::Vary, "Cookie, Accept")]), 0);
        assert_eq!(time(&[(Name::Vary, "cookie")]), 60_000);
    }

    #[test]
    fn nothing_lives_longer_than_the_token() {
        // {"exp":1000000030}
        let token = Some(&b"Bearer eyJhbGciOiJub25lIn0.eyJleHAiOjEwMDAwMDAwMzB9.x"[..]);
        let life = Lifetime { time: 60_000, graceful: true };
        assert_eq!(life.within_token(token, 1_000_000_000_000), Lifetime { time: 30_000, graceful: false });
        assert_eq!(life.within_token(token, 1_000_000_030_000).time, 0);
        assert_eq!(life.within_token(token, 900_000_000_000), life);
        assert_eq!(life.within_token(Some(b"Bearer opaque"), 0), life);
        assert_eq!(life.within_token(None, 0), life);
    }
}
