//! `ngx_http_limit_req_module`: how often requests of one key may come.

use std::sync::Arc;

use conf::Arg::{Choice, Flag, Number, Optional, Text};
use conf::{Diagnostic, Node, once};

use super::numbers::{Outcome, Outcomes, REQUESTS, show_usage};
use super::rate::{self, Answer, Buckets, MILLI, Milli};
use super::{LEVELS, Zone, declare, without_zone};
use crate::client::Interrupted;
use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::module::{Module, Settings};
use crate::plan::Preaccess;
use crate::run::Stop;
use crate::variables::Row;

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_limit_req_module",
    directives: directives! { LimitReqSettings;
        /// Declares a zone that counts requests by `key` at a rate such as `10r/s` or `30r/m`.
        "limit_req_zone" in [HTTP] (Text("key"), Text("zone=name:size"), Text("rate=rate")) = "" => zone;
        /// Limits how often requests come, by a zone: `zone=name [burst=number] [nodelay | delay=number]`. What comes
        /// too fast waits for its turn, and what does not fit into the burst is refused.
        "limit_req" in [HTTP SERVER LOCATION] (Text("zone=name"), Optional(&Text("burst=number")), Optional(&Text("nodelay | delay=number"))) = "" => limit;
        /// The status of refused requests.
        "limit_req_status" in [HTTP SERVER LOCATION] (Number) = "503" => |c, _, n| once(&mut c.status, super::status(n)?, n);
        /// The level that refusals are logged at; delays are logged one level below.
        "limit_req_log_level" in [HTTP SERVER LOCATION] (Choice(&["info", "notice", "warn", "error"])) = "error" => |c, _, n| once(&mut c.level, n.choice(0, LEVELS)?, n);
        /// Counts and logs, but neither delays nor refuses.
        "limit_req_dry_run" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.dry_run, n.flag(0)?, n);
    },
    variables: &[Row::fresh("limit_req_status", |ex, out| match ex.visit.limits.get().req {
        Some(word) => {
            out.extend_from_slice(word.as_bytes());
            true
        }
        None => false,
    })],
    plan: |cx, scope, plan| {
        let settings = scope.get_mut::<LimitReqSettings>();
        let mut limits = Vec::new();
        for limit in settings.limits.iter().flatten() {
            let zone = settings.zones.iter().find(|zone| zone.zone.name == limit.zone);
            let zone = zone.cloned().ok_or_else(|| super::unknown_zone(&limit.zone, limit.span))?;
            let outcomes = Outcomes::of(cx, &REQUESTS, &limit.zone);
            limits.push(Limit { zone, burst: limit.burst, delay: limit.delay, outcomes });
        }
        if !limits.is_empty() {
            let level = settings.level.unwrap_or(Level::Error);
            plan.preaccess.push(Preaccess::LimitReq(LimitReq {
                limits,
                status: settings.status.unwrap_or(503),
                level,
                delay_level: match level {
                    Level::Error => Level::Warn,
                    Level::Warn => Level::Notice,
                    _ => Level::Info,
                },
                dry_run: settings.dry_run.unwrap_or(false),
            }));
        }
        Ok(())
    },
};

/// A zone's buckets, and how fast they leak in this configuration.
struct RateZone {
    zone: Zone<Buckets>,
    /// Thousandths of a request per second.
    rate: u64,
}

#[derive(Default)]
struct LimitReqSettings {
    zones: Vec<Arc<RateZone>>,
    limits: Option<Vec<LimitLine>>,
    status: Option<u16>,
    level: Option<Level>,
    dry_run: Option<bool>,
}

/// A limit as written; its zone may be declared further down.
#[derive(Clone)]
struct LimitLine {
    zone: String,
    burst: u64,
    delay: u64,
    span: conf::Span,
}

impl Settings for LimitReqSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.zones.is_empty() {
            self.zones.clone_from(&outer.zones);
        }
        if self.limits.is_none() {
            self.limits.clone_from(&outer.limits);
        }
        self.status = self.status.or(outer.status);
        self.level = self.level.or(outer.level);
        self.dry_run = self.dry_run.or(outer.dry_run);
    }
}

fn zone(settings: &mut LimitReqSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let mut rate = MILLI;
    let zones = &settings.zones;
    let bound = |name: &str| zones.iter().find(|z| z.zone.name == name).map(|z| z.zone.key_text.clone());
    let zone = declare(cx, node, bound, Buckets::new, |word| {
        let Some(given) = rate::parse(word)? else { return Ok(false) };
        rate = given;
        Ok(true)
    })?;
    show_usage(cx, &zone, Buckets::usage);
    settings.zones.push(Arc::new(RateZone { zone, rate }));
    Ok(())
}

fn limit(settings: &mut LimitReqSettings, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let (mut zone, mut burst, mut delay) = (None, 0, 0);
    for word in &node.args {
        if let Some(name) = word.text.strip_prefix(b"zone=") {
            zone = Some(String::from_utf8_lossy(name).into_owned());
        } else if let Some(text) = word.text.strip_prefix(b"burst=") {
            burst = rate::occurrences(word, text, "burst")?;
        } else if let Some(text) = word.text.strip_prefix(b"delay=") {
            delay = rate::occurrences(word, text, "delay")?;
        } else if word.text == b"nodelay" {
            delay = u64::MAX;
        } else {
            return Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy())));
        }
    }
    let zone = zone.ok_or_else(|| without_zone(node))?;
    let limits = settings.limits.get_or_insert_default();
    if limits.iter().any(|limit| limit.zone == zone) {
        return Err(node.duplicate());
    }
    limits.push(LimitLine { zone, burst, delay, span: node.span });
    Ok(())
}

/// The limits of a location.
pub struct LimitReq {
    limits: Vec<Limit>,
    status: u16,
    level: Level,
    delay_level: Level,
    dry_run: bool,
}

struct Limit {
    zone: Arc<RateZone>,
    /// How far a key may be over its rate, in thousandths of a request.
    burst: u64,
    /// How far before it has to wait.
    delay: u64,
    outcomes: Outcomes,
}

impl LimitReq {
    /// What a request is counted by in each zone, in words.
    pub fn counted_by(&self, ex: &Exchange<'_>) -> Vec<String> {
        self.limits.iter().map(|limit| limit.zone.zone.counted_by(ex)).collect()
    }

    /// Counts the request; lets it pass, after its delay, or refuses it.
    pub async fn check(&self, ex: &mut Exchange<'_>) -> Result<(), Stop> {
        let visit = ex.visit;
        // A request is counted once, however often it is redirected.
        if visit.limits.get().req.is_some() {
            return Ok(());
        }
        let mark = |word| {
            let mut limits = visit.limits.get();
            limits.req = Some(word);
            visit.limits.set(limits);
        };
        let keys: Vec<(&Limit, Vec<u8>)> =
            self.limits.iter().filter_map(|l| Some((l, l.zone.zone.key(ex, 65_535)?))).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let dry = if self.dry_run { ", dry run" } else { "" };
        let (delay, excess, decisive) = match count(&keys, net::clock::now()) {
            Ok(delay) => delay,
            Err((excess, limit)) => {
                let (excess, zone) = (Milli(excess), limit.zone_name());
                ex.log(
                    self.level,
                    format_args!("limiting requests{dry}, excess: {excess} by zone \"{zone}\""),
                );
                let (word, outcome) = match self.dry_run {
                    true => ("REJECTED_DRY_RUN", Outcome::RejectedDryRun),
                    false => ("REJECTED", Outcome::Rejected),
                };
                mark(word);
                limit.outcomes.count(outcome);
                return if self.dry_run { Ok(()) } else { Err(Stop::Status(self.status)) };
            }
        };
        let delayed = if self.dry_run { Outcome::DelayedDryRun } else { Outcome::Delayed };
        for (limit, _) in &keys {
            let decides = decisive.is_some_and(|decisive| std::ptr::eq(decisive, *limit));
            limit.outcomes.count(if decides { delayed } else { Outcome::Passed });
        }
        let Some(decisive) = decisive else {
            mark("PASSED");
            return Ok(());
        };
        let (excess, zone) = (Milli(excess), decisive.zone_name());
        ex.log(self.delay_level, format_args!("delaying request{dry}, excess: {excess}, by zone \"{zone}\""));
        if self.dry_run {
            mark("DELAYED_DRY_RUN");
            return Ok(());
        }
        mark("DELAYED");
        match visit.client.waiting(delay, true, std::future::pending::<()>()).await {
            Err(Interrupted::ClientGone) => {
                ex.log(Level::Info, format_args!("client prematurely closed connection"));
                Err(Stop::Gone)
            }
            _ => Ok(()),
        }
    }
}

/// The longest delay in milliseconds, its excess, and the limit that it comes from where there is one.
type Longest<'l> = (u64, u64, Option<&'l Limit>);

/// Counts a request in every zone if it fits into all of them: the longest delay, or the excess and the limit that it
/// does not fit into.
fn count<'l>(keys: &[(&'l Limit, Vec<u8>)], now: u64) -> Result<Longest<'l>, (u64, &'l Limit)> {
    let mut longest = (0, 0, None);
    let Some(((last, last_key), before)) = keys.split_last() else { return Ok(longest) };
    for (limit, key) in before {
        let zone = &limit.zone;
        if let Answer::Over(excess) = zone.zone.shared.counts.look(key, zone.rate, limit.burst, now) {
            return Err((excess, limit));
        }
    }
    match last.zone.zone.shared.counts.take(last_key, last.zone.rate, last.burst, now) {
        Answer::Over(excess) => return Err((excess, last)),
        Answer::Fits(excess) => last.longer(excess, &mut longest),
    }
    for (limit, key) in before {
        let excess = limit.zone.zone.shared.counts.count(key, limit.zone.rate, now);
        limit.longer(excess, &mut longest);
    }
    Ok(longest)
}

impl Limit {
    fn zone_name(&self) -> &str {
        &self.zone.zone.name
    }

    fn longer<'l>(&'l self, excess: u64, longest: &mut Longest<'l>) {
        let delay = excess.saturating_sub(self.delay).saturating_mul(1000) / self.zone.rate.max(1);
        if delay > longest.0 {
            *longest = (delay, excess, Some(self));
        }
    }
}
