//! The body of a server's answer, decoded as it comes; behind its end the connection is kept for the next request.

use std::io;
use std::rc::Rc;

use net::pool::Pooled;
use wire::h1::Decoder;

use super::connect::io_failure;
use super::pass::Group;
use crate::body::Truncated;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::Level;
use crate::modules::upstream::{Choice, Failure, Session};
use crate::read_ahead::Limits;
use crate::worker::{PoolKey, Service};

/// Most of a body that is read only to keep the connection.
const DISCARD_LIMIT: usize = 64 << 10;

/// How long that may take, in milliseconds.
const DISCARD_TIME: u64 = 100;

/// A chosen server; it is given back when this is dropped.
pub struct Lease {
    service: Rc<Service>,
    group: Group,
    choice: Choice,
    failure: Failure,
    /// The session that the answer belongs to, for later requests of it.
    session: Option<Session>,
    /// When the attempt began, and how long the head of its answer took.
    began: u64,
    header_time: Option<u64>,
}

impl Lease {
    /// Remembers what was chosen.
    pub fn new(service: &Rc<Service>, group: &Group, choice: Choice) -> Lease {
        if let Some(counts) = &group.upstream(&service.config).peers[choice.index].counts {
            counts.begin();
        }
        Lease {
            service: service.clone(),
            group: group.clone(),
            choice,
            failure: Failure::None,
            session: None,
            began: net::clock::now(),
            header_time: None,
        }
    }

    /// The server's place in its group.
    pub fn peer(&self) -> usize {
        self.choice.index
    }

    /// The head of an answer is there: whose session it is can be told.
    pub fn answered(&mut self, ex: &Exchange<'_>) {
        let upstream = self.group.upstream(&self.service.config);
        if let (Some(sticky), Some(peer)) = (&upstream.sticky, upstream.peers.get(self.choice.index)) {
            self.session = sticky.session(peer, ex);
        }
        let now = net::clock::now();
        self.header_time = Some(now - self.began);
        upstream.header_came(self.choice, now - self.began, now);
    }

    /// Tells the client which server its session is with.
    pub fn tell(&self, ex: &mut Exchange<'_>) {
        let upstream = self.group.upstream(&self.service.config);
        if let (Some(sticky), Some(peer)) = (&upstream.sticky, upstream.peers.get(self.choice.index)) {
            sticky.tell(peer, ex);
        }
    }

    /// The server failed.
    pub fn failed(&mut self) {
        self.failure = Failure::Failed;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let upstream = self.group.upstream(&self.service.config);
        if let Some(counts) = &upstream.peers[self.choice.index].counts {
            counts.end(self.failure == Failure::Failed);
        }
        if let (Some(session), Some(sticky), Failure::None) = (&self.session, &upstream.sticky, self.failure)
        {
            sticky.remember(session, &upstream.peers[self.choice.index]);
        }
        let now = net::clock::now();
        upstream.took(self.choice, self.failure, self.header_time, now - self.began, now);
        upstream.release(self.choice, self.failure, now);
    }
}

/// A connection to a chosen server while an answer comes on it.
pub struct Leased {
    /// The connection.
    pub connection: Pooled,
    /// The server.
    pub lease: Lease,
    /// Where the connection may be kept behind the end of the answer.
    pub key: Option<PoolKey>,
}

impl Leased {
    /// The answer is over: its times are taken, and the connection is kept where it may be.
    fn end(self, ex: &mut Exchange<'_>) {
        if let Some(attempt) = ex.upstream.current() {
            attempt.response_time = Some(net::clock::now() - attempt.started);
        }
        let Leased { connection, lease, key } = self;
        if let Some(key) = key
            && !lease.service.is_retired()
        {
            let upstream = lease.group.upstream(&lease.service.config).index;
            lease.service.keep(ex.visit.worker, upstream, key, connection);
        }
    }

    /// What follows an answer that is over belongs to nothing: the connection cannot be used again.
    fn too_much(&mut self, decoder: &Decoder, ex: &Exchange<'_>) {
        let text = match decoder {
            Decoder::Chunked(_) => "upstream sent data after final chunk",
            _ => "upstream sent more data than specified in \"Content-Length\" header",
        };
        ex.log(Level::Warn, format_args!("{text} while reading upstream"));
        self.key = None;
    }

    /// Looks at what came with the head: where that is all of the answer, `raw` becomes its payload, and the connection is
    /// free at once.
    pub fn settle(mut self, decoder: &Decoder, raw: &mut Vec<u8>, ex: &mut Exchange<'_>) -> Option<Leased> {
        let length = match decoder {
            Decoder::None => 0,
            Decoder::Length(length) if *length <= raw.len() as u64 => *length as usize,
            _ => return Some(self),
        };
        if length < raw.len() {
            self.too_much(decoder, ex);
            raw.truncate(length);
        }
        self.end(ex);
        None
    }
}

/// The rest of a server's answer.
pub struct UpstreamBody {
    leased: Option<Leased>,
    decoder: Decoder,
    /// Bytes read and not decoded.
    raw: Vec<u8>,
    done: bool,
    /// The framing is wrong.
    broken: bool,
    pace: Pace,
}

/// How a body is read.
pub struct Pace {
    /// Longest wait between two reads, in milliseconds.
    pub read_timeout: u64,
    /// Whether it is read on when the client has gone.
    pub ignore_client_abort: bool,
    /// How fast.
    pub limit: Option<RateLimit>,
    /// How far it may be read ahead of the client.
    pub ahead: Option<Limits>,
}

/// `proxy_limit_rate`: an allowance that grows with time, a second's worth at first.
pub struct RateLimit {
    per_second: u64,
    read: u64,
    began: u64,
}

impl RateLimit {
    /// So many bytes a second from now on, of which `read` were read already.
    pub fn new(per_second: u64, read: u64) -> RateLimit {
        RateLimit { per_second, read, began: net::clock::now() }
    }

    /// Waits until something may be read, at most `most` bytes.
    async fn wait(&self, most: usize) -> usize {
        loop {
            match self.allowance() {
                Ok(allowed) => return most.min(allowed),
                Err(ms) => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
            }
        }
    }

    /// How much may be read now; where that is nothing, how many milliseconds later it is something.
    fn allowance(&self) -> Result<usize, u64> {
        let time = 1000 + net::clock::now() - self.began;
        let allowed = self.per_second.saturating_mul(time) / 1000;
        match allowed.checked_sub(self.read) {
            Some(left) if left > 0 => Ok(usize::try_from(left).unwrap_or(usize::MAX)),
            _ => Err(((self.read - allowed).saturating_mul(1000) / self.per_second).max(STEP)),
        }
    }
}

/// Shortest pause of a limited answer in milliseconds, so that it does not come in single bytes.
const STEP: u64 = 50;

impl UpstreamBody {
    /// A body behind a head: `raw` is what was read behind it; it is all where the connection was given back already.
    pub fn new(leased: Option<Leased>, decoder: Decoder, raw: Vec<u8>, pace: Pace) -> UpstreamBody {
        let done = leased.is_none();
        UpstreamBody { leased, decoder, raw, done, broken: false, pace }
    }

    /// How far it may be read ahead of the client; `None` where it is not.
    pub fn reads_ahead(&self) -> Option<Limits> {
        self.pace.ahead.filter(|_| !self.done)
    }

    /// Whether the framing was found to be wrong.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether everything was handed out.
    pub fn is_done(&self) -> bool {
        self.done && self.raw.is_empty()
    }

    /// Appends the next piece of payload; false at the end.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        let before = out.len();
        if self.done {
            // Decoded ahead, by `Leased::settle`.
            return Ok(hand_out(&mut self.raw, ex, out));
        }
        loop {
            self.decode(ex, out)?;
            let got = out.len() - before;
            if got > 0 || self.done {
                return Ok(handed_out(ex, got));
            }
            if matches!(self.decoder, Decoder::Length(_) | Decoder::UntilClose) {
                // Payload and nothing else: it is read to where it is wanted.
                return self.read_plain(ex, out, most).await;
            }
            let read = read(&mut self.leased, &mut self.pace, ex, &mut self.raw, most).await;
            if self.take_read(ex, read)? == 0 {
                return Err(self.premature(ex));
            }
        }
    }

    async fn read_plain(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        let most = match self.decoder {
            Decoder::Length(left) => usize::try_from(left).unwrap_or(most).min(most),
            _ => most,
        };
        let read = read(&mut self.leased, &mut self.pace, ex, out, most).await;
        let read = self.take_read(ex, read)?;
        handed_out(ex, read);
        match &mut self.decoder {
            Decoder::Length(left) => {
                *left -= (read as u64).min(*left);
                if read == 0 {
                    return Err(self.premature(ex));
                }
                if *left == 0 {
                    self.finish(ex);
                }
                Ok(true)
            }
            _ if read == 0 => {
                self.finish(ex);
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// Decodes what was read.
    fn decode(&mut self, ex: &mut Exchange<'_>, out: &mut Vec<u8>) -> Result<(), Truncated> {
        let mut eaten = 0;
        let done = loop {
            let rest = self.raw.get(eaten..).unwrap_or_default();
            let decoded = match self.decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(_) => {
                    ex.log(
                        Level::Error,
                        format_args!("upstream sent invalid chunked response while reading upstream"),
                    );
                    self.broken = true;
                    self.close(ex);
                    return Err(Truncated);
                }
            };
            out.extend_from_slice(rest.get(decoded.data).unwrap_or_default());
            eaten += decoded.consumed;
            if decoded.done || decoded.consumed == 0 {
                break decoded.done;
            }
        };
        let extra = done && eaten < self.raw.len();
        self.raw.drain(..eaten);
        if extra {
            if let Some(leased) = &mut self.leased {
                leased.too_much(&self.decoder, ex);
            }
            self.raw.clear();
        }
        if done {
            self.finish(ex);
        }
        Ok(())
    }

    /// What a read came to, with its consequences where it failed.
    fn take_read(&mut self, ex: &mut Exchange<'_>, read: Result<usize, Unread>) -> Result<usize, Truncated> {
        match read {
            Ok(read) => return Ok(read),
            Err(Unread::Failed(error)) => {
                let failure = io_failure(&error, "readv()", "SSL_read()");
                ex.log(Level::Error, format_args!("{failure} while reading upstream"));
                self.fail(ex);
            }
            Err(Unread::Interrupted(Interrupted::Elapsed)) => {
                let text = "upstream timed out (110: Connection timed out) while reading upstream";
                ex.log(Level::Error, format_args!("{text}"));
                self.fail(ex);
            }
            Err(Unread::Interrupted(Interrupted::ClientGone)) => self.close(ex),
        }
        Err(Truncated)
    }

    fn premature(&mut self, ex: &mut Exchange<'_>) -> Truncated {
        ex.log(Level::Error, format_args!("upstream prematurely closed connection while reading upstream"));
        self.fail(ex);
        Truncated
    }

    fn fail(&mut self, ex: &mut Exchange<'_>) {
        if let Some(leased) = &mut self.leased {
            leased.lease.failed();
        }
        self.close(ex);
    }

    fn close(&mut self, ex: &mut Exchange<'_>) {
        if let Some(leased) = &mut self.leased {
            leased.key = None;
        }
        self.finish(ex);
    }

    fn finish(&mut self, ex: &mut Exchange<'_>) {
        self.done = true;
        if let Some(leased) = self.leased.take() {
            leased.end(ex);
        }
    }

    /// Reads a short rest so that the connection can be kept, and lets a long one go with its connection.
    pub async fn discard(&mut self, ex: &mut Exchange<'_>) {
        let mut piece = ex.visit.worker.buffers.take(8192);
        let mut read = 0;
        let client = ex.visit.client;
        let end = net::clock::now() + DISCARD_TIME;
        let kept = |leased: &Option<Leased>| leased.as_ref().is_some_and(|leased| leased.key.is_some());
        while !self.done && kept(&self.leased) && read < DISCARD_LIMIT {
            piece.clear();
            // Who dawdles over what nobody wants is not worth a wait: the connection is then closed.
            let left = end.saturating_sub(net::clock::now());
            match client.deadline.within(left, self.next(ex, &mut piece, 8192)).await {
                Ok(Ok(true)) => read += piece.len(),
                _ => break,
            }
        }
        piece.clear();
        ex.visit.worker.buffers.put(piece);
        if !self.done {
            self.close(ex);
        }
    }

    /// The trailers of a chunked answer, for the client's last chunk.
    pub fn append_trailers(&self, out: &mut Vec<u8>) {
        if let Decoder::Chunked(chunked) = &self.decoder {
            let (fields, bytes) = chunked.trailers();
            for field in fields {
                out.extend_from_slice(field.name.of(bytes));
                out.extend_from_slice(b": ");
                out.extend_from_slice(field.value.of(bytes));
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Why nothing was read.
enum Unread {
    Failed(io::Error),
    Interrupted(Interrupted),
}

/// Hands out the payload of an answer that came whole; false when there is none left.
pub fn hand_out(payload: &mut Vec<u8>, ex: &mut Exchange<'_>, out: &mut Vec<u8>) -> bool {
    let length = payload.len();
    out.append(payload);
    ex.visit.worker.buffers.put(std::mem::take(payload));
    handed_out(ex, length)
}

fn handed_out(ex: &mut Exchange<'_>, payload: usize) -> bool {
    if let Some(attempt) = ex.upstream.current() {
        attempt.response_length += payload as u64;
    }
    payload > 0
}

/// Reads what there is. It holds nothing of what it read while it waits, so that it may be dropped then.
async fn read(
    leased: &mut Option<Leased>,
    pace: &mut Pace,
    ex: &mut Exchange<'_>,
    into: &mut Vec<u8>,
    mut most: usize,
) -> Result<usize, Unread> {
    let Some(Leased { connection, .. }) = leased else { return Ok(0) };
    let client = ex.visit.client;
    let watch = ex.is_main() && !pace.ignore_client_abort;
    if let Some(limit) = &pace.limit {
        most = limit.wait(most).await;
    }
    let read = connection.stream.read(into, most);
    let read = client.waiting(pace.read_timeout, watch, read).await;
    let read = read.map_err(Unread::Interrupted)?.map_err(Unread::Failed)?;
    if let Some(limit) = &mut pace.limit {
        limit.read += read as u64;
    }
    if let Some(attempt) = ex.upstream.current() {
        attempt.bytes_received += read as u64;
    }
    Ok(read)
}
