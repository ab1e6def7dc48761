//! What the master tells the worker process, as bytes and open files: a new configuration, or log files opened anew.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use net::Address;
use net::handoff::{self, Most, Parcel};

use super::record::{Read, Record};
use super::sockets::Sockets;
use crate::config::Config;

/// More than any configuration needs; what is larger is a mistake.
const MOST: Most = Most { bytes: 1 << 30, files: 1 << 20 };

/// What the worker process is told.
pub enum Message {
    /// Compile these files, answer, and wait for [`Message::Serve`].
    Reload {
        /// What the configuration is made of.
        read: Read,
        /// The number of this configuration.
        generation: u64,
        /// Every listening socket.
        sockets: Sockets,
        /// Every log file.
        logs: Vec<(PathBuf, File)>,
    },
    /// Serve new connections with what came of the last [`Message::Reload`].
    Serve,
    /// A new configuration could not be put in force: it is counted.
    ReloadFailed,
    /// Write to these files from now on.
    Reopen(Vec<(PathBuf, File)>),
}

const RELOAD: u8 = 1;
const REOPEN: u8 = 2;
const SERVE: u8 = 3;
const RELOAD_FAILED: u8 = 4;
const INET: u8 = 1;
const UNIX: u8 = 2;

/// Sends [`Message::Reload`].
pub fn send_reload(
    channel: &UnixStream,
    config: &Config,
    record: &Record,
    sockets: &Sockets,
) -> io::Result<()> {
    let mut out = Packer { bytes: vec![RELOAD] };
    out.number(config.generation);
    record.with(|read| {
        out.count(read.files.len());
        for (path, bytes) in &read.files {
            out.path(path);
            out.text(bytes);
        }
        out.count(read.globs.len());
        for (pattern, found) in &read.globs {
            out.path(pattern);
            out.count(found.len());
            found.iter().for_each(|path| out.path(path));
        }
    });
    let listening: Vec<(&Address, &Arc<OwnedFd>)> =
        sockets.iter().flat_map(|(address, fds)| fds.iter().map(move |fd| (address, fd))).collect();
    out.count(listening.len());
    let mut lent: Vec<BorrowedFd<'_>> = Vec::new();
    for (address, fd) in listening {
        out.address(address);
        lent.push(fd.as_fd());
    }
    let logs = out.logs(config)?;
    lent.extend(logs.iter().map(AsFd::as_fd));
    handoff::send(channel, &out.bytes, &lent)
}

/// Sends [`Message::Serve`].
pub fn send_serve(channel: &UnixStream) -> io::Result<()> {
    handoff::send(channel, &[SERVE], &[])
}

/// Sends [`Message::ReloadFailed`].
pub fn send_reload_failed(channel: &UnixStream) -> io::Result<()> {
    handoff::send(channel, &[RELOAD_FAILED], &[])
}

/// Sends [`Message::Reopen`].
pub fn send_reopen(channel: &UnixStream, config: &Config) -> io::Result<()> {
    let mut out = Packer { bytes: vec![REOPEN] };
    let logs = out.logs(config)?;
    let lent: Vec<BorrowedFd<'_>> = logs.iter().map(AsFd::as_fd).collect();
    handoff::send(channel, &out.bytes, &lent)
}

/// Waits for the next message; `None` when the master is gone.
pub fn receive(channel: &UnixStream) -> io::Result<Option<Message>> {
    let Some(parcel) = handoff::receive(channel, MOST)? else { return Ok(None) };
    let message = unpack(parcel).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(message))
}

/// The worker process's word on [`Message::Reload`]: why it keeps the old configuration, or nothing.
pub fn answer(mut channel: &UnixStream, refusal: &str) -> io::Result<()> {
    let mut bytes = refusal.replace('\0', "").into_bytes();
    bytes.push(0);
    channel.write_all(&bytes)
}

fn unpack(parcel: Parcel) -> Option<Message> {
    let mut files = parcel.files.into_iter();
    let mut rest = Unpacker { bytes: &parcel.bytes };
    match rest.byte()? {
        RELOAD => {
            let generation = rest.number()?;
            let mut read = Read::default();
            for _ in 0..rest.number()? {
                read.files.insert(rest.path()?, rest.text()?.to_vec());
            }
            for _ in 0..rest.number()? {
                let pattern = rest.path()?;
                let found = (0..rest.number()?).map(|_| rest.path()).collect::<Option<_>>()?;
                read.globs.insert(pattern, found);
            }
            let mut sockets: Sockets = HashMap::new();
            for _ in 0..rest.number()? {
                sockets.entry(rest.address()?).or_default().push(Arc::new(files.next()?));
            }
            let logs = rest.logs(&mut files)?;
            Some(Message::Reload { read, generation, sockets, logs })
        }
        SERVE => Some(Message::Serve),
        RELOAD_FAILED => Some(Message::ReloadFailed),
        REOPEN => Some(Message::Reopen(rest.logs(&mut files)?)),
        _ => None,
    }
}

/// Numbers are 8 bytes, little endian; texts have their length in front.
struct Packer {
    bytes: Vec<u8>,
}

impl Packer {
    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.bytes.extend_from_slice(text);
    }

    fn path(&mut self, path: &Path) {
        self.text(path.as_os_str().as_bytes());
    }

    fn address(&mut self, address: &Address) {
        match address {
            Address::Inet(inet) => {
                self.bytes.push(INET);
                self.text(inet.to_string().as_bytes());
            }
            Address::Unix(path) => {
                self.bytes.push(UNIX);
                self.path(path);
            }
        }
    }

    /// Names every log file that is open, and gives a copy of each.
    fn logs(&mut self, config: &Config) -> io::Result<Vec<File>> {
        let open: Vec<(&PathBuf, File)> = config
            .logs
            .iter()
            .filter_map(|(path, log)| Some((path, log.with_file(File::try_clone)?)))
            .map(|(path, copy)| Ok((path, copy?)))
            .collect::<io::Result<_>>()?;
        self.count(open.len());
        open.iter().for_each(|(path, _)| self.path(path));
        Ok(open.into_iter().map(|(_, copy)| copy).collect())
    }
}

/// `None` where the bytes end too early.
struct Unpacker<'a> {
    bytes: &'a [u8],
}

impl<'a> Unpacker<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(OsString::from_vec(self.text()?.to_vec()).into())
    }

    fn address(&mut self) -> Option<Address> {
        match self.byte()? {
            INET => Some(Address::Inet(std::str::from_utf8(self.text()?).ok()?.parse().ok()?)),
            UNIX => Some(Address::Unix(self.path()?)),
            _ => None,
        }
    }

    fn logs(&mut self, files: &mut impl Iterator<Item = OwnedFd>) -> Option<Vec<(PathBuf, File)>> {
        (0..self.number()?).map(|_| Some((self.path()?, File::from(files.next()?)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_no_message() {
        let mut out = Packer { bytes: vec![RELOAD] };
        out.number(7);
        out.count(1);
        out.path(Path::new("/etc/nginx/nginx.conf"));
        out.text(b"events {}");
        out.count(1);
        out.path(Path::new("/etc/nginx/*.conf"));
        out.count(1);
        out.path(Path::new("/etc/nginx/a.conf"));
        out.count(0);
        out.count(0);
        let whole = |bytes: &[u8]| unpack(Parcel { bytes: bytes.to_vec(), files: Vec::new() });
        let Some(Message::Reload { read, generation: 7, .. }) = whole(&out.bytes) else {
            panic!("the message is not understood")
        };
        let mut again = Record::played_back(read);
        let found = conf::Files::glob(&mut again, Path::new("/etc/nginx/*.conf")).unwrap();
        assert_eq!(found, [PathBuf::from("/etc/nginx/a.conf")]);
        for end in 0..out.bytes.len() {
            assert!(whole(&out.bytes[..end]).is_none(), "cut at {end}");
        }
        // A socket is named, but no file came with the message.
        let bytes = out.bytes.len() - 16;
        let mut out = Packer { bytes: out.bytes[..bytes].to_vec() };
        out.count(1);
        out.address(&Address::Inet(([127, 0, 0, 1], 80).into()));
        out.count(0);
        assert!(whole(&out.bytes).is_none());
    }
}
