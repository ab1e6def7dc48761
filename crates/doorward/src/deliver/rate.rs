//! `limit_rate`: how fast a body may go.

use crate::exchange::Exchange;

/// `limit_rate`: how fast the body may go.
pub(super) struct Rate {
    /// Bytes in a second, 0 for as many as the client takes.
    pub(super) per_second: u64,
    free: u64,
    sent: u64,
    started: u64,
}

impl Rate {
    pub(super) fn new(ex: &Exchange<'_>) -> Rate {
        let number = |template: &crate::variables::Template| {
            if template.as_literal() == Some(b"0") {
                return 0;
            }
            conf::value::size(&template.eval(ex)).unwrap_or(0)
        };
        let per_second = ex.limit_rate.unwrap_or_else(|| number(&ex.plan.core.limit_rate));
        let free = if per_second == 0 { 0 } else { number(&ex.plan.core.limit_rate_after) };
        Rate { per_second, free, sent: 0, started: net::clock::now() }
    }

    pub(super) fn next_piece(&self, most: usize) -> usize {
        if self.per_second == 0 {
            return most;
        }
        let elapsed = net::clock::now() - self.started;
        let allowed = self.free + self.per_second * (elapsed / 1000 + 1);
        (allowed.saturating_sub(self.sent).max(1) as usize).min(most)
    }

    pub(super) async fn wait(&mut self, sent: u64) {
        self.sent += sent;
        if self.per_second == 0 {
            return;
        }
        let due = self.sent.saturating_sub(self.free) * 1000 / self.per_second;
        let elapsed = net::clock::now() - self.started;
        if due > elapsed {
            tokio::time::sleep(std::time::Duration::from_millis(due - elapsed)).await;
        }
    }
}
