//! The numbers as JSON; docs/status.md says what is in it.

use serde_json::{Map, Value, json};

use super::Bans;
use crate::exchange::Exchange;
use crate::metrics::{self, BOUNDS, Kind, Labels, Shown};
use crate::modules::prometheus;
use crate::product;

/// The version of the shape: it changes when a reader would have to.
const SHAPE: u32 = 1;

/// The numbers of this moment.
pub fn of(ex: &Exchange<'_>) -> Vec<u8> {
    let (seconds, milliseconds) = net::clock::wall();
    let families: Vec<Value> = prometheus::numbers(ex).iter().map(family).collect();
    let banned: Vec<Value> = ex.visit.config.bans.iter().flat_map(Bans::latest).collect();
    let text = json!({
        "shape": SHAPE,
        "version": product::VERSION,
        "time": seconds * 1000 + u64::from(milliseconds),
        "families": families,
        "banned": banned,
    });
    text.to_string().into_bytes()
}

fn family(shown: &Shown) -> Value {
    let kind = match shown.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let samples: Vec<Value> = shown.samples.iter().map(|(labels, value)| sample(labels, value)).collect();
    json!({ "name": shown.family.name, "help": shown.family.help, "type": kind, "samples": samples })
}

fn sample(labels: &Labels, value: &metrics::Value) -> Value {
    let labels: Map<String, Value> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
    match value {
        metrics::Value::Number(number) => json!({ "labels": labels, "value": number }),
        metrics::Value::Times(histogram) => {
            let cumulative = histogram.cumulative();
            let buckets: Vec<Value> = BOUNDS
                .iter()
                .zip(&cumulative)
                .map(|(us, count)| json!({ "le": *us as f64 / 1e6, "count": count }))
                .collect();
            json!({
                "labels": labels,
                "count": cumulative.last().copied().unwrap_or_default(),
                "sum": histogram.sum().as_secs_f64(),
                "buckets": buckets,
            })
        }
    }
}
