//! The numbers of tokens and of questions for keys.

use std::sync::Arc;

use super::known::Known;
use crate::compile::Compiler;
use crate::metrics::{Counter, Family, Reading};

static TOKENS: Family = Family {
    name: "doorward_jwt_tokens_total",
    help: "Tokens of requests: known to be right from before, checked and right, or refused.",
};
static KNOWN: Family =
    Family { name: "doorward_jwt_known_tokens", help: "Tokens that are known to be right from before." };
static BYTES: Family =
    Family { name: "doorward_jwt_known_bytes", help: "Memory that known tokens take, in bytes." };
static QUESTIONS: Family =
    Family { name: "doorward_jwt_key_requests_total", help: "Questions for keys (auth_jwt_key_request)." };

/// What there is to read of known tokens.
pub fn readings(known: &Arc<Known>) -> [Reading; 2] {
    let (tokens, bytes) = (known.clone(), known.clone());
    [
        Reading::gauge(&KNOWN, Vec::new(), move || tokens.usage().0 as f64),
        Reading::gauge(&BYTES, Vec::new(), move || bytes.usage().1 as f64),
    ]
}

/// The counters of a server's tokens.
pub struct Counts {
    /// Right, and known to be.
    pub known: Arc<Counter>,
    /// Right.
    pub checked: Arc<Counter>,
    /// Not right.
    pub refused: Arc<Counter>,
}

impl Counts {
    /// Those of the server being compiled, where something shows them.
    pub fn of(cx: &Compiler) -> Option<Counts> {
        let counter = |result: &str| {
            let labels = vec![("server", cx.server_name.clone()), ("result", result.to_owned())];
            cx.zones.metrics.counter(&TOKENS, labels)
        };
        cx.measures.then(|| Counts {
            known: counter("known"),
            checked: counter("checked"),
            refused: counter("refused"),
        })
    }
}

/// The counters of what another location is asked for keys.
pub struct KeyCounts {
    /// It answered with keys.
    pub answered: Arc<Counter>,
    /// It did not.
    pub failed: Arc<Counter>,
}

impl KeyCounts {
    /// Those of a location of the server being compiled, where something shows them.
    pub fn of(cx: &Compiler, uri: &[u8]) -> Option<KeyCounts> {
        let counter = |result: &str| {
            let labels = vec![
                ("server", cx.server_name.clone()),
                ("location", String::from_utf8_lossy(uri).into_owned()),
                ("result", result.to_owned()),
            ];
            cx.zones.metrics.counter(&QUESTIONS, labels)
        };
        cx.measures.then(|| KeyCounts { answered: counter("answered"), failed: counter("failed") })
    }
}
