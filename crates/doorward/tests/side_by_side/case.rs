//! Reads a case file: sections shared by all its cases, then the cases, each a list of steps.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::{Version, version};
use crate::over::Over;
use crate::quoted;

/// One case, complete with what it shares with the others of its file.
#[derive(Clone, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Doorward differs from nginx on purpose, or nginx does not have it: only the expectations count.
    pub(crate) differs: bool,
    /// Older versions of nginx are not asked.
    pub(crate) since: Version,
    /// What it is run over.
    pub(crate) over: Over,
    /// What it says it cannot be run over, each with the reason.
    pub(crate) not_over: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
    sections: BTreeMap<String, String>,
}

/// One thing to do, or to expect of what was done before it.
#[derive(Clone)]
pub(crate) enum Step {
    /// A request on the open connection, and its answer.
    Ask { bytes: Vec<u8>, head: bool },
    /// Bytes alone.
    Send(Vec<u8>),
    /// One answer; after a HEAD request it has no body.
    Read { head: bool },
    /// One interim answer.
    ReadInterim,
    /// All bytes until the server closes.
    ReadAll,
    /// Milliseconds.
    Pause(u64),
    /// Nothing more will be sent.
    Shutdown,
    /// A new connection to this address (`%listen%`).
    Connect(String),
    /// The last answer has this.
    Expect(Expect),
    /// A service has seen this.
    Saw(String, String),
    /// A line of an access log holds this.
    Log(String),
    /// A line of the error log holds this.
    Error(String),
    /// `-t` fails with this sentence.
    ConfigError(String),
}

/// Part of an answer.
#[derive(Clone)]
pub(crate) enum Expect {
    Status(u16),
    Field(String, String),
    NoField(String),
    Body(Vec<u8>),
    InBody(Vec<u8>),
    /// The connection was closed without an answer.
    Nothing,
}

impl Case {
    /// The same case over this.
    pub(crate) fn over(&self, over: Over) -> Case {
        Case { over, ..self.clone() }
    }

    /// Whether anything is sent.
    pub(crate) fn asks(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Ask { .. } | Step::Send(_)))
    }

    /// The whole configuration for what the case is run over, with the placeholders as they were written.
    pub(crate) fn configuration(&self) -> String {
        self.over.configuration(&self.written())
    }

    fn written(&self) -> String {
        let section = |name: &str| self.sections.get(name).map_or("", String::as_str);
        if let Some(whole) = self.sections.get("config") {
            return whole.clone();
        }
        let server = match section("server") {
            "" => String::new(),
            content => format!("server {{\nlisten %listen%;\n{content}}}\n"),
        };
        format!(
            "daemon off;\nmaster_process off;\n%user%pid server.pid;\nerror_log error.log info;\n{}\
             events {{ worker_connections 256; {} }}\nhttp {{\n{}{server}}}\n",
            section("main"),
            section("events"),
            section("http"),
        )
    }

    /// The files to write into the server's folder.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sections
            .iter()
            .filter_map(|(name, text)| Some((name.strip_prefix("file ")?.trim(), text.as_str())))
    }

    /// The services that the configuration names, each with the text of its script.
    pub(crate) fn services(&self) -> Vec<(String, &str)> {
        let mut names: BTreeSet<String> = placeholders(&self.configuration())
            .into_iter()
            .filter(|name| !OWN.iter().any(|own| name.starts_with(own)))
            .collect();
        names.extend(self.hosts().into_iter().map(|(_, service)| service));
        for section in self.sections.keys() {
            names.extend(section.strip_prefix("upstream ").map(|name| name.trim().to_owned()));
        }
        let script =
            |name: &String| self.sections.get(&format!("upstream {name}")).map_or("", String::as_str);
        names.into_iter().map(|name| (name.clone(), script(&name))).collect()
    }

    /// The names of hosts, each with the service behind it; where there are any, the case has a machine of its own.
    pub(crate) fn hosts(&self) -> Vec<(String, String)> {
        let lines = self.sections.get("hosts").map_or("", String::as_str).lines();
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(name, service)| (name.to_owned(), service.trim().to_owned()))
            .collect()
    }

    /// What the server of names knows, where there is one.
    pub(crate) fn names(&self) -> Option<&str> {
        self.sections.get("names").map(String::as_str)
    }

    /// Whether HTTP/1.0 towards upstreams is asked for, and not only an old default.
    pub(crate) fn asks_in_version_10(&self) -> bool {
        self.configuration().contains("proxy_http_version 1.0")
    }
}

/// Placeholders that are no services.
const OWN: [&str; 6] = ["listen", "down", "dir", "user", "guide", "names"];

/// The words between per cent signs.
pub(crate) fn placeholders(text: &str) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.lines().flat_map(|line| line.split('%').skip(1)).filter(is_name).map(str::to_owned).collect()
}

/// Reads the cases of a file.
pub(crate) fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut shared = Case::default();
    let mut cases: Vec<Case> = Vec::new();
    let mut section: Option<String> = None;
    for (at, line) in text.lines().enumerate() {
        let current = cases.last_mut();
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { name: name.trim().to_owned(), ..shared.clone() });
            section = None;
        } else if let Some(name) = line.strip_prefix("--- ") {
            section = Some(name.trim().to_owned()).filter(|name| name != "do");
            if let Some(name) = &section {
                current.unwrap_or(&mut shared).sections.insert(name.clone(), String::new());
            }
        } else if let Some(name) = &section {
            let content = current.unwrap_or(&mut shared).sections.entry(name.clone()).or_default();
            content.push_str(line);
            content.push('\n');
        } else if let Some(case) = current {
            step(case, line).map_err(|error| format!("line {}: {error}: {line}", at + 1))?;
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            return Err(format!("line {}: belongs to no section and no case: {line}", at + 1));
        }
    }
    for case in &mut cases {
        finish(&mut case.steps);
    }
    Ok(cases)
}

fn step(case: &mut Case, line: &str) -> Result<(), String> {
    if let Some(more) = line.strip_prefix("  ") {
        let Some(Step::Ask { bytes, .. }) = case.steps.last_mut() else {
            return Err("an indented line belongs to a request".to_owned());
        };
        return match more.strip_prefix("= ") {
            Some(text) => {
                let body = quoted::body(text)?;
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                bytes.extend(body);
                Ok(())
            }
            None => {
                bytes.extend(quoted::unescape(more)?);
                bytes.extend(b"\r\n");
                Ok(())
            }
        };
    }
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest_text = rest.trim().to_owned();
    let step = match word {
        "" => return Ok(()),
        "#" => {
            if let Some(number) = rest.strip_prefix("nginx >= ") {
                case.since = version(number);
            }
            if let Some((over, reason)) =
                rest.strip_prefix("not over ").and_then(|text| text.split_once(": "))
            {
                case.not_over.push((over.to_owned(), reason.to_owned()));
            }
            case.differs |= rest.starts_with("differs: D") || rest == "Doorward's own";
            return Ok(());
        }
        "send" => Step::Send(quoted::strings(rest)?),
        "read" if rest == "all" => Step::ReadAll,
        "read" if rest == "interim" => Step::ReadInterim,
        "read" => Step::Read { head: rest == "HEAD" },
        "pause" => Step::Pause(rest.parse().map_err(|_| "not milliseconds")?),
        "shutdown" => Step::Shutdown,
        "new" => Step::Connect("%listen%".to_owned()),
        "on" => Step::Connect(rest_text),
        "<=" => Step::Expect(Expect::Body(quoted::body(rest)?)),
        "<~" => Step::Expect(Expect::InBody(quoted::unescape(rest)?)),
        "<" => Step::Expect(expect(&rest_text)?),
        "saw" => {
            let (name, what) = rest.split_once(": ").ok_or("write: saw NAME: TEXT")?;
            Step::Saw(name.to_owned(), what.to_owned())
        }
        "log:" => Step::Log(rest_text),
        "error:" => Step::Error(rest_text),
        "config-error:" => Step::ConfigError(rest_text),
        method if method.chars().all(|c| c.is_ascii_uppercase() || c == '-') => ask(method, rest),
        _ => return Err("not a step".to_owned()),
    };
    case.steps.push(step);
    Ok(())
}

fn ask(method: &str, rest: &str) -> Step {
    let (target, version) = match rest.rsplit_once(" HTTP/") {
        Some((target, version)) => (target, version),
        None => (rest, "1.1"),
    };
    Step::Ask { bytes: format!("{method} {target} HTTP/{version}\r\n").into_bytes(), head: method == "HEAD" }
}

fn expect(text: &str) -> Result<Expect, String> {
    if text == "nothing" {
        return Ok(Expect::Nothing);
    }
    if let Some(name) = text.strip_prefix('!') {
        return Ok(Expect::NoField(name.to_owned()));
    }
    if let Some((name, value)) = text.split_once(':') {
        return Ok(Expect::Field(name.to_owned(), value.trim().to_owned()));
    }
    text.parse().map(Expect::Status).map_err(|_| "neither a status nor a field".to_owned())
}

/// Gives every request a Host and the end of its head, unless it has them.
fn finish(steps: &mut [Step]) {
    for step in steps {
        let Step::Ask { bytes, .. } = step else { continue };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let head = text.split("\r\n\r\n").next().unwrap_or("").to_ascii_lowercase();
        if !text.contains("\r\n\r\n") {
            bytes.extend(b"\r\n");
        }
        if !head.contains("\r\nhost:") && !head.contains(" http/1.0") {
            let line = text.find("\r\n").map_or(0, |end| end + 2);
            bytes.splice(line..line, *b"Host: localhost\r\n");
        }
    }
}
