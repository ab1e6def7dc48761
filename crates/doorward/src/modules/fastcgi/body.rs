//! The body of a FastCGI server's answer, taken out of its records as it comes.

use net::Stream;
use wire::fastcgi::Records;

use super::run::{count_received, take_records};
use crate::body::Truncated;
use crate::client::Interrupted;
use crate::exchange::Exchange;
use crate::log::{Level, system_error};
use crate::modules::proxy::Lease;

const READING: &str = "reading upstream";

/// The rest of a FastCGI server's answer.
pub struct FastCgiBody {
    pub(super) stream: Option<Stream>,
    pub(super) lease: Option<Lease>,
    pub(super) records: Records,
    /// Read and not taken apart yet.
    pub(super) raw: Vec<u8>,
    /// Taken apart and not handed out yet.
    pub(super) ready: Vec<u8>,
    /// What is still to come, where the head said how much.
    pub(super) left: Option<u64>,
    /// Whether the server said that this is all.
    pub(super) ended: bool,
    pub(super) read_timeout: u64,
    pub(super) watch: bool,
}

impl FastCgiBody {
    /// Appends the next piece of payload; false at the end.
    pub async fn next(
        &mut self,
        ex: &mut Exchange<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<bool, Truncated> {
        loop {
            if !self.ready.is_empty() {
                let handed_out = self.hand_out(ex, out);
                if handed_out {
                    return Ok(true);
                }
            }
            if self.left == Some(0) || self.ended {
                let missing = self.left.is_some_and(|left| left > 0);
                self.close(ex);
                if missing {
                    let text = "upstream prematurely closed FastCGI request";
                    ex.log(Level::Error, format_args!("{text} while {READING}"));
                    return Err(Truncated);
                }
                return Ok(false);
            }
            self.read(ex, most).await?;
            let FastCgiBody { records, raw, ready, .. } = self;
            match take_records(ex, records, raw, ready, READING) {
                Ok(ended) => self.ended = ended,
                Err(()) => return Err(self.fail(ex)),
            }
        }
    }

    /// Hands out what is ready, but not more than the head has promised; whether that was anything.
    fn hand_out(&mut self, ex: &mut Exchange<'_>, out: &mut Vec<u8>) -> bool {
        if let Some(left) = self.left {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            if self.ready.len() > wanted {
                let text = "upstream sent more data than specified in \"Content-Length\" header";
                // Of an answer without a body, what would be its body is no surprise.
                if ex.method != wire::h1::Method::Head {
                    ex.log(Level::Warn, format_args!("{text} while {READING}"));
                }
                self.ready.truncate(wanted);
            }
            self.left = Some(left - self.ready.len() as u64);
        }
        let payload = self.ready.len();
        out.append(&mut self.ready);
        if let Some(attempt) = ex.upstream.current() {
            attempt.response_length += payload as u64;
        }
        payload > 0
    }

    async fn read(&mut self, ex: &mut Exchange<'_>, most: usize) -> Result<(), Truncated> {
        let Some(stream) = &mut self.stream else { return Err(Truncated) };
        let read = stream.read(&mut self.raw, most.max(1));
        match ex.visit.client.waiting(self.read_timeout, self.watch, read).await {
            Ok(Ok(read)) if read > 0 => {
                count_received(ex, read);
                Ok(())
            }
            Ok(Ok(_)) => {
                let text = "upstream prematurely closed connection";
                ex.log(Level::Error, format_args!("{text} while {READING}"));
                Err(self.fail(ex))
            }
            Ok(Err(error)) => {
                ex.log(Level::Error, format_args!("recv() failed {} while {READING}", system_error(&error)));
                Err(self.fail(ex))
            }
            Err(Interrupted::Elapsed) => {
                let text = "upstream timed out (110: Connection timed out)";
                ex.log(Level::Error, format_args!("{text} while {READING}"));
                Err(self.fail(ex))
            }
            Err(Interrupted::ClientGone) => {
                self.close(ex);
                Err(Truncated)
            }
        }
    }

    /// Whether everything was handed out.
    pub fn is_done(&self) -> bool {
        self.stream.is_none() && self.ready.is_empty()
    }

    fn fail(&mut self, ex: &mut Exchange<'_>) -> Truncated {
        if let Some(lease) = &mut self.lease {
            lease.failed();
        }
        self.close(ex);
        Truncated
    }

    /// Lets go of the connection: the answer is over, or nobody wants the rest.
    pub fn close(&mut self, ex: &mut Exchange<'_>) {
        if self.stream.take().is_some()
            && let Some(attempt) = ex.upstream.current()
        {
            attempt.response_time = Some(net::clock::now() - attempt.started);
        }
        self.lease = None;
    }
}
