//! The task that sends spans: OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp), never in a request's
//! way.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use net::{Address, Connect, Millis, Stream};
use tokio::task::JoinHandle;
use wire::h1::{Decoder, ResponseHead, ResponseParser};

use super::queue::{DROPPED, Queue};
use super::span::Origin;
use super::{Export, exporter::Exporter};
use crate::config::Config;
use crate::deliver::itoa;
use crate::log::{ErrorLog, Level, system_error};
use crate::modules::upstream::Scheme;
use crate::product;

/// How long one attempt may take, in milliseconds (the specification's default).
const ATTEMPT: u64 = 10_000;

/// How often a batch is sent before it is given up.
const ATTEMPTS: u32 = 5;

/// The pause behind a first failure, in milliseconds; it doubles from one to the next.
const PAUSE: u64 = 1000;

/// The longest that a collector may ask for (`Retry-After`), in milliseconds.
const LONGEST_PAUSE: u64 = 60_000;

/// How long the end of a worker waits for the last spans, in milliseconds.
const LAST: u64 = 1000;

/// How long the body of an answer may take, in milliseconds: what it says is known from its head.
const REST: u64 = 500;

/// How much of an answer is read, head and body together.
const ANSWER: usize = 64 << 10;

/// The spans of a configuration in one worker. When it is gone, what is left is sent, and the task ends.
pub struct Spans {
    pub(super) queue: Rc<Queue>,
}

impl Drop for Spans {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A task that sends spans.
pub struct Sending {
    queue: Rc<Queue>,
    task: JoinHandle<()>,
}

impl Sending {
    /// Starts the task, where spans are wanted.
    pub fn start(config: &Config) -> Option<(Spans, Sending)> {
        let exporter = config.otel.exporter.clone()?;
        let counter = config.measures.then(|| config.zones.metrics.counter(&DROPPED, Vec::new()));
        let queue = Rc::new(Queue::new(exporter.limits, config.error_log.clone(), counter));
        let sender = Sender {
            queue: queue.clone(),
            log: config.error_log.clone(),
            origin: origin(&config.otel),
            said: None,
            connection: None,
            exporter,
        };
        let task = tokio::task::spawn_local(sender.run());
        Some((Spans { queue: queue.clone() }, Sending { queue, task }))
    }

    /// Whether everything was sent.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Gives the last spans a moment.
    pub async fn end(self) {
        self.queue.close();
        // Those of a collector that does not take them in time are lost with the worker.
        let _ = tokio::time::timeout(Duration::from_millis(LAST), self.task).await;
    }
}

fn origin(export: &Export) -> Origin {
    let mut resource: Vec<(&[u8], &[u8])> = Vec::new();
    let service = export.service_name.as_deref().map(|name| (&b"service.name"[..], name));
    let written = export.resource.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in [(&b"service.name"[..], UNNAMED)].into_iter().chain(written).chain(service) {
        match resource.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => resource.push((name, value)),
        }
    }
    Origin::new(resource.into_iter(), (product::NAME, product::VERSION))
}

/// `service.name` where nothing says it.
const UNNAMED: &[u8] = b"unknown_service:doorward";

struct Sender {
    queue: Rc<Queue>,
    log: ErrorLog,
    origin: Origin,
    exporter: Exporter,
    /// A connection that the collector keeps open.
    connection: Option<Stream>,
    /// When a line last told of a failure.
    said: Option<Millis>,
}

/// Why a batch was not taken.
enum Failed {
    /// It may be, later: after so many milliseconds, where the collector says so.
    Later(String, Option<u64>),
    /// It will not.
    Refused(String),
}

impl Sender {
    async fn run(mut self) {
        while self.queue.due().await {
            let taken = self.deliver().await;
            let spans = self.queue.remove_first();
            if !taken {
                self.queue.dropped(spans);
            }
        }
    }

    /// Sends the first batch until it is taken or given up: whether it was taken.
    async fn deliver(&mut self) -> bool {
        let request = self.request();
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let sent = tokio::time::timeout(Duration::from_millis(ATTEMPT), self.send(&request)).await;
            let failed = match sent {
                Ok(Ok(())) => return true,
                Ok(Err(failed)) => failed,
                Err(_) => {
                    self.connection = None;
                    Failed::Later("timed out (110: Connection timed out)".to_owned(), None)
                }
            };
            let (why, asked) = match failed {
                Failed::Refused(why) => {
                    self.say(&why);
                    return false;
                }
                Failed::Later(why, asked) => (why, asked),
            };
            self.say(&why);
            let wait = asked.unwrap_or(pause).min(LONGEST_PAUSE);
            if attempt == ATTEMPTS || self.queue.closed_within(wait).await {
                break;
            }
            pause *= 2;
        }
        false
    }

    /// Tells of a failure, at most once in an interval.
    fn say(&mut self, why: &str) {
        let now = net::clock::now();
        if self.said.is_none_or(|said| now - said >= self.exporter.limits.interval) {
            self.said = Some(now);
            let authority = self.exporter.target.authority(Scheme::Http);
            self.log
                .write(Level::Error, format_args!("OTel export failure: {why}, collector: \"{authority}\""));
        }
    }

    fn request(&self) -> Vec<u8> {
        self.queue.first(|spans| {
            let start = self.origin.request(spans.len());
            let mut request = Vec::with_capacity(self.exporter.head.len() + 32 + start.len() + spans.len());
            request.extend_from_slice(&self.exporter.head);
            request.extend_from_slice(itoa((start.len() + spans.len()) as u64, &mut [0; 20]));
            request.extend_from_slice(b"\r\n\r\n");
            request.extend_from_slice(&start);
            request.extend_from_slice(spans);
            request
        })
    }

    async fn send(&mut self, request: &[u8]) -> Result<(), Failed> {
        // A kept connection that the collector closed meanwhile is nobody's failure.
        if let Some(mut kept) = self.connection.take()
            && kept.is_idle()
            && let Ok(answered) = self.ask(kept, request).await
        {
            return answered;
        }
        let stream = self.connect().await?;
        let asked = self.ask(stream, request).await;
        asked.unwrap_or_else(|error| Err(Failed::Later(failure(&error), None)))
    }

    async fn connect(&self) -> Result<Stream, Failed> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        let addresses = self.addresses().await.map_err(|error| Failed::Later(failure(&error), None))?;
        for address in addresses {
            match Stream::connect(&address, &Connect { nodelay: true, ..Connect::default() }).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(Failed::Later(format!("connect() failed {}", system_error(&last)), None))
    }

    /// The collector's addresses, looked up each time: it may move, and a start does not wait for it.
    async fn addresses(&self) -> io::Result<Vec<Address>> {
        let target = &self.exporter.target;
        let port = Scheme::Http.port();
        if let Some(address) = target.literal(port) {
            return Ok(vec![address]);
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        let target = target.clone();
        // A thread of its own, which the end of the worker does not wait for.
        std::thread::Builder::new().name("collector's name".to_owned()).spawn(move || {
            // Nobody may be waiting any more.
            let _ = tell.send(target.addresses(port));
        })?;
        told.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
    }

    /// Sends the request and reads the answer; an error is the connection's.
    async fn ask(&mut self, mut stream: Stream, request: &[u8]) -> io::Result<Result<(), Failed>> {
        stream.write_all(request).await?;
        let (mut head, mut parser, mut bytes) = (ResponseHead::default(), ResponseParser::new(), Vec::new());
        loop {
            read(&mut stream, &mut bytes).await?;
            while parser.parse(&bytes, &mut head).map_err(io::Error::other)? {
                let end = (head.head_len as usize).min(bytes.len());
                if !(100..200).contains(&head.status) {
                    let answered = judge(&head, &bytes);
                    bytes.drain(..end);
                    let rest = rest(&mut stream, head.body(false, None), &mut bytes);
                    let rest = tokio::time::timeout(Duration::from_millis(REST), rest);
                    if head.keep_alive && rest.await == Ok(true) {
                        self.connection = Some(stream);
                    }
                    return Ok(answered);
                }
                // An interim answer: the real one follows.
                bytes.drain(..end);
                parser.reset();
            }
        }
    }
}

/// What a status says of the spans (the specification's "Failures").
fn judge(head: &ResponseHead, bytes: &[u8]) -> Result<(), Failed> {
    let status = head.status;
    let why = || format!("the collector answered {status}");
    match status {
        200..300 => Ok(()),
        429 | 502 | 503 | 504 => {
            let is_it = |name: &[u8]| name.eq_ignore_ascii_case(b"Retry-After");
            let field = head.fields.iter().find(|field| is_it(field.name.of(bytes)));
            Err(Failed::Later(why(), field.and_then(|field| retry_after(field.value.of(bytes)))))
        }
        _ => Err(Failed::Refused(why())),
    }
}

/// `Retry-After` in milliseconds: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &[u8]) -> Option<u64> {
    if let Some(seconds) = str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()) {
        return Some(seconds.saturating_mul(1000));
    }
    let at = wire::date::parse(value)?;
    Some(at.saturating_sub(net::clock::wall().0).saturating_mul(1000))
}

async fn read(stream: &mut Stream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if bytes.len() >= ANSWER {
        return Err(io::Error::other("too long an answer"));
    }
    match stream.read(bytes, 4096).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads the body of an answer, so that the connection can be used again: whether it can.
async fn rest(stream: &mut Stream, mut decoder: Decoder, bytes: &mut Vec<u8>) -> bool {
    let mut eaten = 0;
    loop {
        match decoder.decode(bytes.get(eaten..).unwrap_or_default()) {
            Ok(decoded) => {
                eaten += decoded.consumed;
                if decoded.done {
                    return eaten == bytes.len();
                }
                if decoded.consumed > 0 {
                    continue;
                }
            }
            Err(_) => return false,
        }
        if read(stream, bytes).await.is_err() {
            return false;
        }
    }
}

fn failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the collector closed the connection".to_owned(),
        _ => format!("the collector cannot be asked {}", system_error(error)),
    }
}
