//! Runs every case of `tests/cases` on Doorward and on nginx and compares what each of them did.
//!
//! `cargo test --test side_by_side -- locate` runs the cases whose names hold "locate". `DOORWARD_BINARY` names
//! another binary to test, `DOORWARD_ORACLE` another nginx. How a case is written stands in `cases/README.md`.

mod case;
mod client;
mod fold;
mod judge;
mod mock;
mod names;
mod oracle;
mod quoted;
mod room;
mod run;
mod satisfy;
mod script;
mod server;
mod transport;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs};

use libtest_mimic::{Arguments, Failed, Trial};

use case::Case;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    let mut files: Vec<(String, Result<String, String>)> = case_files(&folder)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&folder).unwrap_or(&path).with_extension("").display().to_string();
            (name, fs::read_to_string(&path).map_err(|error| error.to_string()))
        })
        .collect();
    files.push(("access/satisfy".to_owned(), Ok(satisfy::file())));
    for (name, text) in files {
        match text.and_then(|text| case::read(&text)) {
            Ok(cases) => trials.extend(cases.into_iter().map(|case| trial(&name, case))),
            // A file that cannot be read is a failing test, not a silent gap.
            Err(error) => trials.push(Trial::test(name, move || Err(Failed::from(error)))),
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(file: &str, case: Case) -> Trial {
    let name = format!("{file}::{}", case.name.replace(' ', "_"));
    let case = Arc::new(case);
    let test = name.clone();
    Trial::test(name, move || {
        let alone = case.hosts().is_empty() || room::is_here();
        if alone { compare(&case) } else { room::enter(&test) }.map_err(Failed::from)
    })
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
        let seen = run::run(case, &doorward, fold)?;
        return judge::expected(case, &seen).map_err(|error| format!("Doorward: {error}"));
    }
    let (ours, theirs) = std::thread::scope(|scope| {
        if room::is_here() {
            // There is one port and one folder of each name.
            return (run::run(case, &doorward, fold), run::run(case, &oracle.binary, fold));
        }
        let theirs = scope.spawn(|| run::run(case, &oracle.binary, fold));
        let ours = run::run(case, &doorward, fold);
        (ours, theirs.join().unwrap_or_else(|_| Err("the thread ended early".to_owned())))
    });
    let theirs = theirs.map_err(|error| format!("nginx: {error}"))?;
    judge::expected(case, &theirs)
        .map_err(|error| format!("the case expects what nginx does not do: {error}"))?;
    let ours = ours.map_err(|error| format!("Doorward: {error}"))?;
    judge::equal(&ours, &theirs)?;
    judge::expected(case, &ours).map_err(|error| format!("Doorward: {error}"))
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
