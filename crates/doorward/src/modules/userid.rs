//! `ngx_http_userid_filter_module`: gives every client a cookie with an identifier of its own.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use conf::Arg::{Choice, Number, Optional, Text};
use conf::once;
use wire::Name;

use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::Module;
use crate::plan::{Filter, Plan};
use crate::variables::{Index, Row};
use crate::{directives, settings};

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_userid_filter_module",
    directives: directives! { UserIdSettings;
        /// Gives clients that have none a cookie with an identifier: `on` (version 2), `v1`, only reads it (`log`), or
        /// does neither (`off`).
        "userid" in [HTTP SERVER LOCATION] (Choice(&["on", "v1", "log", "off"])) = "off" => |c, _, n| {
            let mode = n.choice(0, &[("on", Mode::V2), ("v1", Mode::V1), ("log", Mode::Log), ("off", Mode::Off)])?;
            once(&mut c.mode, mode, n)
        };
        /// The domain of the cookie.
        "userid_domain" in [HTTP SERVER LOCATION] (Text("name | none")) = "none" => |c, _, n| {
            let domain = if n.bytes(0) == b"none" { Vec::new() } else { n.bytes(0).to_vec() };
            once(&mut c.domain, domain, n)
        };
        /// How long browsers keep the cookie: a time, `max` (until 2037), or `off` (until the browser ends).
        "userid_expires" in [HTTP SERVER LOCATION] (Text("time | max | off")) = "off" => |c, _, n| {
            let expires = match n.bytes(0) {
                b"max" => Expires::Max,
                b"off" => Expires::Off,
                _ => Expires::In(n.sec(0)?),
            };
            once(&mut c.expires, expires, n)
        };
        /// Flags of the cookie: `secure`, `httponly`, `samesite=strict`, `samesite=lax`, `samesite=none`, or `off`.
        "userid_flags" in [HTTP SERVER LOCATION] (Text("flag"), Optional(&Text("flag")), Optional(&Text("flag"))) = "off" => |c, _, n| {
            let flags = n.choices(&[
                ("off", ""),
                ("secure", "; secure"),
                ("httponly", "; httponly"),
                ("samesite=strict", "; samesite=strict"),
                ("samesite=lax", "; samesite=lax"),
                ("samesite=none", "; samesite=none"),
            ])?;
            once(&mut c.flags, flags.concat(), n)
        };
        /// A letter, a digit or `=` in place of the cookie's padding; a cookie without it is sent anew with it.
        "userid_mark" in [HTTP SERVER LOCATION] (Text("letter | digit | = | off")) = "off" => |c, _, n| {
            let mark = match n.bytes(0) {
                b"off" => None,
                [mark] if mark.is_ascii_alphanumeric() || *mark == b'=' => Some(*mark),
                _ => {
                    let sentence = "value must be \"off\" or a single letter, digit or \"=\"";
                    return Err(n.complaint(sentence));
                }
            };
            once(&mut c.mark, mark, n)
        };
        /// The name of the cookie.
        "userid_name" in [HTTP SERVER LOCATION] (Text("name")) = "uid" => |c, _, n| once(&mut c.name, n.bytes(0).to_vec(), n);
        /// The `P3P` field that goes with the cookie.
        "userid_p3p" in [HTTP SERVER LOCATION] (Text("string | none")) = "none" => |c, _, n| {
            let text = if n.bytes(0) == b"none" { Vec::new() } else { n.bytes(0).to_vec() };
            once(&mut c.p3p, text, n)
        };
        /// The path of the cookie.
        "userid_path" in [HTTP SERVER LOCATION] (Text("path")) = "/" => |c, _, n| once(&mut c.path, n.bytes(0).to_vec(), n);
        /// A number that tells servers apart which give out identifiers; the default is the server's address.
        "userid_service" in [HTTP SERVER LOCATION] (Number) = "" => |c, _, n| once(&mut c.service, Some(n.number(0)? as u32), n);
    },
    variables: &[
        Row::fresh("uid_got", |ex, out| on(ex).is_some_and(|on| on.append(on.got(ex).as_ref(), out))),
        Row::fresh("uid_set", |ex, out| {
            on(ex).is_some_and(|on| on.values.mode != Mode::Log && on.append(on.given(ex).as_ref(), out))
        }),
        Row::fresh("uid_reset", |ex, out| {
            out.extend_from_slice(&ex.visit.userid.borrow().reset);
            true
        })
        .writable(|ex, value| ex.visit.userid.borrow_mut().reset = value.to_vec()),
    ],
    plan: |cx, scope, plan| {
        let values = scope.get_mut::<UserIdSettings>().settle();
        if values.mode != Mode::Off {
            let reset = cx.variables.named("uid_reset", None);
            plan.filters.push(Filter::UserId(Box::new(UserId { values, reset })));
        }
        Ok(())
    },
};

/// What is done about identifiers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Nothing.
    Off,
    /// They are read.
    Log,
    /// They are given out in the first form.
    V1,
    /// They are given out.
    V2,
}

/// How long browsers keep the cookie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expires {
    /// Until the browser ends.
    Off,
    /// Until 2037.
    Max,
    /// In so many seconds.
    In(u64),
}

settings! {
    /// How identifiers are given out.
    UserIdSettings => UserIdValues {
        /// Whether, and in which form.
        mode: Mode = Mode::Off;
        /// The cookie's domain, empty for none.
        domain: Vec<u8> = Vec::new();
        /// When it expires.
        expires: Expires = Expires::Off;
        /// Its flags as they are written out.
        flags: String = String::new();
        /// The byte in place of its padding.
        mark: Option<u8> = None;
        /// Its name.
        name: Vec<u8> = b"uid".to_vec();
        /// The P3P field, empty for none.
        p3p: Vec<u8> = Vec::new();
        /// Its path.
        path: Vec<u8> = b"/".to_vec();
        /// The number of the server.
        service: Option<u32> = None;
    }
}

/// An identifier: four words in the machine's byte order, as nginx keeps them.
type Id = [u8; 16];

/// What is known of a client's identifier in one request.
#[derive(Default)]
pub struct State {
    /// The value that `set` gave to `$uid_reset`.
    reset: Vec<u8>,
    /// What the client sent, once it was read: the identifier and the cookie that holds it.
    got: Option<Option<(Id, Vec<u8>)>>,
    /// What it is given, once that was decided.
    given: Option<Option<Id>>,
}

/// Gives out identifiers in a location.
pub struct UserId {
    values: UserIdValues,
    reset: Index,
}

/// The settings in force, if the location has any.
fn on<'c>(ex: &Exchange<'c>) -> Option<&'c UserId> {
    let plan: &'c Plan = ex.plan;
    plan.filters.iter().find_map(|filter| match filter {
        Filter::UserId(on) => Some(&**on),
        _ => None,
    })
}

impl UserId {
    /// Adds the cookie where the client needs one.
    pub fn apply(&self, ex: &mut Exchange<'_>) {
        let values = &self.values;
        if !ex.is_main() || values.mode == Mode::Log {
            return;
        }
        let Some(id) = self.given(ex) else { return };
        let mut cookie = values.name.clone();
        cookie.push(b'=');
        let encoded = base64::engine::general_purpose::STANDARD.encode(id);
        cookie.extend_from_slice(encoded.get(..22).unwrap_or_default().as_bytes());
        cookie.push(values.mark.unwrap_or(b'='));
        cookie.push(b'=');
        match values.expires {
            Expires::Off => {}
            Expires::Max => cookie.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT"),
            Expires::In(seconds) => {
                cookie.extend_from_slice(b"; expires=");
                append_cookie_time(net::clock::wall().0.saturating_add(seconds), &mut cookie);
            }
        }
        if !values.domain.is_empty() {
            cookie.extend_from_slice(b"; domain=");
            cookie.extend_from_slice(&values.domain);
        }
        cookie.extend_from_slice(b"; path=");
        cookie.extend_from_slice(&values.path);
        cookie.extend_from_slice(values.flags.as_bytes());
        ex.response.fields.add("Set-Cookie", &cookie);
        if !values.p3p.is_empty() {
            ex.response.fields.add("P3P", &values.p3p);
        }
    }

    fn got(&self, ex: &Exchange<'_>) -> Option<Id> {
        self.got_with_cookie(ex).map(|(id, _)| id)
    }

    fn got_with_cookie(&self, ex: &Exchange<'_>) -> Option<(Id, Vec<u8>)> {
        if let Some(got) = &ex.visit.userid.borrow().got {
            return got.clone();
        }
        let got = self.read(ex);
        ex.visit.userid.borrow_mut().got = Some(got.clone());
        got
    }

    fn read(&self, ex: &Exchange<'_>) -> Option<(Id, Vec<u8>)> {
        let visit = ex.visit;
        let lines =
            visit.head.fields.iter().filter(|f| f.id == Name::Cookie).map(|f| f.value.of(visit.bytes));
        let (line, cookie) =
            lines.filter_map(|line| Some((line, wire::cookie::cookie(line, &self.values.name)?))).next()?;
        // What is behind them may be the mark, or what became of the padding in the wild.
        let Some(encoded) = cookie.get(..22) else {
            let line = String::from_utf8_lossy(line);
            ex.log(Level::Error, format_args!("client sent too short userid cookie \"{line}\""));
            return None;
        };
        let decoded = UNPADDED.decode(encoded).ok().and_then(|bytes| Id::try_from(bytes).ok());
        let Some(id) = decoded else {
            let line = String::from_utf8_lossy(line);
            ex.log(Level::Error, format_args!("client sent invalid userid cookie \"{line}\""));
            return None;
        };
        (last_word(&id) != 0).then(|| (id, cookie.to_vec()))
    }

    /// The identifier that the client is sent: a new one, or its own with the mark; none where it needs none.
    fn given(&self, ex: &Exchange<'_>) -> Option<Id> {
        if let Some(given) = ex.visit.userid.borrow().given {
            return given;
        }
        let given = self.give(ex);
        ex.visit.userid.borrow_mut().given = Some(given);
        given
    }

    fn give(&self, ex: &Exchange<'_>) -> Option<Id> {
        if let Some((id, cookie)) = self.got_with_cookie(ex) {
            let mut reset = Vec::new();
            ex.variable(self.reset, &mut reset);
            if reset.is_empty() || reset == b"0" {
                let marked = |mark| cookie.get(22..24) == Some(&[mark, b'=']);
                return self.values.mark.is_some_and(|mark| !marked(mark)).then_some(id);
            }
            if reset == b"log" {
                let mut shown = Vec::new();
                self.append(Some(&id), &mut shown);
                let shown = String::from_utf8_lossy(&shown);
                ex.log(Level::Notice, format_args!("userid cookie \"{shown}\" was reset"));
            }
        }
        Some(self.new_id(ex))
    }

    /// The server, the time, and 64 bits of chance where nginx has its process's start and a sequence.
    fn new_id(&self, ex: &Exchange<'_>) -> Id {
        let now = net::clock::wall().0 as u32;
        let mut id: Id = crate::random::bytes();
        let (service, time) = match self.values.mode {
            Mode::V1 => (self.values.service.unwrap_or(0).to_ne_bytes(), now.to_ne_bytes()),
            _ => {
                let service = self.values.service.map(u32::to_be_bytes);
                (service.unwrap_or_else(|| local_address(ex)), now.to_be_bytes())
            }
        };
        id[..4].copy_from_slice(&service);
        id[4..8].copy_from_slice(&time);
        // An identifier whose last word is nothing counts as none.
        id[15] |= 1;
        id
    }

    /// `name=` and the words in hexadecimal.
    fn append(&self, id: Option<&Id>, out: &mut Vec<u8>) -> bool {
        let Some(id) = id else { return false };
        out.extend_from_slice(&self.values.name);
        out.push(b'=');
        for word in id.chunks_exact(4) {
            let word = u32::from_ne_bytes(word.try_into().unwrap_or_default());
            out.extend_from_slice(format!("{word:08X}").as_bytes());
        }
        true
    }
}

/// Identifiers without their padding, and with whatever the last character holds beyond them.
const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

fn last_word(id: &Id) -> u32 {
    u32::from_ne_bytes([id[12], id[13], id[14], id[15]])
}

fn local_address(ex: &Exchange<'_>) -> [u8; 4] {
    match ex.visit.client.local() {
        Some(net::Address::Inet(std::net::SocketAddr::V4(address))) => address.ip().octets(),
        Some(net::Address::Inet(std::net::SocketAddr::V6(address))) => {
            let [.., a, b, c, d] = address.ip().octets();
            [a, b, c, d]
        }
        _ => [0; 4],
    }
}

/// A time as the cookies of old wrote it: `Thu, 01-Jan-70 00:00:00 GMT`, with a whole year after 2037.
pub fn append_cookie_time(unix: u64, out: &mut Vec<u8>) {
    // 2038-01-01: browsers took the two digits of later years for the last century's.
    const LAST: u64 = 2_145_916_800;
    let mut date = wire::date::format(unix);
    date[7] = b'-';
    date[11] = b'-';
    out.extend_from_slice(&date[..12]);
    out.extend_from_slice(if unix < LAST { &date[14..] } else { &date[12..] });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_have_two_digits_as_long_as_that_is_clear() {
        let time = |unix| {
            let mut out = Vec::new();
            append_cookie_time(unix, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(time(0), "Thu, 01-Jan-70 00:00:00 GMT");
        assert_eq!(time(2_145_916_799), "Thu, 31-Dec-37 23:59:59 GMT");
        assert_eq!(time(2_145_916_800), "Fri, 01-Jan-2038 00:00:00 GMT");
    }
}
