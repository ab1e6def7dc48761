//! `auth_request_cache`: how it is written and inherited, and the zones that it declares.

use std::sync::Arc;

use conf::Arg::{Many, Text};
use conf::{Diagnostic, Node, Span, Word};

use super::Cache;
use super::counts;
use super::counts::Counts;
use super::key::Secret;
use super::store::Store;
use super::without::Without;
use crate::compile::Compiler;
use crate::directives;
use crate::module::{Module, Scope, Settings};
use crate::variables::Template;

/// The least size of a zone: eight pages, as of other zones.
const LEAST: u64 = 8 * 4096;

/// The directive of the cache.
pub static MODULE: Module = Module {
    name: "ngx_http_auth_request_module",
    directives: directives! { CacheSettings;
        /// Keeps the decisions of the auth service, so that it is asked once for many requests. Doorward's own directive:
        /// `auth_request_cache zone=NAME:SIZE [ttl=60s] [negative=2s] [grace=0] [key=auto|STRING] [user=STRING]
        /// [without=PART,...]`, or `off`.
        ///
        /// Decisions are held in memory, in a zone of at most SIZE bytes that outlives reloads; `zone=NAME` alone uses one that
        /// is declared elsewhere. 2xx is kept for `ttl`, 401 and 403 for `negative` (0 keeps none), other answers never. An
        /// answer with Set-Cookie, `Cache-Control: no-store` or `no-cache`, or a `Vary` that names a field outside the key, is
        /// not kept; `max-age`, `s-maxage`, `Expires` and `exp` of a bearer token that is a JWT shorten its time. Requests that
        /// would ask the same at the same time wait for one answer. When the service fails, a 2xx decision is used for at most
        /// `grace` beyond its time.
        ///
        /// With `key=auto` the key is a keyed hash of all that the service can see and may decide by: method, host, target, the
        /// client's fields that the auth location passes on, and the variables in what it sets. `without=` takes parts out:
        /// `method`, `host`, `uri`, `query`, `address`, `cookie:NAME`, `field:NAME`. A STRING of your own takes its place; where
        /// it is empty, nothing is kept. `user=`, such as `$upstream_http_x_user`, says whom an answer lets pass, for
        /// `$auth_user` and `auth_cache_purge`. See docs/auth-cache.md.
        "auth_request_cache" in [HTTP SERVER LOCATION] (Many(&Text("zone=name:size | off"))) = "off" => |c, cx, n| {
            let lines = read(n, cx)?;
            conf::once(&mut c.line, lines, n)
        };
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

#[derive(Clone, Default)]
struct CacheSettings {
    line: Option<Option<Arc<Line>>>,
}

impl Settings for CacheSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.line.is_none() {
            self.line.clone_from(&outer.line);
        }
    }
}

/// The directive as written.
struct Line {
    zone: String,
    span: Span,
    ttl: u64,
    negative: u64,
    grace: u64,
    key: Option<Template>,
    user: Option<Template>,
    without: Without,
}

/// The cache of a location's question, where it has one; `is_known` says whether that is one question, which is the same for
/// every request but for what the key is made of.
pub fn of_location(
    cx: &mut Compiler,
    scope: &mut Scope,
    is_known: bool,
) -> Result<Option<Box<Cache>>, Diagnostic> {
    let Some(Some(line)) = scope.get_mut::<CacheSettings>().line.clone() else { return Ok(None) };
    if !is_known {
        let sentence = "\"auth_request_cache\" cannot be used with several \"auth_request\", variables in one, or \"auth_request_body\"";
        return Err(Diagnostic::at(line.span, sentence.to_owned())
            .instead("write `auth_request_cache off;` where they are, or ask one path without variables"));
    }
    let store = zone(cx, &line.zone, line.span)?;
    let counts = Counts::of(cx, &line.zone);
    Ok(Some(Box::new(Cache {
        store,
        ttl: line.ttl,
        negative: line.negative,
        grace: line.grace,
        key: line.key.clone(),
        user: line.user.clone(),
        without: line.without.clone(),
        view: Default::default(),
        counts,
    })))
}

/// The zone that a directive names.
pub fn zone(cx: &Compiler, name: &str, span: Span) -> Result<Arc<Store>, Diagnostic> {
    cx.decisions.get(name).cloned().ok_or_else(|| {
        Diagnostic::at(span, format!("zero size shared memory zone \"{name}\""))
            .instead("give its size in one auth_request_cache: zone=NAME:SIZE")
    })
}

fn read(node: &Node, cx: &mut Compiler) -> Result<Option<Arc<Line>>, Diagnostic> {
    if let [word] = &*node.args
        && &*word.text == b"off"
    {
        return Ok(None);
    }
    let mut line = Line {
        zone: String::new(),
        span: node.span,
        ttl: 60_000,
        negative: 2_000,
        grace: 0,
        key: None,
        user: None,
        without: Without::default(),
    };
    for word in &node.args {
        parameter(&mut line, word, cx)?;
    }
    if line.zone.is_empty() {
        return Err(Diagnostic::at(node.span, "\"auth_request_cache\" must have \"zone\" parameter")
            .instead("write auth_request_cache zone=NAME:SIZE"));
    }
    if line.key.is_some() && !line.without.text.is_empty() {
        return Err(Diagnostic::at(node.span, "\"without\" takes parts out of \"key=auto\" only"));
    }
    Ok(Some(Arc::new(line)))
}

fn parameter(line: &mut Line, word: &Word, cx: &mut Compiler) -> Result<(), Diagnostic> {
    let invalid = || Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()));
    let at = word.text.iter().position(|byte| *byte == b'=').ok_or_else(invalid)?;
    let value = word.text.get(at + 1..).unwrap_or_default();
    let time = || conf::value::msec(value).ok_or_else(invalid);
    let mut template =
        || Template::of(value, Some(word), &mut cx.variables).map(|text| (!value.is_empty()).then_some(text));
    match word.text.get(..at).unwrap_or_default() {
        b"zone" => line.zone = declare(value, word, cx)?,
        b"ttl" => line.ttl = time()?,
        b"negative" => line.negative = time()?,
        b"grace" => line.grace = time()?,
        b"key" if value == b"auto" => line.key = None,
        b"key" => line.key = Some(template()?.ok_or_else(invalid)?),
        b"user" => line.user = template()?,
        b"without" => {
            line.without = Without::parse(value).map_err(|part| {
                let part = String::from_utf8_lossy(&part).into_owned();
                Diagnostic::at(word.span, format!("invalid part \"{part}\""))
                    .instead("parts are method, host, uri, query, address, cookie:NAME and field:NAME")
            })?;
        }
        _ => return Err(invalid()),
    }
    Ok(())
}

/// Reads `name:size` or `name`, and makes the zone where its size is given.
fn declare(value: &[u8], word: &Word, cx: &mut Compiler) -> Result<String, Diagnostic> {
    let value = String::from_utf8_lossy(value);
    let Some((name, size)) = value.split_once(':') else { return Ok(value.into_owned()) };
    let invalid = || Diagnostic::at(word.span, format!("invalid zone size \"{}\"", word.lossy()));
    let size = conf::value::size(size.as_bytes()).ok_or_else(invalid)?;
    if size < LEAST {
        return Err(Diagnostic::at(word.span, format!("zone \"{}\" is too small", word.lossy())));
    }
    if let Some(known) = cx.decisions.get(name) {
        let known = known.size;
        if known != size {
            return Err(Diagnostic::at(
                word.span,
                format!(
                    "the size {size} of shared memory zone \"{name}\" conflicts with already declared size {known}"
                ),
            ));
        }
        return Ok(name.to_owned());
    }
    let secret = Secret::random().map_err(|error| {
        Diagnostic::at(word.span, format!("the system gives no randomness for zone \"{name}\" ({error})"))
    })?;
    let store = cx.zones.get_or_replace(name, |old: &Store| old.size == size, || Store::new(size, secret));
    cx.readings.extend(counts::readings(name, &store));
    cx.decisions.insert(name.to_owned(), store);
    Ok(name.to_owned())
}
