//! Fetches a newer answer once the old one is delivered (`proxy_cache_background_update`).

use wire::h1::Method;

use super::state::{Open, Status};
use crate::config::Server;
use crate::exchange::{Captures, Exchange};
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

    async fn run(self, ex: &mut Exchange<'c>) {
        let mut child = ex.child(self.uri, self.args);
        child.server = self.server;
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
    }
}

/// Makes the requests that the cache waits for; the client has its answer.
pub async fn update(ex: &mut Exchange<'_>) {
    for update in std::mem::take(&mut ex.cache.updates) {
        update.run(ex).await;
    }
}
