//! `doorward lint`: all that there is to say about a configuration, also where files, users or hosts of it are missing here.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use conf::{Diagnostic, Disk, Severity, Sources};

use super::flags::Flags;
use crate::compile::{Paths, look};
use crate::modules::access_log::escape_json;

/// `lint FILE [--json]`: nothing to say is 0, warnings 1, errors 2; notes do not count.
pub fn run(flags: &Flags, file: Option<PathBuf>, json: bool) -> ExitCode {
    let path = file.unwrap_or_else(|| flags.configuration());
    let path = std::path::absolute(&path).unwrap_or(path);
    let (mut tree, mut said) = conf::load_leniently(&path, &mut Disk);
    let paths = Paths {
        prefix: flags.prefix(),
        conf_prefix: path.parent().map(PathBuf::from).unwrap_or_default(),
        packaged: flags.prefix.is_none(),
        // What only root's start looks at is looked at, too.
        as_root: true,
    };
    said.extend(look(&mut tree, paths));
    said.sort_by_key(|what| what.span.map(|span| (span.file, span.start)));
    let count = |severity| said.iter().filter(|what| what.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let mut text = Vec::new();
    for what in &said {
        text.extend(line(what, &tree.sources, json));
    }
    let shown = path.display().to_string();
    text.extend(if json {
        let counts = format!("\"errors\":{errors},\"warnings\":{warnings},\"notes\":{notes}}}\n");
        [b"{\"summary\":\"", &*quoted(&shown), b"\",", counts.as_bytes()].concat()
    } else {
        format!("{shown}: {errors} errors, {warnings} warnings, {notes} notes\n").into_bytes()
    });
    // A reader that closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(&text);
    match (errors, warnings) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

fn line(what: &Diagnostic, sources: &Sources, json: bool) -> Vec<u8> {
    let severity = match what.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    // What stands around a part of a configuration has no place.
    let span = what.span.filter(|span| span.line > 0);
    if json {
        let mut text = format!("{{\"severity\":\"{severity}\"").into_bytes();
        if let Some(span) = span {
            let place = sources.place(span);
            let file = place.strip_suffix(&format!(":{}", span.line)).unwrap_or(&place);
            text.extend([b",\"file\":\"", &*quoted(file), b"\",\"line\":"].concat());
            text.extend(span.line.to_string().into_bytes());
        }
        text.extend([b",\"message\":\"", &*quoted(&what.message), b"\""].concat());
        if let Some(remedy) = &what.remedy {
            text.extend([b",\"remedy\":\"", &*quoted(remedy), b"\""].concat());
        }
        text.extend_from_slice(b"}\n");
        return text;
    }
    if std::io::stdout().is_terminal() {
        return format!("{}\n", what.rich(sources)).into_bytes();
    }
    let place = span.map(|span| format!("{}: ", sources.place(span))).unwrap_or_default();
    let remedy = what.remedy.as_ref().map(|remedy| format!("    {remedy}\n")).unwrap_or_default();
    format!("{place}{severity}: {}\n{remedy}", what.message).into_bytes()
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    escape_json(text.as_bytes(), &mut out);
    out
}
