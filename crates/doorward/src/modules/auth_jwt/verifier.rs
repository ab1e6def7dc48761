//! Tokens against keys: those at hand, and those that are asked for.

use std::sync::Arc;

use auth::jwt::{KeySet, Refusal, Signed, Token};
use conf::Diagnostic;

use super::counts::Counts;
use super::key_request::{KeyRequest, Missing};
use super::keys::{Keys, Source};
use super::known::Known;
use crate::compile::Compiler;
use crate::exchange::Exchange;

/// Checks tokens.
pub struct Verifier {
    keys: Keys,
    /// In seconds.
    leeway: f64,
    known: Arc<Known>,
    counts: Option<Counts>,
}

/// A token that is right, or why it is not.
pub type Checked = Result<Arc<Token>, Refusal>;

impl Verifier {
    /// One with keys of these sources. `leeway` is how far the clock of who makes tokens may be off, in seconds;
    /// `counts` are those of the server, where tokens are counted for one.
    pub fn of(
        cx: &mut Compiler,
        sources: Vec<Source>,
        leeway: u64,
        counts: Option<Counts>,
    ) -> Result<Verifier, Diagnostic> {
        Ok(Verifier { keys: Keys::of(sources), leeway: leeway as f64, known: Known::of(cx)?, counts })
    }

    /// The services that are asked for keys.
    pub fn key_requests(&self) -> impl Iterator<Item = &KeyRequest> {
        self.keys.requests()
    }

    /// Checks a token. Nothing comes of it where the keys are not at hand, or where newer ones may be needed.
    pub fn check(&self, ex: &Exchange<'_>, text: &[u8]) -> Option<Checked> {
        let checked = self.keys.at_hand(ex).map(|sets| self.verify(text, &sets));
        checked.filter(|checked| {
            self.keys.requests().next().is_none() || !matches!(checked, Err(Refusal::UnknownKey))
        })
    }

    /// The same with keys that are asked for.
    pub async fn check_with_keys(&self, ex: &mut Exchange<'_>, text: &[u8]) -> Result<Checked, Missing> {
        // What no key could make right is no reason to ask for keys.
        if Signed::parse(text).is_err() {
            return Ok(self.verify(text, &[]));
        }
        let sets = self.keys.sets(ex).await?;
        let checked = self.verify(text, &sets);
        if matches!(checked, Err(Refusal::UnknownKey))
            && let Some(newer) = self.keys.newer(ex, &sets).await?
        {
            return Ok(self.verify(text, &newer));
        }
        Ok(checked)
    }

    fn verify(&self, text: &[u8], sets: &[Arc<KeySet>]) -> Checked {
        let checked = self.known_or_checked(text, sets);
        if let Some(counts) = &self.counts {
            match &checked {
                Ok((_, true)) => counts.known.add_one(),
                Ok((_, false)) => counts.checked.add_one(),
                Err(_) => counts.refused.add_one(),
            }
        }
        checked.map(|(token, _)| token)
    }

    /// The token if it is right, and whether that was known before.
    fn known_or_checked(&self, text: &[u8], sets: &[Arc<KeySet>]) -> Result<(Arc<Token>, bool), Refusal> {
        let (seconds, milliseconds) = net::clock::wall();
        let now = seconds as f64 + f64::from(milliseconds) / 1000.0;
        let in_time = |token: &Token| token.check_time(now, self.leeway);
        let key = self.known.key(sets, text);
        if let Some(token) = self.known.find(&key) {
            in_time(&token).inspect_err(|_| self.known.forget(&key))?;
            return Ok((token, true));
        }
        let token = Arc::new(Signed::parse(text).and_then(|signed| signed.verify(sets))?);
        in_time(&token)?;
        self.known.keep(&key, &token);
        Ok((token, false))
    }
}
