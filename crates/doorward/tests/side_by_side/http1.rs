//! A client of HTTP/1: raw bytes out, answers in, with patience that has an end.

use std::io;
use std::str;

use crate::client::{Answer, Client, GLANCE, PATIENCE, find};
use crate::transport::Transport;

/// A connection to the server under test.
pub(crate) struct Http1 {
    stream: Transport,
    read: Vec<u8>,
}

impl Http1 {
    pub(crate) fn new(stream: Transport) -> Self {
        Self { stream, read: Vec::new() }
    }
}

impl Client for Http1 {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.send(bytes);
        Ok(())
    }

    fn shutdown(&mut self) {
        self.stream.shutdown_write();
    }

    fn everything(&mut self) -> Answer {
        let closed = self.fill_until(|_| false);
        let body = std::mem::take(&mut self.read);
        Answer { body, end: if closed { "closed" } else { "no end in sight" }, ..Answer::default() }
    }

    fn is_closed(&mut self, last: Option<&Answer>) -> bool {
        let announced =
            last.is_some_and(|answer| answer.has("connection", "close") || answer.end == "closed");
        let time = if announced { PATIENCE } else { GLANCE };
        !self.stream.fill(&mut self.read, time).unwrap_or(true)
    }

    fn answer(&mut self, head: bool) -> Answer {
        let mut end = 0;
        let closed = self.fill_until(|read| {
            end = find(read, b"\r\n\r\n").unwrap_or(0);
            end > 0
        });
        let Some(text) = self.read.get(..end).filter(|head| !head.is_empty()) else {
            let body = std::mem::take(&mut self.read);
            return Answer { body, end: if closed { "closed" } else { "no answer" }, ..Answer::default() };
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
}

impl Http1 {
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
            match self.stream.fill(&mut self.read, PATIENCE) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        false
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
