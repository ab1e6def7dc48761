//! Runs every case of `tests/cases` on Doorward and on nginx and compares what each of them did.
//!
//! `cargo test --test side_by_side -- locate` runs the cases whose names hold "locate". `DOORWARD_BINARY` names
//! another binary to test, `DOORWARD_ORACLE` another nginx. How a case is written stands in `cases/README.md`.

mod case;
mod client;
mod fold;
mod hpack;
mod http1;
mod http2;
mod judge;
mod mock;
mod names;
mod oracle;
mod over;
mod quoted;
mod request;
mod room;
mod run;
mod satisfy;
mod script;
mod server;
mod tls;
mod transport;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};

use case::Case;
use over::Over;

/// The cases that are written by a program.
const SATISFY: &str = "access/satisfy";

/// Of all cases, whether enough of them run over each protocol.
const OVER: &str = "over";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    // Who runs each test in a process of its own asks for one by name: then its file alone is worth reading.
    let exact = arguments.filter.as_deref().filter(|_| arguments.exact);
    let only =
        exact.and_then(|name| name.split_once("::")).map(|(file, _)| file).filter(|file| *file != OVER);
    let is_asked_for = |name: &str| only.is_none_or(|only| only == name);
    let mut files: Vec<(String, Result<String, String>)> = case_files(&folder)
        .into_iter()
        .map(|path| {
            (path.strip_prefix(&folder).unwrap_or(&path).with_extension("").display().to_string(), path)
        })
        .filter(|(name, _)| is_asked_for(name))
        .map(|(name, path)| (name, fs::read_to_string(&path).map_err(|error| error.to_string())))
        .collect();
    if is_asked_for(SATISFY) {
        files.push((SATISFY.to_owned(), Ok(satisfy::file())));
    }
    let mut all = Vec::new();
    for (name, text) in files {
        match text.and_then(|text| case::read(&text)) {
            Ok(cases) => {
                for over in Over::ALL {
                    trials.extend(cases.iter().map(|case| trial(&name, case, over)));
                }
                all.extend(cases);
            }
            // A file that cannot be read is a failing test, not a silent gap.
            Err(error) => trials.push(Trial::test(name, move || Err(Failed::from(error)))),
        }
    }
    trials.push(Trial::test(format!("{OVER}::most_cases_are_run_over_each_protocol"), move || {
        over::most(&all).map_err(Failed::from)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(file: &str, case: &Case, over: Over) -> Trial {
    let mut name = format!("{file}::{}", case.name.replace(' ', "_"));
    if over != Over::Http1 {
        name += &format!("_over_{}", over.name());
    }
    let cannot = over.cannot(case);
    let case = case.over(over);
    let test = name.clone();
    let trial = Trial::test(name, move || {
        let alone = case.hosts().is_empty() || room::is_here();
        if alone { compare(&case) } else { room::enter(&test) }.map_err(Failed::from)
    });
    match cannot {
        None => trial,
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
    }
}

/// One case: on both servers at the same time, each with services and a folder of its own.
fn compare(case: &Case) -> Result<(), String> {
    let doorward = env::var_os("DOORWARD_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_doorward")), PathBuf::from);
    let oracle = oracle::nginx()?;
    if doorward == oracle.binary && oracle.version < case.since {
        // The cases alone are checked, with an nginx that this one does not speak of.
        return Ok(());
    }
    let fold = !oracle.keeps_by_default() && !case.asks_in_version_10();
    if case.differs || oracle.version < case.since {
        return alone(case, &doorward, fold).map_err(|error| format!("Doorward: {error}"));
    }
    let (ours, theirs) = both(|| run::run(case, &doorward, fold), || run::run(case, &oracle.binary, fold));
    let theirs = theirs.map_err(|error| format!("nginx: {error}"))?;
    let met = judge::expected(case, &theirs);
    if let (Err(error), Over::Http1) = (&met, case.over) {
        return Err(format!("the case expects what nginx does not do: {error}"));
    }
    let ours = ours.map_err(|error| format!("Doorward: {error}"))?;
    judge::equal(case, &ours, &theirs)?;
    // What nginx itself does otherwise over another protocol is no expectation of it.
    if met.is_ok() {
        judge::expected(case, &ours).map_err(|error| format!("Doorward: {error}"))
    } else {
        Ok(())
    }
}

/// A case that nginx is no judge of: it does as the case says, and the same as over HTTP/1.
fn alone(case: &Case, doorward: &Path, fold: bool) -> Result<(), String> {
    if case.over == Over::Http1 {
        return judge::expected(case, &run::run(case, doorward, fold)?);
    }
    let plain = case.over(Over::Http1);
    let (seen, over_http1) = both(|| run::run(case, doorward, fold), || run::run(&plain, doorward, fold));
    let (seen, over_http1) = (seen?, over_http1?);
    judge::expected(case, &seen)?;
    judge::alike(&seen, &over_http1)
}

/// Both at the same time, where each has a port and a folder of its own.
fn both<T: Send>(ours: impl FnOnce() -> T + Send, theirs: impl FnOnce() -> T + Send) -> (T, T) {
    if room::is_here() {
        return (ours(), theirs());
    }
    std::thread::scope(|scope| {
        let theirs = scope.spawn(theirs);
        let ours = ours();
        (ours, theirs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn case_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(case_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "case") {
            found.push(path);
        }
    }
    found.sort();
    found
}
