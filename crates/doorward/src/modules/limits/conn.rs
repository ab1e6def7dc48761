//! `ngx_http_limit_conn_module`: how many requests of one key are served at once.

use std::sync::Arc;

use conf::Arg::{Choice, Flag, Number, Text};
use conf::{Diagnostic, Node, once};

use super::held::{Counts, NotHeld};
use super::numbers::{CONNECTIONS, Outcome, Outcomes, show_usage};
use super::{LEVELS, Zone, declare};
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
    name: "ngx_http_limit_conn_module",
    directives: directives! { LimitConnSettings;
        /// Declares a zone that counts connections by `key`.
        "limit_conn_zone" in [HTTP] (Text("key"), Text("zone=name:size")) = "" => zone;
        /// Limits how many connections of a key of the zone are being served at once. A connection counts from when its
        /// request was read until it is answered.
        "limit_conn" in [HTTP SERVER LOCATION] (Text("zone"), Text("number")) = "" => limit;
        /// The status of refused requests.
        "limit_conn_status" in [HTTP SERVER LOCATION] (Number) = "503" => |c, _, n| once(&mut c.status, super::status(n)?, n);
        /// The level that refusals are logged at.
        "limit_conn_log_level" in [HTTP SERVER LOCATION] (Choice(&["info", "notice", "warn", "error"])) = "error" => |c, _, n| once(&mut c.level, n.choice(0, LEVELS)?, n);
        /// Counts and logs, but does not refuse.
        "limit_conn_dry_run" in [HTTP SERVER LOCATION] (Flag) = "off" => |c, _, n| once(&mut c.dry_run, n.flag(0)?, n);
    },
    variables: &[Row::fresh("limit_conn_status", |ex, out| match ex.visit.limits.get().conn {
        Some(word) => {
            out.extend_from_slice(word.as_bytes());
            true
        }
        None => false,
    })],
    plan: |cx, scope, plan| {
        let settings = scope.get_mut::<LimitConnSettings>();
        let mut limits = Vec::new();
        for (name, most, span) in settings.limits.iter().flatten() {
            let zone = settings.zones.iter().find(|zone| zone.name == *name);
            let zone = zone.cloned().ok_or_else(|| super::unknown_zone(name, *span))?;
            let outcomes = Outcomes::of(cx, &CONNECTIONS, name);
            limits.push(Limit { zone, most: *most, outcomes });
        }
        if !limits.is_empty() {
            plan.preaccess.push(Preaccess::LimitConn(LimitConn {
                limits,
                status: settings.status.unwrap_or(503),
                level: settings.level.unwrap_or(Level::Error),
                dry_run: settings.dry_run.unwrap_or(false),
            }));
        }
        Ok(())
    },
};

#[derive(Default)]
struct LimitConnSettings {
    zones: Vec<Arc<Zone<Counts>>>,
    /// Zone, number and place of each limit; the zone may be declared further down.
    limits: Option<Vec<(String, u64, conf::Span)>>,
    status: Option<u16>,
    level: Option<Level>,
    dry_run: Option<bool>,
}

impl Settings for LimitConnSettings {
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

fn zone(settings: &mut LimitConnSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let zones = &settings.zones;
    let bound = |name: &str| zones.iter().find(|zone| zone.name == name).map(|zone| zone.key_text.clone());
    let zone = declare(cx, node, bound, Counts::new, |_| Ok(false))?;
    show_usage(cx, &zone, Counts::usage);
    settings.zones.push(Arc::new(zone));
    Ok(())
}

fn limit(settings: &mut LimitConnSettings, _: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let name = node.word(0)?.lossy().into_owned();
    let limits = settings.limits.get_or_insert_default();
    if limits.iter().any(|(zone, ..)| *zone == name) {
        return Err(node.duplicate());
    }
    let word = node.word(1)?;
    let most = conf::value::number(&word.text).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let Some(most) = most else {
        let sentence = format!("invalid number of connections \"{}\"", word.lossy());
        return Err(Diagnostic::at(word.span, sentence));
    };
    if most > 65_535 {
        return Err(Diagnostic::at(word.span, "connection limit must be less 65536".to_owned()));
    }
    limits.push((name, most, node.span));
    Ok(())
}

/// The limits of a location.
pub struct LimitConn {
    limits: Vec<Limit>,
    status: u16,
    level: Level,
    dry_run: bool,
}

struct Limit {
    zone: Arc<Zone<Counts>>,
    most: u64,
    outcomes: Outcomes,
}

impl LimitConn {
    /// What a request is counted by in each zone, in words.
    pub fn counted_by(&self, ex: &Exchange<'_>) -> Vec<String> {
        self.limits.iter().map(|limit| limit.zone.counted_by(ex)).collect()
    }

    /// Counts the request until it has been answered, or refuses it.
    pub fn check(&self, ex: &mut Exchange<'_>) -> Result<(), Stop> {
        let visit = ex.visit;
        // A request is counted once, however often it is redirected.
        if visit.limits.get().conn.is_some() {
            return Ok(());
        }
        let mark = |word| {
            let mut limits = visit.limits.get();
            limits.conn = Some(word);
            visit.limits.set(limits);
        };
        for limit in &self.limits {
            let zone = &limit.zone;
            let Some(key) = zone.key(ex, 255) else { continue };
            match zone.shared.counts.hold(&key, limit.most) {
                Ok(held) => {
                    mark("PASSED");
                    limit.outcomes.count(Outcome::Passed);
                    visit.held.borrow_mut().push(held);
                }
                Err(why) => {
                    let dry = if self.dry_run { ", dry run," } else { "" };
                    if why == NotHeld::Limit {
                        let name = &zone.name;
                        ex.log(self.level, format_args!("limiting connections{dry} by zone \"{name}\""));
                    }
                    visit.held.borrow_mut().clear();
                    let outcome = if self.dry_run { Outcome::RejectedDryRun } else { Outcome::Rejected };
                    limit.outcomes.count(outcome);
                    mark(if self.dry_run { "REJECTED_DRY_RUN" } else { "REJECTED" });
                    return if self.dry_run { Ok(()) } else { Err(Stop::Status(self.status)) };
                }
            }
        }
        Ok(())
    }
}
