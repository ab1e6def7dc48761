//! Metrics as Prometheus reads them: its text format, version 0.0.4, or OpenMetrics 1.0.0.

use std::fmt::{self, Write};

use super::{BOUNDS, Kind, Labels, Shown, Value};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that suits who asks, by its `Accept` fields (RFC 9110, 12.5.1): OpenMetrics only where it is named.
    pub fn accepted<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Format {
        let (mut open, mut plain) = (0, 0);
        for field in fields {
            for range in String::from_utf8_lossy(field).split(',') {
                let mut parts = range.split(';').map(str::trim);
                let media = parts.next().unwrap_or_default().to_ascii_lowercase();
                let (mut version, mut quality) = (None, 1000);
                for part in parts {
                    match part.split_once('=') {
                        Some(("version", value)) => version = Some(value.trim_matches('"').to_owned()),
                        Some(("q" | "Q", value)) => quality = thousandths(value),
                        _ => {}
                    }
                }
                match (&*media, version.as_deref()) {
                    ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => {
                        open = open.max(quality);
                    }
                    ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => {
                        plain = plain.max(quality);
                    }
                    _ => {}
                }
            }
        }
        if open > 0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The type of the page.
    pub fn content_type(self) -> &'static [u8] {
        match self {
            Format::Prometheus => b"text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => b"application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight (RFC 9110, 12.4.2); what is none weighs nothing.
fn thousandths(text: &str) -> u32 {
    match text.trim().parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u32,
        _ => 0,
    }
}

/// Writes families down.
pub fn page(format: Format, families: &[Shown]) -> Vec<u8> {
    let mut page = Page { format, text: String::new() };
    for shown in families {
        page.family(shown);
    }
    if format == Format::OpenMetrics {
        page.line(format_args!("# EOF"));
    }
    page.text.into_bytes()
}

struct Page {
    format: Format,
    text: String,
}

impl Page {
    fn family(&mut self, shown: &Shown) {
        let (name, help) = (shown.family.name, shown.family.help);
        let (name_of_family, kind) = match (self.format, shown.kind) {
            (_, Kind::Gauge) => (name, "gauge"),
            (_, Kind::Histogram) => (name, "histogram"),
            (Format::Prometheus, Kind::Counter) => (name, "counter"),
            // OpenMetrics knows counters by this ending, which is not part of the family's name. A counter that has to
            // have another name is `unknown` to it: nobody would find it under a new one.
            (Format::OpenMetrics, Kind::Counter) => match name.strip_suffix("_total") {
                Some(stem) => (stem, "counter"),
                None => (name, "unknown"),
            },
        };
        self.line(format_args!("# HELP {name_of_family} {help}\n# TYPE {name_of_family} {kind}"));
        for (labels, value) in &shown.samples {
            match value {
                Value::Number(number) => self.sample(name, "", labels, None, number),
                Value::Times(histogram) => {
                    let cumulative = histogram.cumulative();
                    for (at, number) in cumulative.iter().enumerate() {
                        // Floats as OpenMetrics wants them, in both formats: they are labels that queries name.
                        let bound =
                            BOUNDS.get(at).map_or("+Inf".to_owned(), |us| format!("{:?}", *us as f64 / 1e6));
                        self.sample(name, "_bucket", labels, Some(("le", &bound)), number);
                    }
                    let count = cumulative.last().copied().unwrap_or_default();
                    self.sample(name, "_sum", labels, None, &histogram.sum().as_secs_f64());
                    self.sample(name, "_count", labels, None, &count);
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
        value: &dyn fmt::Display,
    ) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        let labels = labels.iter().map(|(name, value)| (*name, &**value)).chain(more);
        let mut before = '{';
        for (name, value) in labels {
            // Writing to a String does not fail.
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Family, Metrics, Reading, collect};
    use std::time::Duration;

    #[test]
    fn writes_what_prometheus_reads() {
        static ASKED: Family = Family { name: "asked_total", help: "Questions." };
        static ODD: Family = Family { name: "odd_count", help: "A counter by another name." };
        static OPEN: Family = Family { name: "open", help: "Open." };
        static TIMES: Family = Family { name: "times_seconds", help: "Times." };
        let metrics = Metrics::default();
        let counter = metrics.counter(&ASKED, vec![("server", "a\"b\\c\nd".to_owned())]);
        counter.add_one();
        let odd = metrics.statuses(&ODD, Vec::new());
        odd.add_one(401);
        let histogram = metrics.histogram(&TIMES, Vec::new());
        histogram.observe(Duration::from_millis(3));
        let open = Reading::gauge(&OPEN, Vec::new(), || 2.5);
        let families = collect(&metrics, [&open, &open].into_iter());
        let text = String::from_utf8(page(Format::Prometheus, &families)).unwrap();
        assert!(text.starts_with(
            "# HELP asked_total Questions.\n# TYPE asked_total counter\nasked_total{server=\"a\\\"b\\\\c\\nd\"} 1\n\
             # HELP odd_count A counter by another name.\n# TYPE odd_count counter\nodd_count{status=\"401\"} 1\n\
             # HELP open Open.\n# TYPE open gauge\nopen 2.5\n\
             # HELP times_seconds Times.\n# TYPE times_seconds histogram\ntimes_seconds_bucket{le=\"0.0005\"} 0\n"
        ));
        assert!(
            text.contains("times_seconds_bucket{le=\"0.0025\"} 0\ntimes_seconds_bucket{le=\"0.005\"} 1\n")
        );
        assert!(text.contains("times_seconds_bucket{le=\"1.0\"} 1\n"));
        assert!(text.ends_with(
            "times_seconds_bucket{le=\"+Inf\"} 1\ntimes_seconds_sum 0.003\ntimes_seconds_count 1\n"
        ));
        let text = String::from_utf8(page(Format::OpenMetrics, &families)).unwrap();
        assert!(text.starts_with("# HELP asked Questions.\n# TYPE asked counter\nasked_total{server="));
        assert!(text.contains("# TYPE odd_count unknown\nodd_count{status=\"401\"} 1\n"));
        assert!(text.ends_with("times_seconds_count 1\n# EOF\n"));
    }

    #[test]
    fn open_metrics_is_for_those_who_name_it() {
        let accepted = |field: &'static str| Format::accepted([field.as_bytes()].into_iter());
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accepted(prometheus), Format::OpenMetrics);
        for plain in [
            "",
            "*/*",
            "text/html, */*;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=nonsense, text/plain",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.2, text/plain;q=0.4",
        ] {
            assert_eq!(accepted(plain), Format::Prometheus, "{plain}");
        }
    }
}
