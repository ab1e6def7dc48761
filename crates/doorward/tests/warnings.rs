//! What the program says of traps in a configuration, and how it exits then.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const TRAP: &str = "location /a { deny all; return 200 x; }";
const HARMLESS: &str = "location /a { deny all; return 403; }";

/// Runs the program on a configuration with one server.
fn run(server: &str, arguments: &[&str]) -> (Output, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("conf")).unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    let text = format!(
        "pid nginx.pid; error_log stderr;\nevents {{ }}\nhttp {{ access_log off; server {{ listen unix:server.sock;\n{server}\n}} }}\n"
    );
    fs::write(folder.path().join("conf/nginx.conf"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .args(["-e", "stderr", "-p"])
        .arg(folder.path())
        .args(arguments)
        .output()
        .unwrap();
    (output, folder)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_test_passes_with_warnings_unless_it_is_strict() {
    let (output, folder) = run(TRAP, &["-t"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let place = format!("in {}/conf/nginx.conf:4\n", folder.path().display());
    assert!(
        stderr(&output).starts_with("nginx: [warn] \"deny\" protects nothing here"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains(&place), "{}", stderr(&output));
    assert!(stderr(&output).ends_with("test is successful\n"), "{}", stderr(&output));

    for arguments in [&["-t", "--strict"], &["--strict", "-T"]] {
        let (output, _folder) = run(TRAP, arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).ends_with("test failed\n"), "{}", stderr(&output));
    }
    let (output, _folder) = run(HARMLESS, &["-t", "--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn strict_is_for_tests_alone() {
    let (output, _folder) = run(HARMLESS, &["--strict"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "nginx: option \"--strict\" requires -t or -T\n");
}
