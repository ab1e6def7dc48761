//! Bytes with open files from one process to another, over a pair of unix sockets.
//!
//! A parcel is a head of 8 bytes (length and number of files, little endian), then a byte for each batch of files with the
//! files attached, then the bytes.

use crate::sys;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use tokio::io::Interest;

/// Files in one message; the kernel takes at most 253.
const BATCH: usize = 250;
const HEAD: usize = 8;

/// How much a parcel may hold. A master expects no files from a worker, which may have been taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Bytes.
    pub bytes: usize,
    /// Open files.
    pub files: usize,
}

/// What is received.
#[derive(Debug, Default)]
pub struct Parcel {
    /// The bytes, as they were sent.
    pub bytes: Vec<u8>,
    /// The open files, in the order in which they were sent, closed on exec.
    pub files: Vec<OwnedFd>,
}

/// The two ends of a new channel, blocking and closed on exec: one for the master, one for the worker after a fork.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// Sends a parcel and waits until it is on its way. After an error the channel is of no more use.
pub fn send(channel: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    Outgoing::new(bytes, files)?.step(channel.as_fd())
}

/// Waits for a parcel; `None` if the other end has closed. After an error the channel is of no
/// more use.
pub fn receive(channel: &UnixStream, most: Most) -> io::Result<Option<Parcel>> {
    Incoming::default().step(channel.as_fd(), most)
}

/// One end of a channel on an event loop.
#[derive(Debug)]
pub struct Channel {
    socket: tokio::net::UnixStream,
    incoming: Incoming,
}

impl Channel {
    /// Registers one end of a [`pair`] with the running event loop.
    pub fn new(socket: UnixStream) -> io::Result<Channel> {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(socket)?;
        Ok(Channel { socket, incoming: Incoming::default() })
    }

    /// As [`receive`]. May be dropped while it waits: what has come is kept for the next call.
    pub async fn receive(&mut self, most: Most) -> io::Result<Option<Parcel>> {
        let Channel { socket, incoming } = self;
        socket.async_io(Interest::READABLE, || incoming.step(socket.as_fd(), most)).await
    }

    /// As [`send`]. If it is dropped while it waits, the channel is of no more use.
    pub async fn send(&mut self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut outgoing = Outgoing::new(bytes, files)?;
        self.socket.async_io(Interest::WRITABLE, || outgoing.step(self.socket.as_fd())).await
    }
}

/// A parcel on its way out; goes on where it stopped.
struct Outgoing<'a> {
    head: [u8; HEAD],
    head_sent: usize,
    files: Vec<RawFd>,
    files_sent: usize,
    bytes: &'a [u8],
}

impl<'a> Outgoing<'a> {
    fn new(bytes: &'a [u8], files: &'a [BorrowedFd<'a>]) -> io::Result<Outgoing<'a>> {
        let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, "a parcel too large to send");
        let length = u32::try_from(bytes.len()).map_err(too_large)?.to_le_bytes();
        let count = u32::try_from(files.len()).map_err(too_large)?.to_le_bytes();
        let mut head = [0; HEAD];
        for (to, from) in head.iter_mut().zip(length.into_iter().chain(count)) {
            *to = from;
        }
        let files = files.iter().map(AsRawFd::as_raw_fd).collect();
        Ok(Outgoing { head, head_sent: 0, files, files_sent: 0, bytes })
    }

    fn step(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while let Some(rest) = self.head.get(self.head_sent..).filter(|rest| !rest.is_empty()) {
            self.head_sent += post(socket, rest, &[])?;
        }
        while let Some(rest) = self.files.get(self.files_sent..).filter(|rest| !rest.is_empty()) {
            let batch = rest.get(..BATCH).unwrap_or(rest);
            post(socket, &[0], batch)?;
            self.files_sent += batch.len();
        }
        while !self.bytes.is_empty() {
            let sent = post(socket, self.bytes, &[])?;
            self.bytes = self.bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }
}

fn post(socket: BorrowedFd<'_>, bytes: &[u8], files: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(files)];
    let control = if files.is_empty() { &[][..] } else { &rights[..] };
    retry(|| {
        Ok(sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?)
    })
}

/// A parcel on its way in; goes on where it stopped.
#[derive(Debug, Default)]
struct Incoming {
    head: Vec<u8>,
    parcel: Parcel,
}

impl Incoming {
    fn step(&mut self, socket: BorrowedFd<'_>, most: Most) -> io::Result<Option<Parcel>> {
        let mut chunk = [0; 16384];
        while self.head.len() < HEAD {
            let room = chunk.get_mut(..HEAD - self.head.len()).unwrap_or_default();
            match retry(|| sys::receive(socket, room, 0))? {
                (0, _) if self.head.is_empty() => return Ok(None),
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (got, _) => self.head.extend(room.iter().take(got)),
            }
        }
        let (length, count) = sizes(&self.head);
        if length > most.bytes || count > most.files {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a parcel larger than expected"));
        }
        while self.parcel.files.len() < count {
            let batch = (count - self.parcel.files.len()).min(BATCH);
            let (got, files) = retry(|| sys::receive(socket, &mut [0], batch))?;
            if got == 0 || files.len() != batch {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "fewer files than announced"));
            }
            self.parcel.files.extend(files);
        }
        while self.parcel.bytes.len() < length {
            let rest = (length - self.parcel.bytes.len()).min(chunk.len());
            let room = chunk.get_mut(..rest).unwrap_or_default();
            match retry(|| sys::receive(socket, room, 0))? {
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (got, _) => self.parcel.bytes.extend(room.iter().take(got)),
            }
        }
        self.head.clear();
        Ok(Some(std::mem::take(&mut self.parcel)))
    }
}

/// Length in bytes and number of files.
fn sizes(head: &[u8]) -> (usize, usize) {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    head.split_at_checked(4).map_or((0, 0), |(length, count)| (number(length), number(count)))
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::thread;
    use tokio::runtime::{Builder, LocalOptions};

    const MOST: Most = Most { bytes: 1_000_000, files: 300 };

    /// More than fits into one message, and more than fits into the socket.
    fn files(count: usize) -> Vec<OwnedFd> {
        let file = |number: usize| {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "{number}").unwrap();
            file.rewind().unwrap();
            OwnedFd::from(file)
        };
        (0..count).map(file).collect()
    }

    fn check(parcel: Parcel, bytes: &[u8], count: usize) {
        assert!(parcel.bytes == bytes);
        assert_eq!(parcel.files.len(), count);
        for (number, file) in parcel.files.into_iter().enumerate() {
            let mut text = String::new();
            std::fs::File::from(file).read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn parcels_go_both_ways_between_a_blocking_and_an_asynchronous_end() {
        let (master, worker) = pair().unwrap();
        let large: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let expected = large.clone();
        let worker = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            runtime.unwrap().block_on(async move {
                let mut channel = Channel::new(worker).unwrap();
                check(channel.receive(MOST).await.unwrap().unwrap(), &expected, 300);
                check(channel.receive(MOST).await.unwrap().unwrap(), b"", 0);
                let files = files(251);
                let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                channel.send(&expected, &files).await.unwrap();
                assert!(channel.receive(MOST).await.unwrap().is_none());
            });
        });
        {
            let files = files(300);
            let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            send(&master, &large, &files).unwrap();
            send(&master, b"", &[]).unwrap();
        }
        // Let the worker fill the socket before anything is taken out.
        thread::sleep(std::time::Duration::from_millis(50));
        check(receive(&master, MOST).unwrap().unwrap(), &large, 251);
        drop(master);
        worker.join().unwrap();
    }

    #[test]
    fn what_was_not_announced_or_is_too_much_is_refused() {
        let few = Most { bytes: 10, files: 2 };
        let (one, other) = pair().unwrap();
        send(&one, b"eleven byte", &[]).unwrap();
        assert!(receive(&other, few).is_err());

        let (one, other) = pair().unwrap();
        send(&one, b"", &[one.as_fd(); 3]).unwrap();
        assert!(receive(&other, few).is_err());

        let (one, other) = pair().unwrap();
        (&one).write_all(&[3, 0, 0, 0, 0, 0, 0]).unwrap();
        drop(one);
        assert_eq!(receive(&other, few).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        // Two files announced, one sent; then one sent where none was announced.
        for head in [[0, 0, 0, 0, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]] {
            let (one, other) = pair().unwrap();
            (&one).write_all(&head).unwrap();
            post(one.as_fd(), &[0], &[one.as_raw_fd()]).unwrap();
            assert_eq!(receive(&other, few).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
