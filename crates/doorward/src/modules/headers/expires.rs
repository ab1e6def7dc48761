//! `expires`: until when a response may be cached.

use conf::{Diagnostic, Node};
use wire::Name;

use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::variables::Template;

/// Until when a response is fresh.
#[derive(Clone, Debug, PartialEq)]
pub enum Expires {
    /// Nothing is said.
    Off,
    /// It never is.
    Epoch,
    /// For ten years.
    Max,
    /// For so many seconds, which may be less than none.
    After {
        /// The seconds.
        seconds: i64,
        /// Counted from the last change rather than from now.
        modified: bool,
    },
    /// Until that second of the day.
    Daily(u64),
    /// As the value says when the response is made.
    Computed {
        /// The value.
        value: Template,
        /// Whether it counts from the last change.
        modified: bool,
    },
}

const DAY: u64 = 24 * 60 * 60;

impl Expires {
    /// Reads `expires [modified] value`.
    pub(super) fn compile(node: &Node, cx: &mut Compiler) -> Result<Expires, Diagnostic> {
        let modified = node.args.len() == 2;
        if modified && node.bytes(0) != b"modified" {
            return Err(node.complaint("invalid value"));
        }
        let word = node.word(usize::from(modified))?;
        let value = Template::compile(word, &mut cx.variables)?;
        match value.as_literal() {
            Some(text) => Self::parse(text, modified).map_err(|sentence| node.complaint(sentence)),
            None => Ok(Expires::Computed { value, modified }),
        }
    }

    fn parse(text: &[u8], modified: bool) -> Result<Expires, &'static str> {
        if !modified {
            match text {
                b"epoch" => return Ok(Expires::Epoch),
                b"max" => return Ok(Expires::Max),
                b"off" => return Ok(Expires::Off),
                _ => {}
            }
        }
        let seconds = |text: &[u8]| conf::value::sec(text).ok_or("invalid value");
        let signed = |text: &[u8]| i64::try_from(seconds(text)?).map_err(|_| "invalid value");
        match text.split_first() {
            Some((b'@', _)) if modified => Err("daily time cannot be used with \"modified\" parameter"),
            Some((b'@', rest)) => match seconds(rest)? {
                seconds if seconds > DAY => Err("daily time value must be less than 24 hours"),
                seconds => Ok(Expires::Daily(seconds)),
            },
            Some((b'-', rest)) => Ok(Expires::After { seconds: -signed(rest)?, modified }),
            Some((b'+', rest)) => Ok(Expires::After { seconds: signed(rest)?, modified }),
            _ => Ok(Expires::After { seconds: signed(text)?, modified }),
        }
    }

    /// Sets `Expires` and `Cache-Control` in place of what the response has of them.
    pub(super) fn apply(&self, ex: &mut Exchange<'_>) {
        let now = net::clock::wall().0;
        let computed;
        let expires = match self {
            Expires::Computed { value, modified } => match Self::parse(&value.eval(ex), *modified) {
                Ok(expires) => {
                    computed = expires;
                    &computed
                }
                Err(_) => return,
            },
            fixed => fixed,
        };
        let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let (time, age) = match *expires {
            Expires::Off | Expires::Computed { .. } => return,
            Expires::Epoch => (1, -1),
            // Tue, 31 Dec 2037 23:55:55 GMT: the last year that a 32-bit clock knows whole.
            Expires::Max => (2_145_916_555, 315_360_000),
            Expires::Daily(second) => {
                let time = next(now, second);
                (signed(time), signed(time - now))
            }
            Expires::After { seconds, modified } => match ex.response.last_modified {
                Some(changed) if modified && seconds != 0 => {
                    let time = changed.saturating_add(seconds);
                    (time, if seconds < 0 { -1 } else { time - signed(now) })
                }
                _ => (signed(now).saturating_add(seconds), seconds),
            },
        };
        let fields = &mut ex.response.fields;
        let time = wire::date::format(u64::try_from(time).unwrap_or(0));
        fields.set_in_place(Name::Expires, b"Expires", &time);
        let age = if age < 0 { "no-cache".to_owned() } else { format!("max-age={age}") };
        fields.set_in_place(Name::CacheControl, b"Cache-Control", age.as_bytes());
    }
}

/// The next time that the local clock shows that second of the day.
fn next(now: u64, second: u64) -> u64 {
    let local = net::clock::local(now);
    let today = u64::from(local.hour) * 3600 + u64::from(local.minute) * 60 + u64::from(local.second);
    let time = now.saturating_sub(today) + second;
    if time > now { time } else { time + DAY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let after = |seconds, modified| Ok(Expires::After { seconds, modified });
        assert_eq!(Expires::parse(b"1h", false), after(3600, false));
        assert_eq!(Expires::parse(b"+1y", true), after(365 * 86400, true));
        assert_eq!(Expires::parse(b"-1", false), after(-1, false));
        assert_eq!(Expires::parse(b"@15h30m", false), Ok(Expires::Daily(55_800)));
        assert_eq!(Expires::parse(b"max", false), Ok(Expires::Max));
        assert!(Expires::parse(b"max", true).is_err());
        assert!(Expires::parse(b"@25h", false).is_err());
        assert!(Expires::parse(b"@1h", true).is_err());
        assert!(Expires::parse(b"", false).is_err());
    }
}
