//! What a case asks with: a client of HTTP/1 or of HTTP/2, over TCP, a unix socket or TLS.

use std::io;
use std::time::Duration;

use crate::http1::Http1;
use crate::http2::Http2;
use crate::over::Over;
use crate::transport::Transport;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
/// How long to look whether a connection is closed that nobody announced to close.
pub(crate) const GLANCE: Duration = Duration::from_millis(60);

/// A connection to the server under test. Requests are given as the bytes of HTTP/1.
pub(crate) trait Client {
    /// Sends what the server takes; one that closes early is seen when its answer is read. An error is a request that
    /// cannot be said, which [`Over::cannot`] knows before.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends nothing more.
    fn shutdown(&mut self);

    /// Reads one answer, be it an interim one; `head` says that it has no body.
    fn answer(&mut self, head: bool) -> Answer;

    /// Everything until the server closes.
    fn everything(&mut self) -> Answer;

    /// Whether the server has closed, or said that it would.
    fn is_closed(&mut self, last: Option<&Answer>) -> bool;

    /// Reads one answer and the interim answers before it.
    fn answers(&mut self, head: bool) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let answer = self.answer(head);
            let interim = matches!(answer.status(), Some(100 | 102..=199));
            answers.push(answer);
            if !interim {
                return answers;
            }
        }
    }
}

/// Connects to `HOST:PORT` or `unix:PATH`.
pub(crate) fn connect(address: &str, over: Over) -> io::Result<Box<dyn Client>> {
    let transport = Transport::connect(address, over == Over::Tls)?;
    Ok(match over {
        Over::Http1 | Over::Tls => Box::new(Http1::new(transport)),
        Over::Http2 => Box::new(Http2::new(transport)),
    })
}

/// An answer, or what there was instead of one.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    /// Status line; empty when there was no answer.
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How it ended, where that is not its own length: "closed", "cut short", "no end in sight".
    pub(crate) end: &'static str,
}

impl Answer {
    pub(crate) fn status(&self) -> Option<u16> {
        self.line.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.values(name).any(|own| own.eq_ignore_ascii_case(value))
    }
}

/// Where these bytes are among the others.
pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
