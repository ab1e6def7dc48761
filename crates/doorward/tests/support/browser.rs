//! A real browser, headless, driven through chromedriver (W3C WebDriver).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{free_ports, wait_for};

/// A browser with one window.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with a window of this size, in CSS pixels.
    pub fn start(width: u32, height: u32) -> Browser {
        let [port] = free_ports();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver (Debian's package chromium-driver)");
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser { driver, port, session: String::new(), _profile: profile };
        wait_for("chromedriver listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        let profile = browser._profile.path().display();
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
                format!("--user-data-dir={profile}"),
            ],
            // Narrower than a window can be: as on a phone.
            "mobileEmulation": { "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1.0 } },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = browser.ask("POST", "/session", &wanted);
        browser.session = answer["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.ask_window("POST", "url", &json!({ "url": url }));
    }

    /// What a script in the page returns.
    pub fn run(&self, script: &str) -> Value {
        let script = json!({ "script": script, "args": [] });
        self.ask_window("POST", "execute/sync", &script)
    }

    /// What the page shows of an element and those in it; empty where it is not there.
    pub fn text(&self, selector: &str) -> String {
        let found =
            self.run(&format!("const e = document.querySelector('{selector}'); return e ? e.innerText : ''"));
        found.as_str().unwrap().to_owned()
    }

    /// What the page complained of since the last time.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask_window("POST", "se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// Asks for something of the window: a command of WebDriver's and what goes with it.
    pub fn ask_window(&self, method: &str, command: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}/{command}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        let (head, body) = exchange(self.port, &request);
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}{body}");
        serde_json::from_str::<Value>(&body).unwrap()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            exchange(self.port, &format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Head and body of an answer; chromedriver keeps its connections, whatever is asked for.
fn exchange(port: u16, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    // The first answer comes when the browser has been started.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}
