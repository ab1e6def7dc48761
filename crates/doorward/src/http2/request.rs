//! A request of a stream: its head, and the task that runs it.

use std::rc::Rc;

use wire::h1::{RequestHead, RequestParser};
use wire::h2::Pseudo;

use super::Shared;
use crate::client::Client;
use crate::connection::{self, Refused};
use crate::log::Level;
use crate::worker::Counted;

/// Makes the head of a request of what `h2` has read.
pub(super) fn read_head(
    parts: &http::request::Parts,
    ends: bool,
    shared: &Shared,
    head: &mut RequestHead,
    bytes: &mut Vec<u8>,
) -> Result<(), wire::h2::RequestError> {
    let uri = &parts.uri;
    let pseudo = Pseudo {
        method: Some(parts.method.as_str().as_bytes()),
        scheme: uri.scheme_str().map(str::as_bytes).or(Some(b"http")),
        authority: uri.authority().map(|authority| authority.as_str().as_bytes()),
        path: uri.path_and_query().map(|path| path.as_str().as_bytes()),
    };
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    wire::h2::request(&pseudo, fields, ends, &shared.default_server().limits, head, bytes)?;
    for name in &head.ignored {
        let name = String::from_utf8_lossy(name.of(bytes));
        shared.log(
            Level::Info,
            format_args!("client sent invalid header: \"{name}\" while reading client request headers"),
        );
    }
    Ok(())
}

#[cold]
pub(super) fn log_refused(shared: &Shared, head: &RequestHead, bytes: &[u8], error: &wire::h2::RequestError) {
    let line = String::from_utf8_lossy(head.line.of(bytes));
    let server = shared.default_server();
    let name = String::from_utf8_lossy(&server.name);
    let mut context = format!(", client: {}, server: {name}", shared.client.peer.ip_text());
    if !line.is_empty() {
        context.push_str(&format!(", request: \"{line}\""));
    }
    if let Some(host) = head.host {
        context.push_str(&format!(", host: \"{}\"", String::from_utf8_lossy(host.of(bytes))));
    }
    let text = format_args!("{error} while reading client request headers");
    server.plan.core.error_log.write_on(Level::Info, shared.client.number, text, &context);
}

/// A stream whose task runs.
pub(super) struct Running(Rc<Shared>);

impl Running {
    pub(super) fn new(shared: Rc<Shared>) -> Running {
        shared.active.set(shared.active.get() + 1);
        Running(shared)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        self.0.wake();
    }
}

/// Runs the request of a stream.
pub(super) async fn serve_stream(
    running: Running,
    client: Client,
    mut parsed: Box<(RequestHead, RequestParser)>,
    bytes: Vec<u8>,
    started: u64,
    refused: Option<Refused>,
) {
    let shared = &*running.0;
    let (service, worker) = (&shared.service, &shared.worker);
    {
        let _writing = Counted::new(&worker.counters.writing);
        connection::answer(&client, service, worker, &mut parsed.0, &bytes, started, refused).await;
    }
    drop(client);
    worker.buffers.put(bytes);
    worker.keep_head(parsed);
}
