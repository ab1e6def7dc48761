//! `auth_request_cache`: decisions of auth services, used for other requests that they are for as well.

mod counts;
mod key;
mod kind;
mod lifetime;
mod purge;
mod settings;
mod store;
mod token;
mod view;
mod without;

pub use key::{Key, Secret};
pub use purge::{MODULE as PURGE, Purge};
pub use settings::{MODULE, of_location};
pub use store::{Decision, Store};

use std::sync::{Arc, OnceLock};

use super::Question;
use super::answer::Answer;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::flights::Turn;
use crate::log::Level;
use crate::plan::Verdict;
use crate::run::Stop;
use crate::variables::Template;
use counts::{Counts, Use};
use lifetime::Lifetime;
use store::{Found, Landed, Missing};
use view::View;
use without::Without;

/// Longest wait for another request's answer to the same question, in milliseconds.
const PATIENCE: u64 = 60_000;

/// The cache of one location's questions.
pub struct Cache {
    store: Arc<Store>,
    ttl: u64,
    negative: u64,
    grace: u64,
    key: Option<Template>,
    user: Option<Template>,
    without: Without,
    /// Found when the first request comes: then every location is known.
    view: OnceLock<View>,
    counts: Option<Counts>,
}

impl Cache {
    /// Decides by what is stored, or asks and stores the answer.
    pub async fn check(&self, request: &Question, ex: &mut Exchange<'_>) -> Result<Verdict, Stop> {
        let view = self.view.get_or_init(|| View::of(ex.server, &ex.visit.config.variables, request, self));
        let Some(key) = as_asked(ex, |ex| view.key(ex)) else {
            self.count(ex, Use::Bypass);
            return Box::pin(request.put(ex, |_| ())).await?.0.judge(request, ex);
        };
        match self.store.find(&key, net::clock::now()) {
            Found::Fresh(decision) => self.apply(request, ex, &decision, Use::Hit),
            // Kept apart: a request that need not ask stays small.
            Found::Not(missing) => Box::pin(self.ask(request, view, ex, key, missing)).await,
        }
    }

    async fn ask(
        &self,
        request: &Question,
        view: &View,
        ex: &mut Exchange<'_>,
        key: Key,
        Missing { expired, seat, purges: found_at }: Missing<'_>,
    ) -> Result<Verdict, Stop> {
        // What had expired then may have been taken back since.
        let is_purged = || self.store.purges() != found_at;
        // The same question of the same request has its answer already, whoever else may not have it.
        if let Some(decision) = answered_before(ex, &key) {
            return self.apply(request, ex, &decision, Use::Hit);
        }
        let turn = match seat.first() {
            Some(turn) => turn,
            None => {
                match ex.visit.client.waiting(request.patience().unwrap_or(PATIENCE), true, seat.wait()).await
                {
                    Ok(turn) => turn.unwrap_or(Turn::Landed(Landed::Alone)),
                    Err(Interrupted::ClientGone) => return Err(Stop::Gone),
                    Err(Interrupted::Elapsed) => {
                        return self.without_answer(request, ex, expired.filter(|_| !is_purged()));
                    }
                }
            }
        };
        let asked = if expired.is_some() { Use::Expired } else { Use::Miss };
        // Whoever leaves from here on without having landed gives the turn to the next who waits.
        let _turn = match turn {
            Turn::Ask(turn) => turn,
            Turn::Landed(Landed::Shared(decision, stale)) => {
                let used = if stale { Use::Stale } else { Use::Hit };
                return self.apply(request, ex, &decision, used);
            }
            Turn::Landed(Landed::Failed(decision)) => return self.apply(request, ex, &decision, asked),
            Turn::Landed(Landed::Alone) => {
                self.count(ex, asked);
                let (answer, decision) = self.question(request, view, ex).await?;
                let decision = Arc::new(decision);
                remember(ex, key, &decision);
                note_user(ex, &decision);
                return answer.judge(request, ex);
            }
        };
        let purges = self.store.purges();
        let (answer, decision) = self.question(request, view, ex).await?;
        if is_failure(answer.status) {
            if let Some(old) = expired.filter(|old| self.is_within_grace(old) && !is_purged()) {
                let status = answer.status;
                ex.log(
                    Level::Warn,
                    format_args!("auth service failed with {status}, an expired decision is used"),
                );
                seat.land(Landed::Shared(old.clone(), true));
                return self.apply(request, ex, &old, Use::Stale);
            }
            seat.land(Landed::Failed(Arc::new(decision)));
            self.count(ex, asked);
            return answer.judge(request, ex);
        }
        let decision = Arc::new(decision);
        let stored = decision.until > net::clock::now() && self.store.keep(&key, &decision, purges);
        seat.land(if stored { Landed::Shared(decision.clone(), false) } else { Landed::Alone });
        remember(ex, key, &decision);
        note_user(ex, &decision);
        self.count(ex, asked);
        answer.judge(request, ex)
    }
}

impl Cache {
    /// Asks, and makes a decision of the answer; its time is over at once where it is for this request only.
    async fn question(
        &self,
        request: &Question,
        view: &View,
        ex: &mut Exchange<'_>,
    ) -> Result<(Answer, Decision), Stop> {
        let (answer, (lifetime, user)) = request
            .put(ex, |child| {
                let user = self.user.as_ref().map(|user| user.eval(child)).unwrap_or_default();
                (self.lifetime(view, child), user)
            })
            .await?;
        let mut kept = answer.clone();
        let mut lifetime = lifetime;
        if let Some(extended) = &mut kept.extended
            && !std::mem::take(&mut extended.cookies).is_empty()
        {
            // Cookies are for this request only, whoever sets them.
            lifetime.time = 0;
        }
        let marks = if lifetime.time > 0 {
            as_asked(ex, |ex| view.marks(ex, &self.store.secret))
        } else {
            Box::default()
        };
        let decision = Decision {
            answer: kept,
            user,
            marks,
            until: net::clock::now().saturating_add(lifetime.time),
            graceful: lifetime.graceful,
        };
        Ok((answer, decision))
    }

    fn lifetime(&self, view: &View, child: &Exchange<'_>) -> Lifetime {
        let time = match child.response.status {
            200..300 => self.ttl,
            401 | 403 => self.negative,
            _ => 0,
        };
        if time == 0 || !view.saw(child) {
            return Lifetime { time: 0, graceful: false };
        }
        let (seconds, milliseconds) = net::clock::wall();
        let fields = child.response.fields.of_upstream().map(|(id, _, value)| (id, value));
        lifetime::of_answer(time, fields, |field| view.covers(field), seconds).within_token(
            child.request_field(wire::Name::Authorization),
            seconds.saturating_mul(1000).saturating_add(u64::from(milliseconds)),
        )
    }

    /// Whether an expired decision may be used in place of an answer that there is none of.
    fn is_within_grace(&self, decision: &Decision) -> bool {
        decision.graceful
            && matches!(decision.answer.status, 200..300)
            && net::clock::now() < decision.until.saturating_add(self.grace)
    }

    /// Decides when others had no answer for so long that waiting has no sense any more.
    fn without_answer(
        &self,
        request: &Question,
        ex: &mut Exchange<'_>,
        expired: Option<Arc<Decision>>,
    ) -> Result<Verdict, Stop> {
        if let Some(old) = expired.filter(|old| self.is_within_grace(old)) {
            ex.log(Level::Warn, format_args!("auth service does not answer, an expired decision is used"));
            return self.apply(request, ex, &old, Use::Stale);
        }
        self.count(ex, Use::Miss);
        Answer { status: 504, unanswered: true, ..Answer::default() }.judge(request, ex)
    }

    /// Decides a request by a decision that was made for another one.
    fn apply(
        &self,
        request: &Question,
        ex: &mut Exchange<'_>,
        decision: &Decision,
        used: Use,
    ) -> Result<Verdict, Stop> {
        self.count(ex, used);
        ex.visit.auth.borrow_mut().status = decision.answer.status;
        note_user(ex, decision);
        decision.answer.repeat(request, ex);
        decision.answer.judge(request, ex)
    }

    fn count(&self, ex: &Exchange<'_>, used: Use) {
        ex.visit.auth.borrow_mut().cache = Some(used.word());
        if let Some(counts) = &self.counts {
            counts.add(used);
        }
    }
}

/// Looks at a request as the auth service will see it, with all that the client sent.
fn as_asked<'c, T>(ex: &mut Exchange<'c>, look: impl FnOnce(&Exchange<'c>) -> T) -> T {
    ex.is_question = true;
    let seen = look(ex);
    ex.is_question = false;
    seen
}

/// Whether an answer is none: the service failed.
fn is_failure(status: u16) -> bool {
    status >= 500
}

fn note_user(ex: &Exchange<'_>, decision: &Decision) {
    if !decision.user.is_empty() && matches!(decision.answer.status, 200..300) {
        ex.visit.auth.borrow_mut().user.clone_from(&decision.user);
    }
}

/// Keeps an answer for the rest of its own request, which may ask the same again in another location.
fn remember(ex: &Exchange<'_>, key: Key, decision: &Arc<Decision>) {
    ex.visit.auth.borrow_mut().answered = Some((key, decision.clone()));
}

fn answered_before(ex: &Exchange<'_>, key: &Key) -> Option<Arc<Decision>> {
    let outcome = ex.visit.auth.borrow();
    outcome.answered.as_ref().filter(|(known, _)| known == key).map(|(_, decision)| decision.clone())
}
