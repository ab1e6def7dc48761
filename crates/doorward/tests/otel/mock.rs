//! Servers that are asked: collectors, auth services, upstreams.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prost::Message;

use crate::gateway::PATIENCE;
use crate::otlp::{Request, Span};

/// A request as it was received.
#[derive(Clone)]
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// The value of a field; empty for none.
    pub fn field(&self, name: &str) -> String {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let of_name = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.to_owned()).collect::<Vec<_>>().join("|")
    }
}

/// What is answered to the request of that number, counted from 0; `None` closes the connection.
type Answer = dyn Fn(usize, &Asked) -> Option<String> + Send + Sync;

/// A server of HTTP that remembers what it was asked.
pub struct Mock {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Mock {
    pub fn start(answer: impl Fn(usize, &Asked) -> Option<String> + Send + Sync + 'static) -> Mock {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (shared, answer): (_, Arc<Answer>) = (asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, answer) = (shared.clone(), answer.clone());
                thread::spawn(move || serve(stream, &shared, &*answer));
            }
        });
        Mock { port, asked }
    }

    pub fn answering(status: &'static str) -> Mock {
        Mock::start(move |_, _| Some(answer(status)))
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    pub fn wait(&self, requests: usize) -> Vec<Asked> {
        wait_for(|| Some(self.asked()).filter(|asked| asked.len() >= requests))
    }

    /// What a collector was sent so far, once it is so many spans.
    pub fn spans(&self, count: usize) -> Vec<Span> {
        wait_for(|| Some(self.received()).filter(|spans| spans.len() >= count))
    }

    pub fn received(&self) -> Vec<Span> {
        let requests = self.asked().into_iter().map(|asked| Request::decode(&*asked.body).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|r| r.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

pub fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    loop {
        let end = loop {
            if let Some(end) = complete(&bytes) {
                break end;
            }
            match stream.read(&mut piece) {
                Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
                _ => return,
            }
        };
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let request = Asked {
            head: String::from_utf8_lossy(&bytes[..head]).into_owned(),
            body: bytes[head..end].to_vec(),
        };
        bytes.drain(..end);
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        let Some(answer) = answer(number, &request) else { return };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The end of the first request, once it is there.
fn complete(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let end = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    (bytes.len() >= end).then_some(end)
}
