//! Asks servers until one answers.

use std::sync::Arc;

use wire::h1::Method;

use super::attempt::{Failed, Question, Refused, append_chunk};
use super::body::{Lease, Leased};
use super::pass::{Destination, Group};
use super::request::RequestFraming;
use super::response::Answer;
use super::{Proxy, pass};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::otel;
use crate::modules::proxy_ssl::{Client, Peer};
use crate::modules::upstream::{Scheme, Tried, Upstream};
use crate::request_body::Kept;
use crate::run::Stop;

impl Proxy {
    /// Passes the request on and takes the answer's head; the body is pulled from what this returns.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let fixed = self.resolve(ex).await?;
        let visit = ex.visit;
        let mut streamed = self.streams_body(ex);
        if streamed && visit.body_has_arrived() {
            // There is nothing to wait for, and a body that is kept can be sent again.
            streamed = false;
        }
        if ex.is_main() && !streamed {
            visit.keep_body(ex.plan).await?;
        }
        ex.upstream.passed_to = Some(fixed.clone());
        let group = fixed.group.now(visit.config);
        let upstream = group.upstream(visit.config);
        match &self.cache {
            // What an auth service says of a body is for no other, and keys do not hold it.
            Some(cache) if ex.shown_body.is_none() => {
                if let Some(body) = self.stored(cache, ex, &fixed).await? {
                    return Ok(body);
                }
            }
            _ => ex.cache.leave(),
        }
        let tls = match &self.tls {
            Some(client) if fixed.scheme == Scheme::Https => {
                Some((&**client, client.peer(ex, &fixed.authority)))
            }
            _ => None,
        };
        let mut question = self.question(ex, &fixed, upstream, tls, streamed);
        if streamed && !visit.client.unread.borrow().is_empty() {
            first_piece(ex, &mut question).await?;
        }
        let result = self.ask(ex, &group, &mut question).await;
        ex.upstream.in_use(None);
        visit.worker.buffers.put(question.head);
        result
    }

    /// Whether the client's body is passed on as it comes, rather than read first.
    fn streams_body(&self, ex: &Exchange<'_>) -> bool {
        ex.is_main()
            && !self.values.request_buffering
            && self.values.body.is_none()
            && self.values.pass_request_body
            && (!ex.visit.head.chunked || self.values.http_11)
            && !ex.visit.body_is_read()
    }

    fn question<'a>(
        &self,
        ex: &Exchange<'_>,
        fixed: &pass::Fixed,
        upstream: &'a Upstream,
        tls: Option<(&'a Client, Arc<Peer>)>,
        streamed: bool,
    ) -> Question<'a> {
        let visit = ex.visit;
        let shown = ex.shown_body.as_ref().filter(|_| self.values.pass_request_body);
        let set_body = match &self.values.body {
            Some(body) => Some(body.eval(ex)),
            None => shown.map(|shown| shown.bytes.clone()),
        };
        let framing = match &set_body {
            Some(body) => RequestFraming::Length(body.len() as u64),
            // A subrequest has no body, and one that is not sent is not announced either.
            None if !ex.is_main() || !self.values.pass_request_body => RequestFraming::None,
            None if streamed => {
                visit.head.content_length.map_or(RequestFraming::Chunked, RequestFraming::Length)
            }
            None if visit.head.chunked || visit.head.content_length.is_some() => {
                RequestFraming::Length(visit.body.borrow().kept.len())
            }
            None => RequestFraming::None,
        };
        let mut head = visit.worker.buffers.take(2048);
        let variable = matches!(self.destination, Destination::Variable(_));
        let span_at = self.append_head(ex, &fixed.authority, Some(&fixed.uri), variable, framing, &mut head);
        let mut body = framing;
        if let Some(set_body) = &set_body {
            head.extend_from_slice(set_body);
            body = RequestFraming::None;
        } else if body != RequestFraming::None
            && !streamed
            && append_short(&visit.body.borrow().kept, &mut head)
        {
            body = RequestFraming::None;
        }
        Question { upstream, tls, head, span_at, body, streamed, is_head: self.is_head(ex) }
    }

    async fn ask(
        &self,
        ex: &mut Exchange<'_>,
        group: &Group,
        question: &mut Question<'_>,
    ) -> Result<Body, Stop> {
        let visit = ex.visit;
        let upstream = question.upstream;
        let began = net::clock::now();
        let mut tried = Tried::new(upstream, ex);
        let mut tries = upstream.tries();
        if self.values.next_upstream_tries > 0 {
            tries = tries.min(self.values.next_upstream_tries as usize);
        }
        let mut parsed = visit.worker.answers.borrow_mut().pop().unwrap_or_default();
        let mut again = None;
        let mut last = None;
        let result = loop {
            let mut lease = match again.take() {
                Some(lease) => lease,
                None => {
                    let Some(choice) = upstream.choose(&mut tried, net::clock::now()) else {
                        ex.upstream.begin(&upstream.name);
                        ex.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
                        break self.without_answer(ex, Failed::Error { reused: false }, 502);
                    };
                    tries = tries.saturating_sub(1);
                    Lease::new(visit.service, group, choice)
                }
            };
            let peer = lease.peer();
            last = Some(peer);
            ex.upstream.begin_at(upstream, peer);
            if let (Some(trace), Some(at)) = (otel::carried(ex), question.span_at) {
                trace.name_attempt(ex, &mut question.head, at);
            }
            let (head, parser) = &mut *parsed;
            let failed = match self.attempt(ex, question, peer, head, parser).await {
                Ok((connection, key, bytes)) => {
                    let answer = Answer { leased: Leased { connection, lease, key }, bytes };
                    match self.failing_status(ex, head.status, question, tries, began) {
                        Some(status) => {
                            let mut answer = answer;
                            // What is not there, or not allowed, says nothing about the server.
                            if !matches!(status, 403 | 404) {
                                answer.leased.lease.failed();
                            }
                            Failed::Status(status)
                        }
                        None => break self.accept(ex, question, head, answer).await,
                    }
                }
                // A kept connection that the server closed meanwhile is nobody's failure: the same server is asked again.
                Err(failed @ Failed::Error { reused: true }) => {
                    again = Some(lease);
                    failed
                }
                Err(failed) => {
                    if !matches!(failed, Failed::ClientGone | Failed::Request(_)) {
                        lease.failed();
                    }
                    failed
                }
            };
            let status = match failed {
                Failed::ClientGone | Failed::Request(Refused::Gone) => {
                    self.give_up(ex, 0);
                    break Err(Stop::Gone);
                }
                Failed::Request(Refused::Status(status)) => break Err(self.give_up(ex, status)),
                Failed::Timeout => 504,
                Failed::Status(status) => status,
                _ => 502,
            };
            if let Some(attempt) = ex.upstream.current() {
                attempt.status = status;
                attempt.response_time = Some(net::clock::now() - attempt.started);
            }
            if (tries == 0 && again.is_none()) || !self.may_try_another(ex, failed, question, began) {
                break self.without_answer(ex, failed, status);
            }
        };
        if let (Some(sticky), Some(peer)) = (&upstream.sticky, last) {
            sticky.tell(&upstream.peers[peer], ex);
        }
        visit.worker.keep_answer(parsed);
        result
    }

    #[cold]
    fn give_up(&self, ex: &mut Exchange<'_>, status: u16) -> Stop {
        if let Some(attempt) = ex.upstream.current() {
            attempt.status = status;
            attempt.response_time = Some(net::clock::now() - attempt.started);
        }
        ex.upstream.next_handler();
        Stop::Status(status)
    }

    /// No server answered: what is stored may do, where it is allowed to.
    #[cold]
    fn without_answer(&self, ex: &mut Exchange<'_>, failed: Failed, status: u16) -> Result<Body, Stop> {
        let stop = self.give_up(ex, status);
        match &self.cache {
            Some(cache) => self.stored_despite(cache, ex, failed, status).unwrap_or(Err(stop)),
            None => Err(stop),
        }
    }

    fn may_try_another(
        &self,
        ex: &Exchange<'_>,
        failed: Failed,
        question: &Question<'_>,
        began: u64,
    ) -> bool {
        let next = &self.values.next_upstream;
        let wanted = match failed {
            // What was sent into a closed connection was not asked yet; the question of a subrequest can be repeated.
            Failed::Error { reused } => next.error || (reused && !ex.is_main()),
            Failed::Timeout => next.timeout,
            Failed::Invalid => next.invalid_header,
            Failed::Status(_) => true,
            Failed::ClientGone | Failed::Request(_) => false,
        };
        let sent = ex.upstream.was_sent();
        // A subrequest asks something, also with POST.
        let repeatable = next.non_idempotent
            || !sent
            || !ex.is_main()
            || !matches!(ex.method, Method::Post | Method::Lock | Method::Patch);
        let limit = self.values.next_upstream_timeout;
        wanted
            && repeatable
            && !(question.streamed && sent)
            && (limit == 0 || net::clock::now() - began < limit)
    }

    /// A status that counts as a failure, where another server can still be tried.
    fn failing_status(
        &self,
        ex: &Exchange<'_>,
        status: u16,
        question: &Question<'_>,
        tries: usize,
        began: u64,
    ) -> Option<u16> {
        let counts = self.values.next_upstream.statuses.contains(&status);
        (counts && tries > 0 && self.may_try_another(ex, Failed::Status(status), question, began))
            .then_some(status)
    }
}

/// Puts what has come of a body behind the head, so that both are sent in one piece.
async fn first_piece(ex: &Exchange<'_>, question: &mut Question<'_>) -> Result<(), Stop> {
    let visit = ex.visit;
    let mut piece = Vec::new();
    visit.body_piece(ex.plan, &mut piece).await?;
    let end = visit.body_is_read();
    if question.body == RequestFraming::Chunked {
        append_chunk(&piece, end, &mut question.head);
    } else {
        question.head.extend_from_slice(&piece);
    }
    if end {
        question.body = RequestFraming::None;
    }
    Ok(())
}

/// Appends a short body to the head, so that both are sent in one piece; whether it was one.
fn append_short(kept: &Kept, head: &mut Vec<u8>) -> bool {
    let bytes: &[u8] = match kept {
        Kept::Nothing => b"",
        Kept::Memory(bytes) if bytes.len() <= SHORT_BODY => bytes,
        Kept::Memory(_) | Kept::File(..) => return false,
    };
    head.extend_from_slice(bytes);
    true
}

/// What is copied behind the head rather than sent by itself.
const SHORT_BODY: usize = 16 << 10;
