//! What is in `contrib`: a real Prometheus reads a real gateway under load, and understands every query.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::gateway::Gateway;
use super::support::{free_ports, get, wait_for};

const MORE: &str = "location /unchecked { auth_request /ask-gone; auth_request_on_error allow; proxy_pass http://service/; }";

fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib").join(path)
}

fn promtool(arguments: &[&str]) {
    let output =
        Command::new("promtool").args(arguments).current_dir(contrib("prometheus")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn the_alerts_do_what_their_tests_say() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "doorward.test.yml"]);
}

/// Every query of the dashboard, with its variables filled in.
fn queries_of_dashboard() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(contrib("grafana/doorward.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let queries: Vec<String> = targets
        .chain(annotations)
        .map(|target| target["expr"].as_str().unwrap())
        .map(|expr| expr.replace("$instance", ".*").replace("$__rate_interval", "30s"))
        .collect();
    assert!(queries.len() > 20, "the dashboard has its queries somewhere else now");
    queries
}

/// Every query of the alerts, from the rules as Prometheus has read them.
fn queries_of_alerts(prometheus: &Prometheus) -> Vec<(String, String)> {
    let groups = prometheus.ask("/api/v1/rules")["groups"].clone();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let text = |rule: &Value, member: &str| rule[member].as_str().unwrap().to_owned();
    rules.map(|rule| (text(rule, "name"), text(rule, "query"))).collect()
}

/// The names of metrics in a query.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let known = ["nginx_", "nginxplus_", "doorward_", "process_"];
    let ours = words.filter(|word| known.iter().any(|start| word.starts_with(start)));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

struct Prometheus {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that reads a gateway every second, with our rules.
    fn start(gateway: &Gateway) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        fs::copy(contrib("prometheus/doorward.rules.yml"), folder.path().join("doorward.rules.yml")).unwrap();
        let configuration = fs::read_to_string(contrib("prometheus/prometheus.yml")).unwrap();
        let configuration = configuration.replace("15s", "1s").replace("9113", &gateway.port.to_string());
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .expect("prometheus (Debian's package prometheus)");
        let prometheus = Prometheus { child, port, _folder: folder };
        wait_for("Prometheus is ready", || {
            std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).is_ok()
                && get(port, "/-/ready", "").status == 200
        });
        prometheus
    }

    /// The data of an answer of its API.
    fn ask(&self, path: &str) -> Value {
        let answer = get(self.port, path, "");
        let value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!(value["status"], "success", "{path}: {} {}", answer.status, answer.body);
        value["data"].clone()
    }

    /// The values of a query at this moment, with the labels of each.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let result = self.ask(&format!("/api/v1/query?query={encoded}"))["result"].clone();
        let number = |sample: &Value| sample["value"][1].as_str().unwrap().parse().unwrap();
        result.as_array().unwrap().iter().map(|s| (s["metric"].clone(), number(s))).collect()
    }

    /// The only value of a query, 0 where there is none.
    fn number(&self, query: &str) -> f64 {
        self.query(query).first().map_or(0.0, |(_, number)| *number)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_reads_a_gateway_under_load() {
    let gateway = Gateway::start(MORE);
    let prometheus = Prometheus::start(&gateway);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for path in ["/", "/unreachable", "/unchecked", "/cached", "/decided", "/forbidden"] {
                    gateway.get(path, "Authorization: Bearer token\r\n");
                }
                gateway.get("/refused", "X-Key: guesser\r\n");
            }
        });
        // What is asked of Prometheus must not keep the load from ending when it fails.
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| compare(&gateway, &prometheus)));
        done.store(true, Ordering::Relaxed);
        load.join().unwrap();
        seen.unwrap();
    });
    // At rest, Prometheus has the very numbers that the gateway has.
    let asked = |text: &str| {
        let start = "nginx_http_auth_request_total{server=\"www.example.com\",location=\"/ask\"} ";
        text.lines().find_map(|line| line.strip_prefix(start)).unwrap().parse::<f64>().unwrap()
    };
    let told = asked(&gateway.metrics());
    wait_for("Prometheus has the last numbers", || {
        prometheus.number("nginx_http_auth_request_total{location=\"/ask\"}") == told
    });
}

fn compare(gateway: &Gateway, prometheus: &Prometheus) {
    wait_for("the gateway is up", || prometheus.number("up{job=\"doorward\"}") == 1.0);
    // What it reads has the form that it asked for.
    let targets = prometheus.ask("/api/v1/targets")["activeTargets"].clone();
    assert_eq!(targets[0]["lastError"], "", "{targets}");
    wait_for("rates are known", || {
        prometheus.number("sum(rate(nginx_http_auth_request_total{location=\"/ask\"}[30s]))") > 0.0
    });
    let known: BTreeSet<String> = gateway
        .metrics()
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    let alerts = queries_of_alerts(prometheus);
    assert!(alerts.len() > 8);
    for query in queries_of_dashboard().iter().chain(alerts.iter().map(|(_, query)| query)) {
        for metric in metrics_of(query) {
            assert!(known.contains(&metric), "no metric {metric}, which is asked for: {query}");
        }
        prometheus.query(query);
    }
    // A service that does not answer is an alert, and so is who passes without.
    let state = |alert: &str| format!("count(ALERTS{{alertname=\"{alert}\", location=\"/ask-gone\"}})");
    for alert in ["DoorwardAuthServiceFailing", "DoorwardAuthUnchecked"] {
        wait_for(alert, || prometheus.number(&state(alert)) == 1.0);
    }
    let failing = prometheus.query("ALERTS{alertname=\"DoorwardAuthServiceFailing\"}");
    assert!(failing.iter().all(|(labels, _)| labels["location"] == "/ask-gone"), "{failing:?}");
    let banned = prometheus.number("doorward_auth_limit_banned_keys{zone=\"guesses\"}");
    assert_eq!(banned, 1.0);
}
