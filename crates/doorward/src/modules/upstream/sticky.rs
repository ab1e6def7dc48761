//! `sticky`: requests of one session go to one server of a group, as long as it can be asked
//! (`ngx_http_upstream_sticky_module`).

use std::sync::{Arc, Mutex, PoisonError};

use conf::{Diagnostic, Node, Word, value};
use md5::{Digest, Md5};

use super::group::Peer;
use crate::compile::Compiler;
use crate::exchange::Exchange;
use crate::modules::userid::append_cookie_time;
use crate::variables::Template;
use crate::zone::Table;

/// Longest name of a server in `route=`: as long as the names of those that have none.
pub(super) const LONGEST: usize = 32;

/// How long a session is remembered that nobody uses, in milliseconds.
const TIMEOUT: u64 = 600_000;

/// The least size of a zone of sessions.
const SMALLEST: u64 = 32 << 10;

/// How sessions are told, and where their server's name is kept.
pub struct Sticky {
    /// The first of these that is not empty is the session's, or its server's, name.
    lookup: Vec<Template>,
    kind: Kind,
}

enum Kind {
    /// The request names the server.
    Route,
    /// A cookie of this server's own names it.
    Cookie(Cookie),
    /// What servers answer tells of new sessions.
    Learn(Learn),
}

struct Cookie {
    name: Vec<u8>,
    expires: Option<Expires>,
    domain: Option<Template>,
    http_only: bool,
    secure: bool,
    same_site: Option<Template>,
    path: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expires {
    /// In 2037.
    Max,
    /// So many seconds later.
    In(u64),
}

/// A session of a request.
pub struct Session {
    key: [u8; 16],
    /// Whether it may have begun with this request.
    is_new: bool,
}

struct Learn {
    create: Vec<Template>,
    /// Whether a session is remembered as soon as the head of an answer is there.
    at_once: bool,
    sessions: Arc<Sessions>,
    timeout: u64,
}

/// Sessions by a hash of their name: names of sessions are secrets.
pub struct Sessions {
    table: Mutex<Table<Known>>,
    room: usize,
}

/// Where a session is.
struct Known {
    server: Box<[u8]>,
    /// When it was last used, in milliseconds.
    used: u64,
}

impl Sticky {
    /// Reads the line.
    pub(super) fn compile(node: &Node, cx: &mut Compiler) -> Result<Sticky, Diagnostic> {
        let Some((kind, rest)) = node.args.split_first() else { return Err(node.complaint("has no method")) };
        match &*kind.text {
            b"route" => {
                let lookup =
                    rest.iter().map(|word| variable(word, &word.text, cx)).collect::<Result<_, _>>()?;
                Ok(Sticky { lookup, kind: Kind::Route })
            }
            b"cookie" => cookie(node, rest, cx),
            b"learn" => learn(node, rest, cx),
            _ => Err(unknown(kind)),
        }
    }

    /// The name of the server that a request is to go to.
    pub(super) fn wanted(&self, ex: &Exchange<'_>) -> Option<Vec<u8>> {
        let id = first(&self.lookup, ex)?;
        match &self.kind {
            Kind::Route | Kind::Cookie(_) => Some(id),
            Kind::Learn(learn) => learn.sessions.find(&id, learn.timeout),
        }
    }

    /// Tells the client of the server that was chosen for it.
    pub fn tell(&self, peer: &Peer, ex: &mut Exchange<'_>) {
        if let Kind::Cookie(cookie) = &self.kind {
            let value = cookie.of(&peer.sid, ex);
            ex.response.fields.add("Set-Cookie", &value);
        }
    }

    /// The session that an answer of a server belongs to, or that begins with it, where that is still to be
    /// remembered when the answer is over.
    pub fn session(&self, peer: &Peer, ex: &Exchange<'_>) -> Option<Session> {
        let Kind::Learn(learn) = &self.kind else { return None };
        let session = match first(&learn.create, ex) {
            Some(id) => Session { key: key(&id), is_new: true },
            None => Session { key: key(&first(&self.lookup, ex)?), is_new: false },
        };
        if learn.at_once {
            learn.sessions.remember(&session, &peer.sid, learn.timeout);
            return None;
        }
        Some(session)
    }

    /// Remembers which server a session is with.
    pub fn remember(&self, session: &Session, peer: &Peer) {
        if let Kind::Learn(learn) = &self.kind {
            learn.sessions.remember(session, &peer.sid, learn.timeout);
        }
    }
}

/// The name of a server that has no `route=`: the MD5 of its address, as nginx makes it.
pub(super) fn name_of(address: &str) -> Box<[u8]> {
    let hash: [u8; 16] = Md5::digest(address.as_bytes()).into();
    format!("{:032x}", u128::from_be_bytes(hash)).into_bytes().into()
}

impl Cookie {
    fn of(&self, server: &[u8], ex: &Exchange<'_>) -> Vec<u8> {
        let mut out = [&self.name, &b"="[..], server].concat();
        match self.expires {
            None => {}
            Some(Expires::Max) => {
                out.extend_from_slice(b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000");
            }
            Some(Expires::In(seconds)) => {
                out.extend_from_slice(b"; expires=");
                append_cookie_time(net::clock::wall().0.saturating_add(seconds), &mut out);
                out.extend_from_slice(format!("; max-age={seconds}").as_bytes());
            }
        }
        let mut attribute = |name: &[u8], value: &[u8]| {
            if !value.is_empty() {
                out.extend_from_slice(name);
                out.extend_from_slice(value);
            }
        };
        attribute(b"; domain=", &self.domain.as_ref().map(|domain| domain.eval(ex)).unwrap_or_default());
        attribute(b"", if self.http_only { b"; httponly" } else { b"" });
        attribute(b"", if self.secure { b"; secure" } else { b"" });
        let mut same_site = self.same_site.as_ref().map(|value| value.eval(ex)).unwrap_or_default();
        if !same_site.is_empty() && !is_same_site(&same_site) {
            same_site = b"strict".to_vec();
        }
        attribute(b"; samesite=", &same_site);
        attribute(b"; path=", &self.path);
        out
    }
}

impl Sessions {
    fn find(&self, id: &[u8], timeout: u64) -> Option<Vec<u8>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let session = table.get(&key(id))?;
        (net::clock::now() < session.used.saturating_add(timeout)).then(|| session.server.to_vec())
    }

    fn remember(&self, session: &Session, server: &[u8], timeout: u64) {
        let now = net::clock::now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.get(&session.key) {
            Some(known) if session.is_new || now < known.used.saturating_add(timeout) => {
                known.used = now;
                if *known.server != *server {
                    known.server = server.into();
                }
            }
            None if session.is_new => {
                let known = Known { server: server.into(), used: now };
                table.insert_sized(&session.key, known, LONGEST + 16, |_| true);
            }
            _ => {}
        }
    }
}

fn key(id: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(id);
    let [first, ..] = hash.as_bytes().as_chunks::<16>().0 else { return [0; 16] };
    *first
}

fn first(templates: &[Template], ex: &Exchange<'_>) -> Option<Vec<u8>> {
    templates.iter().map(|template| template.eval(ex)).find(|value| !value.is_empty())
}

fn unknown(word: &Word) -> Diagnostic {
    Diagnostic::at(word.span, format!("unknown parameter \"{}\"", word.lossy()))
}

fn variable(word: &Word, text: &[u8], cx: &mut Compiler) -> Result<Template, Diagnostic> {
    if !text.starts_with(b"$") {
        let text = String::from_utf8_lossy(text);
        return Err(Diagnostic::at(word.span, format!("invalid variable name \"{text}\"")));
    }
    Template::of(text, Some(word), &mut cx.variables)
}

fn is_same_site(value: &[u8]) -> bool {
    [&b"strict"[..], b"lax", b"none"].iter().any(|known| known.eq_ignore_ascii_case(value))
}

/// Sets a parameter that may be there once.
fn once<T>(node: &Node, slot: &mut Option<T>, name: &str, value: T) -> Result<(), Diagnostic> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(node.complaint(&format!("parameter \"{name}\" is duplicate"))),
    }
}

fn cookie(node: &Node, rest: &[Word], cx: &mut Compiler) -> Result<Sticky, Diagnostic> {
    let Some((name, parameters)) = rest.split_first().filter(|(name, _)| !name.text.is_empty()) else {
        return Err(node.complaint("empty cookie name"));
    };
    let (mut expires, mut domain, mut path, mut same_site) = (None, None, None, None);
    let (mut http_only, mut secure) = (None, None);
    for word in parameters {
        let (kind, text) = match word.text.iter().position(|b| *b == b'=') {
            Some(at) => (word.text.get(..at).unwrap_or_default(), word.text.get(at + 1..)),
            None => (&*word.text, None),
        };
        match (kind, text) {
            (b"domain" | b"path", Some(b"")) => {
                let kind = String::from_utf8_lossy(kind);
                return Err(node.complaint(&format!("no value for \"{kind}\"")));
            }
            (b"domain", Some(text)) => {
                let value = Template::of(text, Some(word), &mut cx.variables)?;
                once(node, &mut domain, "domain", value)?;
            }
            (b"path", Some(text)) => once(node, &mut path, "path", text.to_vec())?,
            (b"expires", Some(b"max")) => once(node, &mut expires, "expires", Expires::Max)?,
            (b"expires", Some(text)) => {
                let seconds =
                    value::sec(text).ok_or_else(|| node.complaint("invalid \"expires\" parameter value"))?;
                once(node, &mut expires, "expires", Expires::In(seconds))?;
            }
            (b"httponly", None) => once(node, &mut http_only, "httponly", ())?,
            (b"secure", None) => once(node, &mut secure, "secure", ())?,
            (b"samesite", Some(text)) => {
                let value = Template::of(text, Some(word), &mut cx.variables)?;
                if value.as_literal().is_some_and(|literal| !is_same_site(literal)) {
                    return Err(node.complaint("invalid \"samesite\" parameter value"));
                }
                once(node, &mut same_site, "samesite", value)?;
            }
            _ => return Err(unknown(word)),
        }
    }
    let lookup = Template::of(&[b"$cookie_", &*name.text].concat(), Some(name), &mut cx.variables)?;
    let cookie = Cookie {
        name: name.text.to_vec(),
        expires,
        domain,
        http_only: http_only.is_some(),
        secure: secure.is_some(),
        same_site,
        path: path.unwrap_or_default(),
    };
    Ok(Sticky { lookup: vec![lookup], kind: Kind::Cookie(cookie) })
}

fn learn(node: &Node, rest: &[Word], cx: &mut Compiler) -> Result<Sticky, Diagnostic> {
    let (mut lookup, mut create, mut zone, mut timeout) = (Vec::new(), Vec::new(), None, None);
    let mut at_once = false;
    for word in rest {
        let (kind, text) = match word.text.iter().position(|b| *b == b'=') {
            Some(at) => (word.text.get(..at).unwrap_or_default(), word.text.get(at + 1..)),
            None => (&*word.text, None),
        };
        match (kind, text) {
            (b"lookup" | b"create", Some(text)) => {
                if !text.starts_with(b"$") {
                    let kind = String::from_utf8_lossy(kind);
                    return Err(node.complaint(&format!("missing variable in the \"{kind}\" parameter")));
                }
                let value = Template::of(text, Some(word), &mut cx.variables)?;
                if kind == b"lookup" { lookup.push(value) } else { create.push(value) }
            }
            (b"zone", Some(text)) => {
                if zone.replace(sessions(node, text)?).is_some() {
                    return Err(node.complaint("duplicate zone"));
                }
            }
            (b"timeout", Some(text)) => {
                let ms = value::msec(text).filter(|ms| *ms > 0);
                if timeout.replace(ms.ok_or_else(|| node.complaint("invalid timeout"))?).is_some() {
                    return Err(node.complaint("duplicate timeout"));
                }
            }
            (b"header", None) => at_once = true,
            _ => return Err(unknown(word)),
        }
    }
    let missing = |name: &str| node.complaint(&format!("\"{name}\" parameter is not specified"));
    if lookup.is_empty() {
        return Err(missing("lookup"));
    }
    if create.is_empty() {
        return Err(missing("create"));
    }
    let (name, room) = zone.ok_or_else(|| missing("zone"))?;
    let fits = |sessions: &Sessions| sessions.room == room;
    let make = || Sessions { table: Mutex::new(Table::new(room)), room };
    let sessions = cx.zones.get_or_replace(&name, fits, make);
    let learn = Learn { create, at_once, sessions, timeout: timeout.unwrap_or(TIMEOUT) };
    Ok(Sticky { lookup, kind: Kind::Learn(learn) })
}

fn sessions(node: &Node, text: &[u8]) -> Result<(String, usize), Diagnostic> {
    let Some(at) = text.iter().position(|b| *b == b':') else {
        return Err(node.complaint("zone size is not specified"));
    };
    let (name, size) = text.split_at(at);
    if name.is_empty() {
        return Err(node.complaint("zone name is not specified"));
    }
    let size = size.get(1..).and_then(value::size).ok_or_else(|| node.complaint("invalid zone size"))?;
    if size < SMALLEST {
        return Err(node.complaint("zone is too small"));
    }
    let room = usize::try_from(size).map_err(|_| node.complaint("invalid zone size"))?;
    Ok((String::from_utf8_lossy(name).into_owned(), room))
}
