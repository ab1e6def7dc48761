//! What administration says: lines for people, or objects.

use std::io::{ErrorKind, Write as _};

use auth::store::Time;
use serde_json::Value;

use crate::time::iso8601;

/// Writes a text as it is.
pub fn text(text: &str) {
    // A reader that closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A list: columns with a head, or an object on each line.
pub struct List {
    head: Option<&'static [&'static str]>,
    json: bool,
}

impl List {
    /// An empty list.
    pub fn new(json: bool, head: &'static [&'static str]) -> List {
        List { head: Some(head), json }
    }

    /// Shows records, each as its cells and as an object.
    pub fn show(&mut self, records: &[(Vec<String>, Value)]) -> Result<(), String> {
        let mut text = String::new();
        if self.json {
            for (_, object) in records {
                text.push_str(&object.to_string());
                text.push('\n');
            }
        } else {
            let head = self.head.take().map(|head| head.iter().map(|&name| name.to_owned()).collect());
            let rows: Vec<Vec<String>> =
                head.into_iter().chain(records.iter().map(|(cells, _)| cells.clone())).collect();
            columns(&rows, &mut text);
        }
        match std::io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("the list cannot be written: {error}"))
            }
            _ => Ok(()),
        }
    }
}

fn columns(rows: &[Vec<String>], text: &mut String) {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let wide = width(column).unwrap_or(0);
            line.push_str(&format!("{cell:wide$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Text that does nothing to a terminal. An empty one is a dash.
pub fn shown(text: &str) -> String {
    match text {
        "" => "-".into(),
        text => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
    }
}

/// A moment.
pub fn moment(time: Time) -> String {
    let mut text = Vec::new();
    iso8601(time.0, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A moment that may not be; empty then.
pub fn maybe(time: Option<Time>) -> String {
    time.map(moment).unwrap_or_default()
}
