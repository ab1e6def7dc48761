//! One load: wrk for some seconds, and the CPU time that the server spent in them.

use std::path::Path;

use crate::Outcome;
use crate::rows::Row;
use crate::server::{Core, Server};

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

impl<'a> Load<'a> {
    pub(crate) fn of(row: &'a Row, server: &'a Server) -> Self {
        Self { row, server }
    }

    /// Loads the server; fails when a request fails or has another status than the row wants.
    pub(crate) fn run(&self, seconds: u32) -> Outcome<Sample> {
        let before = self.server.process.cpu()?;
        let output = Core::Load
            .command(Path::new("wrk"))
            .args(["-t1", &format!("-c{}", self.row.connections), &format!("-d{seconds}s")])
            .args(["-H", "Host: example.com", "-H", &self.server.authorization])
            .arg(format!("http://127.0.0.1:{}{}", self.server.port, self.row.path))
            .output()
            .map_err(|error| format!("wrk (package wrk): {error}"))?;
        let after = self.server.process.cpu()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let report = Report::read(&said).ok_or_else(|| format!("wrk said: {said}"))?;
        self.judge(&report, &said)?;
        let per_request = |seconds: f64| seconds * 1e6 / report.requests;
        Ok(Sample {
            cpu: per_request(after.user + after.system - before.user - before.system),
            user: per_request(after.user - before.user),
            rate: report.rate,
        })
    }

    fn judge(&self, report: &Report, said: &str) -> Outcome<()> {
        let expected = if self.row.status < 400 { 0.0 } else { report.requests };
        if report.requests > 0.0 && report.refused == expected && !report.broken {
            return Ok(());
        }
        Err(format!("{}: not every answer was {}:\n{said}", self.row.name, self.row.status).into())
    }
}

/// The lines of wrk's report that matter.
struct Report {
    requests: f64,
    rate: f64,
    /// Answers with a status of 400 and above.
    refused: f64,
    broken: bool,
}

impl Report {
    fn read(text: &str) -> Option<Self> {
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
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "Running 3s test @ http://127.0.0.1:1/\n  90000 requests in 3.00s, 15.16MB read\n  \
            Socket errors: connect 0, read 7, write 0, timeout 0\n  Non-2xx or 3xx responses: 12\n\
            Requests/sec:  30000.50\nTransfer/sec:      5.04MB\n";
        let report = Report::read(text).expect("it is a report");
        assert_eq!(
            (report.requests, report.refused, report.rate, report.broken),
            (90000.0, 12.0, 30000.5, true)
        );
    }
}
