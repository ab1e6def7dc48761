//! Fetches newer answers while old ones are served (`proxy_cache_background_update`).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use wire::h1::Method;

use super::state::{Open, Status};
use crate::config::Server;
use crate::exchange::{Captures, Exchange, Visit};
use crate::modules::otel;
use crate::plan::{Content, Plan};

/// A request to be made on the cache's behalf: the one that found the old answer, once more.
pub struct Update<'c> {
    server: &'c Server,
    plan: &'c Plan,
    method: Method,
    uri: Vec<u8>,
    args: Vec<u8>,
    as_sent: bool,
    internal: bool,
    valid_location: bool,
    captures: Captures,
    open: Box<Open>,
}

impl<'c> Update<'c> {
    /// The same request as this one.
    pub fn new(ex: &Exchange<'c>, open: Open) -> Update<'c> {
        Update {
            server: ex.server,
            plan: ex.plan,
            method: ex.method,
            uri: ex.uri.clone(),
            args: ex.args.clone(),
            as_sent: ex.as_sent,
            internal: ex.internal,
            valid_location: ex.valid_location,
            captures: ex.captures.clone(),
            open: Box::new(open),
        }
    }

    async fn run(self, visit: &'c Visit<'c>) {
        let mut child = Exchange::new(visit, self.server);
        // Nobody waits for it: it is no client's request.
        child.depth = 1;
        child.uri = self.uri;
        child.args = self.args;
        child.plan = self.plan;
        child.method = self.method;
        child.as_sent = self.as_sent;
        child.internal = self.internal;
        child.valid_location = self.valid_location;
        child.captures = self.captures;
        child.cache.status = Some(Status::Expired);
        child.cache.open = Some(self.open);
        child.cache.background = true;
        if let Content::Proxy(proxy) = &self.plan.content
            && let Ok(body) = proxy.run(&mut child).await
        {
            body.discard(&mut child).await;
        }
        otel::end_attempts(&child);
    }
}

/// What a client's request and its subrequests leave to be fetched.
pub type Updates<'c> = Rc<RefCell<Vec<Update<'c>>>>;

/// The fetches that run beside a client's request, in its task. A connection serves its next request when they have
/// ended, as in nginx.
pub struct Background<'c> {
    visit: &'c Visit<'c>,
    updates: Updates<'c>,
    running: Vec<Pin<Box<dyn Future<Output = ()> + 'c>>>,
}

impl<'c> Background<'c> {
    /// None yet.
    pub fn new(visit: &'c Visit<'c>, updates: Updates<'c>) -> Background<'c> {
        Background { visit, updates, running: Vec::new() }
    }

    /// Goes on with all of them; ready while there are none.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let visit = self.visit;
        let new = std::mem::take(&mut *self.updates.borrow_mut());
        self.running.extend(
            new.into_iter()
                .map(|update| -> Pin<Box<dyn Future<Output = ()> + 'c>> { Box::pin(update.run(visit)) }),
        );
        self.running.retain_mut(|update| update.as_mut().poll(cx).is_pending());
        if self.running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}
