//! One stream: what a request reads its body from and writes its response to.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};

use super::{Piece, Shared};
use crate::client::Client;

/// A stream of a connection.
pub struct Stream {
    shared: Rc<Shared>,
    body: RecvStream,
    respond: SendResponse<Piece>,
    /// Behind the head.
    sending: Option<SendStream<Piece>>,
    /// The response is whole.
    ended: bool,
}

impl Stream {
    pub(super) fn new(shared: Rc<Shared>, body: RecvStream, respond: SendResponse<Piece>) -> Stream {
        Stream { shared, body, respond, sending: None, ended: false }
    }

    /// The connection that it is part of.
    pub fn connection(&self) -> &Client {
        &self.shared.client
    }

    /// Appends what has come of the body; 0 is its end. What was read makes room for more.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        loop {
            match ready!(self.body.poll_data(cx)) {
                None => return Poll::Ready(Ok(0)),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                Some(Ok(data)) => {
                    buf.extend_from_slice(&data);
                    self.body.flow_control().release_capacity(data.len()).map_err(broken)?;
                    if !data.is_empty() {
                        return Poll::Ready(Ok(data.len()));
                    }
                }
            }
        }
    }

    /// Whether all of the body was read.
    pub fn body_is_read(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Ready when the client has reset the stream or closed the connection.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sending {
            Some(sending) => sending.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    /// Sends a 1xx.
    pub fn send_interim(&mut self, head: Response<()>) -> io::Result<()> {
        self.respond.send_informational(head).map_err(broken)
    }

    /// Sends the head; `end` where nothing follows it.
    pub fn send_head(&mut self, head: Response<()>, end: bool) -> io::Result<()> {
        self.sending = Some(self.respond.send_response(head, end).map_err(broken)?);
        self.ended = end;
        Ok(())
    }

    /// Sends what the client and the connection take of a piece, in frames of at most `most` bytes; ready when all of it
    /// is sent, and with `end` the response is whole.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut Piece,
        most: usize,
        end: bool,
    ) -> Poll<io::Result<()>> {
        let sending = self.sending.as_mut().ok_or(ErrorKind::NotConnected)?;
        if !piece.has_remaining() && end {
            self.ended = true;
            return Poll::Ready(sending.send_data(piece.split(0), true).map_err(broken));
        }
        while piece.has_remaining() {
            let wanted = piece.remaining();
            sending.reserve_capacity(wanted);
            let mut room = sending.capacity();
            if room == 0 {
                room = match ready!(sending.poll_capacity(cx)) {
                    Some(room) => room.map_err(broken)?,
                    None => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
                };
            }
            while room > 0 && piece.has_remaining() {
                let frame = piece.split(room.min(most));
                room -= frame.remaining();
                self.shared.guard.borrow_mut().sent(frame.remaining() as u64);
                let last = end && !piece.has_remaining();
                self.ended = last;
                sending.send_data(frame, last).map_err(broken)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the response with trailers.
    pub fn send_trailers(&mut self, trailers: HeaderMap) -> io::Result<()> {
        self.ended = true;
        let sending = self.sending.as_mut().ok_or(ErrorKind::NotConnected)?;
        sending.send_trailers(trailers).map_err(broken)
    }

    /// A piece of all that a buffer holds; the buffer is left empty.
    pub fn piece(&self, bytes: &mut Vec<u8>) -> Piece {
        Piece::of(bytes, &self.shared.worker)
    }

    /// Whether the end of the response was sent.
    pub fn is_whole(&self) -> bool {
        self.ended
    }

    /// Nothing more comes: a response that is not whole is not to look so.
    pub fn end(&mut self, timed_out: bool) {
        if self.ended {
            self.shared.guard.borrow_mut().answered();
        } else {
            let reason = if timed_out { Reason::PROTOCOL_ERROR } else { Reason::INTERNAL_ERROR };
            self.respond.send_reset(reason);
        }
    }
}

/// What happened to a stream, as of a connection of HTTP/1.
fn broken(error: h2::Error) -> io::Error {
    let io = if error.is_io() { error.into_io() } else { None };
    io.unwrap_or_else(|| ErrorKind::ConnectionReset.into())
}
