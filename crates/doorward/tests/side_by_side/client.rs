//! The client of a case: raw bytes out, answers in, with patience that has an end.

use std::io::{self, ErrorKind, Read, Write};
use std::str;
use std::time::Duration;

use crate::transport::Transport;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long to look whether a connection is closed that nobody announced to close.
const GLANCE: Duration = Duration::from_millis(60);

/// A connection to the server under test.
pub(crate) struct Client {
    stream: Transport,
    read: Vec<u8>,
    ended: bool,
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

    fn has(&self, name: &str, value: &str) -> bool {
        self.values(name).any(|own| own.eq_ignore_ascii_case(value))
    }
}

impl Client {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        Ok(Self { stream: Transport::connect(address, PATIENCE)?, read: Vec::new(), ended: false })
    }

    /// Sends what the server takes; one that closes early is seen when its answer is read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn shutdown(&mut self) {
        self.stream.shutdown_write();
    }

    /// Reads one answer and the interim answers before it.
    pub(crate) fn answers(&mut self, head: bool) -> Vec<Answer> {
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

    /// Everything until the server closes.
    pub(crate) fn everything(&mut self) -> Answer {
        let closed = self.fill_until(|_| false);
        let body = std::mem::take(&mut self.read);
        Answer { body, end: if closed { "closed" } else { "no end in sight" }, ..Answer::default() }
    }

    /// Whether the server has closed, or said that it would.
    pub(crate) fn is_closed(&mut self, last: Option<&Answer>) -> bool {
        let announced =
            last.is_some_and(|answer| answer.has("connection", "close") || answer.end == "closed");
        self.ended || !self.fill(if announced { PATIENCE } else { GLANCE }).unwrap_or(true)
    }

    /// Reads one answer, be it an interim one; `head` says that it has no body.
    pub(crate) fn answer(&mut self, head: bool) -> Answer {
        let mut end = 0;
        self.fill_until(|read| {
            end = find(read, b"\r\n\r\n").unwrap_or(0);
            end > 0
        });
        let Some(text) = self.read.get(..end).filter(|head| !head.is_empty()) else {
            let mut answer = self.everything();
            answer.end = if self.ended { "closed" } else { "no answer" };
            return answer;
        };
        let mut answer = parse(text);
        self.read.drain(..end + 4);
        let bodiless = head || matches!(answer.status(), Some(100..=199 | 204 | 304));
        if bodiless {
            return answer;
        }
        let length = answer.values("content-length").next().and_then(|text| text.parse().ok());
        if answer.has("transfer-encoding", "chunked") {
            self.chunks(&mut answer);
        } else if let Some(length) = length {
            if !self.take(length, &mut answer) {
                answer.end = "cut short";
            }
        } else {
            answer.end = if self.fill_until(|_| false) { "closed" } else { "no end in sight" };
            answer.body = std::mem::take(&mut self.read);
        }
        answer
    }

    fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let mut end = None;
            self.fill_until(|read| {
                end = find(read, b"\r\n");
                end.is_some()
            });
            let line: Vec<u8> = end.map(|end| self.read.drain(..end + 2).collect()).unwrap_or_default();
            let digits = str::from_utf8(&line).unwrap_or("").trim().split(';').next().unwrap_or("");
            let Ok(size) = usize::from_str_radix(digits, 16) else {
                answer.end = "cut short";
                return;
            };
            let whole = self.take(size, answer) && self.take(2, &mut Answer::default());
            if !whole {
                answer.end = "cut short";
            }
            if !whole || size == 0 {
                return;
            }
        }
    }

    /// Moves bytes into the body; false when the connection ends before.
    fn take(&mut self, length: usize, answer: &mut Answer) -> bool {
        self.fill_until(|read| read.len() >= length);
        let whole = self.read.len() >= length;
        answer.body.extend(self.read.drain(..length.min(self.read.len())));
        whole
    }

    /// Reads until there is enough (false) or the connection has ended (true); gives up after a while.
    fn fill_until(&mut self, mut enough: impl FnMut(&[u8]) -> bool) -> bool {
        while !enough(&self.read) {
            match self.fill(PATIENCE) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        false
    }

    /// Reads once: some bytes, the end, or nothing in this time.
    fn fill(&mut self, time: Duration) -> Option<bool> {
        if self.ended {
            return Some(false);
        }
        let mut buffer = vec![0; 1 << 16];
        self.stream.read_within(time);
        let read = loop {
            match self.stream.read(&mut buffer) {
                // A machine that was stopped for a moment interrupts reads that have a timeout.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => self.ended = true,
            Ok(length) => {
                self.read.extend(buffer.get(..length).unwrap_or_default());
                return Some(true);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            // A reset ends a connection as a close does.
            Err(_) => self.ended = true,
        }
        Some(false)
    }
}

fn parse(head: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or("").to_owned();
    let fields = lines
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Answer { line, fields, ..Answer::default() }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
