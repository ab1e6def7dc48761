//! A service behind the gateway: a thread that answers as its script says and remembers what it saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use nix::sys::socket::{Shutdown, shutdown};

use crate::script::{Act, Script};

/// A running service; it listens on a port and on a socket `NAME.sock` in the server's folder.
pub(crate) struct Mock {
    memory: Arc<Memory>,
    listeners: (Arc<TcpListener>, Arc<UnixListener>),
}

struct Memory {
    name: String,
    script: Script,
    seen: Mutex<Seen>,
    over: AtomicBool,
}

/// What a service saw.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<Request>,
    /// Connections that brought a request.
    pub(crate) connections: usize,
}

/// A request as it arrived; chunks of a body are joined.
#[derive(Clone, Default)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) fields: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Mock {
    pub(crate) fn start(
        name: &str,
        listener: TcpListener,
        script: Script,
        folder: &Path,
    ) -> io::Result<Self> {
        let local = Arc::new(UnixListener::bind(folder.join(format!("{name}.sock")))?);
        let listener = Arc::new(listener);
        let memory = Arc::new(Memory {
            name: name.to_owned(),
            script,
            seen: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (own, of_all) = (Arc::clone(&memory), Arc::clone(&listener));
        thread::spawn(move || {
            for stream in of_all.incoming().take_while(|_| !own.over.load(Ordering::Acquire)).flatten() {
                let memory = Arc::clone(&own);
                thread::spawn(move || {
                    let writer = stream.try_clone()?;
                    serve(&memory, bounded(stream)?, writer)
                });
            }
        });
        let (own, of_all) = (Arc::clone(&memory), Arc::clone(&local));
        thread::spawn(move || {
            for stream in of_all.incoming().take_while(|_| !own.over.load(Ordering::Acquire)).flatten() {
                let memory = Arc::clone(&own);
                thread::spawn(move || {
                    let writer = stream.try_clone()?;
                    serve(&memory, stream, writer)
                });
            }
        });
        Ok(Self { memory, listeners: (listener, local) })
    }

    pub(crate) fn seen(&self) -> Seen {
        self.memory.seen().clone()
    }
}

impl Drop for Mock {
    /// Thousands of services are started in one program: each gives its sockets back.
    fn drop(&mut self) {
        self.memory.over.store(true, Ordering::Release);
        // Who waits for a connection learns by this that none will come.
        let _ = shutdown(self.listeners.0.as_raw_fd(), Shutdown::Both);
        let _ = shutdown(self.listeners.1.as_raw_fd(), Shutdown::Both);
    }
}

impl Memory {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounded(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Answers the requests of one connection until one of both sides ends it.
fn serve(memory: &Memory, reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut first = true;
    while let Some(request) = read_request(&mut reader)? {
        let target = request.line.split(' ').nth(1).unwrap_or("").to_owned();
        let last = request.line.ends_with("HTTP/1.0") || request.has("connection", "close");
        let answer =
            format!("{}: {}\n", memory.name, request.line.rsplit_once(' ').map_or("", |(line, _)| line));
        {
            let mut seen = memory.seen();
            seen.connections += usize::from(first);
            seen.requests.push(request);
        }
        first = false;
        match memory.script.answer(target.split('?').next().unwrap_or("")) {
            Some(acts) => {
                for act in acts {
                    match act {
                        Act::Send(bytes) => writer.write_all(bytes)?,
                        Act::Pause(time) => thread::sleep(Duration::from_millis(*time)),
                        Act::Close => return Ok(()),
                    }
                }
            }
            None => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                    answer.len()
                );
                writer.write_all((head + if target.is_empty() { "" } else { &answer }).as_bytes())?;
            }
        }
        if last {
            return Ok(());
        }
    }
    Ok(())
}

impl Request {
    /// The value of the first field of this name, in lower case.
    fn value(&self, name: &str) -> Option<String> {
        self.fields.iter().find_map(|field| {
            let (own, value) = field.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.value(name).is_some_and(|own| own == value)
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut request = Request::default();
    let Some(line) = read_line(reader)? else { return Ok(None) };
    request.line = line;
    while let Some(field) = read_line(reader)?.filter(|line| !line.is_empty()) {
        request.fields.push(field);
    }
    if request.has("transfer-encoding", "chunked") {
        while let Some(size) = read_line(reader)? {
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            chunk.truncate(size);
            request.body.extend(chunk);
        }
    } else if let Some(length) = request.value("content-length").and_then(|length| length.parse().ok()) {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}
