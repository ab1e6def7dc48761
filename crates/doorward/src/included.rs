//! The body of another location's answer as a part of a response's: asked for only when its turn comes.

use crate::body::{Body, Truncated};
use crate::exchange::Exchange;
use crate::modules::upstream::Attempts;
use crate::run;

/// What another location answers, in the place where it stands.
pub struct Included {
    /// The path to ask for, until it was.
    uri: Option<Vec<u8>>,
    body: Body,
    /// What was tried for it, which is not what was tried for the response.
    upstream: Attempts,
}

impl Included {
    /// A part that `uri` of the same server will be asked for.
    pub fn new(uri: Vec<u8>) -> Included {
        Included { uri: Some(uri), body: Body::Empty, upstream: Attempts::default() }
    }

    /// Appends the next piece; false at the end. Without an answer, or without its end, the response has none either.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        if let Some(uri) = self.uri.take() {
            (self.body, self.upstream) = run::include(ex, &uri).await.map_err(|_| Truncated)?;
        }
        std::mem::swap(&mut ex.upstream, &mut self.upstream);
        let more = self.body.next(ex, out, most).await;
        std::mem::swap(&mut ex.upstream, &mut self.upstream);
        more
    }

    /// Whether it was asked for and handed out.
    pub fn is_done(&self) -> bool {
        self.uri.is_none() && self.body.is_done()
    }

    /// Whether what was asked for is being stored.
    pub fn is_filling(&self) -> bool {
        self.body.is_filling()
    }

    /// Lets go of what was asked for; what was not, is not any more.
    pub async fn discard(self, ex: &mut Exchange<'_>) {
        self.upstream.count(ex.visit.config);
        self.body.discard(ex).await;
    }
}
