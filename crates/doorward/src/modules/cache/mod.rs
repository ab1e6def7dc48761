//! `proxy_cache`: answers of servers are stored, and served again as long as they say so and the configuration lets
//! them.

mod answer;
mod cold;
mod entry;
mod fill;
mod find;
mod freshness;
mod keeper;
mod numbers;
mod open;
mod path;
mod place;
mod shard;
mod state;
mod update;
mod zone;

pub use answer::offer_ranges;
pub use entry::Entry;
pub use fill::Fill;
pub use freshness::Ignored;
pub use keeper::{CachePath, keep, write_file};
pub use open::Opened;
pub use place::{MODULE as PLACE, PlaceSettings};
pub use state::{Failure, State};
pub use update::Background;
pub use zone::Zone;

use std::sync::Arc;

use conf::Arg::{AnyMany, Flag, Many, Number, Offset, Text, Time};
use conf::{Diagnostic, Node, once};
use wire::h1::Method;

use crate::compile::Compiler;
use crate::module::{Module, Scope, Settings};
use crate::variables::Template;
use crate::{directives, settings};

settings! {
    /// What is stored, and when it is served.
    CacheSettings => CacheValues {
        /// What tells answers apart.
        key: Option<Template> = None;
        /// How long answers without a word of their own are fresh: status (0 for any) and seconds, in order.
        valid: Vec<(u16, u64)> = Vec::new();
        /// Whether answers to POST are stored too.
        post: bool = false;
        /// How often an answer must be asked for before it is stored.
        min_uses: i64 = 1;
        /// When an answer is served although it is no longer fresh.
        use_stale: UseStale = UseStale::default();
        /// Whether such an answer is updated behind the client's back.
        background_update: bool = false;
        /// Whether others wait while one request fetches an answer.
        lock: bool = false;
        /// How long they wait, in milliseconds.
        lock_timeout: u64 = 5000;
        /// After how long another one fetches it too.
        lock_age: u64 = 5000;
        /// What makes a request go past the cache.
        bypass: Vec<Template> = Vec::new();
        /// What keeps an answer out of the cache.
        no_cache: Vec<Template> = Vec::new();
        /// Whether an answer that is no longer fresh is asked for on condition that it changed.
        revalidate: bool = false;
        /// Whether HEAD is passed on as GET.
        convert_head: bool = true;
        /// From which offset on a range is fetched past the cache.
        max_range_offset: Option<u64> = None;
    }
}

/// A cache by name.
#[derive(Clone)]
pub enum Named {
    /// Always the same.
    Zone(String, conf::Span),
    /// What the variables say in each request.
    Variable(Template),
}

/// `proxy_cache_use_stale`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UseStale {
    /// The server could not be reached.
    pub error: bool,
    /// It took too long.
    pub timeout: bool,
    /// It answered what is no HTTP.
    pub invalid_header: bool,
    /// Another request is fetching a newer answer.
    pub updating: bool,
    /// It answered one of these.
    pub statuses: Vec<u16>,
}

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { CacheSettings;
        /// What tells answers apart. Unless it is set: the URL that is passed on.
        "proxy_cache_key" in [HTTP SERVER LOCATION] (Text("string")) = "$scheme$proxy_host$request_uri" => |c, cx, n| {
            let key = Template::compile(n.word(0)?, &mut cx.variables)?;
            once(&mut c.key, Some(key), n)
        };
        /// How long an answer with one of these statuses is fresh when its own fields do not say; without a status: of
        /// 200, 301 and 302. `any` means every status.
        "proxy_cache_valid" in [HTTP SERVER LOCATION] (AnyMany(&Text("code")), Text("time")) = "" => |c, _, n| {
            let valid = valid(n)?;
            c.valid.get_or_insert_default().extend(valid);
            Ok(())
        };
        /// Methods whose answers are stored; GET and HEAD always are.
        "proxy_cache_methods" in [HTTP SERVER LOCATION] (Many(&Text("GET | HEAD | POST"))) = "GET HEAD" => |c, _, n| {
            let methods = n.choices(&[("GET", false), ("HEAD", false), ("POST", true)])?;
            once(&mut c.post, methods.contains(&true), n)
        };
        /// Stores an answer when it was asked for so many times.
        "proxy_cache_min_uses" in [HTTP SERVER LOCATION] (Number) = "1" => |c, _, n| once(&mut c.min_uses, n.number(0)?, n);
        /// Serves an answer that is no longer fresh when no newer one can be had for such a reason, or (`updating`)
        /// while another request fetches it.
        "proxy_cache_use_stale" in [HTTP SERVER LOCATION] (Many(&Text("failure"))) = "off" => |c, _, n| {
            let stale = use_stale(n)?;
            once(&mut c.use_stale, stale, n)
        };
        /// Fetches a newer answer in the background while the old one is served, where that is allowed.
        "proxy_cache_background_update" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.background_update, n.flag(0)?, n);
        /// Lets one request at a time fetch an answer that is not stored yet; others wait for it.
        "proxy_cache_lock" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.lock, n.flag(0)?, n);
        /// How long others wait; then they ask the server themselves, and what it says is not stored.
        "proxy_cache_lock_timeout" in [HTTP SERVER LOCATION] (Time) = "5s" => |c, _, n| once(&mut c.lock_timeout, n.msec(0)?, n);
        /// After how long one more request may fetch the answer.
        "proxy_cache_lock_age" in [HTTP SERVER LOCATION] (Time) = "5s" => |c, _, n| once(&mut c.lock_age, n.msec(0)?, n);
        /// Does not look into the cache when one of the strings is neither empty nor `0`.
        "proxy_cache_bypass" in [HTTP SERVER LOCATION] (Many(&Text("string"))) = "" => |c, cx, n| {
            let strings = templates(n, cx)?;
            c.bypass.get_or_insert_default().extend(strings);
            Ok(())
        };
        /// Does not store the answer when one of the strings is neither empty nor `0`.
        "proxy_no_cache" in [HTTP SERVER LOCATION] (Many(&Text("string"))) = "" => |c, cx, n| {
            let strings = templates(n, cx)?;
            c.no_cache.get_or_insert_default().extend(strings);
            Ok(())
        };
        /// Asks for a newer answer on condition that it changed (`If-Modified-Since`, `If-None-Match`).
        "proxy_cache_revalidate" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.revalidate, n.flag(0)?, n);
        /// Passes HEAD on as GET, so that one stored answer serves both; when off, the key should hold the method.
        "proxy_cache_convert_head" in [HTTP SERVER LOCATION] (Flag) = "on" => |c, _, n| once(&mut c.convert_head, n.flag(0)?, n);
        /// A range that starts behind this offset is fetched from the server, and not stored.
        "proxy_cache_max_range_offset" in [HTTP SERVER LOCATION] (Offset) = "" => |c, _, n| once(&mut c.max_range_offset, Some(n.offset(0)?), n);
    },
    variables: state::VARIABLES,
    plan: |_, _, _| Ok(()),
};

/// The directive that makes caches.
pub static PATHS: Module = Module {
    name: "ngx_http_proxy_module",
    directives: directives! { PathSettings;
        /// A cache: the folder of its files, and the memory for keys and answers (`keys_zone=name:size`). Also `levels`,
        /// `inactive`, `max_size`, `min_free`, and how much work is done at a time.
        "proxy_cache_path" in [HTTP] (Text("path"), Many(&Text("parameter"))) = "" => |_, cx, n| path::declare(n, cx);
    },
    variables: &[],
    plan: |_, _, _| Ok(()),
};

#[derive(Default)]
struct PathSettings;

impl Settings for PathSettings {
    fn inherit(&mut self, _: &Self) {}
}

/// The cache of a location, ready to run.
pub struct Cache {
    values: CacheValues,
    zones: Zones,
    ignored: Ignored,
    terms: find::Terms,
}

enum Zones {
    /// With its place in the configuration.
    One(usize, Arc<Zone>),
    Variable(Template, Vec<Arc<Zone>>),
}

impl Cache {
    /// The cache of a scope that has inherited already; `None` where it is off.
    pub fn settle(
        cx: &mut Compiler,
        scope: &mut Scope,
        ignored: &[Vec<u8>],
    ) -> Result<Option<Cache>, Diagnostic> {
        let values = scope.get_mut::<CacheSettings>().settle();
        let zones = match scope.get_mut::<PlaceSettings>().cache.clone().flatten() {
            None => return Ok(None),
            Some(Named::Zone(name, span)) => {
                let mut zones = cx.caches.iter().enumerate();
                let zone = zones.find(|(_, cache)| cache.zone.name == name);
                let unknown = || Diagnostic::at(span, format!("\"proxy_cache\" zone \"{name}\" is unknown"));
                let (at, cache) = zone.ok_or_else(unknown)?;
                Zones::One(at, cache.zone.clone())
            }
            Some(Named::Variable(name)) => {
                Zones::Variable(name, cx.caches.iter().map(|cache| cache.zone.clone()).collect())
            }
        };
        cx.background_updates |= values.background_update;
        let terms = find::Terms {
            min_uses: u32::try_from(values.min_uses).unwrap_or(u32::MAX),
            lock_age: values.lock.then_some(values.lock_age),
            first: true,
            files: true,
        };
        Ok(Some(Cache { values, zones, ignored: Ignored::of(ignored), terms }))
    }

    /// How long an answer with that status is fresh, in seconds.
    fn valid(&self, status: u16) -> Option<i64> {
        let line = self.values.valid.iter().find(|(known, _)| *known == 0 || *known == status)?;
        i64::try_from(line.1).ok().filter(|seconds| *seconds > 0)
    }

    fn takes(&self, method: Method) -> bool {
        matches!(method, Method::Get | Method::Head) || (method == Method::Post && self.values.post)
    }
}

fn valid(n: &Node) -> Result<Vec<(u16, u64)>, Diagnostic> {
    let Some((time, codes)) = n.args.split_last() else { return Ok(Vec::new()) };
    let seconds = conf::value::sec(&time.text)
        .ok_or_else(|| Diagnostic::at(time.span, format!("invalid time value \"{}\"", time.lossy())))?;
    if codes.is_empty() {
        return Ok(vec![(200, seconds), (301, seconds), (302, seconds)]);
    }
    let status = |word: &conf::Word| match conf::value::number(&word.text) {
        _ if word.text == b"any" => Ok((0, seconds)),
        Some(status @ 100..=599) => Ok((status as u16, seconds)),
        _ => Err(Diagnostic::at(word.span, format!("invalid status \"{}\"", word.lossy()))),
    };
    codes.iter().map(status).collect()
}

fn use_stale(n: &Node) -> Result<UseStale, Diagnostic> {
    let mut stale = UseStale::default();
    for word in &n.args {
        match &*word.text {
            b"error" => stale.error = true,
            b"timeout" => stale.timeout = true,
            b"invalid_header" => stale.invalid_header = true,
            b"updating" => stale.updating = true,
            b"http_500" => stale.statuses.push(500),
            b"http_502" => stale.statuses.push(502),
            b"http_503" => stale.statuses.push(503),
            b"http_504" => stale.statuses.push(504),
            b"http_403" => stale.statuses.push(403),
            b"http_404" => stale.statuses.push(404),
            b"http_429" => stale.statuses.push(429),
            b"off" => {}
            _ => return Err(Diagnostic::at(word.span, format!("invalid value \"{}\"", word.lossy()))),
        }
    }
    // nginx takes `off` among others for itself alone.
    if n.args.iter().any(|word| word.text == b"off") {
        stale = UseStale::default();
    }
    Ok(stale)
}

fn templates(n: &Node, cx: &mut Compiler) -> Result<Vec<Template>, Diagnostic> {
    n.args.iter().map(|word| Template::compile(word, &mut cx.variables)).collect()
}
