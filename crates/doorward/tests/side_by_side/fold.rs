//! Folds away what may differ between two servers: ports, folders, dates, product names, old defaults.

use std::collections::BTreeMap;
use std::io::Read;

use crate::client::Answer;
use crate::mock::Request;

/// What to replace in the texts of one side.
pub(crate) struct Fold {
    names: Vec<(String, String)>,
    /// The oracle asks upstreams in HTTP/1.0, closes, and writes Host among the fields that were set: leave out
    /// version, Connection and the order of names.
    old: bool,
}

impl Fold {
    pub(crate) fn new(values: &BTreeMap<String, String>, old: bool) -> Self {
        let mut names = Vec::new();
        for (name, value) in values.iter().filter(|(name, _)| *name != "user") {
            names.push((value.clone(), format!("%{name}%")));
            if let Some((_, port)) = value.rsplit_once(':') {
                names.push((format!(":{port}"), format!(":%{name}%")));
            }
        }
        Self { names, old }
    }

    fn text(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        match str::from_utf8(bytes) {
            Ok(text) => boundary(&product_page(&self.text(text))).into_bytes(),
            Err(_) => bytes.to_vec(),
        }
    }

    /// An answer: fields in the order of their names, those with a time or a product without it.
    pub(crate) fn answer(&self, answer: &mut Answer) {
        unpack(answer);
        let body = self.bytes(&answer.body);
        let length = answer.body.len().to_string();
        // Where the product's name was in a page, its length is no longer that of the text compared.
        let renamed = body.len() != answer.body.len() && find(&answer.body, b"<hr><center>");
        let date = answer.values("date").next().and_then(seconds);
        for (name, value) in &mut answer.fields {
            *value = match name.to_ascii_lowercase().as_str() {
                "date" => "DATE".to_owned(),
                "expires" => from_date(value, date).unwrap_or_else(|| value.clone()),
                "server" => product(value),
                "content-length" if renamed && *value == length => "OF THE PAGE".to_owned(),
                _ => boundary(&self.text(value)),
            };
        }
        answer.fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        answer.body = if answer.line.is_empty() { raw(&body) } else { body };
    }

    /// A request that a service saw, as text.
    pub(crate) fn request(&self, request: &Request) -> String {
        let mut text =
            if self.old { request.line.replace(" HTTP/1.0", " HTTP/1.1") } else { request.line.clone() };
        let mut fields: Vec<&String> = request.fields.iter().collect();
        if self.old {
            fields.retain(|field| !field.eq_ignore_ascii_case("connection: close"));
            fields.sort_by_key(|field| field.split(':').next().map(str::to_ascii_lowercase));
        }
        for field in fields {
            text += &format!("\n{field}");
        }
        self.text(&text) + "\n\n" + &self.text(&String::from_utf8_lossy(&request.body))
    }

    /// An access log: dates in brackets have no place in a comparison, nor do lengths of pages with a product's name.
    pub(crate) fn log(&self, text: &str, pages: &[String]) -> String {
        let mut lines = String::new();
        for line in text.lines() {
            let line = match (line.find('['), line.find("000]")) {
                (Some(from), Some(to)) if from < to => {
                    format!("{}[DATE{}", line.get(..from).unwrap_or(""), line.get(to + 3..).unwrap_or(""))
                }
                _ => line.to_owned(),
            };
            let line = pages.iter().fold(line, |line, page| line.replace(page, "\" A PAGE \""));
            lines += &self.text(&line);
            lines.push('\n');
        }
        lines
    }

    /// Levels and sentences of an error log, or of what `-t` prints, without who and when.
    pub(crate) fn sentences(&self, text: &str) -> Vec<String> {
        text.lines()
            .filter_map(|line| line.find('[').and_then(|at| line.get(at..)))
            .map(|line| {
                let (level, rest) = line.split_once("] ").unwrap_or(("", line));
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '#');
                let rest = rest.strip_prefix(": ").unwrap_or(rest);
                let rest = match rest.strip_prefix('*').and_then(|counted| counted.split_once(' ')) {
                    Some((_, sentence)) => sentence,
                    None => rest,
                };
                self.text(&format!("{level}] {rest}"))
            })
            .collect()
    }
}

/// A time that is given in seconds from now, as it is from the answer's own date: two servers are asked one after the
/// other. `None` for one that was not made from the date: a day is more than any case asks for.
fn from_date(value: &str, date: Option<i64>) -> Option<String> {
    let seconds = seconds(value)? - date?;
    (seconds.abs() <= 86_400).then(|| format!("DATE{seconds:+}"))
}

/// A date as fields have it, in seconds since 1970.
fn seconds(value: &str) -> Option<i64> {
    i64::try_from(wire::date::parse(value.as_bytes())?).ok()
}

/// A compressed body as what is in it, as far as it came: each server may have packed it in its way.
fn unpack(answer: &mut Answer) {
    let is_packed = |(name, value): &(String, String)| {
        name.eq_ignore_ascii_case("content-encoding") && value.eq_ignore_ascii_case("gzip")
    };
    if answer.fields.iter().any(is_packed) {
        let mut unpacked = Vec::new();
        // One that is cut off is an error behind what there was of it, and the answer says that it was cut off.
        let whole = flate2::bufread::GzDecoder::new(&answer.body[..]).read_to_end(&mut unpacked);
        if whole.is_ok() || !unpacked.is_empty() {
            answer.body = unpacked;
        }
    }
}

/// Status and length of a built-in page as the usual format of an access log has them.
pub(crate) fn page_in_log(answer: &Answer) -> Option<String> {
    let is_page = find(&answer.body, b"<hr><center>");
    is_page.then(|| Some(format!("\" {} {} \"", answer.status()?, answer.body.len())))?
}

/// `nginx/1.28.3` and `doorward` alike; whether there is a version stays visible.
fn product(value: &str) -> String {
    let (name, version) = value.split_once('/').map_or((value, None), |(name, rest)| (name, Some(rest)));
    if !["nginx", "doorward"].contains(&name.to_ascii_lowercase().as_str()) {
        return value.to_owned();
    }
    if version.is_some() { "PRODUCT/VERSION" } else { "PRODUCT" }.to_owned()
}

/// The footer of a built-in page.
fn product_page(text: &str) -> String {
    let open = "<hr><center>";
    let Some((before, rest)) = text.split_once(open) else { return text.to_owned() };
    let Some((name, after)) = rest.split_once("</center>") else { return text.to_owned() };
    format!("{before}{open}{}</center>{after}", product(name))
}

/// nginx separates parts with a number of twenty digits.
fn boundary(text: &str) -> String {
    let mut folded = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        folded += if digits.len() == 20 { "BOUNDARY" } else { &digits };
        digits.clear();
        if c != '\0' {
            folded.push(c);
        }
    }
    folded
}

/// Bytes that were read without being understood: the date and the product are in the middle of them.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(bytes) else { return bytes.to_vec() };
    let renamed = text.contains("<hr><center>");
    let line = |line: &str| {
        let Some((name, value)) = line.split_once(": ") else { return line.to_owned() };
        match name {
            "Date" => "Date: DATE\r".to_owned(),
            "Server" => format!("Server: {}\r", product(value.trim())),
            "Content-Length" if renamed => "Content-Length: OF THE PAGE\r".to_owned(),
            _ => line.to_owned(),
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
