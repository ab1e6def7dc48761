//! The body of a client's request: read when somebody wants it, kept in memory or in a file, or passed on as it comes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use wire::h1::Decoder;

use crate::exchange::Visit;
use crate::plan::Plan;
use crate::run::Stop;

/// What became of the body so far.
#[derive(Default)]
pub struct RequestBody {
    /// What is still to come from the client.
    pub decoder: Decoder,
    /// Payload read so far.
    pub received: u64,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Where what was read is kept.
    pub kept: Kept,
    /// Whether somebody reads it as it comes, so that nothing is kept.
    pub streamed: bool,
}

/// A body that was read.
#[derive(Default)]
pub enum Kept {
    /// Nothing yet.
    #[default]
    Nothing,
    /// In memory.
    Memory(Vec<u8>),
    /// In a file without a name.
    File(File, u64),
}

impl Kept {
    /// Its length.
    pub fn len(&self) -> u64 {
        match self {
            Kept::Nothing => 0,
            Kept::Memory(bytes) => bytes.len() as u64,
            Kept::File(_, length) => *length,
        }
    }

    /// Reads a piece from `offset` on; empty at the end.
    pub fn piece(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        match self {
            Kept::Nothing => Ok(Vec::new()),
            Kept::Memory(bytes) => {
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                Ok(rest[..rest.len().min(most)].to_vec())
            }
            Kept::File(file, length) => {
                let mut piece = vec![0; most.min(length.saturating_sub(offset) as usize)];
                let mut file = file;
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut piece)?;
                Ok(piece)
            }
        }
    }

    fn push(&mut self, bytes: &[u8], in_memory: u64, folder: &Path) -> io::Result<()> {
        match self {
            Kept::File(file, length) => {
                file.write_all(bytes)?;
                *length += bytes.len() as u64;
            }
            kept => {
                let mut memory = match std::mem::take(kept) {
                    Kept::Memory(memory) => memory,
                    _ => Vec::new(),
                };
                if (memory.len() + bytes.len()) as u64 <= in_memory {
                    memory.extend_from_slice(bytes);
                    *kept = Kept::Memory(memory);
                } else {
                    let mut file = tempfile::tempfile_in(folder)?;
                    file.write_all(&memory)?;
                    file.write_all(bytes)?;
                    *kept = Kept::File(file, (memory.len() + bytes.len()) as u64);
                }
            }
        }
        Ok(())
    }
}

impl Visit<'_> {
    /// Whether the client has sent all of its body, or has none.
    pub fn body_is_read(&self) -> bool {
        self.body.borrow().decoder.is_done()
    }

    /// Reads the whole body and keeps it.
    pub async fn keep_body(&self, plan: &Plan) -> Result<(), Stop> {
        if self.body_is_read() {
            return Ok(());
        }
        let mut piece = self.worker.buffers.take(8192);
        let folder = self.config.main.prefix.join(crate::compile::as_path(&plan.core.client_body_temp_path));
        let in_memory =
            if plan.core.client_body_in_file_only { 0 } else { plan.core.client_body_buffer_size };
        let result = loop {
            piece.clear();
            match self.body_piece(plan, &mut piece).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(stop) => break Err(stop),
            }
            let mut body = self.body.borrow_mut();
            if let Err(error) = body.kept.push(&piece, in_memory, &folder) {
                drop(body);
                let text = format_args!(
                    "open() \"{}\" failed ({error}): the client's body is not kept",
                    folder.display()
                );
                plan.core.error_log.write_on(crate::log::Level::Crit, self.client.number, text, "");
                break Err(Stop::Status(500));
            }
        };
        self.worker.buffers.put(piece);
        result
    }

    /// Reads the next piece of payload onto `out`; 0 at the end.
    pub async fn body_piece(&self, plan: &Plan, out: &mut Vec<u8>) -> Result<usize, Stop> {
        if self.body_is_read() {
            return Ok(0);
        }
        if std::mem::take(&mut self.body.borrow_mut().expects_continue)
            && self.client.unread.borrow().is_empty()
        {
            let sent = self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n", plan.core.send_timeout).await;
            sent.map_err(|_| Stop::Gone)?;
        }
        let mut unread = self.client.unread.take();
        let result = self.fill(plan, &mut unread, out).await;
        *self.client.unread.borrow_mut() = unread;
        if result.is_err() {
            // Where the next request would start is not known any more.
            self.keep_alive.set(false);
        }
        result
    }

    async fn fill(&self, plan: &Plan, unread: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, Stop> {
        loop {
            let mut eaten = 0;
            let before = out.len();
            let done = {
                let mut body = self.body.borrow_mut();
                loop {
                    let rest = unread.get(eaten..).unwrap_or_default();
                    let decoded = body.decoder.decode(rest).map_err(|_| Stop::Status(400))?;
                    out.extend_from_slice(rest.get(decoded.data).unwrap_or_default());
                    eaten += decoded.consumed;
                    if decoded.done || decoded.consumed == 0 {
                        break decoded.done;
                    }
                }
            };
            unread.drain(..eaten);
            let got = out.len() - before;
            let mut body = self.body.borrow_mut();
            body.received += got as u64;
            if done {
                body.decoder = Decoder::None;
            }
            let limit = plan.core.client_max_body_size;
            if limit > 0 && body.received > limit {
                let text =
                    format_args!("client intended to send too large chunked body: {} bytes", body.received);
                plan.core.error_log.write_on(crate::log::Level::Error, self.client.number, text, "");
                return Err(Stop::Status(413));
            }
            drop(body);
            if got > 0 || done {
                return Ok(got);
            }
            match self.client.read(unread, 16 << 10, plan.core.client_body_timeout).await {
                Ok(0) => return Err(Stop::Status(400)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Stop::Status(408)),
                Err(_) => return Err(Stop::Gone),
            }
        }
    }
}
