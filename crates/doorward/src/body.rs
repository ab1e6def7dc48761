//! The body of a response, pulled piece by piece by whoever writes it out.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::exchange::Exchange;
use crate::included::Included;
use crate::modules::cache::Fill;
use crate::modules::fastcgi::FastCgiBody;
use crate::modules::gzip::Gzipping;
use crate::modules::proxy::{Tunnel, UpstreamBody, hand_out};
use crate::modules::store::Storing;

/// A body of a response.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// Bytes that others read too, and the part of them that is meant.
    Shared(Arc<[u8]>, std::ops::Range<usize>),
    /// A part of a file.
    File(FilePart),
    /// What an upstream sends.
    Upstream(Box<UpstreamBody>),
    /// What an upstream sent, all of it together with its head.
    Answered(Vec<u8>),
    /// What a FastCGI server sends.
    FastCgi(Box<FastCgiBody>),
    /// What an upstream sends, stored on its way.
    Filling(Box<Fill>),
    /// What an upstream sends, becoming a file on its way.
    Storing(Box<Storing>),
    /// None, but what follows the head is another protocol's.
    Tunnel(Box<Tunnel>),
    /// Several, one behind the other.
    Parts(VecDeque<Body>),
    /// A part of another.
    Part(Box<Part>),
    /// What another location answers.
    Included(Box<Included>),
    /// Another, compressed on its way.
    Gzip(Box<Gzipping>),
}

/// A part of a file.
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// Where the part starts.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// A part of a body that can only be read from its start.
pub struct Part {
    body: Body,
    /// What still is to be left out in front.
    skip: u64,
    /// What still is to be sent.
    length: u64,
}

/// A body that ended before its end: the connection to the client must not look complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// Why a body could not be read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than wanted.
    TooLong,
    /// It did not end, or not in time.
    Endless,
}

impl Body {
    /// All of it, where it has at most `most` bytes and each piece comes within what is left of `ms` milliseconds.
    pub async fn whole(mut self, ex: &mut Exchange<'_>, most: usize, ms: u64) -> Result<Vec<u8>, Unread> {
        let announced = ex.response.content_length.unwrap_or(0);
        let mut out = Vec::new();
        let deadline = &ex.visit.client.deadline;
        let end = net::clock::now() + ms;
        while announced <= most as u64 && out.len() <= most {
            let left = end.saturating_sub(net::clock::now());
            let room = most.saturating_add(1).saturating_sub(out.len());
            match deadline.within(left, self.next(ex, &mut out, room)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(out),
                Ok(Err(_)) | Err(_) => return Err(Unread::Endless),
            }
        }
        self.discard(ex).await;
        Err(Unread::TooLong)
    }

    /// Appends the next piece, at most about `most` bytes; false at the end, when nothing was appended.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        match self {
            Body::Empty | Body::Tunnel(_) => Ok(false),
            Body::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                out.extend_from_slice(&bytes);
                Ok(!bytes.is_empty())
            }
            Body::Shared(bytes, range) => {
                let end = range.end.min(range.start + most);
                let piece = bytes.get(range.start..end).unwrap_or_default();
                out.extend_from_slice(piece);
                range.start = end;
                Ok(!piece.is_empty())
            }
            Body::File(part) => part.next(out, most),
            Body::Upstream(upstream) => upstream.next(ex, out, most).await,
            Body::Answered(payload) => Ok(hand_out(payload, ex, out)),
            Body::FastCgi(fastcgi) => fastcgi.next(ex, out, most).await,
            Body::Filling(fill) => fill.next(ex, out, most).await,
            Body::Storing(storing) => Box::pin(storing.next(ex, out, most)).await,
            Body::Parts(parts) => {
                let end = out.len() + most;
                let mut more = false;
                while let Some(first) = parts.front_mut() {
                    // What is there is not held back for what has to be waited for.
                    let waits = matches!(
                        first,
                        Body::Upstream(_)
                            | Body::FastCgi(_)
                            | Body::Filling(_)
                            | Body::Storing(_)
                            | Body::Included(_)
                    );
                    if more && (out.len() >= end || waits) {
                        break;
                    }
                    if Box::pin(first.next(ex, out, end - out.len())).await? {
                        more = true;
                    } else {
                        parts.pop_front();
                    }
                }
                Ok(more)
            }
            Body::Part(part) => Box::pin(part.next(ex, out, most)).await,
            Body::Included(included) => Box::pin(included.next(ex, out, most)).await,
            Body::Gzip(gzip) => gzip.next(ex, out, most).await,
        }
    }

    /// Whether it is known, without waiting, that nothing more will come.
    pub fn is_done(&self) -> bool {
        match self {
            Body::Empty | Body::Tunnel(_) => true,
            Body::Bytes(bytes) | Body::Answered(bytes) => bytes.is_empty(),
            Body::Shared(_, range) => range.is_empty(),
            Body::File(part) => part.length == 0,
            Body::Upstream(upstream) => upstream.is_done(),
            Body::FastCgi(fastcgi) => fastcgi.is_done(),
            Body::Filling(fill) => fill.is_done(),
            Body::Storing(storing) => storing.is_done(),
            Body::Parts(parts) => parts.iter().all(Body::is_done),
            Body::Part(part) => part.length == 0,
            Body::Included(included) => included.is_done(),
            Body::Gzip(gzip) => gzip.is_done(),
        }
    }

    /// The `length` bytes behind the first `start`.
    pub fn part(self, start: u64, length: u64) -> Body {
        match self.cut(std::slice::from_ref(&(start..start + length))) {
            Ok(mut parts) => parts.pop().unwrap_or_default(),
            Err(body) => Body::Part(Box::new(Part { body, skip: start, length })),
        }
    }

    /// Takes these parts out of a body that can be read from anywhere; another is given back.
    pub fn cut(self, parts: &[std::ops::Range<u64>]) -> Result<Vec<Body>, Body> {
        let within = |range: &std::ops::Range<usize>, part: &std::ops::Range<u64>| {
            let at =
                |offset: u64| usize::try_from(offset).map_or(range.end, |o| range.end.min(range.start + o));
            at(part.start)..at(part.end)
        };
        match self {
            Body::Bytes(bytes) => {
                let length = bytes.len();
                Body::Shared(bytes.into(), 0..length).cut(parts)
            }
            Body::Shared(bytes, range) => {
                Ok(parts.iter().map(|part| Body::Shared(bytes.clone(), within(&range, part))).collect())
            }
            Body::File(file) => {
                let cut = |part: &std::ops::Range<u64>| FilePart {
                    file: file.file.clone(),
                    offset: file.offset + part.start,
                    length: part.end.min(file.length).saturating_sub(part.start),
                };
                Ok(parts.iter().map(|part| Body::File(cut(part))).collect())
            }
            other => Err(other),
        }
    }

    /// What an upstream sends, where that is what is behind it.
    pub fn upstream(&self) -> Option<&UpstreamBody> {
        match self {
            Body::Upstream(upstream) => Some(upstream),
            Body::Filling(fill) => Some(fill.upstream()),
            Body::Storing(storing) => storing.body().upstream(),
            Body::Gzip(gzip) => gzip.body().upstream(),
            _ => None,
        }
    }

    /// Whether it is stored while it is written out, and so read to its end whatever becomes of the client.
    pub fn is_filling(&self) -> bool {
        match self {
            Body::Filling(fill) => !fill.is_done(),
            Body::Storing(storing) => !storing.is_done(),
            Body::Part(part) => part.body.is_filling(),
            Body::Parts(parts) => parts.iter().any(Body::is_filling),
            Body::Included(included) => included.is_filling(),
            Body::Gzip(gzip) => gzip.body().is_filling(),
            _ => false,
        }
    }

    /// Lets go of it without writing it out: a short rest from an upstream is read, so that its connection is kept.
    pub async fn discard(self, ex: &mut Exchange<'_>) {
        match self {
            Body::Upstream(mut upstream) => upstream.discard(ex).await,
            Body::FastCgi(mut fastcgi) => fastcgi.close(ex),
            Body::Filling(mut fill) => fill.drain(ex).await,
            Body::Storing(mut storing) => Box::pin(storing.drain(ex)).await,
            Body::Part(part) => Box::pin(part.body.discard(ex)).await,
            Body::Parts(parts) => {
                for part in parts {
                    Box::pin(part.discard(ex)).await;
                }
            }
            Body::Included(included) => Box::pin(included.discard(ex)).await,
            Body::Gzip(gzip) => gzip.discard(ex).await,
            _ => {}
        }
    }
}

impl Part {
    async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        let start = out.len();
        while self.length > 0 {
            if !self.body.next(ex, out, most).await? {
                return Err(Truncated);
            }
            let read = (out.len() - start) as u64;
            let skipped = self.skip.min(read);
            self.skip -= skipped;
            out.drain(start..start + skipped as usize);
            let sent = self.length.min(read - skipped);
            out.truncate(start + sent as usize);
            self.length -= sent;
            if sent > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl FilePart {
    fn next(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, Truncated> {
        if self.length == 0 {
            return Ok(false);
        }
        let wanted = self.length.min(most as u64) as usize;
        let start = out.len();
        out.resize(start + wanted, 0);
        match self.file.read_at(&mut out[start..], self.offset) {
            Ok(0) | Err(_) => {
                // The file became shorter than its head promised.
                out.truncate(start);
                Err(Truncated)
            }
            Ok(read) => {
                out.truncate(start + read);
                self.offset += read as u64;
                self.length -= read as u64;
                Ok(true)
            }
        }
    }
}
