//! `ngx_http_log_module`: one line per request, in formats that the configuration makes.

mod format;
mod json;
mod opened;

use std::collections::HashMap;
use std::sync::Arc;

use conf::Arg::{Many, Optional, Text};
use conf::{Diagnostic, Node};

use crate::compile::Compiler;
use crate::directives;
use crate::exchange::Exchange;
use crate::log::{Level, LogFile, Pack, Syslog, system_error};
use crate::module::{Module, Scope, Settings};
use crate::plan::Plan;
use crate::variables::Template;

use format::{Escape, Format, compile};
use json::Json;
use opened::Keeping;

pub use format::escape_json;
pub use opened::Opened;

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
                        \"$http_referer\" \"$http_user_agent\"";

/// The module's tables.
pub static MODULE: Module = Module {
    name: "ngx_http_log_module",
    directives: directives! { LogSettings;
        /// Names a format for access logs: `log_format name [escape=default|json|none] string ...`.
        "log_format" in [HTTP] (Text("name"), Many(&Text("string"))) = "combined" => log_format;
        /// Logs requests: `access_log path [format [buffer=size] [gzip] [flush=time] [if=condition]]`, or `off`. Beside
        /// `combined` Doorward has the format `json`, unless a `log_format` has that name: an object a line, valid JSON
        /// whatever bytes a client sends, with the members `time` (ISO 8601 with milliseconds), `remote_addr`, `method`,
        /// `host`, `uri`, `protocol`, `status`, `bytes`, `request_time`, `upstream_addr`, `upstream_status`,
        /// `upstream_time`, `auth_status`, `auth_time`, `auth_cache_status`, `auth_reason`, `auth_user`, `request_id`,
        /// `user_agent` and `referer`; what there is none of is `null`.
        "access_log" in [HTTP SERVER LOCATION IF_IN_LOCATION LIMIT_EXCEPT] (Text("path | off"), Optional(&Many(&Text("parameter")))) = "logs/access.log combined" => access_log;
        /// Keeps log files open whose names have variables: `max=number [inactive=time] [min_uses=number] [valid=time]`,
        /// or `off`.
        "open_log_file_cache" in [HTTP SERVER LOCATION] (Text("off | max=N"), Optional(&Text("parameter")), Optional(&Text("parameter")), Optional(&Text("parameter"))) = "off" => |c, _, n| {
            conf::once(&mut c.keeping, Keeping::read(n)?, n)
        };
    },
    variables: &[],
    plan,
};

#[derive(Clone)]
struct LogLine {
    target: Target,
    format: String,
    condition: Option<Template>,
    pack: Option<Pack>,
    span: conf::Span,
}

#[derive(Clone)]
enum Target {
    File(Arc<LogFile>),
    Variable(Template),
    Syslog(Arc<Syslog>),
}

#[derive(Default)]
struct LogSettings {
    lines: Vec<LogLine>,
    off: bool,
    keeping: Option<Option<Keeping>>,
}

impl Settings for LogSettings {
    fn inherit(&mut self, outer: &Self) {
        if self.lines.is_empty() && !self.off {
            self.lines.clone_from(&outer.lines);
            self.off = outer.off;
        }
        self.keeping = self.keeping.or(outer.keeping);
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
    /// How files are kept open whose names have variables.
    keeping: Option<Keeping>,
}

/// What a line is made of.
enum Line {
    Format(Format),
    Json(Json),
}

impl Line {
    fn append(&self, ex: &Exchange<'_>, out: &mut Vec<u8>) {
        match self {
            Line::Format(format) => format.append(ex, out),
            Line::Json(json) => json.append(ex, out),
        }
    }
}

struct Log {
    target: Target,
    format: Line,
    condition: Option<Template>,
    pack: Option<Pack>,
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

fn access_log(settings: &mut LogSettings, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    if node.bytes(0) == b"off" {
        settings.off = true;
        return match node.args.get(1) {
            None => Ok(()),
            Some(word) => Err(Diagnostic::at(word.span, format!("invalid parameter \"{}\"", word.lossy()))),
        };
    }
    let word = node.word(0)?;
    let target = if let Some(parameters) = word.text.strip_prefix(b"syslog:") {
        let syslog = Syslog::read(&String::from_utf8_lossy(parameters));
        Target::Syslog(Arc::new(syslog.map_err(|sentence| Diagnostic::at(word.span, sentence))?))
    } else if conf::template::has_variables(&word.text) {
        Target::Variable(Template::compile(word, &mut cx.variables)?)
    } else {
        let path = cx.paths.in_prefix(&word.text);
        Target::File(cx.logs.open(&path))
    };
    let format = node.args.get(1).map_or("combined".into(), |word| word.lossy()).into_owned();
    let mut line = LogLine { target, format, condition: None, pack: None, span: node.span };
    parameters(&mut line, cx, node)?;
    settings.lines.push(line);
    Ok(())
}

/// `buffer=`, `flush=`, `gzip`, `if=`.
fn parameters(line: &mut LogLine, cx: &mut Compiler, node: &Node) -> Result<(), Diagnostic> {
    let (mut size, mut flush, mut level) = (None, None, None);
    for word in node.args.iter().skip(2) {
        let (text, bytes) = (word.lossy(), &*word.text);
        let bad = |what: &str, value: &[u8]| {
            Diagnostic::at(word.span, format!("{what} \"{}\"", String::from_utf8_lossy(value)))
        };
        if let Some(condition) = bytes.strip_prefix(b"if=") {
            line.condition = Some(Template::of(condition, Some(word), &mut cx.variables)?);
        } else if let Some(value) = bytes.strip_prefix(b"buffer=") {
            let bytes = conf::value::size(value).filter(|size| *size > 0);
            size = Some(bytes.ok_or_else(|| bad("invalid buffer size", value))?);
        } else if let Some(value) = bytes.strip_prefix(b"flush=") {
            let time = conf::value::msec(value).filter(|time| *time > 0);
            flush = Some(time.ok_or_else(|| bad("invalid flush time", value))?);
        } else if text == "gzip" {
            level = Some(1);
        } else if let Some(value) = bytes.strip_prefix(b"gzip=") {
            let number = conf::value::number(value).and_then(|n| u32::try_from(n).ok());
            let number = number.filter(|n| (1..=9).contains(n));
            level = Some(number.ok_or_else(|| bad("invalid compression level", value))?);
        } else {
            return Err(bad("invalid parameter", bytes));
        }
    }
    let buffered = size.is_some() || level.is_some();
    if flush.is_some() && !buffered {
        let sentence = format!("no buffer is defined for access_log \"{}\"", node.word(0)?.lossy());
        return Err(Diagnostic::at(node.span, sentence));
    }
    match line.target {
        Target::Variable(_) if buffered => {
            return Err(Diagnostic::at(node.span, "buffered logs cannot have variables in name".to_owned()));
        }
        Target::Syslog(_) if buffered => {
            return Err(Diagnostic::at(node.span, "logs to syslog cannot be buffered".to_owned()));
        }
        _ => {}
    }
    // Lines that are not packed are gathered for one turn of the event loop, and never longer: nothing waits for more
    // of its kind, and nothing is lost by a buffer.
    line.pack = level.map(|level| Pack {
        level,
        size: size.and_then(|size| usize::try_from(size).ok()).unwrap_or(64 << 10),
        flush: flush.unwrap_or(UNFLUSHED),
    });
    Ok(())
}

/// How long packed lines wait for others where no `flush` says it, in milliseconds.
const UNFLUSHED: u64 = 1000;

fn plan(cx: &mut Compiler, scope: &mut Scope, plan: &mut Plan) -> Result<(), Diagnostic> {
    let settings = scope.get_mut::<LogSettings>();
    if settings.off {
        return Ok(());
    }
    plan.logs.keeping = settings.keeping.flatten();
    let lines = settings.lines.clone();
    if lines.is_empty() {
        let path = cx.paths.unnamed(&crate::product::ACCESS_LOG);
        let target = Target::File(cx.logs.open(&path));
        let format = Line::Format(combined(cx)?);
        plan.logs.logs.push(Log { target, format, condition: None, pack: None });
        return Ok(());
    }
    for line in lines {
        let format = match cx.formats.by_name.get(&line.format) {
            Some(format) => Line::Format(format.clone()),
            None if line.format == "combined" => Line::Format(combined(cx)?),
            None if line.format == "json" => Line::Json(Json::compile(cx)),
            None => return Err(Diagnostic::at(line.span, format!("unknown log format \"{}\"", line.format))),
        };
        plan.logs.logs.push(Log { target: line.target, format, condition: line.condition, pack: line.pack });
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
        match &log.target {
            Target::File(file) => {
                line.push(b'\n');
                worker.log_lines.push(file, log.pack, &line);
            }
            Target::Variable(template) => {
                line.push(b'\n');
                write_at(ex, template, &line);
            }
            Target::Syslog(syslog) => {
                if syslog.send(&line).is_err() {
                    ex.log(Level::Warn, format_args!("send() to syslog failed"));
                }
            }
        }
        line.clear();
        worker.buffers.put(line);
    }
}

/// Writes to a file whose name has variables, if the request's own root is there: clients do not make folders' names up.
fn write_at(ex: &Exchange<'_>, name: &Template, line: &[u8]) {
    let prefix = &ex.visit.config.main.prefix;
    let root = prefix.join(crate::compile::as_path(&ex.plan.core.root.path.eval(ex)));
    if !root.is_dir() {
        let root = root.display();
        let text = format_args!("testing \"{root}\" existence failed (2: No such file or directory)");
        return ex.log(Level::Error, text);
    }
    let path = prefix.join(crate::compile::as_path(&name.eval(ex)));
    match ex.visit.worker.log_files.at(&path, ex.plan.logs.keeping) {
        Ok(file) => file.write(line),
        Err(error) => {
            let (path, error) = (path.display(), system_error(&error));
            ex.log(Level::Crit, format_args!("open() \"{path}\" failed {error}"));
        }
    }
}
