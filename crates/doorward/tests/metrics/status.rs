//! The status page, as JSON and in a browser.

use serde_json::Value;

use super::browser::Browser;
use super::gateway::Gateway;
use super::support::wait_for;

const STATUS: &str = "location = /status { status; } auth_limit_log_level info;";

fn json(gateway: &Gateway) -> Value {
    let answer = gateway.get("/status?format=json", "");
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_json_is_what_its_page_says() {
    let gateway = Gateway::start(STATUS);
    gateway.load();
    let status = json(&gateway);
    let documented = include_str!("../../../../docs/status.md");
    for (member, value) in status.as_object().unwrap() {
        let kind = match value {
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "other",
        };
        assert!(documented.contains(&format!("| `{member}` | {kind} |")), "docs/status.md: {member}, {kind}");
    }
    let families = status["families"].as_array().unwrap();
    let sample = |name: &str, labels: &[(&str, &str)]| {
        let family = families.iter().find(|family| family["name"] == *name).unwrap();
        let samples = family["samples"].as_array().unwrap();
        let found = samples.iter().find(|s| labels.iter().all(|(name, value)| s["labels"][*name] == **value));
        found.unwrap().clone()
    };
    let asked = [("server", "www.example.com"), ("location", "/ask")];
    assert_eq!(sample("nginx_http_auth_request_total", &asked)["value"], 6.0);
    let times = sample("nginx_http_auth_request_time_seconds", &asked);
    assert_eq!(times["count"], 6);
    assert!(times["sum"].as_f64().unwrap() > 0.0);
    let buckets = times["buckets"].as_array().unwrap();
    assert!(buckets.iter().all(|bucket| bucket["le"].is_f64() && bucket["count"].is_u64()));
    // A key that is no address is nobody's to see.
    let banned = status["banned"].as_array().unwrap();
    assert_eq!(banned.len(), 1);
    assert_eq!(banned[0]["zone"], "guesses");
    assert!(banned[0]["key"].as_str().unwrap().starts_with('#'), "{banned:?}");
    assert!((1..=600).contains(&banned[0]["seconds"].as_u64().unwrap()));
    assert!(!status.to_string().contains("guesser"));
}

#[test]
fn the_page_or_the_json_is_what_is_asked_for() {
    let gateway = Gateway::start(STATUS);
    let page = gateway.get("/status", "Accept: text/html,*/*\r\n");
    assert!(page.head.contains("Content-Type: text/html; charset=utf-8"), "{}", page.head);
    assert!(
        page.head.contains("Content-Security-Policy: default-src 'none'; script-src 'nonce-"),
        "{}",
        page.head
    );
    assert!(page.head.contains("Cache-Control: no-store"), "{}", page.head);
    assert!(!page.body.contains("NONCE"));
    let other = gateway.get("/status", "");
    assert_ne!(page.body, other.body, "a nonce is for one answer");
    let json = gateway.get("/status", "Accept: application/json\r\n");
    assert!(json.head.contains("Content-Type: application/json"), "{}", json.head);
    let posted = super::support::send(
        gateway.port,
        "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(posted.status, 405);
}

/// The page at one size of a window: it shows what happens, goes on by itself, and fits.
fn looks_right(width: u32, height: u32) {
    let gateway = Gateway::start(STATUS);
    gateway.load();
    let browser = Browser::start(width, height);
    browser.open(&format!("http://127.0.0.1:{}/status", gateway.port));
    wait_for("the page has its numbers", || browser.text("#state") == "live");
    let auth = browser.text("#auth");
    assert!(auth.contains("www.example.com") && auth.contains("/ask-refused"), "{auth}");
    let upstreams = browser.text("#upstreams");
    assert!(upstreams.contains("service") && upstreams.contains("gone"), "{upstreams}");
    assert_eq!(browser.text("#upstreams tbody td.good"), "up");
    assert_eq!(browser.text("#upstreams tbody td.warn"), "4", "what the server that is gone has failed");
    assert!(browser.text("#reasons").contains("unreachable"));
    assert!(browser.text("#banned").contains("guesses"));
    // What happens while somebody looks is seen without a click.
    let before = browser.text("#auth tbody tr:first-child td:nth-child(4)");
    assert_eq!(before, "6");
    gateway.ask(4, "/", "", 200);
    wait_for("the page has counted them", || {
        browser.text("#auth tbody tr:first-child td:nth-child(4)") == "10"
    });
    // Nothing but a table of its own scrolls to the side.
    let widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
    assert!(widths[0].as_u64().unwrap() <= u64::from(width), "{widths} of {width}");
    assert_eq!(browser.complaints(), [""; 0]);
    // A gateway that is gone is seen to be.
    drop(gateway);
    wait_for("the page has no news", || browser.text("#state").starts_with("no news"));
}

#[test]
fn the_page_on_a_desk() {
    looks_right(1280, 900);
}

#[test]
fn the_page_on_a_phone() {
    looks_right(360, 740);
}
