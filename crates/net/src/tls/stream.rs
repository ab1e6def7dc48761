//! TLS over a socket: rustls knows the protocol, this knows when the socket has something and when it takes something.

use crate::socket::Socket;
use rustls::Connection;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, ready};
use tokio::task::coop::poll_proceed;

/// How much is read from a socket at a time: two records.
const READ: usize = 32 << 10;

/// How often a connection that should have nothing to say is read before that counts as talking.
const SILENT_READS: usize = 4;

thread_local! {
    /// What was read last, before it is decrypted: of all connections of a thread, so that none holds memory for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// TLS of one connection.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: Connection,
    /// What was read from the socket and not looked at yet.
    unread: Vec<u8>,
    /// How much was decrypted and not taken yet, in bytes, behind what is early.
    plain: usize,
    /// There where early data is taken from the peer, until hands are shaken and all of it was handed out.
    early: Option<Box<EarlyData>>,
    /// How much of what is to be written was encrypted and is on its way to the socket.
    accepted: usize,
    /// Nothing more will come: the peer said so, or closed the connection.
    ended: bool,
    /// The protocol was violated, or goodbye was said: nothing more may be written.
    over: bool,
}

/// What a client sent before hands were shaken (RFC 8446, 2.3), decrypted and not taken yet. rustls bounds it.
#[derive(Debug, Default)]
struct EarlyData(VecDeque<u8>);

/// Where decrypted bytes go, and how many more of them.
struct Target<'b> {
    buf: &'b mut Vec<u8>,
    room: usize,
}

impl Target<'_> {
    /// Takes what there is room for of the next piece: how much.
    fn take(&mut self, from: &mut impl BufRead) -> io::Result<usize> {
        let piece = from.fill_buf()?;
        let length = piece.len().min(self.room);
        self.buf.extend_from_slice(piece.get(..length).unwrap_or_default());
        from.consume(length);
        self.room -= length;
        Ok(length)
    }
}

/// The socket as rustls writes to it.
struct Out<'s>(&'s Socket);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tls {
    /// TLS over a socket of which `unread` was read already.
    pub fn new(connection: Connection, unread: Vec<u8>) -> Tls {
        Tls { connection, unread, plain: 0, early: None, accepted: 0, ended: false, over: false }
    }

    /// Its state.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether a read has something without asking the socket.
    pub fn has_unread(&self) -> bool {
        self.has_plain() || self.ended || !self.unread.is_empty()
    }

    /// Whether something was decrypted and not taken yet.
    fn has_plain(&self) -> bool {
        self.plain > 0 || self.early.as_ref().is_some_and(|early| !early.0.is_empty())
    }

    /// As [`crate::Stream::poll_handshake`].
    pub fn poll_handshake(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.early.is_none() && self.takes_early_data() {
            // Some of it may have come with the client's first message, which somebody else has read.
            self.process(socket)?;
        }
        loop {
            ready!(self.poll_flush(socket, cx))?;
            if !self.connection.is_handshaking() || self.has_plain() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_receive(socket, cx, None))?;
        }
    }

    /// As [`crate::Stream::poll_read`].
    pub fn poll_read(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        if max == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "a read of no bytes")));
        }
        if buf.len() == buf.capacity() {
            buf.reserve(max);
        }
        let (before, room) = (buf.len(), max.min(buf.capacity() - buf.len()));
        let mut target = Target { buf, room };
        self.take(&mut target)?;
        while target.buf.len() == before && !self.ended {
            ready!(self.poll_receive(socket, cx, Some(&mut target)))?;
        }
        Poll::Ready(Ok(target.buf.len() - before))
    }

    /// As [`crate::Stream::poll_discard`].
    pub fn poll_discard(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while !self.has_plain() && !self.ended {
            ready!(self.poll_receive(socket, cx, None))?;
        }
        if let Some(early) = self.early.as_mut().filter(|early| !early.0.is_empty()) {
            let discarded = early.0.len();
            early.0.clear();
            self.forget_early_data();
            return Poll::Ready(Ok(discarded));
        }
        let mut reader = self.connection.reader();
        let discarded = self.plain.min(reader.fill_buf().map_or(0, <[u8]>::len));
        reader.consume(discarded);
        self.plain -= discarded;
        Poll::Ready(Ok(discarded))
    }

    /// As [`crate::Stream::poll_write_vectored`]. `Ready` comes when the socket has taken what was accepted.
    pub fn poll_write(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.accepted == 0 {
            self.accepted = self.connection.writer().write_vectored(slices)?;
        }
        ready!(self.poll_flush(socket, cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.accepted)))
    }

    /// As [`crate::Stream::is_idle`].
    pub fn is_idle(&mut self, socket: &Socket) -> bool {
        for _ in 0..SILENT_READS {
            if self.has_unread() {
                return false;
            }
            match self.receive(socket, None) {
                Ok(()) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// As [`crate::Stream::peek_closed`].
    pub fn peek_closed(&mut self, socket: &Socket) -> bool {
        for _ in 0..SILENT_READS {
            if self.has_plain() || self.ended {
                break;
            }
            match self.receive(socket, None) {
                Ok(()) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        !self.has_plain() && self.ended
    }

    /// Says that nothing more will be written, as far as the socket takes that now.
    pub fn say_goodbye(&mut self, socket: &Socket) {
        let may_write = !self.connection.is_handshaking() || self.early.is_some();
        if may_write && !std::mem::replace(&mut self.over, true) {
            self.connection.send_close_notify();
            self.try_flush(socket);
        }
    }

    /// Reads, waiting for the socket if need be, and writes what that leads to.
    fn poll_receive(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        target: Option<&mut Target<'_>>,
    ) -> Poll<io::Result<()>> {
        let turn = ready!(poll_proceed(cx));
        match self.receive(socket, target) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                drop(turn);
                ready!(socket.poll_read_ready(cx))?;
            }
            result => {
                turn.made_progress();
                result?;
            }
        }
        // A peer that reads nothing gets no answer to what it asks beside the data, and nobody waits for it.
        let _ = self.poll_flush(socket, cx)?;
        Poll::Ready(Ok(()))
    }

    /// Takes in what the socket has; `WouldBlock` if that is nothing.
    fn receive(&mut self, socket: &Socket, target: Option<&mut Target<'_>>) -> io::Result<()> {
        if !self.unread.is_empty() {
            let bytes = std::mem::take(&mut self.unread);
            return self.feed(socket, &bytes, target);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let read = loop {
                match socket.try_read_slice(scratch) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
            self.ended |= read == 0;
            self.feed(socket, scratch.get(..read).unwrap_or_default(), target)
        })
    }

    /// Decrypts; what is more than one may hold is left for the next time.
    fn feed(
        &mut self,
        socket: &Socket,
        mut bytes: &[u8],
        mut target: Option<&mut Target<'_>>,
    ) -> io::Result<()> {
        // Behind a goodbye rustls reads nothing more.
        while !bytes.is_empty() && !self.ended {
            if self.has_plain() {
                self.unread.extend_from_slice(bytes);
                break;
            }
            self.connection.read_tls(&mut bytes)?;
            self.process(socket)?;
            if let Some(target) = &mut target {
                self.take(target)?;
            }
        }
        Ok(())
    }

    /// Decrypts what rustls has read.
    fn process(&mut self, socket: &Socket) -> io::Result<()> {
        let is_early = self.connection.is_handshaking();
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.plain = state.plaintext_bytes_to_read();
                self.ended |= state.peer_has_closed();
            }
            Err(error) => {
                // rustls has an alert ready, which says what was wrong.
                self.try_flush(socket);
                (self.over, self.ended) = (true, true);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        if is_early
            && let Connection::Server(server) = &mut self.connection
            && let Some(mut data) = server.early_data()
        {
            io::copy(&mut data, &mut self.early.get_or_insert_default().0)?;
            self.forget_early_data();
        }
        Ok(())
    }

    /// Whether the handshake goes on although the client's data is taken already.
    fn takes_early_data(&mut self) -> bool {
        match &mut self.connection {
            Connection::Server(server) => server.is_handshaking() && server.early_data().is_some(),
            Connection::Client(_) => false,
        }
    }

    /// Holds no memory for early data where no more of it can come.
    fn forget_early_data(&mut self) {
        if !self.connection.is_handshaking() {
            self.early.take_if(|early| early.0.is_empty());
        }
    }

    /// Hands out what was decrypted.
    fn take(&mut self, target: &mut Target<'_>) -> io::Result<()> {
        if let Some(early) = &mut self.early {
            while target.take(&mut early.0)? > 0 {}
            self.forget_early_data();
        }
        while self.plain > 0 && target.room > 0 {
            self.plain -= target.take(&mut self.connection.reader())?;
        }
        Ok(())
    }

    fn poll_flush(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Out(socket)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the socket takes now.
    fn try_flush(&mut self, socket: &Socket) {
        while self.connection.wants_write()
            && self.connection.write_tls(&mut Out(socket)).is_ok_and(|n| n > 0)
        {}
    }
}
