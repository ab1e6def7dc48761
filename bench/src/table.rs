//! The printed table: medians of the rounds, and Doorward's share of what nginx takes.

use crate::load::Sample;
use crate::options::Options;
use crate::rows::Row;

/// The two lines above the rows.
pub(crate) fn head() -> String {
    format!(
        "\n{:14} | {:^26} | {:^26} | {:^26}\n{:14} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8} | {:>8} {:>8} {:>8}\n{}",
        "",
        "CPU us/request",
        "user us/request",
        "requests/s",
        "row",
        "doorward",
        "nginx",
        "ratio",
        "doorward",
        "nginx",
        "ratio",
        "doorward",
        "nginx",
        "ratio",
        "-".repeat(101)
    )
}

/// One row of the table.
pub(crate) fn lines(row: &Row, samples: &[Vec<Sample>; 2]) -> String {
    let mut line = format!("{:14}", row.name);
    for (what, digits) in [(cpu as fn(&Sample) -> f64, 2), (user, 2), (rate, 0)] {
        let [doorward, nginx] = samples.each_ref().map(|all| median(all.iter().map(what).collect()));
        line += &format!(" | {doorward:8.digits$} {nginx:8.digits$} {:8.2}", doorward / nginx);
    }
    line + "\n"
}

/// What the figures are made from.
pub(crate) fn foot(options: &Options) -> String {
    format!(
        "\nMedians of {} rounds of {} s in turns; below 1.00 Doorward takes less CPU, above 1.00 it answers more requests.\n\
         In proxy-metrics, auth-metrics, auth-cache, jwt-hs256, jwt-rs256 and jwt-es256 Doorward without what they name\n\
         stands in nginx's place; in jwt-asked nginx asks a service by auth_request.",
        options.rounds, options.seconds
    )
}

fn cpu(sample: &Sample) -> f64 {
    sample.cpu
}

fn user(sample: &Sample) -> f64 {
    sample.user
}

fn rate(sample: &Sample) -> f64 {
    sample.rate
}

/// The middle value; of an even number of values the upper middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
