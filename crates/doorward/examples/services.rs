//! The services of the demo: three that answer with what they saw, and one that says who may pass.
//!
//! `cargo run --example services -- HOST:PORT=NAME ...` listens on every address. The service named `auth` knows a few
//! tokens and sessions (see `PEOPLE`) and answers 200 with who it is, 401 or 403; every other name echoes.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, io, thread};

/// A person whom the auth service knows, by token and by session cookie.
struct Person {
    token: &'static str,
    session: &'static str,
    id: &'static str,
    scope: &'static str,
    email: &'static str,
    /// Where this person may go.
    allowed: &'static [&'static str],
}

static PEOPLE: &[Person] = &[
    Person {
        token: "alice-token",
        session: "alice-session",
        id: "alice",
        scope: "read write",
        email: "alice@example.com",
        allowed: &["/api/service-a", "/api/service-b", "/api/service-c"],
    },
    Person {
        token: "bob-token",
        session: "bob-session",
        id: "bob",
        scope: "read",
        email: "bob@example.com",
        allowed: &["/api/service-a"],
    },
];

/// The largest head and the largest body that are read.
const LIMIT: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let services: Vec<String> = env::args().skip(1).collect();
    if services.is_empty() {
        return Err("services HOST:PORT=NAME ..., one of them named auth".into());
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
        let answer = if name == "auth" { judge(&request) } else { echo(name, &request) };
        let last = request.line.ends_with("HTTP/1.0")
            || request.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let mut writer = stream;
        writer.write_all(answer.bytes(last).as_bytes())?;
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

struct Answer {
    status: &'static str,
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    fn bytes(&self, last: bool) -> String {
        let mut text = format!("HTTP/1.1 {}\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.fields {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let end = if last { "Connection: close\r\n" } else { "" };
        text + end + "\r\n" + &self.body
    }
}

/// The auth service: 401 for strangers, 403 for those who may not go there, else 200 and who it is.
fn judge(request: &Request) -> Answer {
    let wanted = request.value("x-original-uri").unwrap_or("/");
    let token = request.value("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let session = request
        .value("cookie")
        .and_then(|cookies| cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("session=")));
    let known = |person: &&Person| token == Some(person.token) || session == Some(person.session);
    let answer = |status, fields| Answer { status, fields, body: String::new() };
    let Some(person) = PEOPLE.iter().find(known) else {
        let challenge = "Bearer realm=\"demo\"".to_owned();
        return answer("401 Unauthorized", vec![("WWW-Authenticate", challenge)]);
    };
    // A prefix may end inside a word only where the path ends: /api/service-ab is another service.
    let within = |prefix: &str| {
        wanted.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    };
    // Dots and escapes could lead elsewhere than the prefix says.
    if wanted.contains("..") || wanted.contains('%') || !person.allowed.iter().any(|prefix| within(prefix)) {
        return answer("403 Forbidden", Vec::new());
    }
    answer(
        "200 OK",
        vec![
            ("X-User-ID", person.id.to_owned()),
            ("X-User-Scope", person.scope.to_owned()),
            ("X-User-Email", person.email.to_owned()),
        ],
    )
}

/// Every other service: what it saw, as JSON.
fn echo(name: &str, request: &Request) -> Answer {
    let mut fields = String::new();
    for (name, value) in &request.fields {
        let comma = if fields.is_empty() { "" } else { "," };
        let _ = write!(fields, "{comma}\n    {}: {}", quoted(name), quoted(value));
    }
    let body = format!(
        "{{\n  \"service\": {},\n  \"request\": {},\n  \"fields\": {{{fields}\n  }},\n  \"body\": {}\n}}\n",
        quoted(name),
        quoted(&request.line),
        quoted(&request.body)
    );
    Answer { status: "200 OK", fields: vec![("Content-Type", "application/json".to_owned())], body }
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
