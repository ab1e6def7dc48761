//! One load: wrk or h2load for some seconds, and the CPU time that the server spent in them.

use std::path::Path;

use crate::Outcome;
use crate::rows::Row;
use crate::server::{Core, Server};

/// How requests come to the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// HTTP/1.1 on kept connections.
    Http1,
    /// The same over TLS.
    Tls,
    /// A new connection with a full TLS handshake for each request.
    Handshake,
    /// HTTP/2 without TLS, 16 streams on each connection.
    Http2,
    /// HTTP/2 over TLS.
    Http2Tls,
}

/// Streams that are open at a time on a connection of HTTP/2.
const STREAMS: usize = 16;

/// What is about to be loaded.
pub(crate) struct Load<'a> {
    row: &'a Row,
    server: &'a Server,
}

/// What one load measured.
pub(crate) struct Sample {
    /// User and system time per request, in microseconds.
    pub(crate) cpu: f64,
    /// User time alone.
    pub(crate) user: f64,
    /// Requests per second.
    pub(crate) rate: f64,
}

impl Over {
    /// The scheme of its URLs.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Over::Http1 | Over::Http2 => "http",
            Over::Tls | Over::Handshake | Over::Http2Tls => "https",
        }
    }

    /// How curl is told.
    pub(crate) fn curl(self) -> &'static str {
        match self {
            Over::Http1 | Over::Tls | Over::Handshake => "--http1.1",
            Over::Http2 | Over::Http2Tls => "--http2-prior-knowledge",
        }
    }
}

impl<'a> Load<'a> {
    pub(crate) fn of(row: &'a Row, server: &'a Server) -> Self {
        Self { row, server }
    }

    /// Loads the server; fails when a request fails or has another status than the row wants.
    pub(crate) fn run(&self, seconds: u32) -> Outcome<Sample> {
        let before = self.server.process.cpu()?;
        let (said, report) = match self.row.over {
            Over::Http1 | Over::Tls | Over::Handshake => self.wrk(seconds)?,
            Over::Http2 | Over::Http2Tls => self.h2load(seconds)?,
        };
        let after = self.server.process.cpu()?;
        let report = report.ok_or_else(|| format!("the load said: {said}"))?;
        self.judge(&report, &said)?;
        let per_request = |seconds: f64| seconds * 1e6 / report.requests;
        Ok(Sample {
            cpu: per_request(after.user + after.system - before.user - before.system),
            user: per_request(after.user - before.user),
            rate: report.rate,
        })
    }

    fn wrk(&self, seconds: u32) -> Outcome<(String, Option<Report>)> {
        let mut command = Core::Load.command(Path::new("wrk"));
        command.args(["-t1", &format!("-c{}", self.row.connections), &format!("-d{seconds}s")]);
        command.args(["-H", "Host: example.com", "-H", &self.server.authorization]);
        if self.row.over == Over::Handshake {
            command.args(["-H", "Connection: close"]);
        }
        let output = command.arg(self.server.url(self.row)).output();
        let output = output.map_err(|error| format!("wrk (package wrk): {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = Report::of_wrk(&said);
        Ok((said, report))
    }

    fn h2load(&self, seconds: u32) -> Outcome<(String, Option<Report>)> {
        let mut command = Core::Load.command(Path::new("h2load"));
        command.args(["-t1", &format!("-c{}", self.row.connections), &format!("-m{STREAMS}")]);
        command.args([&format!("-D{seconds}"), "-H", &self.server.authorization]);
        let output = command.arg(self.server.url(self.row)).output();
        let output = output.map_err(|error| format!("h2load (package nghttp2-client): {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = Report::of_h2load(&said);
        Ok((said, report))
    }

    fn judge(&self, report: &Report, said: &str) -> Outcome<()> {
        let expected = if self.row.status < 400 { 0.0 } else { report.requests };
        if report.requests > 0.0 && report.refused == expected && !report.broken {
            return Ok(());
        }
        Err(format!("{}: not every answer was {}:\n{said}", self.row.name, self.row.status).into())
    }
}

/// What of a report matters.
struct Report {
    requests: f64,
    rate: f64,
    /// Answers with a status of 400 and above.
    refused: f64,
    broken: bool,
}

impl Report {
    fn of_wrk(text: &str) -> Option<Self> {
        let mut report = Self { requests: 0.0, rate: 0.0, refused: 0.0, broken: false };
        for line in text.lines().map(str::trim) {
            if let Some((count, _)) = line.split_once(" requests in ") {
                report.requests = count.parse().ok()?;
            } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
                report.rate = rate.trim().parse().ok()?;
            } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
                report.refused = count.trim().parse().ok()?;
            } else if let Some(errors) = line.strip_prefix("Socket errors:") {
                // A timeout on a busy machine is no wrong answer; a refused or cut connection is.
                report.broken = !errors.trim().starts_with("connect 0, read 0, write 0");
            }
        }
        Some(report)
    }

    fn of_h2load(text: &str) -> Option<Self> {
        let numbers = |line: &str| -> Vec<f64> {
            line.split(|c: char| !c.is_ascii_digit() && c != '.')
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(numbers);
        // "in 3.00s, 30000.50 req/s, 5.04MB/s"
        let finished = line("finished ")?;
        // "90000 total, 90000 started, 90000 done, 90000 succeeded, 0 failed, 0 errored, 0 timeout"
        let requests = line("requests: ")?;
        // "90000 2xx, 0 3xx, 0 4xx, 0 5xx": each count is followed by the digit of its class.
        let codes = line("status codes: ")?;
        let refused = codes.get(4)? + codes.get(6)?;
        let answered: f64 = codes.first()? + codes.get(2)? + refused;
        Some(Self { requests: answered, rate: *finished.get(1)?, refused, broken: *requests.get(5)? > 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "Running 3s test @ http://127.0.0.1:1/\n  90000 requests in 3.00s, 15.16MB read\n  \
            Socket errors: connect 0, read 7, write 0, timeout 0\n  Non-2xx or 3xx responses: 12\n\
            Requests/sec:  30000.50\nTransfer/sec:      5.04MB\n";
        let report = Report::of_wrk(text).expect("it is a report");
        assert_eq!(
            (report.requests, report.refused, report.rate, report.broken),
            (90000.0, 12.0, 30000.5, true)
        );
    }

    #[test]
    fn reads_what_h2load_prints() {
        let text = "starting benchmark...\nfinished in 3.00s, 30000.50 req/s, 5.04MB/s\n\
            requests: 90012 total, 90256 started, 90012 done, 90000 succeeded, 12 failed, 3 errored, 0 timeout\n\
            status codes: 90000 2xx, 0 3xx, 11 4xx, 1 5xx\ntraffic: 15.16MB (15896576) total\n";
        let report = Report::of_h2load(text).expect("it is a report");
        assert_eq!(
            (report.requests, report.refused, report.rate, report.broken),
            (90012.0, 12.0, 30000.5, true)
        );
    }
}
