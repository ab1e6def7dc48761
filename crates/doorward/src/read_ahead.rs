//! What an upstream sent and a slow client has not taken yet: in memory, then in a file, so that the upstream is free soon.

use std::fs::File;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::body::{Body, Truncated};
use crate::exchange::Exchange;
use crate::log::{Level, system_error};

/// How much is read at a time.
const PIECE: usize = 32 << 10;

/// How far an answer may be ahead of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in memory (`proxy_buffers`).
    pub memory: usize,
    /// Bytes in a file (`proxy_max_temp_file_size`).
    pub file: u64,
    /// The folder of the file, by its place among the configuration's folders.
    pub folder: usize,
}

/// The part of an answer between upstream and client.
#[derive(Default)]
pub struct ReadAhead {
    memory: Vec<u8>,
    file: Option<File>,
    /// What of the file was sent, and how long it is.
    sent: u64,
    written: u64,
    /// A file cannot be had.
    no_file: bool,
    /// The upstream has nothing more, or failed.
    ended: Option<Result<(), Truncated>>,
}

impl ReadAhead {
    /// Runs something that waits for the client, and reads on from the upstream meanwhile.
    pub async fn meanwhile<F: Future>(
        &mut self,
        ex: &mut Exchange<'_>,
        body: &mut Body,
        limits: Limits,
        mut future: Pin<&mut F>,
    ) -> F::Output {
        enum Event<T> {
            Done(T),
            Read(Result<bool, Truncated>),
        }
        let mut piece = ex.visit.worker.buffers.take(PIECE);
        let output = loop {
            let room = self.has_room(limits);
            let event = {
                // An upstream is read in whole steps: nothing is lost when the client is ready first.
                let reading = async {
                    if !room {
                        return pending().await;
                    }
                    body.next(ex, &mut piece, PIECE).await
                };
                let mut reading = pin!(reading);
                let first = poll_fn(|cx| {
                    if let Poll::Ready(output) = future.as_mut().poll(cx) {
                        return Poll::Ready(Event::Done(output));
                    }
                    reading.as_mut().poll(cx).map(Event::Read)
                });
                first.await
            };
            match event {
                Event::Done(output) => break output,
                Event::Read(more) => {
                    self.take_in(ex, &piece, more.map(|more| !more || body.is_done()), limits);
                }
            }
            piece.clear();
        };
        ex.visit.worker.buffers.put(piece);
        output
    }

    /// Whether more may be read.
    fn has_room(&self, limits: Limits) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let in_memory = self.unsent_in_file() == 0 && self.memory.len() < limits.memory;
        in_memory || (!self.no_file && self.written < limits.file)
    }

    fn unsent_in_file(&self) -> u64 {
        self.written - self.sent
    }

    /// Keeps a piece; `over` is whether it was the last one.
    fn take_in(&mut self, ex: &Exchange<'_>, piece: &[u8], over: Result<bool, Truncated>, limits: Limits) {
        match over {
            Ok(false) => {}
            Ok(true) => self.ended = Some(Ok(())),
            Err(Truncated) => self.ended = Some(Err(Truncated)),
        }
        // The order is memory, then file: what follows a piece in the file goes there too.
        if piece.is_empty() || (self.unsent_in_file() == 0 && self.memory.len() < limits.memory) {
            return self.memory.extend_from_slice(piece);
        }
        if let Err(error) = self.write(ex, piece, limits) {
            let folder = ex.visit.config.folders.get(limits.folder);
            let folder = folder.map(|f| f.display().to_string()).unwrap_or_default();
            let text = format_args!(
                "open() \"{folder}\" failed {} while reading upstream: the answer is kept in memory",
                system_error(&error)
            );
            ex.log(Level::Crit, text);
            self.no_file = true;
            self.rescue(piece);
        }
    }

    fn write(&mut self, ex: &Exchange<'_>, piece: &[u8], limits: Limits) -> io::Result<()> {
        if self.file.is_none() {
            let folder = ex.visit.config.folders.get(limits.folder);
            let folder = folder.map_or(Path::new("."), |f| f);
            self.file = Some(tempfile::tempfile_in(folder)?);
            ex.log(
                Level::Warn,
                format_args!("an upstream response is buffered to a temporary file while reading upstream"),
            );
        }
        if let Some(file) = &self.file {
            file.write_all_at(piece, self.written)?;
        }
        self.written += piece.len() as u64;
        Ok(())
    }

    /// Without a file (any more) everything is in memory; what cannot be read back makes the answer end early.
    fn rescue(&mut self, piece: &[u8]) {
        let unsent = self.unsent_in_file();
        let mut saved = vec![0; usize::try_from(unsent).unwrap_or(0)];
        let read = self.file.as_ref().map_or(Ok(()), |file| file.read_exact_at(&mut saved, self.sent));
        self.file = None;
        (self.sent, self.written) = (0, 0);
        if read.is_err() {
            self.ended = Some(Err(Truncated));
            return;
        }
        self.memory.extend_from_slice(&saved);
        self.memory.extend_from_slice(piece);
    }

    /// Whether the body itself is next.
    pub fn is_passed(&self) -> bool {
        self.memory.is_empty() && self.unsent_in_file() == 0 && self.ended.is_none()
    }

    /// Whether nothing more will come.
    pub fn is_done(&self) -> bool {
        self.memory.is_empty() && self.unsent_in_file() == 0 && self.ended == Some(Ok(()))
    }

    /// Appends the next piece; false at the end.
    pub fn next(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, Truncated> {
        if !self.memory.is_empty() {
            let length = self.memory.len().min(most.max(1));
            out.extend_from_slice(self.memory.get(..length).unwrap_or_default());
            self.memory.drain(..length);
            return Ok(true);
        }
        let unsent = self.unsent_in_file();
        if unsent > 0 {
            let length = usize::try_from(unsent).unwrap_or(usize::MAX).min(most.max(1));
            let start = out.len();
            out.resize(start + length, 0);
            let into = out.get_mut(start..).unwrap_or_default();
            let read = self.file.as_ref().map(|file| file.read_exact_at(into, self.sent));
            if !matches!(read, Some(Ok(()))) {
                out.truncate(start);
                return Err(Truncated);
            }
            self.sent += length as u64;
            if self.sent == self.written {
                // The file is used again from its start.
                (self.sent, self.written) = (0, 0);
            }
            return Ok(true);
        }
        match self.ended {
            Some(Err(Truncated)) => Err(Truncated),
            _ => Ok(false),
        }
    }
}
