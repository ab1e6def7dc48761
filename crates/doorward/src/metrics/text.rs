//! Metrics as Prometheus reads them (the text format, version 0.0.4).

use std::fmt::Write;

use super::histogram::BOUNDS;
use super::{Family, Labels, Series};

/// A page being written.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// A family with its counters.
    pub fn family(&mut self, family: &Family, members: &[(Labels, Series)]) {
        let kind = match members.first() {
            Some((_, Series::Histogram(_))) => "histogram",
            _ => "counter",
        };
        let Family { name, help } = family;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        for (labels, series) in members {
            match series {
                Series::Counter(counter) => self.sample(name, "", labels, None, &counter.get()),
                Series::Statuses(statuses) => {
                    for (status, number) in statuses.seen() {
                        self.sample(name, "", labels, Some(("status", &status.to_string())), &number);
                    }
                }
                Series::Histogram(histogram) => {
                    let cumulative = histogram.cumulative();
                    for (at, number) in cumulative.iter().enumerate() {
                        let bound =
                            BOUNDS.get(at).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
                        self.sample(name, "_bucket", labels, Some(("le", &bound)), number);
                    }
                    self.sample(name, "_sum", labels, None, &histogram.sum().as_secs_f64());
                    self.sample(name, "_count", labels, None, &cumulative[BOUNDS.len()]);
                }
            }
        }
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &Labels,
        more: Option<(&str, &str)>,
        value: &dyn std::fmt::Display,
    ) {
        let labels = labels.iter().map(|(name, value)| (*name, &**value)).chain(more);
        let labels: Vec<String> =
            labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{suffix}{braces} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// The whole page.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::time::Duration;

    #[test]
    fn writes_what_prometheus_reads() {
        static ASKED: Family = Family { name: "asked_total", help: "Questions." };
        static TIMES: Family = Family { name: "times_seconds", help: "Times." };
        let metrics = Metrics::default();
        let counter = metrics.counter(&ASKED, vec![("server", "a\"b\\c\nd".to_owned())]);
        counter.add_one();
        let histogram = metrics.histogram(&TIMES, Vec::new());
        histogram.observe(Duration::from_millis(3));
        let mut page = Page::default();
        for (family, members) in metrics.families() {
            page.family(family, &members);
        }
        let text = String::from_utf8(page.into_bytes()).unwrap();
        assert!(text.starts_with(
            "# HELP asked_total Questions.\n# TYPE asked_total counter\nasked_total{server=\"a\\\"b\\\\c\\nd\"} 1\n\
             # HELP times_seconds Times.\n# TYPE times_seconds histogram\ntimes_seconds_bucket{le=\"0.0005\"} 0\n"
        ));
        assert!(
            text.contains("times_seconds_bucket{le=\"0.0025\"} 0\ntimes_seconds_bucket{le=\"0.005\"} 1\n")
        );
        assert!(text.ends_with(
            "times_seconds_bucket{le=\"+Inf\"} 1\ntimes_seconds_sum 0.003\ntimes_seconds_count 1\n"
        ));
    }
}
