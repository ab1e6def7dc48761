//! A request of the gateway itself to one of its locations: nothing of what a client sent goes with it, since what is
//! answered is used for others too.

use std::pin::Pin;

use wire::h1::{RequestHead, RequestParser};

use crate::body::Unread;
use crate::boxed::boxed_future;
use crate::exchange::{Exchange, ShownBody, Visit};
use crate::run::{Stop, log_subrequest, run};

/// How long the body of an answer may take, in milliseconds.
const BODY_PATIENCE: u64 = 5_000;

/// What is asked.
pub struct OwnRequest {
    /// The path of the location.
    pub path: Vec<u8>,
    /// The query.
    pub args: Vec<u8>,
    /// A form that is sent (`application/x-www-form-urlencoded`, POST); without one it is a GET.
    pub form: Option<Vec<u8>>,
}

impl OwnRequest {
    /// Asks the location of the request's server: the body of a 200, or why there is none, and none of more than `most`
    /// bytes.
    pub async fn ask(self, ex: &mut Exchange<'_>, most: usize) -> Result<Result<Vec<u8>, String>, Stop> {
        let server = ex.server;
        let name = wire::host::host(&server.name).map_or(&b"localhost"[..], |host| host.name);
        let mut target = Vec::with_capacity(self.path.len());
        wire::uri::escape(wire::uri::Escape::Uri, &self.path, &mut target);
        let (method, fields) = match &self.form {
            None => (&b"GET "[..], &b"\r\n\r\n"[..]),
            // The length is not among them: what is passed on is not read from the client.
            Some(_) => (
                &b"POST "[..],
                &b"\r\nContent-Type: application/x-www-form-urlencoded\r\nAccept: application/json\r\n\r\n"[..],
            ),
        };
        let bytes = [method, &*target, b" HTTP/1.1\r\nHost: ", name, fields].concat();
        let mut head = RequestHead::default();
        if !matches!(RequestParser::default().parse(&bytes, &server.limits, &mut head), Ok(true)) {
            return Ok(Err("it cannot be asked for".to_owned()));
        }
        let asking = ex.visit;
        let visit = Visit::new(
            asking.worker,
            asking.service,
            asking.client,
            server,
            &head,
            &bytes,
            name.to_ascii_lowercase(),
            net::clock::now(),
        );
        let mut child = Exchange::new(&visit, server);
        child.depth = ex.depth + 1;
        child.uri = self.path;
        child.args = self.args;
        child.as_sent = false;
        child.internal = true;
        child.shown_body = self.form.map(|bytes| ShownBody { bytes, partial: None });
        let running: Pin<Box<dyn Future<Output = _> + '_>> = boxed_future(|| run(&mut child));
        let body = running.await.ok_or(Stop::Gone)?;
        let text = match child.status() {
            200 => body.whole(&mut child, most, BODY_PATIENCE).await.map_err(|unread| match unread {
                Unread::TooLong => format!("the answer has more than {} kB", most >> 10),
                Unread::Endless => "the answer does not end".to_owned(),
            }),
            status => {
                body.discard(&mut child).await;
                Err(format!("the answer is {status}"))
            }
        };
        log_subrequest(&child);
        Ok(text)
    }
}
