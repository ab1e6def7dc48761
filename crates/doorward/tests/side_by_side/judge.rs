//! Compares two servers with each other, and one of them with what the case expects.

use crate::case::{Case, Expect, Step};
use crate::client::Answer;
use crate::over::Over;
use crate::run::Seen;

/// Fails with the first difference between Doorward and nginx.
pub(crate) fn equal(case: &Case, ours: &Seen, theirs: &Seen) -> Result<(), String> {
    if let (Some(ours), Some(theirs)) = (&ours.check, &theirs.check) {
        same("whether -t accepts the configuration", &ours.0.to_string(), &theirs.0.to_string())?;
        // Doorward may say more than nginx; what nginx says it says too.
        let missing = theirs.1.iter().find(|line| !ours.1.contains(line));
        return match missing {
            Some(line) => Err(difference("what -t says", &ours.1.join("\n"), line)),
            None => Ok(()),
        };
    }
    for (at, (ours, theirs)) in ours.answers.iter().zip(&theirs.answers).enumerate() {
        same(&format!("answer {}", at + 1), &show(ours), &show(theirs))?;
    }
    same("number of answers", &ours.answers.len().to_string(), &theirs.answers.len().to_string())?;
    same("ends of connections", &ours.ends.join(" "), &theirs.ends.join(" "))?;
    for (name, requests) in &theirs.services {
        let none = Vec::new();
        let got = ours.services.get(name).unwrap_or(&none);
        let text = |requests: &[String]| match case.over {
            Over::Http2 => requests.iter().map(|request| grouped(request)).collect::<Vec<_>>().join("\n--\n"),
            Over::Http1 | Over::Tls => requests.join("\n--\n"),
        };
        same(&format!("what {name} saw"), &text(got), &text(requests))?;
    }
    for (name, text) in &theirs.logs {
        same(name, ours.logs.get(name).map_or("", String::as_str), text)?;
    }
    Ok(())
}

/// Fails where the same server did something else over another protocol than over HTTP/1: decided otherwise, asked
/// services otherwise, logged otherwise.
pub(crate) fn alike(over_other: &Seen, over_http1: &Seen) -> Result<(), String> {
    let answers = |seen: &Seen| {
        let shown = seen.answers.iter().map(|answer| {
            let mut answer = answer.clone();
            answer.line = answer.status().unwrap_or_default().to_string();
            answer.end = "";
            answer.fields.retain(|(name, _)| !OF_HTTP1.iter().any(|own| own.eq_ignore_ascii_case(name)));
            in_words_of_http1(&show(&answer))
        });
        shown.collect::<Vec<_>>().join("\n--\n")
    };
    same("the answers, from those over HTTP/1,", &answers(over_other), &answers(over_http1))?;
    for (name, requests) in &over_http1.services {
        let none = Vec::new();
        let got = over_other.services.get(name).unwrap_or(&none);
        let text = |requests: &[String]| {
            in_words_of_http1(
                &requests.iter().map(|request| grouped(request)).collect::<Vec<_>>().join("\n--\n"),
            )
        };
        same(&format!("what {name} saw, from that over HTTP/1,"), &text(got), &text(requests))?;
    }
    for (name, text) in &over_http1.logs {
        let got = over_other.logs.get(name).map_or("", String::as_str);
        same(&format!("{name}, from that over HTTP/1,"), &in_words_of_http1(got), &in_words_of_http1(text))?;
    }
    Ok(())
}

/// The words of a case, and what is compared with them: over HTTP/2 both are folded.
fn in_words_of(case: &Case, text: &str) -> String {
    if case.over == Over::Http2 { in_words_of_http1(text) } else { text.to_owned() }
}

/// Fields of an answer that say how HTTP/1 carries it.
const OF_HTTP1: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "content-length"];

/// A request of a service with its fields in the order of their names: HTTP/2 carries cookies apart, and an order only
/// among fields of one name.
fn grouped(request: &str) -> String {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines: Vec<&str> = head.lines().collect();
    if let Some(fields) = lines.get_mut(1..) {
        fields.sort_by_key(|line| line.split(':').next().map(str::to_ascii_lowercase));
    }
    format!("{}\n\n{body}", lines.join("\n"))
}

/// Small letters, since names of fields have no others in HTTP/2, and the version and scheme of HTTP/1 without TLS.
fn in_words_of_http1(text: &str) -> String {
    text.to_lowercase()
        .replace("http/2.0", "http/1.1")
        .replace("http/2 ", "http/1.1 ")
        .replace("https://", "http://")
}

/// Fails with the first expectation of the case that this server does not meet. The words of a case are those of
/// HTTP/1; over another protocol names of fields have small letters.
pub(crate) fn expected(case: &Case, seen: &Seen) -> Result<(), String> {
    for (at, step) in case.steps.iter().enumerate() {
        let answers = seen.marks.get(at).and_then(|mark| seen.answers.get(..*mark)).unwrap_or_default();
        match step {
            Step::Expect(expect) => {
                let answer = answers.last().ok_or("an expectation before the first answer")?;
                meets(answer, expect)?;
            }
            Step::Saw(name, what) => saw(case, seen, name, what)?,
            Step::Log(text) => {
                let all: String = seen.logs.values().map(|log| in_words_of(case, log)).collect();
                holds("the access logs", all.lines(), &in_words_of(case, text))?;
            }
            Step::Error(text) => holds("the error log", seen.errors.iter().map(String::as_str), text)?,
            Step::ConfigError(text) => {
                let (accepted, lines) = seen.check.as_ref().ok_or("-t was not run")?;
                if *accepted {
                    return Err(format!("-t accepts the configuration: {}", lines.join("\n")));
                }
                holds("what -t says", lines.iter().map(String::as_str), text)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn meets(answer: &Answer, expect: &Expect) -> Result<(), String> {
    let shown = show(answer);
    let (met, what) = match expect {
        Expect::Status(status) => (answer.status() == Some(*status), format!("status {status}")),
        Expect::Field(name, value) => {
            (answer.values(name).any(|own| own == value), format!("field {name}: {value}"))
        }
        Expect::NoField(name) => (answer.values(name).next().is_none(), format!("no field {name}")),
        Expect::Body(body) => {
            let own = answer.body.strip_suffix(b"\n").unwrap_or(&answer.body);
            let body = body.strip_suffix(b"\n").unwrap_or(body);
            (own == body, format!("body {}", String::from_utf8_lossy(body)))
        }
        Expect::InBody(part) => (
            part.is_empty() || answer.body.windows(part.len()).any(|window| window == part),
            format!("in the body {}", String::from_utf8_lossy(part)),
        ),
        Expect::Nothing => (answer.line.is_empty() && answer.body.is_empty(), "no answer".to_owned()),
    };
    if met { Ok(()) } else { Err(difference("an answer", &shown, &what)) }
}

fn saw(case: &Case, seen: &Seen, name: &str, what: &str) -> Result<(), String> {
    let requests = seen.services.get(name).ok_or(format!("no service {name}"))?;
    let requests: Vec<String> = requests.iter().map(|request| in_words_of(case, request)).collect();
    let count = |word: &str| what.strip_suffix(word).and_then(|number| number.trim().parse::<usize>().ok());
    if what == "nothing" {
        return same(&format!("what {name} saw"), &requests.join("\n--\n"), "");
    }
    if let Some(number) = count("requests") {
        return same(&format!("requests of {name}"), &requests.len().to_string(), &number.to_string());
    }
    if let Some(number) = count("connections") {
        let own = seen.connections.get(name).copied().unwrap_or(0);
        return same(&format!("connections of {name}"), &own.to_string(), &number.to_string());
    }
    let what = &in_words_of(case, what);
    if let Some(absent) = what.strip_prefix('!') {
        let found = requests.iter().flat_map(|request| request.lines()).find(|line| line.starts_with(absent));
        return same(&format!("what {name} should not see"), found.unwrap_or(""), "");
    }
    let text = requests.join("\n--\n");
    holds(&format!("what {name} saw"), text.lines(), what)
}

fn holds<'a>(where_: &str, lines: impl Iterator<Item = &'a str>, text: &str) -> Result<(), String> {
    let lines: Vec<&str> = lines.collect();
    if lines.iter().any(|line| line.contains(text)) {
        return Ok(());
    }
    Err(difference(where_, &lines.join("\n"), text))
}

fn same(what: &str, ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    // Of a long text that which is about the first difference.
    let lines = ours.lines().zip(theirs.lines()).take_while(|(ours, theirs)| ours == theirs).count();
    let from = |text: &str| text.lines().skip(lines.saturating_sub(12)).collect::<Vec<_>>().join("\n");
    Err(difference(what, &from(ours), &from(theirs)))
}

fn difference(what: &str, got: &str, wanted: &str) -> String {
    format!("{what} differs\n--- got\n{}\n--- wanted\n{}", short(got), short(wanted))
}

fn show(answer: &Answer) -> String {
    let mut text = answer.line.clone();
    for (name, value) in &answer.fields {
        text += &format!("\n{name}: {value}");
    }
    text + "\n\n" + &String::from_utf8_lossy(&answer.body) + answer.end
}

/// A megabyte in a message helps nobody.
fn short(text: &str) -> String {
    if text.len() <= 1200 {
        return text.to_owned();
    }
    let start: String = text.chars().take(1200).collect();
    format!("{start}... ({} bytes)", text.len())
}
