//! The block as written, and how it becomes a service.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use auth::directory::Directory;
use auth::expected::Expected;
use auth::store::{Address, StoreError, hex};
use conf::{Diagnostic, Node, Span, Word, once};

use super::challenge::Challenges;
use super::introspection::{Introspection, Lifetimes};
use super::passwords::Passwords;
use super::rules::Rule;
use super::service::{Service, SessionRules};
use super::tokens::Tokens;
use crate::compile::Compiler;
use crate::module::Settings;
use crate::modules::auth_jwt::{Source, Verifier};
use crate::modules::auth_request::Uri;
use crate::product;

/// What records in memory may take where nothing is said, in bytes: some 100,000 of them.
const MEMORY: usize = 64 << 20;

/// The block.
#[derive(Default)]
pub struct Block {
    pub(super) store: Option<Store>,
    pub(super) api_key: Option<Box<[u8]>>,
    pub(super) session: Option<SessionRules>,
    pub(super) basic: Option<()>,
    pub(super) realm: Option<String>,
    pub(super) rules: Vec<Rule>,
    /// Where `auth_jwt` stands.
    pub(super) jwt: Option<Span>,
    pub(super) keys: Vec<Source>,
    pub(super) leeway: Option<u64>,
    pub(super) expected: Expected,
    pub(super) introspection: Option<(Uri, Lifetimes)>,
}

impl Settings for Block {
    fn inherit(&mut self, _: &Self) {}
}

/// `auth_store`
pub struct Store {
    address: Address,
    grace: u64,
    memory: usize,
}

impl Store {
    /// A store at an address; the folder of a file is made where there is none.
    fn at(address: Address, cx: &mut Compiler) -> Store {
        if let Address::Sqlite(path) = &address
            && let Some(folder) = path.parent()
            && !folder.exists()
        {
            cx.needs_folder(folder.to_owned());
        }
        Store { address, grace: 0, memory: MEMORY }
    }
}

/// What says that a parameter is none.
pub fn invalid(word: &Word) -> Diagnostic {
    Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()))
}

impl Block {
    /// `auth_store`
    pub(super) fn store(&mut self, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        let word = node.word(0)?;
        // The address may have a password in it: it is not repeated.
        let wrong = |error: StoreError| Diagnostic::at(word.span, format!("invalid auth_store: {error}"));
        let address = Address::parse(node.str(0)?).map_err(wrong)?.under(&cx.paths.prefix);
        let mut store = Store::at(address, cx);
        for word in node.args.iter().skip(1) {
            match split(word) {
                Some((b"grace", time)) => {
                    store.grace = conf::value::msec(time).ok_or_else(|| invalid(word))?;
                }
                Some((b"memory", size)) => {
                    let size = conf::value::size(size).and_then(|size| usize::try_from(size).ok());
                    store.memory = size
                        .filter(|size| *size >= 64 << 10)
                        .ok_or_else(|| invalid(word).instead("it is a size from 64k on: memory=64m"))?;
                }
                _ => return Err(invalid(word)),
            }
        }
        once(&mut self.store, store, node)
    }

    /// `auth_api_key`
    pub(super) fn api_key(&mut self, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        let field = match node.args.first() {
            None => &b"X-API-Key"[..],
            Some(word) => match split(word) {
                Some((b"header", name)) if is_token(name) => name,
                _ => return Err(invalid(word).instead("it is the field that has the key: header=X-API-Key")),
            },
        };
        once(&mut self.api_key, field.into(), node)
    }

    /// `auth_session`
    pub(super) fn session(&mut self, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        let mut rules = SessionRules {
            cookie: "__Host-session".to_owned(),
            idle: 30 * 60,
            lifetime: 12 * 3600,
            login: None,
            domain: None,
            return_hosts: Vec::new(),
        };
        for (at, word) in node.args.iter().enumerate() {
            let time = |text: &str| {
                conf::value::sec(text.as_bytes()).filter(|seconds| *seconds > 0).ok_or_else(|| invalid(word))
            };
            match node.str(at)?.split_once('=') {
                Some(("cookie", name)) if is_token(name.as_bytes()) => rules.cookie = name.to_owned(),
                Some(("idle", text)) => rules.idle = time(text)?,
                Some(("lifetime", text)) => rules.lifetime = time(text)?,
                Some(("login", url)) if is_login(url) => rules.login = Some(url.to_owned()),
                Some(("login", _)) => {
                    return Err(invalid(word).instead(
                        "it is a path of this server, such as /login, or a URL that starts with https://",
                    ));
                }
                Some(("return_hosts", names)) => rules.return_hosts = hosts(word, names)?,
                Some(("domain", name)) if is_domain(name) => rules.domain = Some(name.to_owned()),
                _ => return Err(invalid(word)),
            }
        }
        if rules.domain.is_some() && rules.cookie.starts_with("__Host-") {
            let text =
                format!("a cookie named \"{}\" belongs to one host, and not to a domain", rules.cookie);
            return Err(
                Diagnostic::at(node.span, text).instead("name it: cookie=__Secure-session domain=...")
            );
        }
        once(&mut self.session, rules, node)
    }

    /// `auth_realm`
    pub(super) fn realm(&mut self, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        let word = node.word(0)?;
        if !is_realm(&word.text) {
            return Err(Diagnostic::at(word.span, format!("invalid realm \"{}\"", word.lossy()))
                .instead("a realm has no quotation marks, backslashes and control characters"));
        }
        once(&mut self.realm, word.lossy().into(), node)
    }

    /// `auth_issuer`, `auth_audience`
    pub(super) fn expect(known: &mut Vec<String>, node: &Node) -> Result<(), Diagnostic> {
        if !known.is_empty() {
            return Err(node.duplicate());
        }
        for at in 0..node.args.len() {
            let word = node.word(at)?;
            let text = node.str(at)?;
            if text.is_empty() {
                return Err(invalid(word));
            }
            known.push(text.to_owned());
        }
        Ok(())
    }

    /// `auth_introspection`
    pub(super) fn introspection(&mut self, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        let word = node.word(0)?;
        let uri = Uri::compile(word, "auth_introspection", &mut cx.variables)?;
        if !uri.fixed_path().is_some_and(|path| path.starts_with(b"/")) {
            let sentence = format!("\"auth_introspection\" cannot ask \"{}\"", word.lossy());
            return Err(Diagnostic::at(word.span, sentence).instead(
                "name a location that passes the question on, without variables: auth_introspection /introspection;",
            ));
        }
        let mut lifetimes = Lifetimes { active: 30_000, refused: 2_000 };
        for word in node.args.iter().skip(1) {
            let time = |text: &[u8]| {
                conf::value::msec(text)
                    .ok_or_else(|| invalid(word).instead("it is a time, such as 30s; 0 keeps no answer"))
            };
            match split(word) {
                Some((b"cache", text)) => lifetimes.active = time(text)?,
                Some((b"negative", text)) => lifetimes.refused = time(text)?,
                _ => return Err(invalid(word)),
            }
        }
        once(&mut self.introspection, (uri, lifetimes), node)
    }

    /// How tokens are checked, where that is on.
    fn tokens(&mut self, cx: &mut Compiler, node: &Node) -> Result<Option<Tokens>, Diagnostic> {
        let (keys, leeway) = (std::mem::take(&mut self.keys), self.leeway.unwrap_or(0));
        let Some(span) = self.jwt else {
            return match keys.is_empty() {
                true => Ok(None),
                false => Err(Diagnostic::at(node.span, "\"auth_jwt_key_file\" without \"auth_jwt\"")
                    .instead("write `auth_jwt;` beside it")),
            };
        };
        if keys.is_empty() {
            return Err(Diagnostic::at(span, "\"auth_jwt\" without keys to check tokens with")
                .instead("name the issuer's keys beside it: auth_jwt_key_file keys.json;"));
        }
        let Expected { issuers, audiences } = &self.expected;
        if issuers.is_empty() && audiences.is_empty() {
            let sentence = "\"auth_jwt\" takes every token that one of the keys signed, also one that was made for others";
            cx.warn(Diagnostic::at(span, sentence).warning().instead(
                "say who makes the tokens and for whom: auth_issuer https://issuer.example; auth_audience NAME;",
            ));
        }
        Ok(Some(Tokens::new(Verifier::of(cx, keys, leeway, None)?, self.expected.clone())))
    }

    /// `auth_rule`
    pub(super) fn rule(&mut self, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
        self.rules.push(Rule::read(node)?);
        Ok(())
    }

    /// Makes the service.
    pub(super) fn compile(
        mut self,
        name: String,
        node: &Node,
        cx: &mut Compiler,
    ) -> Result<Arc<Service>, Diagnostic> {
        if !is_realm(name.as_bytes()) || name == "off" {
            return Err(Diagnostic::at(node.span, format!("invalid name \"{name}\" of an auth_service")));
        }
        let needs_store = self.api_key.is_some() || self.session.is_some() || self.basic.is_some();
        let unnamed = || Store::at(Address::Sqlite(cx.paths.unnamed(&product::AUTH_STORE)), cx);
        let store = self.store.take().or_else(|| needs_store.then(unnamed));
        let tokens = self.tokens(cx, node)?;
        let introspection = match self.introspection.take() {
            None => None,
            Some((uri, lifetimes)) => Some(Introspection::new(uri, lifetimes, self.expected.clone())?),
        };
        if !needs_store && tokens.is_none() && introspection.is_none() {
            return Err(Diagnostic::at(node.span, format!("auth_service \"{name}\" knows no method")).instead(
                "write one or more of auth_api_key, auth_session, auth_basic, auth_jwt, auth_introspection",
            ));
        }
        let takes_tokens = self.api_key.is_some() || tokens.is_some() || introspection.is_some();
        let realm = self.realm.as_deref().unwrap_or(&name);
        let challenges = Challenges::new(realm, takes_tokens, self.basic.is_some(), self.session.as_ref());
        Ok(Arc::new(Service {
            directory: store.as_ref().map(|store| directory(cx, store)),
            grace: Duration::from_millis(store.as_ref().map_or(0, |store| store.grace)),
            api_key: self.api_key,
            session: self.session,
            passwords: self.basic.map(|()| Passwords::default()),
            tokens,
            introspection,
            rules: self.rules,
            challenges,
            counts: OnceLock::new(),
            name,
        }))
    }
}

/// What is known of a store: as long as a configuration uses it, also over reloads.
fn directory(cx: &Compiler, store: &Store) -> Arc<Directory> {
    let zone = format!("auth_store {} {}", store.memory, hex(&store.address.digest()));
    let zone = cx.zones.get_or_make::<Mutex<Weak<Directory>>>(&zone, Mutex::default);
    let mut known = zone.lock().unwrap_or_else(PoisonError::into_inner);
    known.upgrade().unwrap_or_else(|| {
        let new = Directory::new(store.address.clone(), store.memory);
        *known = Arc::downgrade(&new);
        new
    })
}

fn split(word: &Word) -> Option<(&[u8], &[u8])> {
    let at = word.text.iter().position(|byte| *byte == b'=')?;
    Some((word.text.get(..at)?, word.text.get(at + 1..).filter(|value| !value.is_empty())?))
}

/// Whether it can be the name of a field or a cookie (RFC 9110, section 5.6.2).
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn is_realm(text: &[u8]) -> bool {
    !text.is_empty() && !text.iter().any(|byte| byte.is_ascii_control() || b"\"\\".contains(byte))
}

fn is_login(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let good = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte);
    url.bytes().all(good)
        && !url.contains('#')
        && rest.map_or(url.starts_with('/') && !url.starts_with("//"), |rest| !rest.is_empty())
}

/// Hosts, with commas between.
fn hosts(word: &Word, names: &str) -> Result<Vec<String>, Diagnostic> {
    let host = |name: &str| {
        wire::host::host(name.as_bytes()).is_ok().then(|| {
            let name = name.to_ascii_lowercase();
            name.strip_suffix(":443").map_or(name.clone(), str::to_owned)
        })
    };
    names.split(',').map(host).collect::<Option<Vec<String>>>().ok_or_else(|| {
        invalid(word)
            .instead("they are hosts with commas between: return_hosts=app.example.com,shop.example.com:8443")
    })
}

fn is_domain(name: &str) -> bool {
    name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}
