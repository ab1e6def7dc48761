//! The services of the demo: each answers with what it saw.
//!
//! `cargo run --example services -- HOST:PORT=NAME ...` listens on every address.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, io, thread};

/// The largest head and the largest body that are read.
const LIMIT: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let services: Vec<String> = env::args().skip(1).collect();
    if services.is_empty() {
        return Err("services HOST:PORT=NAME ...".into());
    }
    let mut threads = Vec::new();
    for service in services {
        let (address, name) = service.split_once('=').ok_or("an argument is HOST:PORT=NAME")?;
        let listener = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
        let name = name.to_owned();
        threads.push(thread::spawn(move || listen(&listener, &name)));
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn listen(listener: &TcpListener, name: &str) {
    for stream in listener.incoming().flatten() {
        let name = name.to_owned();
        // A client that goes away in the middle is not worth a word.
        thread::spawn(move || serve(&stream, &name));
    }
}

/// Answers one request after the other until the client has no more.
fn serve(stream: &TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let body = echo(name, &request);
        let last = request.line.ends_with("HTTP/1.0")
            || request.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let mut writer = stream;
        let end = if last { "Connection: close\r\n" } else { "" };
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{end}\r\n{body}"
        )?;
        if last {
            break;
        }
    }
    Ok(())
}

struct Request {
    line: String,
    fields: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(line) = read_line(reader)? else { return Ok(None) };
        let mut request = Self { line, fields: Vec::new(), body: String::new() };
        while let Some(field) = read_line(reader)?.filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once(':').unwrap_or((&field, ""));
            request.fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut body = Vec::new();
        if let Some(length) = request.value("content-length").and_then(|length| length.parse::<u64>().ok()) {
            reader.take(length.min(LIMIT)).read_to_end(&mut body)?;
        }
        request.body = String::from_utf8_lossy(&body).into_owned();
        Ok(Some(request))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.take(LIMIT).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// What was seen, as JSON.
fn echo(name: &str, request: &Request) -> String {
    let mut fields = String::new();
    for (name, value) in &request.fields {
        let comma = if fields.is_empty() { "" } else { "," };
        let _ = write!(fields, "{comma}\n    {}: {}", quoted(name), quoted(value));
    }
    format!(
        "{{\n  \"service\": {},\n  \"request\": {},\n  \"fields\": {{{fields}\n  }},\n  \"body\": {}\n}}\n",
        quoted(name),
        quoted(&request.line),
        quoted(&request.body)
    )
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
