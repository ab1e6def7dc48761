//! Asks servers until one answers.

use wire::h1::Method;

use super::attempt::{Failed, Question};
use super::body::Lease;
use super::pass::{Destination, Group};
use super::request::RequestFraming;
use super::response::Answer;
use super::{Proxy, pass};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::upstream::{Tried, Upstream};
use crate::run::Stop;

impl Proxy {
    /// Passes the request on and takes the answer's head; the body is pulled from what this returns.
    pub async fn run(&self, ex: &mut Exchange<'_>) -> Result<Body, Stop> {
        let fixed = self.resolve(ex).await?;
        let visit = ex.visit;
        let streamed = self.streams_body(ex);
        if ex.is_main() && !streamed {
            visit.keep_body(ex.plan).await?;
        }
        ex.upstream.passed_to = Some(fixed.clone());
        let upstream = fixed.group.upstream(visit.config);
        let question = self.question(ex, &fixed, upstream, streamed);
        let result = self.ask(ex, &fixed.group, &question).await;
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
        streamed: bool,
    ) -> Question<'a> {
        let visit = ex.visit;
        let set_body = self.values.body.as_ref().map(|body| body.eval(ex));
        let framing = match &set_body {
            Some(body) => RequestFraming::Length(body.len() as u64),
            // A subrequest has no body, and one that is not sent is not announced either.
            None if !ex.is_main() || !self.values.pass_request_body => RequestFraming::None,
            None if streamed => match visit.head.content_length {
                Some(length) => RequestFraming::Length(length),
                None => RequestFraming::Chunked,
            },
            None if visit.head.chunked => RequestFraming::Length(visit.body.borrow().kept.len()),
            None => visit.head.content_length.map_or(RequestFraming::None, RequestFraming::Length),
        };
        let mut head = visit.worker.buffers.take(2048);
        let variable = matches!(self.destination, Destination::Variable(_));
        self.append_head(ex, &fixed.authority, Some(&fixed.uri), variable, framing, &mut head);
        if let Some(body) = &set_body {
            head.extend_from_slice(body);
        }
        let body = if set_body.is_some() { RequestFraming::None } else { framing };
        Question { upstream, head, body, streamed, is_head: self.is_head(ex) }
    }

    async fn ask(&self, ex: &mut Exchange<'_>, group: &Group, question: &Question<'_>) -> Result<Body, Stop> {
        let visit = ex.visit;
        let upstream = question.upstream;
        let began = net::clock::now();
        let mut tried = Tried::default();
        let mut tries = upstream.tries();
        if self.values.next_upstream_tries > 0 {
            tries = tries.min(self.values.next_upstream_tries as usize);
        }
        let mut parsed = visit.worker.answers.borrow_mut().pop().unwrap_or_default();
        let result = loop {
            let Some(choice) = upstream.choose(&mut tried, net::clock::now()) else {
                ex.upstream.begin(&upstream.name);
                ex.log(Level::Error, format_args!("no live upstreams while connecting to upstream"));
                break Err(self.give_up(ex, 502));
            };
            let peer = &upstream.peers[choice.index];
            ex.upstream.begin(&peer.name);
            tries = tries.saturating_sub(1);
            let mut lease = Lease::new(visit.service, group, choice);
            let (head, parser) = &mut *parsed;
            let failed = match self.attempt(ex, question, choice.index, head, parser).await {
                Ok((connection, key, bytes)) => {
                    let answer = Answer { connection, lease, key, bytes };
                    match self.failing_status(ex, head.status, question, tries, began) {
                        Some(status) => {
                            let mut answer = answer;
                            // What is not there, or not allowed, says nothing about the server.
                            if !matches!(status, 403 | 404) {
                                answer.lease.failed();
                            }
                            Failed::Status(status)
                        }
                        None => break self.accept(ex, question, head, answer).await,
                    }
                }
                Err(failed) => {
                    if failed != Failed::ClientGone {
                        lease.failed();
                    }
                    failed
                }
            };
            if matches!(failed, Failed::Error { reused: true }) {
                // A kept connection that the server closed meanwhile is nobody's failure.
                tries += 1;
            }
            let status = match failed {
                Failed::ClientGone => break Err(Stop::Gone),
                Failed::Timeout => 504,
                Failed::Status(status) => status,
                _ => 502,
            };
            if let Some(attempt) = ex.upstream.current() {
                attempt.status = status;
                attempt.response_time = Some(net::clock::now() - attempt.started);
            }
            if tries == 0 || !self.may_try_another(ex, failed, question, began) {
                break Err(self.give_up(ex, status));
            }
        };
        visit.worker.answers.borrow_mut().push(parsed);
        result
    }

    fn give_up(&self, ex: &mut Exchange<'_>, status: u16) -> Stop {
        if let Some(attempt) = ex.upstream.current() {
            attempt.status = status;
            attempt.response_time = Some(net::clock::now() - attempt.started);
        }
        ex.upstream.next_handler();
        Stop::Status(status)
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
            Failed::Error { .. } => next.error,
            Failed::Timeout => next.timeout,
            Failed::Invalid => next.invalid_header,
            Failed::Status(_) => true,
            Failed::ClientGone => false,
        };
        let sent = ex.upstream.was_sent();
        let repeatable =
            next.non_idempotent || !sent || !matches!(ex.method, Method::Post | Method::Lock | Method::Patch);
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
