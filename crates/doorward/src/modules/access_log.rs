//! `ngx_http_log_module`: one line per request, in formats that the configuration makes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use conf::Arg::{Many, Optional, Text};
use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::LogFile;
use crate::module::{Module, Scope, Settings};
use crate::plan::Plan;
use crate::variables::{Index, Template};

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_log_module",
    directives: directives! { LogSettings;
        /// Names a format for access logs: `log_format name [escape=default|json|none] string ...`.
        "log_format" in [HTTP] (Text("name"), Many(&Text("string"))) = "combined" => log_format;
        /// Logs requests: `access_log path [format [buffer=size] [gzip] [flush=time] [if=condition]]`, or `off`.
        "access_log" in [HTTP SERVER LOCATION IF_IN_LOCATION LIMIT_EXCEPT] (Text("path | off"), Optional(&Many(&Text("parameter")))) = "logs/access.log combined" => access_log;
        /// Keeps log files open whose names have variables; files are always kept open here.
        "open_log_file_cache" in [HTTP SERVER LOCATION] (Many(&Text("parameter"))) = "off" => |_, _, _| Ok(());
    },
    variables: &[],
    plan,
};

/// How values are made safe for a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    Default,
    Json,
    None,
}

#[derive(Clone)]
struct Format {
    escape: Escape,
    parts: Vec<FormatPart>,
}

#[derive(Clone)]
enum FormatPart {
    Text(Vec<u8>),
    Variable(Index),
}

#[derive(Clone)]
struct LogLine {
    target: Target,
    format: String,
    condition: Option<Template>,
    span: conf::Span,
}

#[derive(Clone)]
enum Target {
    File(Arc<LogFile>),
    Variable(Template),
}

#[derive(Default)]
struct LogSettings {
    lines: Vec<LogLine>,
    off: bool,
}

impl Settings for LogSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.lines.is_empty() && !self.off {
            self.lines.clone_from(&outer.lines);
            self.off = outer.off;
        }
    }
}

/// Formats by name; they are the http block's.
#[derive(Default)]
pub struct Formats {
    by_name: HashMap<String, Format>,
}

/// The access logs of a location.
#[derive(Default)]
pub struct Logs {
    logs: Vec<Log>,
}

struct Log {
    target: Target,
    format: Format,
    condition: Option<Template>,
}

/// Lines of one turn of a worker's event loop, by file: they are written together before it waits again.
#[derive(Default)]
pub struct Lines {
    pending: RefCell<Vec<(Arc<LogFile>, Vec<u8>)>>,
}

impl Lines {
    fn push(&self, file: &Arc<LogFile>, line: &[u8]) {
        let mut pending = self.pending.borrow_mut();
        match pending.iter_mut().find(|(known, _)| Arc::ptr_eq(known, file)) {
            Some((_, lines)) => lines.extend_from_slice(line),
            None => pending.push((file.clone(), line.to_vec())),
        }
    }

    /// Writes what is pending.
    pub fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        for (file, lines) in pending.iter_mut() {
            if !lines.is_empty() {
                file.write(lines);
                lines.clear();
            }
        }
        // Files with variables in their names come and go.
        if pending.len() > 64 {
            pending.clear();
        }
    }
}

fn log_format(_: &mut LogSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let name = node.str(0)?.to_owned();
    if cx.formats.by_name.contains_key(&name) || name == "combined" {
        return Err(Diagnostic::at(node.span, format!("duplicate \"log_format\" name \"{name}\"")));
    }
    let mut escape = Escape::Default;
    let mut text = Vec::new();
    for (at, word) in node.args.iter().enumerate().skip(1) {
        if at == 1
            && let Some(how) = word.text.strip_prefix(b"escape=")
        {
            escape = match how {
                b"default" => Escape::Default,
                b"json" => Escape::Json,
                b"none" => Escape::None,
                _ => {
                    let sentence =
                        format!("unknown log format escaping \"{}\"", String::from_utf8_lossy(how));
                    return Err(Diagnostic::at(word.span, sentence));
                }
            };
            continue;
        }
        text.extend_from_slice(&word.text);
    }
    let format = compile(&text, escape, node.span, cx)?;
    cx.formats.by_name.insert(name, format);
    Ok(())
}

fn compile(text: &[u8], escape: Escape, span: conf::Span, cx: &mut Compiler) -> Result<Format, Diagnostic> {
    let pieces = conf::template::split(text, span)?;
    let parts = pieces.into_iter().map(|piece| match piece {
        conf::Piece::Literal(text) => FormatPart::Text(text),
        conf::Piece::Variable(name) => FormatPart::Variable(cx.variables.named(&name, Some(span))),
        conf::Piece::Capture(digit) => FormatPart::Text(format!("${digit}").into_bytes()),
    });
    Ok(Format { escape, parts: parts.collect() })
}

fn access_log(settings: &mut LogSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    if node.bytes(0) == b"off" {
        settings.off = true;
        return Ok(());
    }
    let word = node.word(0)?;
    let target = if word.text.starts_with(b"syslog:") {
        return Err(
            Diagnostic::at(word.span, "syslog is not built yet in this version").instead("log to a file")
        );
    } else if conf::template::has_variables(&word.text) {
        Target::Variable(Template::compile(word, &mut cx.variables)?)
    } else {
        let path = cx.paths.from_prefix(&word.text);
        Target::File(cx.logs.open(&path))
    };
    let mut line = LogLine { target, format: "combined".to_owned(), condition: None, span: node.span };
    for (at, word) in node.args.iter().enumerate().skip(1) {
        let text = word.lossy();
        if at == 1 && !text.contains('=') {
            line.format = text.into_owned();
        } else if let Some(condition) = word.text.strip_prefix(b"if=") {
            line.condition = Some(Template::of(condition, Some(word), &mut cx.variables)?);
        } else if text.starts_with("buffer=") || text.starts_with("flush=") || text.starts_with("gzip") {
            // Lines are gathered for one turn of the event loop, and never longer: nothing is lost by a buffer.
        } else {
            return Err(Diagnostic::at(word.span, format!("invalid parameter \"{text}\"")));
        }
    }
    settings.lines.push(line);
    Ok(())
}

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let settings = scope.get_mut::<LogSettings>();
    if settings.off {
        return Ok(());
    }
    let lines = settings.lines.clone();
    if lines.is_empty() {
        let path = cx.paths.from_prefix(b"logs/access.log");
        let target = Target::File(cx.logs.open(&path));
        let format = combined(cx)?;
        plan.logs.logs.push(Log { target, format, condition: None });
        return Ok(());
    }
    for line in lines {
        let format = match cx.formats.by_name.get(&line.format) {
            Some(format) => format.clone(),
            None if line.format == "combined" => combined(cx)?,
            None => return Err(Diagnostic::at(line.span, format!("unknown log format \"{}\"", line.format))),
        };
        plan.logs.logs.push(Log { target: line.target, format, condition: line.condition });
    }
    Ok(())
}

fn combined(cx: &mut Compiler) -> Result<Format, Diagnostic> {
    compile(COMBINED.as_bytes(), Escape::Default, conf::Span::default(), cx)
}

/// Logs a request, or a subrequest where it wants to be logged.
pub fn write(ex: &Exchange<'_>) {
    let worker = ex.visit.worker;
    for log in &ex.plan.logs.logs {
        if let Some(condition) = &log.condition {
            let value = condition.eval(ex);
            if value.is_empty() || value == b"0" {
                continue;
            }
        }
        let mut line = worker.buffers.take(256);
        log.format.append(ex, &mut line);
        line.push(b'\n');
        match &log.target {
            Target::File(file) => worker.log_lines.push(file, &line),
            Target::Variable(template) => {
                let path = ex.visit.config.main.prefix.join(crate::compile::as_path(&template.eval(ex)));
                match LogFile::at(&path) {
                    Ok(file) => file.write(&line),
                    Err(error) => {
                        let text = format_args!("open() \"{}\" failed ({error})", path.display());
                        ex.log(crate::log::Level::Crit, text);
                    }
                }
            }
        }
        line.clear();
        worker.buffers.put(line);
    }
}

impl Format {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        for part in &self.parts {
            match part {
                FormatPart::Text(text) => out.extend_from_slice(text),
                FormatPart::Variable(index) => {
                    value.clear();
                    let found = ex.variable(*index, &mut value);
                    match self.escape {
                        Escape::Default if !found => out.push(b'-'),
                        Escape::Default => escape_default(&value, out),
                        Escape::Json => escape_json(&value, out),
                        Escape::None => out.extend_from_slice(&value),
                    }
                }
            }
        }
    }
}

/// `"`, `\` and everything that is no printable ASCII as `\xXX`.
fn escape_default(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'"' | b'\\' | 0..=31 | 127..=255 => {
                out.extend_from_slice(b"\\x");
                out.push(HEX[(byte >> 4) as usize]);
                out.push(HEX[(byte & 15) as usize]);
            }
            _ => out.push(byte),
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn escape_json(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..=31 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[(byte >> 4) as usize]);
                out.push(HEX[(byte & 15) as usize]);
            }
            _ => out.push(byte),
        }
    }
}
