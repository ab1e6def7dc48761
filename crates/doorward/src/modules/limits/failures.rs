//! `auth_limit`: how often authentication may fail, by key. Doorward's own; nginx has no limit that counts failures only.

mod bans;

use std::sync::Arc;

use conf::Arg::{Choice, Flag, Optional, Text};
use conf::{Diagnostic, Node, once};

use super::numbers::{show_bans, show_usage};
use super::rate::{self, Answer, MILLI, Milli};
use super::{LEVELS, Zone, declare, unknown_zone, without_zone};
use crate::compile::Compiler;
use crate::deliver::itoa;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::metrics::{Counter, Family};
use crate::module::{Module, Settings};
use crate::modules::auth_outcome::{self, Reason};
use crate::modules::status::Bans;
use crate::run::Stop;
use crate::variables::Row;
use bans::Failures;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "doorward_auth_limit_module",
    directives: directives! { AuthLimitSettings;
        /// Declares a zone that counts failed authentications by `key` at a rate such as `5r/m`. Doorward's own directive.
        /// The key is evaluated before anybody is asked; a request whose key is empty is not limited.
        "auth_limit_zone" in [HTTP] (Text("key"), Text("zone=name:size"), Text("rate=rate")) = "" => zone;
        /// Refuses requests of a key whose authentication failed too often: `zone=name [burst=number] [ban=time]
        /// [status=code]`. Doorward's own directive. What counts is a request that was refused by `auth_basic`,
        /// `auth_request` or another method that checks credentials (401, 403 or 407), not one that came without any to
        /// `auth_basic`, and not what `allow` and `deny` say. A key may fail once and `burst` times more, and then at the
        /// zone's rate. With `ban` it is refused for that time when it has used that up. Refused requests, right
        /// credentials or not, are answered with `status` (429 by default) and `Retry-After` before anybody is asked, and
        /// so are those that were being checked meanwhile: nobody learns anything from guesses beyond the limit.
        "auth_limit" in [HTTP SERVER LOCATION] (Text("zone=name"), Optional(&Text("burst=number")), Optional(&Text("ban=time")), Optional(&Text("status=code"))) = "" => limit;
        /// The level that refusals and bans are logged at. Doorward's own directive.
        "auth_limit_log_level" in [HTTP SERVER LOCATION] (Choice(&["info", "notice", "warn", "error"])) = "error" => |c, _, n| once(&mut c.level, n.choice(0, LEVELS)?, n);
        /// Counts and logs, but refuses nobody. Doorward's own directive.
        "auth_limit_dry_run" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.dry_run, n.flag(0)?, n);
    },
    variables: &[Row::fresh("auth_limit_status", |ex, out| match ex.visit.limits.get().auth {
        Some(word) => {
            out.extend_from_slice(word.as_bytes());
            true
        }
        None => false,
    })],
    plan: |cx, scope, plan| {
        let settings = scope.get_mut::<AuthLimitSettings>();
        let mut limits = Vec::new();
        for line in settings.limits.iter().flatten() {
            let zone = settings.zones.iter().find(|zone| zone.zone.name == line.zone);
            let zone = zone.cloned().ok_or_else(|| unknown_zone(&line.zone, line.span))?;
            let counts = Counts::of(cx, &line.zone);
            limits.push(Limit { zone, burst: line.burst, ban: line.ban, status: line.status, counts });
        }
        if !limits.is_empty() {
            plan.auth_limit = Some(Box::new(AuthLimit {
                limits,
                level: settings.level.unwrap_or(Level::Error),
                dry_run: settings.dry_run.unwrap_or(false),
            }));
        }
        Ok(())
    },
};

/// A zone's failures, and how fast they are forgotten in this configuration.
struct FailureZone {
    zone: Zone<Failures>,
    /// Thousandths of a failure per second.
    rate: u64,
}

#[derive(Default)]
struct AuthLimitSettings {
    zones: Vec<Arc<FailureZone>>,
    limits: Option<Vec<LimitLine>>,
    level: Option<Level>,
    dry_run: Option<bool>,
}

/// A limit as written; its zone may be declared further down.
#[derive(Clone)]
struct LimitLine {
    zone: String,
    burst: u64,
    ban: Option<u64>,
    status: u16,
    span: conf::Span,
}

impl Settings for AuthLimitSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.zones.is_empty() {
            self.zones.clone_from(&outer.zones);
        }
        if self.limits.is_none() {
            self.limits.clone_from(&outer.limits);
        }
        self.level = self.level.or(outer.level);
        self.dry_run = self.dry_run.or(outer.dry_run);
    }
}

fn zone(settings: &mut AuthLimitSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let mut rate = MILLI;
    let zones = &settings.zones;
    let bound = |name: &str| zones.iter().find(|z| z.zone.name == name).map(|z| z.zone.key_text.clone());
    let zone = declare(cx, node, bound, Failures::new, |word| {
        let Some(given) = rate::parse(word)? else { return Ok(false) };
        rate = given;
        Ok(true)
    })?;
    show_usage(cx, &zone, Failures::usage);
    show_bans(cx, &zone, Failures::banned_keys);
    let failures = zone.shared.counts.clone();
    cx.bans.push(Bans::of(&zone.name, zone.key_text.as_bytes(), move |most| {
        failures.latest_bans(net::clock::now(), most)
    }));
    settings.zones.push(Arc::new(FailureZone { zone, rate }));
    Ok(())
}

fn limit(settings: &mut AuthLimitSettings, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let (mut zone, mut burst, mut ban, mut status) = (None, 0, None, 429);
    for word in &node.args {
        let bad = |what: &str| Diagnostic::at(word.span, format!("invalid {what} \"{}\"", word.lossy()));
        if let Some(name) = word.text.strip_prefix(b"zone=") {
            zone = Some(String::from_utf8_lossy(name).into_owned());
        } else if let Some(text) = word.text.strip_prefix(b"burst=") {
            burst = rate::occurrences(word, text, "burst")?;
        } else if let Some(text) = word.text.strip_prefix(b"ban=") {
            ban = Some(conf::value::msec(text).filter(|ms| *ms > 0).ok_or_else(|| bad("ban time"))?);
        } else if let Some(text) = word.text.strip_prefix(b"status=") {
            let number = conf::value::number(text).and_then(|n| u16::try_from(n).ok());
            status = number
                .filter(|n| (400..600).contains(n))
                .ok_or_else(|| bad("status").instead("give a status between 400 and 599"))?;
        } else {
            return Err(bad("parameter"));
        }
    }
    let zone = zone.ok_or_else(|| without_zone(node))?;
    let limits = settings.limits.get_or_insert_default();
    if limits.iter().any(|limit| limit.zone == zone) {
        return Err(node.duplicate());
    }
    limits.push(LimitLine { zone, burst, ban, status, span: node.span });
    Ok(())
}

static REFUSED: Family =
    Family { name: "doorward_auth_limit_refused_total", help: "Requests refused after too many failures." };
static BANS: Family =
    Family { name: "doorward_auth_limit_bans_total", help: "Keys banned after too many failures." };

struct Counts {
    refused: Arc<Counter>,
    bans: Arc<Counter>,
}

impl Counts {
    fn of(cx: &Compiler, zone: &str) -> Option<Counts> {
        let labels = || vec![("zone", zone.to_owned())];
        let metrics = &cx.zones.metrics;
        cx.measures.then(|| Counts {
            refused: metrics.counter(&REFUSED, labels()),
            bans: metrics.counter(&BANS, labels()),
        })
    }
}

/// The limits of a location.
pub struct AuthLimit {
    limits: Vec<Limit>,
    level: Level,
    dry_run: bool,
}

struct Limit {
    zone: Arc<FailureZone>,
    /// How far a key may be over its rate, in thousandths of a failure.
    burst: u64,
    /// For how long it is banned then, in milliseconds.
    ban: Option<u64>,
    status: u16,
    counts: Option<Counts>,
}

/// Why a key is refused.
enum Over {
    /// It is banned for so many milliseconds more.
    Banned(u64),
    /// It fails too often: the excess in thousandths, and the milliseconds until it may be wrong again.
    Often(u64, u64),
}

impl AuthLimit {
    /// What a request is counted by in each zone, in words.
    pub fn counted_by(&self, ex: &Exchange<'_>) -> Vec<String> {
        self.limits.iter().map(|limit| limit.zone.zone.counted_by(ex)).collect()
    }

    /// Refuses the request if its key has failed too often: to be asked before credentials are looked at, and again when
    /// they were found right, for what failed meanwhile.
    pub fn check(&self, ex: &mut Exchange<'_>) -> Result<(), Stop> {
        for limit in &self.limits {
            let Some(key) = limit.key(ex) else { continue };
            if let Some(over) = limit.over(&key, net::clock::now()) {
                self.refuse(ex, limit, &over)?;
            }
        }
        if ex.visit.limits.get().auth.is_none() {
            mark(ex, "PASSED");
        }
        Ok(())
    }

    /// Counts a failure; refuses the request for that where its key had failed too often meanwhile.
    pub fn failed(&self, ex: &mut Exchange<'_>) -> Result<(), Stop> {
        let mut refused = Ok(());
        for limit in &self.limits {
            let Some(key) = limit.key(ex) else { continue };
            let now = net::clock::now();
            match limit.take(&key, now) {
                Some(over) => refused = refused.and(self.refuse(ex, limit, &over)),
                None => self.ban_at_the_limit(ex, limit, &key, now),
            }
        }
        refused
    }

    /// Bans a key whose next failure would be one too many.
    fn ban_at_the_limit(&self, ex: &Exchange<'_>, limit: &Limit, key: &[u8], now: u64) {
        let failures = &limit.zone.zone.shared.counts;
        // Another worker's failure may have banned it already.
        let (Some(ban), Some(Over::Often(..))) = (limit.ban, limit.over(key, now)) else { return };
        if !self.dry_run {
            failures.ban(key, now + ban);
        }
        if let Some(counts) = &limit.counts {
            counts.bans.add_one();
        }
        let (dry, seconds, zone) = (self.dry(), ban.div_ceil(1000), &limit.zone.zone.name);
        let text =
            format_args!("too many failed authentications{dry}, banned for {seconds}s by zone \"{zone}\"");
        ex.log(self.level, text);
    }

    fn refuse(&self, ex: &mut Exchange<'_>, limit: &Limit, over: &Over) -> Result<(), Stop> {
        let (dry, zone) = (self.dry(), &limit.zone.zone.name);
        let wait = match over {
            Over::Banned(left) => {
                let seconds = left.div_ceil(1000);
                let text =
                    format_args!("refusing a banned client{dry}, for {seconds}s more by zone \"{zone}\"");
                ex.log(self.level, text);
                *left
            }
            Over::Often(excess, wait) => {
                let excess = Milli(*excess);
                let text =
                    format_args!("limiting failed authentications{dry}, excess: {excess} by zone \"{zone}\"");
                ex.log(self.level, text);
                *wait
            }
        };
        if self.dry_run {
            mark(ex, "REJECTED_DRY_RUN");
            return Ok(());
        }
        if let Some(counts) = &limit.counts {
            counts.refused.add_one();
        }
        mark(ex, if matches!(over, Over::Banned(_)) { "BANNED" } else { "REJECTED" });
        auth_outcome::set_reason(ex, Reason::Limited);
        ex.response.fields.set("Retry-After", itoa(wait.div_ceil(1000).max(1), &mut [0; 20]));
        Err(Stop::Status(limit.status))
    }

    fn dry(&self) -> &'static str {
        if self.dry_run { ", dry run" } else { "" }
    }
}

impl Limit {
    fn key(&self, ex: &Exchange<'_>) -> Option<Vec<u8>> {
        self.zone.zone.key(ex, 65_535)
    }

    /// Why a failure of the key would be one too many.
    fn over(&self, key: &[u8], now: u64) -> Option<Over> {
        let rates = &self.zone.zone.shared.counts.rates;
        self.banned(key, now).or_else(|| self.often(rates.look(key, self.zone.rate, self.burst, now)))
    }

    /// Counts a failure, unless it is one too many. In one step: of those that fail at the same time in several workers,
    /// only as many count as fit.
    fn take(&self, key: &[u8], now: u64) -> Option<Over> {
        let rates = &self.zone.zone.shared.counts.rates;
        self.banned(key, now).or_else(|| self.often(rates.take(key, self.zone.rate, self.burst, now)))
    }

    fn banned(&self, key: &[u8], now: u64) -> Option<Over> {
        self.ban?;
        self.zone.zone.shared.counts.banned(key, now).map(Over::Banned)
    }

    fn often(&self, answer: Answer) -> Option<Over> {
        match answer {
            Answer::Fits(_) => None,
            Answer::Over(excess) => {
                let wait = excess.saturating_sub(self.burst).saturating_mul(1000) / self.zone.rate.max(1);
                Some(Over::Often(excess, wait))
            }
        }
    }
}

fn mark(ex: &Exchange<'_>, word: &'static str) {
    let mut limits = ex.visit.limits.get();
    limits.auth = Some(word);
    ex.visit.limits.set(limits);
}
