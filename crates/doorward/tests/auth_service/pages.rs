//! The pages in a real browser: refused, logged in and back, logged out, refused.

use serde_json::json;

use crate::browser::Browser;
use crate::support::{Gateway, wait_for};

const HTTP: &str = r#"
http {
    access_log off;
    default_type text/html;
    auth_service main {
        auth_store   sqlite:{dir}/auth.db;
        auth_session login=/login;
        auth_realm   "Example staff";
    }
    server {
        listen 127.0.0.1:{port2};
        location / { return 200 "<!doctype html><title>inside</title><p>hello $http_x_user_name at $request_uri"; }
    }
    server {
        listen 127.0.0.1:{port};
        auth main;
        location / { proxy_pass http://127.0.0.1:{port2}; }
        location = /login { auth_login main; }
        location = /logout { auth_logout main; }
    }
}
"#;

impl Browser {
    fn url(&self) -> String {
        self.ask_window("GET", "url", &json!({})).as_str().unwrap().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let found =
            self.ask_window("POST", "element", &json!({ "using": "css selector", "value": selector }));
        let (_, id) = found.as_object().unwrap().iter().next().unwrap();
        format!("element/{}", id.as_str().unwrap())
    }

    fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.ask_window("POST", &format!("{element}/value"), &json!({ "text": text }));
    }

    fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.ask_window("POST", &format!("{element}/click"), &json!({}));
    }

    fn log_in(&self, user: &str, password: &str) {
        if !user.is_empty() {
            self.type_into("#user", user);
        }
        self.type_into("#password", password);
        self.click("button");
    }
}

#[test]
fn refused_logged_in_back_where_one_was_logged_out_and_refused() {
    let gateway = Gateway::start(HTTP);
    gateway.add_user("ada", "correct horse");
    // Browsers keep cookies with `__Host-` from their own machine, also without TLS, whatever it is called.
    for host in ["localhost", "127.0.0.1"] {
        let site = format!("http://{host}:{}", gateway.port);
        let page = format!("{site}/a/page?x=1&y=%2F");
        let browser = Browser::start(1280, 800);
        browser.open(&page);
        assert!(browser.url().starts_with(&format!("{site}/login?return=")), "{}", browser.url());
        assert_eq!(browser.text("h1"), "Example staff");
        assert_eq!(browser.run("return document.activeElement.id"), "user");

        browser.log_in("ada", "wrong");
        // A click does not wait for the answer.
        wait_for("the page says why not", || {
            browser.text("[role=alert]") == "User name or password is wrong."
        });
        // The name is still there, and the password is what is typed next.
        assert_eq!(browser.run("return document.activeElement.id"), "password");
        browser.log_in("", "correct horse");
        wait_for("one is back", || browser.url() == page);
        assert_eq!(browser.text("p"), "hello ada at /a/page?x=1&y=%2F");

        browser.open(&format!("{site}/logout"));
        assert_eq!(browser.text("button"), "Log out");
        browser.open(&page);
        assert_eq!(browser.url(), page, "looking at the page ends no session");
        browser.open(&format!("{site}/logout"));
        browser.click("button");
        wait_for("one is out", || browser.url() == format!("{site}/login"));
        browser.open(&page);
        assert!(browser.url().starts_with(&format!("{site}/login?return=")), "{}", browser.url());
        // A browser tells of each page that was answered with 401, and of nothing else.
        let complaints = browser.complaints();
        assert!(complaints.iter().all(|line| line.contains("status of 401")), "{complaints:?}");
    }
}

#[test]
fn the_pages_fit_a_phone() {
    let gateway = Gateway::start(HTTP);
    let browser = Browser::start(320, 640);
    for path in ["login", "logout"] {
        browser.open(&format!("http://localhost:{}/{path}", gateway.port));
        assert_eq!(browser.run("return document.documentElement.scrollWidth"), 320, "{path}");
        // As large as a finger, and text that a phone does not zoom in on.
        let large = "return document.querySelector('button').offsetHeight >= 44 \
                     && [...document.querySelectorAll('input')].every(i => parseFloat(getComputedStyle(i).fontSize) >= 16)";
        assert_eq!(browser.run(large), true, "{path}");
    }
}
