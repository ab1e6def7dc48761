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

/// Lints a configuration in a folder of its own; the folder is `@` in the output.
fn lint(files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .arg("lint")
        .arg(folder.path().join("nginx.conf"))
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(stderr(&output), "");
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), files.len(), "lint leaves no files behind: {left:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text.replace(&folder.path().display().to_string(), "@"))
}

#[test]
fn lint_tells_clean_strange_and_wrong_apart() {
    let of =
        |server: &str| format!("events {{ }}\nhttp {{ access_log logs/a.log; server {{ {server} }} }}\n");
    let (code, text) = lint(&[("nginx.conf", &of(HARMLESS))], &[]);
    assert_eq!((code, &*text), (Some(0), "@/nginx.conf: 0 errors, 0 warnings, 0 notes\n"));
    let (code, text) = lint(&[("nginx.conf", &of("sendfile on;"))], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("@/nginx.conf:2: note: \"sendfile\" directive has no effect here"), "{text}");
    let (code, text) = lint(&[("nginx.conf", &of(TRAP))], &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("@/nginx.conf:2: warning: \"deny\" protects nothing here"), "{text}");
    let (code, text) = lint(&[("nginx.conf", &of(&format!("{TRAP} gzpi on;")))], &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.ends_with("1 errors, 1 warnings, 0 notes\n"), "{text}");
}

#[test]
fn lint_goes_on_behind_what_is_missing_or_unknown() {
    let main = "events { }\nhttp {\ninclude gone.conf;\nupstream u { server host.invalid; }\nserver {\nlisten 80 wrong;\n\
                js_set $who x;\nstatus_zone z;\nlocation /a { proxy_set_header X $who$other;\nproxy_pass http://u; }\n\
                location ~ ( { }\ninclude part.conf;\n} }\n";
    let part = "location /b {\ndeny all; return 200 x; }";
    let (code, text) = lint(&[("nginx.conf", main), ("part.conf", part)], &[]);
    assert_eq!(code, Some(2), "{text}");
    for line in [
        "@/nginx.conf:3: error: open() \"@/gone.conf\" failed (2: No such file or directory)\n    correct",
        "@/nginx.conf:4: error: host not found in upstream \"host.invalid\"\n    check",
        "@/nginx.conf:6: error: invalid parameter \"wrong\"\n",
        "@/nginx.conf:7: error: unknown directive \"js_set\"\n    it belongs to the module njs",
        "@/nginx.conf:8: error: \"status_zone\" directive is not supported: it belongs to the commercial NGINX Plus",
        "@/nginx.conf:9: error: unknown \"other\" variable\n",
        "@/nginx.conf:11: error: pcre2_compile() failed: missing closing parenthesis",
        "@/part.conf:2: warning: \"deny\" protects nothing here",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // What `js_set` would have defined is not missed.
    assert!(!text.contains("\"who\""), "{text}");
    assert!(text.ends_with("@/nginx.conf: 7 errors, 1 warnings, 0 notes\n"), "{text}");
}

#[test]
fn lint_takes_a_part_of_a_configuration() {
    let (code, text) = lint(&[("nginx.conf", "location /a {\nauth_request /auth; }\n")], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("note: this is looked at as a part of server"), "{text}");
}

#[test]
fn lint_speaks_json_by_the_line() {
    let main = format!("events {{ }}\nhttp {{ server {{\n{TRAP} }} }}\n");
    let (code, text) = lint(&[("nginx.conf", &main)], &["--json"]);
    assert_eq!(code, Some(1), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let start =
        r#"{"severity":"warning","file":"@/nginx.conf","line":3,"message":"\"deny\" protects nothing here: "#;
    assert!(lines[0].starts_with(start), "{text}");
    assert!(lines[0].contains(r#"","remedy":"let what"#) && lines[0].ends_with(r#" { ... }`"}"#), "{text}");
    assert_eq!(lines[1], r#"{"summary":"@/nginx.conf","errors":0,"warnings":1,"notes":0}"#);
}
