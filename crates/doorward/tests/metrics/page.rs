//! The page at `prometheus`: its numbers, its forms, its manual, and that clients cannot make it longer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::gateway::Gateway;
use crate::support::{send, wait_for};

#[test]
fn what_happened_is_counted() {
    let gateway = Gateway::start("");
    gateway.load();
    let page = gateway.metrics();
    let number = |series: &str| value(&page, series);
    let service = gateway.service_address();
    for (series, expected) in [
        ("nginx_http_auth_request_total{server=\"www.example.com\",location=\"/ask\"}", 6.0),
        (
            "nginx_http_auth_request_status_count{server=\"www.example.com\",location=\"/ask-refused\",status=\"401\"}",
            3.0,
        ),
        (
            "nginx_http_auth_request_time_seconds_count{server=\"www.example.com\",location=\"/ask-forbidden\"}",
            2.0,
        ),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"refused\"}", 3.0),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"limited\"}", 2.0),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"forbidden\"}", 2.0),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"unreachable\"}", 2.0),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"no_credentials\"}", 1.0),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"bad_credentials\"}", 1.0),
        ("doorward_auth_failures_total{server=\"www.example.com\",reason=\"address\"}", 2.0),
        ("doorward_auth_limit_bans_total{zone=\"guesses\"}", 1.0),
        ("doorward_auth_limit_banned_keys{zone=\"guesses\"}", 1.0),
        ("nginxplus_server_zone_responses{server_zone=\"www.example.com\",code=\"2xx\"}", 13.0),
        ("nginxplus_server_zone_responses{server_zone=\"www.example.com\",code=\"4xx\"}", 13.0),
        ("nginxplus_server_zone_responses_codes{server_zone=\"www.example.com\",code=\"503\"}", 1.0),
        // The one that asks for the page is under way.
        ("nginxplus_server_zone_requests{server_zone=\"www.example.com\"}", 31.0),
        ("nginxplus_server_zone_processing{server_zone=\"www.example.com\"}", 1.0),
        (
            "doorward_auth_cache_requests_total{server=\"www.example.com\",zone=\"decisions\",status=\"hit\"}",
            2.0,
        ),
        ("nginxplus_cache_miss_responses{cache=\"answers\"}", 1.0),
        ("nginxplus_cache_hit_responses{cache=\"answers\"}", 2.0),
        ("nginxplus_limit_request_passed{zone=\"requests\"}", 1.0),
        ("nginxplus_limit_request_rejected{zone=\"requests\"}", 1.0),
        ("nginxplus_limit_connection_passed{zone=\"connections\"}", 1.0),
        ("doorward_zone_keys{zone=\"requests\"}", 1.0),
        ("doorward_reloads_total{result=\"success\"}", 0.0),
        ("nginx_up", 1.0),
    ] {
        assert_eq!(number(series), expected, "{series}");
    }
    let asked = format!("{{upstream=\"auth\",server=\"{service}\"}}");
    assert_eq!(number(&format!("nginxplus_upstream_server_requests{asked}")), 11.0);
    assert_eq!(number(&format!("nginxplus_upstream_server_state{asked}")), 1.0);
    assert_eq!(number(&format!("nginxplus_upstream_server_active{asked}")), 0.0);
    assert_eq!(number(&format!("doorward_upstream_header_time_seconds_count{asked}")), 11.0);
    let failed =
        page.lines().find(|line| line.starts_with("nginxplus_upstream_server_fails{upstream=\"gone\""));
    assert!(failed.is_some_and(|line| line.ends_with(" 4")), "{failed:?}");
    let unknown = "{upstream=\"named\",server=\"service.test:81\"}";
    assert_eq!(number(&format!("nginxplus_upstream_server_state{unknown}")), 4.0);
    assert_eq!(number(&format!("nginxplus_upstream_server_requests{unknown}")), 0.0);
    assert!(number("process_resident_memory_bytes") > 1e6);
    assert!(number("process_start_time_seconds") > 1.7e9);
}

#[test]
fn clients_make_no_series() {
    let gateway = Gateway::start("");
    gateway.load();
    let before = series(&gateway.metrics());
    for n in 0..300 {
        let path = ["/", "/refused", "/cached", "/limited", "/password", "/no/such"][n % 6];
        let (method, host) = (["GET", "BREW", "POST"][n % 3], format!("host-{n}.example.org"));
        let request = format!(
            "{method} {path}/{n}?{n}={n} HTTP/1.1\r\nHost: {host}\r\nX-Key: key{n}\r\nAuthorization: Bearer token-{n}\r\n\
             Cookie: session={n}\r\nUser-Agent: agent-{n}\r\nX-Forwarded-For: 10.0.0.{n}\r\nConnection: close\r\n\r\n"
        );
        send(gateway.port, &request);
    }
    send(gateway.port, "nonsense\r\n\r\n");
    send(gateway.port, "GET / HTTP/1.1\r\n\r\n");
    let page = gateway.metrics();
    // A status that this program gives is a new number by status, of which there are five hundred at most.
    let is_new = |line: &String| !before.contains(line) && !line.contains("_codes{");
    let new: Vec<String> = series(&page).into_iter().filter(is_new).collect();
    assert_eq!(new, Vec::<String>::new());
    assert!(!page.contains("host-") && !page.contains("token-") && !page.contains("key1"));
}

#[test]
fn reloads_are_known_to_whom_they_are_shown() {
    let gateway = Gateway::start("");
    let number = |series: &str| value(&gateway.metrics(), series);
    gateway.ask(3, "/", "", 200);
    let good = fs::read_to_string(gateway.path("nginx.conf")).unwrap();
    fs::write(gateway.path("nginx.conf"), good.replace("return 204", "return now")).unwrap();
    gateway.signal(Signal::SIGHUP);
    wait_for("a failure is counted", || number("doorward_reloads_total{result=\"failure\"}") == 1.0);
    assert_eq!(number("doorward_config_last_reload_successful"), 0.0);
    assert_eq!(number("doorward_config_generation"), 0.0);
    fs::write(gateway.path("nginx.conf"), good).unwrap();
    gateway.signal(Signal::SIGHUP);
    wait_for("a success is counted", || number("doorward_config_generation") == 1.0);
    assert_eq!(number("doorward_reloads_total{result=\"success\"}"), 1.0);
    assert_eq!(number("doorward_reloads_total{result=\"failure\"}"), 1.0);
    assert_eq!(number("doorward_config_last_reload_successful"), 1.0);
    // What was counted before goes on.
    assert_eq!(number("nginx_http_auth_request_total{server=\"www.example.com\",location=\"/ask\"}"), 3.0);
}

/// Names that promtool would have otherwise, and that others have given: nginx-prometheus-exporter, and the guide.
const GIVEN: [&str; 3] = ["nginxplus_", "nginx_connections_", "nginx_http_auth_request_status_count"];

#[test]
fn promtool_likes_it() {
    let gateway = Gateway::start("");
    gateway.load();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(gateway.metrics().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| {
            let given = GIVEN.iter().any(|name| line.starts_with(name));
            let of_names =
                line.ends_with("should have \"_total\" suffix") || line.ends_with("\"_count\" suffix");
            !(given && of_names)
        })
        .collect();
    assert_eq!(complaints, Vec::<&str>::new());
}

#[test]
fn open_metrics_is_the_same_in_another_form() {
    let gateway = Gateway::start("");
    gateway.load();
    let answer = gateway.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(
        answer.head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
    );
    assert!(answer.body.ends_with("\n# EOF\n"));
    assert_eq!(answer.body.matches("# EOF").count(), 1);
    // The names of series do not depend on who asks.
    assert_eq!(series(&answer.body), series(&gateway.metrics()));
}

const TOKENS: &str = r#"
    location /token { auth_jwt x; auth_jwt_key_request /keys; proxy_pass http://service/; }
    location = /keys { internal; return 200 '{"kty":"oct","kid":"hs","alg":"HS256","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}'; }
    location /keyless { auth_jwt x; auth_jwt_key_request /gone; proxy_pass http://service/; }
    location = /gone { internal; return 204; }
"#;

#[test]
fn tokens_are_counted_by_what_becomes_of_them() {
    let gateway = Gateway::start(TOKENS);
    let token =
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImhzIn0.eyJzdWIiOiJhbm4ifQ.__h5XG-cvimvTr78kvntTcc3j9yoJMxLns5Qhrxry5s";
    let get = |path: &str, token: &str| {
        gateway.get(path, &format!("Authorization: Bearer {token}\r\n"));
    };
    for _ in 0..3 {
        get("/token", token);
    }
    get("/token", "a.b.c");
    get("/token", "");
    get("/keyless", token);
    let page = gateway.metrics();
    let of = |result: &str| {
        value(&page, &format!("doorward_jwt_tokens_total{{server=\"www.example.com\",result=\"{result}\"}}"))
    };
    assert_eq!((of("checked"), of("known"), of("refused")), (1.0, 2.0, 1.0));
    let asked = |location: &str, result: &str| {
        let labels = format!("server=\"www.example.com\",location=\"{location}\",result=\"{result}\"");
        value(&page, &format!("doorward_jwt_key_requests_total{{{labels}}}"))
    };
    // Not for what no key could make right.
    assert_eq!((asked("/keys", "answered"), asked("/keys", "failed")), (3.0, 0.0));
    assert_eq!((asked("/gone", "answered"), asked("/gone", "failed")), (0.0, 1.0));
    assert_eq!(value(&page, "doorward_jwt_known_tokens"), 1.0);
    let failures = |reason: &str| {
        let labels = format!("server=\"www.example.com\",reason=\"{reason}\"");
        value(&page, &format!("doorward_auth_failures_total{{{labels}}}"))
    };
    assert_eq!((failures("bad_token"), failures("no_keys"), failures("no_credentials")), (1.0, 1.0, 1.0));
    // What is told of them is what the manual says.
    let manual = Manual::read();
    for (name, (kind, help)) in families(&page).iter().filter(|(name, _)| name.contains("_jwt_")) {
        let (told_kind, labels, meaning) = &manual.rows[name];
        assert_eq!((told_kind, meaning), (kind, help), "{name}");
        for line in page.lines().filter(|line| name_of(line) == *name) {
            assert_eq!(*labels, labels_of(line), "{name}");
        }
    }
}

#[test]
fn the_manual_names_what_there_is() {
    let manual = Manual::read();
    let gateway = Gateway::start("");
    gateway.load();
    let page = gateway.metrics();
    for (name, (kind, help)) in families(&page) {
        let Some((told_kind, labels, meaning)) = manual.rows.get(&name) else {
            panic!("docs/metrics.md does not know {name}")
        };
        assert_eq!((told_kind, meaning), (&kind, &help), "{name}");
        for line in page.lines().filter(|line| name_of(line) == name) {
            assert_eq!(*labels, labels_of(line), "{name}");
        }
    }
    let told: BTreeSet<String> = manual.rows.into_keys().collect();
    let mut written = BTreeSet::new();
    find_families(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut written);
    assert_eq!(told, written, "docs/metrics.md (left) and the program (right) differ");
}

/// docs/metrics.md: kind, labels and meaning by name.
struct Manual {
    rows: BTreeMap<String, (String, Vec<String>, String)>,
}

impl Manual {
    fn read() -> Manual {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let text = fs::read_to_string(path).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `")).map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, labels, meaning] = cells[..] else { panic!("no row of four: {line}") };
            let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
            let labels = labels.filter(|label| !label.is_empty()).collect();
            (name.trim_matches('`').to_owned(), (kind.to_owned(), labels, meaning.to_owned()))
        });
        Manual { rows: rows.collect() }
    }
}

/// The names of every family that the program's source declares.
fn find_families(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_families(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for declared in text.split("Family {").skip(1) {
            let name = declared.trim_start().strip_prefix("name: \"").and_then(|rest| rest.split('"').next());
            names.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
}

/// Kind and help of each family on a page.
fn families(page: &str) -> BTreeMap<String, (String, String)> {
    let mut helps = BTreeMap::new();
    let mut families = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name.to_owned(), help.to_owned());
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), helps.remove(name).unwrap()));
        }
    }
    families
}

/// Every series of a page, without its value.
fn series(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

/// The value of a series.
fn value(page: &str, series: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

/// The family of a line with a value.
fn name_of(line: &str) -> &str {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix).filter(|stem| stem.ends_with("_seconds")))
        .unwrap_or(name)
}

/// The names of the labels of a line, but for that of a histogram's bound.
fn labels_of(line: &str) -> Vec<String> {
    let labels =
        line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
    let names =
        labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
    names.filter(|name| name != "le").collect()
}
