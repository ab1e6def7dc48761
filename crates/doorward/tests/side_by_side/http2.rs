//! A client of HTTP/2 with prior knowledge (RFC 9113): a stream for each request, and no more than a case needs.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Instant;

use crate::client::{Answer, Client, GLANCE, PATIENCE};
use crate::hpack::{self, Field};
use crate::request::{Part, Reader};
use crate::transport::Transport;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest frame that is sent, which everybody takes.
const FRAME: usize = 16 << 10;
/// The size that every window has at first.
const WINDOW: i64 = 65_535;

/// Types of frames (section 6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
mod flag {
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
    pub(super) const PRIORITY: u8 = 0x20;
}

pub(crate) struct Http2 {
    transport: Transport,
    reader: Reader,
    read: Vec<u8>,
    begun: bool,
    /// The last stream that was opened.
    last: u32,
    /// Those whose answers were not read yet.
    waiting: VecDeque<u32>,
    streams: BTreeMap<u32, Stream>,
    /// What may be sent on all streams together, and on a new one.
    window: i64,
    initial: i64,
    /// A block of fields that is not complete: its stream, and whether that ends with it.
    block: Option<(u32, bool, Vec<u8>)>,
    goaway: bool,
    broken: Option<&'static str>,
}

#[derive(Default)]
struct Stream {
    window: i64,
    interim: VecDeque<Answer>,
    answer: Option<Answer>,
    ended: bool,
}

impl Http2 {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            reader: Reader::default(),
            read: Vec::new(),
            begun: false,
            last: 0,
            waiting: VecDeque::new(),
            streams: BTreeMap::new(),
            window: WINDOW,
            initial: WINDOW,
            block: None,
            goaway: false,
            broken: None,
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(9 + payload.len());
        bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.transport.send(&bytes);
    }

    /// The preface, and settings: no dynamic table, nothing pushed.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.transport.send(PREFACE);
            self.frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        }
    }

    fn fields(&mut self, fields: &[Field], ends: bool) {
        let block = hpack::encode(fields);
        let mut pieces = block.chunks(FRAME).peekable();
        let mut kind = kind::HEADERS;
        while let Some(piece) = pieces.next() {
            let mut flags = if ends && kind == kind::HEADERS { flag::END_STREAM } else { 0 };
            if pieces.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            self.frame(kind, flags, self.last, piece);
            kind = kind::CONTINUATION;
        }
    }

    /// Sends a piece of a body as the windows allow; what nobody wants any more is not sent.
    fn data(&mut self, mut piece: &[u8], ends: bool) {
        let id = self.last;
        loop {
            let stream = self.streams.get(&id).map_or(0, |stream| stream.window);
            let room = usize::try_from(self.window.min(stream)).unwrap_or(0);
            if room == 0 && !piece.is_empty() {
                if self.streams.get(&id).is_none_or(|stream| stream.ended) || !self.advance() {
                    return;
                }
                continue;
            }
            let (now, later) = piece.split_at(piece.len().min(room).min(FRAME));
            let flags = if ends && later.is_empty() { flag::END_STREAM } else { 0 };
            self.frame(kind::DATA, flags, id, now);
            self.window -= now.len() as i64;
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.window -= now.len() as i64;
            }
            piece = later;
            if piece.is_empty() {
                return;
            }
        }
    }

    /// Reads once and does what it says; false at the end, or when there is nothing for too long.
    fn advance(&mut self) -> bool {
        let read = self.transport.fill(&mut self.read, PATIENCE) == Some(true);
        self.take_frames();
        read
    }

    fn take_frames(&mut self) {
        while let Some(&[a, b, c, kind, flags, stream @ ..]) = self.read.first_chunk::<9>() {
            let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            if self.read.len() < end {
                break;
            }
            let payload: Vec<u8> = self.read.drain(..end).skip(9).collect();
            if self.take(kind, flags, u32::from_be_bytes(stream), &payload).is_none() {
                self.broken = Some("breaks the rules of HTTP/2");
            }
        }
    }

    /// Takes a frame; `None` where it breaks the rules.
    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Option<()> {
        let ends = flags & flag::END_STREAM != 0;
        if self.block.is_some() && kind != kind::CONTINUATION {
            return None;
        }
        match kind {
            kind::HEADERS => {
                let skip = if flags & flag::PRIORITY != 0 { 5 } else { 0 };
                let block = unpadded(flags, payload)?.get(skip..)?.to_vec();
                self.block = Some((id, ends, block));
            }
            kind::CONTINUATION => self.block.as_mut().filter(|(of, _, _)| *of == id)?.2.extend(payload),
            kind::DATA => {
                let stream = self.streams.get_mut(&id).filter(|stream| !stream.ended)?;
                stream.answer.as_mut()?.body.extend(unpadded(flags, payload)?);
                stream.ended = ends;
                if !payload.is_empty() {
                    let size = (payload.len() as u32).to_be_bytes();
                    self.frame(kind::WINDOW_UPDATE, 0, 0, &size);
                    if !ends {
                        self.frame(kind::WINDOW_UPDATE, 0, id, &size);
                    }
                }
            }
            kind::RST_STREAM => {
                let code = u32::from_be_bytes(*payload.first_chunk::<4>()?);
                let stream = self.streams.get_mut(&id)?;
                if !std::mem::replace(&mut stream.ended, true) {
                    let reset = match code {
                        0 => "reset: NO_ERROR",
                        1 => "reset: PROTOCOL_ERROR",
                        2 => "reset: INTERNAL_ERROR",
                        7 => "reset: REFUSED_STREAM",
                        8 => "reset: CANCEL",
                        _ => "reset for another reason",
                    };
                    stream.answer.get_or_insert_default().end = reset;
                }
            }
            kind::SETTINGS if flags & flag::ACK == 0 => {
                for setting in payload.chunks(6) {
                    let &[high, low, value @ ..] = setting.first_chunk::<6>()?;
                    if u16::from_be_bytes([high, low]) == 4 {
                        let initial = i64::from(u32::from_be_bytes(value));
                        for stream in self.streams.values_mut() {
                            stream.window += initial - self.initial;
                        }
                        self.initial = initial;
                    }
                }
                self.frame(kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if flags & flag::ACK == 0 => self.frame(kind::PING, flag::ACK, 0, payload),
            kind::GOAWAY => self.goaway = true,
            kind::WINDOW_UPDATE => {
                let size = i64::from(u32::from_be_bytes(*payload.first_chunk::<4>()?));
                if id == 0 {
                    self.window += size;
                } else if let Some(stream) = self.streams.get_mut(&id) {
                    stream.window += size;
                }
            }
            _ => {}
        }
        if flags & flag::END_HEADERS != 0
            && let kind::HEADERS | kind::CONTINUATION = kind
        {
            let (id, ends, block) = self.block.take()?;
            let fields = hpack::decode(&block)?;
            self.streams.get_mut(&id).filter(|stream| !stream.ended)?.head(&fields, ends)?;
        }
        Some(())
    }

    /// Reads until this holds of the stream that is read next; what it is otherwise.
    fn wait(&mut self, enough: impl Fn(&Stream) -> bool) -> Result<u32, &'static str> {
        let Some(&id) = self.waiting.front() else { return Err("no request") };
        loop {
            if let Some(broken) = self.broken {
                return Err(broken);
            }
            if self.streams.get(&id).is_some_and(&enough) {
                return Ok(id);
            }
            let before = Instant::now();
            if !self.advance() {
                return Err(if before.elapsed() < PATIENCE { "closed" } else { "no end in sight" });
            }
        }
    }
}

impl Stream {
    /// Takes a head of an answer, or the fields behind its body.
    fn head(&mut self, fields: &[Field], ends: bool) -> Option<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.ended = ends;
        if let Some(answer) = &mut self.answer {
            let trailers =
                fields.iter().map(|(name, value)| (format!("trailer {}", text(name)), text(value)));
            answer.fields.extend(trailers);
            return ends.then_some(());
        }
        let ((name, status), fields) = fields.split_first()?;
        if name != b":status" || fields.iter().any(|(name, _)| name.to_ascii_lowercase() != *name) {
            return None;
        }
        let fields = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
        let answer = Answer { line: format!("HTTP/2 {}", text(status)), fields, ..Answer::default() };
        match answer.status() {
            Some(100..=199) => self.interim.push_back(answer),
            _ => self.answer = Some(answer),
        }
        Some(())
    }
}

fn unpadded(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if flags & flag::PADDED == 0 {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

impl Client for Http2 {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in self.reader.read(bytes).map_err(io::Error::other)? {
            match part {
                Part::Before(header) => self.transport.send(&header),
                Part::Head(fields, ends) => {
                    self.begin();
                    self.last = if self.last == 0 { 1 } else { self.last + 2 };
                    self.streams.insert(self.last, Stream { window: self.initial, ..Stream::default() });
                    self.waiting.push_back(self.last);
                    self.fields(&fields, ends);
                }
                Part::Data(piece, ends) => self.data(&piece, ends),
                Part::Trailers(fields) => self.fields(&fields, true),
            }
        }
        Ok(())
    }

    fn shutdown(&mut self) {
        self.transport.shutdown_write();
    }

    fn answer(&mut self, _head: bool) -> Answer {
        let found = self.wait(|stream| !stream.interim.is_empty() || stream.ended);
        let id = self.waiting.front().copied().unwrap_or(0);
        if let Some(interim) = self.streams.get_mut(&id).and_then(|stream| stream.interim.pop_front()) {
            return interim;
        }
        self.waiting.pop_front();
        let mut answer =
            self.streams.get_mut(&id).and_then(|stream| stream.answer.take()).unwrap_or_default();
        if let Err(end) = found {
            answer.end = end;
        }
        answer
    }

    fn everything(&mut self) -> Answer {
        self.answer(false)
    }

    fn is_closed(&mut self, _last: Option<&Answer>) -> bool {
        let time = if self.goaway { PATIENCE } else { GLANCE };
        let end = Instant::now() + time;
        while let Some(read) = self.transport.fill(&mut self.read, time) {
            self.take_frames();
            if !read {
                return true;
            }
            if Instant::now() > end {
                break;
            }
        }
        false
    }
}
