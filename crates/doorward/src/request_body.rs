//! The body of a client's request: read when somebody wants it, kept in memory or in a file, or passed on as it comes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use wire::h1::Decoder;

use crate::exchange::Visit;
use crate::log::{Level, system_error};
use crate::modules::core::BodyFiles;
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
}

/// A body that was read.
#[derive(Default)]
pub enum Kept {
    /// Nothing yet.
    #[default]
    Nothing,
    /// In memory.
    Memory(Vec<u8>),
    /// In a file, and how long it is.
    File(BodyFile, u64),
}

/// A file that holds a body.
pub enum BodyFile {
    /// Nobody can ask for its name: it has none.
    Unnamed(File),
    /// `$request_body_file` names it; it goes when the request ends.
    Named(tempfile::NamedTempFile),
    /// It stays (`client_body_in_file_only on`).
    Lasting(File, PathBuf),
}

impl BodyFile {
    fn create(plan: &Plan, folder: &Path, named: bool) -> io::Result<BodyFile> {
        let how = plan.core.client_body_in_file_only;
        if how == BodyFiles::Off && !named {
            return tempfile::tempfile_in(folder).map(BodyFile::Unnamed);
        }
        let file = tempfile::Builder::new().prefix("").rand_bytes(10).tempfile_in(folder)?;
        if how == BodyFiles::On {
            let (file, path) = file.keep().map_err(|failed| failed.error)?;
            return Ok(BodyFile::Lasting(file, path));
        }
        Ok(BodyFile::Named(file))
    }

    fn file(&self) -> &File {
        match self {
            BodyFile::Unnamed(file) | BodyFile::Lasting(file, _) => file,
            BodyFile::Named(file) => file.as_file(),
        }
    }

    /// Where it is, if it can be found at all.
    pub fn path(&self) -> Option<&Path> {
        match self {
            BodyFile::Unnamed(_) => None,
            BodyFile::Named(file) => Some(file.path()),
            BodyFile::Lasting(_, path) => Some(path),
        }
    }
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
                let mut file = file.file();
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut piece)?;
                Ok(piece)
            }
        }
    }

    fn push(
        &mut self,
        bytes: &[u8],
        in_memory: u64,
        create: impl FnOnce() -> io::Result<BodyFile>,
    ) -> io::Result<()> {
        match self {
            Kept::File(file, length) => {
                file.file().write_all(bytes)?;
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
                    let file = create()?;
                    file.file().write_all(&memory)?;
                    file.file().write_all(bytes)?;
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

    /// Whether all of the body can be read without waiting for the client.
    pub fn body_has_arrived(&self) -> bool {
        let body = self.body.borrow();
        let unread = self.client.unread.borrow();
        match &body.decoder {
            Decoder::None => true,
            Decoder::Length(length) => *length <= unread.len() as u64,
            Decoder::UntilClose => false,
            Decoder::Chunked(chunked) => {
                let mut decoder = Decoder::Chunked(chunked.clone());
                let mut rest: &[u8] = &unread;
                loop {
                    match decoder.decode(rest) {
                        Ok(decoded) if decoded.done => return true,
                        Ok(decoded) if decoded.consumed > 0 => {
                            rest = rest.get(decoded.consumed..).unwrap_or_default();
                        }
                        _ => return false,
                    }
                }
            }
        }
    }

    /// Reads the whole body and keeps it.
    pub async fn keep_body(&self, plan: &Plan) -> Result<(), Stop> {
        if self.body_is_read() {
            return self.send_continue(plan).await;
        }
        let mut piece = self.worker.buffers.take(8192);
        let folder = &plan.core.body_temp;
        let in_memory = match plan.core.client_body_in_file_only {
            BodyFiles::Off => plan.core.client_body_buffer_size,
            BodyFiles::Clean | BodyFiles::On => 0,
        };
        let create = || {
            let named = self.config.variables.names.iter().any(|name| &**name == "request_body_file");
            BodyFile::create(plan, folder, named)
        };
        let result = loop {
            piece.clear();
            match self.body_piece(plan, &mut piece).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(stop) => break Err(stop),
            }
            let mut body = self.body.borrow_mut();
            if let Err(error) = body.kept.push(&piece, in_memory, create) {
                drop(body);
                let (folder, error) = (folder.display(), system_error(&error));
                let text = format_args!("open() \"{folder}\" failed {error}");
                self.log(plan, Level::Crit, text);
                break Err(Stop::Status(500));
            }
        };
        self.worker.buffers.put(piece);
        result
    }

    /// The whole body of at most so many bytes, without keeping it: what it holds is for no log and no file. A longer one
    /// ends the request with 413.
    pub async fn small_body(&self, plan: &Plan, most: usize) -> Result<Vec<u8>, Stop> {
        let too_large = || {
            self.log(plan, Level::Error, format_args!("client sent a body of more than {most} bytes"));
            Err(Stop::Status(413))
        };
        if self.head.content_length.is_some_and(|length| length > most as u64) {
            return too_large();
        }
        // An auth service may have been shown it (`auth_request_body`).
        let kept = self.body.borrow().kept.piece(0, most.saturating_add(1));
        let mut bytes = kept.map_err(|_| Stop::Status(500))?;
        while bytes.len() <= most {
            if self.body_piece(plan, &mut bytes).await? == 0 {
                return Ok(bytes);
            }
        }
        too_large()
    }

    /// Reads the next piece of payload onto `out`; 0 at the end.
    pub async fn body_piece(&self, plan: &Plan, out: &mut Vec<u8>) -> Result<usize, Stop> {
        if self.body_is_read() {
            return Ok(0);
        }
        self.send_continue(plan).await?;
        let mut unread = self.client.unread.take();
        let result = self.fill(plan, &mut unread, out).await;
        *self.client.unread.borrow_mut() = unread;
        if result.is_err() {
            // Where the next request would start is not known any more.
            self.keep_alive.set(false);
        }
        result
    }

    /// Tells a client that waits for it that its body may come (RFC 9110, 10.1.1).
    async fn send_continue(&self, plan: &Plan) -> Result<(), Stop> {
        if !std::mem::take(&mut self.body.borrow_mut().expects_continue) {
            return Ok(());
        }
        let sent = self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n", plan.core.send_timeout).await;
        sent.map_err(|_| Stop::Gone)
    }

    /// Drops what has arrived of a body that a response does without; an error where that cannot be a body.
    pub async fn drop_body(&self, plan: &Plan) -> Result<(), Stop> {
        self.send_continue(plan).await?;
        self.drop_arrived(plan)
    }

    /// Drops what has arrived of a body because the request is refused.
    pub fn refuse_body(&self, plan: &Plan) {
        // A client that was never told to go on may leave its body out: then the next request is where it would be.
        let unasked = std::mem::take(&mut self.body.borrow_mut().expects_continue);
        if self.drop_arrived(plan).is_err() || (unasked && !self.body_is_read()) {
            self.keep_alive.set(false);
        }
    }

    fn drop_arrived(&self, plan: &Plan) -> Result<(), Stop> {
        let mut body = self.body.borrow_mut();
        let mut unread = self.client.unread.borrow_mut();
        let mut eaten = 0;
        let result = loop {
            match body.decoder.decode(unread.get(eaten..).unwrap_or_default()) {
                Ok(decoded) => {
                    eaten += decoded.consumed;
                    body.received += decoded.data.len() as u64;
                    if decoded.done {
                        body.decoder = Decoder::None;
                    }
                    if decoded.done || decoded.consumed == 0 {
                        break Ok(());
                    }
                }
                Err(_) => break Err(()),
            }
        };
        unread.drain(..eaten);
        drop(body);
        result.map_err(|()| self.invalid_chunks(plan))
    }

    #[cold]
    fn invalid_chunks(&self, plan: &Plan) -> Stop {
        self.log(plan, Level::Error, format_args!("client sent invalid chunked body"));
        Stop::Status(400)
    }

    fn log(&self, plan: &Plan, level: Level, message: std::fmt::Arguments<'_>) {
        plan.core.error_log.write_of(level, message, self);
    }

    async fn fill(&self, plan: &Plan, unread: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<usize, Stop> {
        loop {
            let (got, done) = self.decode(plan, unread, out)?;
            if got > 0 || done {
                let ends = |decoder: &Decoder| matches!(decoder, Decoder::UntilClose);
                // A stream of HTTP/2 knows its end together with its last bytes.
                if !done
                    && ends(&self.body.borrow().decoder)
                    && self.client.http2().is_some_and(|stream| stream.body_is_read())
                {
                    self.body.borrow_mut().decoder = Decoder::None;
                }
                return Ok(got);
            }
            match self.client.read(unread, 16 << 10, plan.core.client_body_timeout).await {
                Ok(0) if matches!(self.body.borrow().decoder, Decoder::UntilClose) => {
                    self.body.borrow_mut().decoder = Decoder::None;
                    return Ok(0);
                }
                Ok(0) => {
                    self.log(plan, Level::Info, format_args!("client prematurely closed connection"));
                    return Err(Stop::Lost(400));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.timed_out.set(true);
                    return Err(Stop::Status(408));
                }
                Err(error) => {
                    let error = system_error(&error);
                    self.log(plan, Level::Info, format_args!("recv() failed {error}"));
                    return Err(Stop::Lost(400));
                }
            }
        }
    }

    /// Takes the payload of what has arrived; how much that was, and whether the body has ended.
    fn decode(&self, plan: &Plan, unread: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(usize, bool), Stop> {
        let (mut eaten, before) = (0, out.len());
        let mut body = self.body.borrow_mut();
        let done = loop {
            let rest = unread.get(eaten..).unwrap_or_default();
            let decoded = body.decoder.decode(rest).map_err(|_| self.invalid_chunks(plan))?;
            out.extend_from_slice(rest.get(decoded.data).unwrap_or_default());
            eaten += decoded.consumed;
            if decoded.done || decoded.consumed == 0 {
                break decoded.done;
            }
        };
        unread.drain(..eaten);
        let got = out.len() - before;
        body.received += got as u64;
        let limit = plan.core.client_max_body_size;
        let (last, others) = body.decoder.announced();
        // A chunk that will be too much is refused with its first line, not when it has been read.
        if limit > 0 && others.saturating_add(last) > limit {
            let text = format_args!("client intended to send too large chunked body: {others}+{last} bytes");
            self.log(plan, Level::Error, text);
            return Err(Stop::Status(413));
        }
        if limit > 0 && body.received > limit && matches!(body.decoder, Decoder::UntilClose) {
            let received = body.received;
            let text = format_args!("client intended to send too large chunked body: {received} bytes");
            self.log(plan, Level::Error, text);
            return Err(Stop::Status(413));
        }
        if done {
            body.decoder = Decoder::None;
        }
        Ok((got, done))
    }
}
