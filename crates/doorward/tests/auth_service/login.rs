//! Logging in: what the page takes, what it refuses, and where it leads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::support::{Answer, Gateway, doorward, send, wait_for};

pub const HTTP: &str = r#"
http {
    access_log off;
    auth_limit_zone $binary_remote_addr zone=guesses:64k rate=1r/m;
    auth_service main {
        auth_store   sqlite:{dir}/auth.db;
        auth_session login=/login return_hosts=app.example,Shop.example:8443;
        auth_realm   "Staff & <friends>";
    }
    auth_service wide {
        auth_store   sqlite:{dir}/auth.db;
        auth_session login=/wide cookie=__Secure-wide domain=example.org;
    }
    auth_service down { auth_store redis://127.0.0.1:1; auth_session; }
    server {
        listen 127.0.0.1:{port2};
        location / { return 200 "inside"; }
    }
    server {
        listen 127.0.0.1:{port};
        auth main;
        location / { add_header Who "$auth_user $auth_method" always; proxy_pass http://127.0.0.1:{port2}; }
        location = /login { auth_login main; add_header Who "$auth_user $auth_method $auth_reason" always; }
        location = /wide { auth off; auth_login wide; }
        location = /logout { auth_logout main; add_header Who "$auth_reason" always; }
        location = /limited { auth_login main; auth_limit zone=guesses burst=1; }
        location = /still { auth off; auth_logout down; add_header Who "$auth_reason" always; }
        location = /down { auth off; auth_login down; add_header Who "$auth_reason" always; }
        location = /asks { auth off; auth_request /login; proxy_pass http://127.0.0.1:{port2}; }
    }
}
"#;

impl Gateway {
    /// A user of the store in `auth.db`.
    pub fn add_user(&self, name: &str, password: &str) {
        let store = format!("sqlite:{}", self.path("auth.db").display());
        let words = ["user", "add", name, "--password-stdin", "--store", &store];
        assert!(doorward(&words, &format!("{password}\n")).status.success());
    }
}

/// A gateway whose users are ada and eve, who is disabled.
pub fn start() -> Gateway {
    let gateway = Gateway::start(HTTP);
    let store = format!("sqlite:{}", gateway.path("auth.db").display());
    gateway.add_user("ada", "correct horse");
    gateway.add_user("eve", "correct horse");
    assert!(doorward(&["user", "disable", "eve", "--store", &store], "").status.success());
    gateway
}

/// Somebody with a browser that keeps cookies, and nothing else.
pub struct Visitor {
    port: u16,
    cookies: RefCell<BTreeMap<String, String>>,
}

impl Visitor {
    pub fn of(gateway: &Gateway) -> Visitor {
        Visitor { port: gateway.port, cookies: RefCell::default() }
    }

    fn ask(&self, head: &str, body: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let answer = send(self.port, &format!("{head}{cookies}Connection: close\r\n\r\n{body}"));
        for set in answer.fields("Set-Cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n"), "")
    }

    pub fn post(&self, path: &str, form: &str, fields: &str) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{fields}",
            form.len()
        );
        self.ask(&head, form)
    }

    /// Looks at the page, fills it in, and sends it.
    pub fn log_in(&self, path: &str, user: &str, password: &str) -> Answer {
        let page = self.get(path);
        let form = format!(
            "token={}&return={}&user={user}&password={password}",
            hidden(&page, "token"),
            hidden(&page, "return").replace('&', "%26")
        );
        self.post(path.split('?').next().unwrap(), &form, "")
    }

    pub fn cookie(&self, name: &str) -> String {
        self.cookies.borrow().get(name).cloned().unwrap_or_default()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
    }
}

/// The value of a field of a page's form, as a browser reads it.
pub fn hidden(page: &Answer, name: &str) -> String {
    let (_, rest) = page.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().replace("&amp;", "&")
}

/// The sentence that a page shows.
pub fn message(page: &Answer) -> &str {
    page.body.split_once("role=\"alert\">").and_then(|(_, rest)| rest.split('<').next()).unwrap_or_default()
}

#[test]
fn the_page_says_where_one_is_and_keeps_everything_else_out() {
    let gateway = start();
    let page = Visitor::of(&gateway).get("/login?return=/a%3Fb%3D%22%3E%3Cscript%3E");
    assert_eq!((page.status, page.field("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.contains("<title>Staff &amp; &lt;friends&gt;</title>"), "{}", page.body);
    for expected in [
        "autocomplete=\"username\"",
        "autocomplete=\"current-password\"",
        "<label for=\"user\">",
        "method=\"post\"",
    ] {
        assert!(page.body.contains(expected), "{expected}");
    }
    assert!(!page.body.contains("<script") && !page.body.contains("{{"), "{}", page.body);
    assert_eq!(page.field("Cache-Control"), Some("no-store"));
    assert_eq!(page.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.field("Referrer-Policy"), Some("same-origin"));
    let policy = page.field("Content-Security-Policy").unwrap();
    let nonce = page.body.split_once("<style nonce=\"").unwrap().1.split('"').next().unwrap();
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self' https://app.example https://shop.example:8443; base-uri 'none'; frame-ancestors 'none'"
        )
    );
    let cookie = page.field("Set-Cookie").unwrap();
    let token = hidden(&page, "token");
    assert_eq!(cookie, format!("__Host-login={token}; Path=/; Secure; HttpOnly; SameSite=Strict"));
    let again = Visitor::of(&gateway).get("/login");
    assert_ne!(hidden(&again, "token"), token);
    let head = send(gateway.port, "HEAD /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let other = send(gateway.port, "DELETE /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((other.status, other.field("Allow")), (405, Some("GET, HEAD, POST")));
}

#[test]
fn who_logs_in_goes_back_and_is_known() {
    let mut gateway = start();
    let visitor = Visitor::of(&gateway);
    let sent = visitor.get("/page?a=b&c=d");
    assert_eq!(sent.status, 302);
    let answer = visitor.log_in(sent.field("Location").unwrap(), "ada", "correct+horse");
    assert_eq!((answer.status, answer.field("Location")), (303, Some("/page?a=b&c=d")), "{}", gateway.log());
    assert_eq!((answer.field("Cache-Control"), answer.field("Who")), (Some("no-store"), Some("ada login ")));
    let id = visitor.cookie("__Host-session");
    assert_eq!(
        answer.field("Set-Cookie"),
        Some(format!("__Host-session={id}; Path=/; Secure; HttpOnly; SameSite=Lax").as_str())
    );
    let inside = visitor.get("/page?a=b&c=d");
    assert_eq!(
        (inside.status, inside.body.as_str(), inside.field("Who")),
        (200, "inside", Some("ada session"))
    );
    // The cookie of a whole domain, where that is configured.
    let wide = Visitor::of(&gateway).log_in("/wide", "ada", "correct+horse");
    let cookie = wide.field("Set-Cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; Domain=example.org; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    let log = gateway.end();
    assert!(
        log.contains("user \"ada\" has logged in") && !log.contains(&id) && !log.contains("horse"),
        "{log}"
    );
}

#[test]
fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let mut gateway = start();
    let ask = |user: &str, password: &str| Visitor::of(&gateway).log_in("/login", user, password);
    let strip = |page: &Answer, user: &str| {
        let nonce = page.body.split_once("<style nonce=\"").unwrap().1.split('"').next().unwrap();
        page.body
            .replace(nonce, "")
            .replace(&hidden(page, "token"), "")
            .replace(&format!("value=\"{user}\""), "")
    };
    let wrong = ask("ada", "wrong");
    assert_eq!((wrong.status, message(&wrong)), (401, "User name or password is wrong."));
    assert!(wrong.field("WWW-Authenticate").unwrap().starts_with("Cookie realm="), "{}", wrong.head);
    assert_eq!(wrong.field("Who"), Some("  bad_credentials"));
    for (user, password) in [
        ("bob", "correct+horse"),
        ("eve", "correct+horse"),
        ("Ada", "correct+horse"),
        ("ada", ""),
        ("ada", "correct%00horse"),
    ] {
        let other = ask(user, password);
        assert_eq!(other.status, 401, "{user}");
        assert_eq!(strip(&other, user), strip(&wrong, "ada"), "{user}");
        assert!(other.fields("Set-Cookie").is_empty(), "{user}");
    }
    // What is typed is shown and logged as text, whatever it is.
    let typed = ask("%22%3E%3Cb%3E%0A%0Dx", "y");
    assert!(typed.body.contains("value=\"&quot;&gt;&lt;b&gt;\n\rx\""), "{}", typed.body);
    let log = gateway.end();
    for line in [
        "authentication refused: bad_credentials (login of \"ada\": wrong secret)",
        "(login of \"bob\": unknown)",
        "(login of \"eve\": user disabled)",
        r#"(login of "\"><b>\n\rx": unknown)"#,
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("horse") && !log.contains("wrong,"), "{log}");
}

#[test]
fn the_session_that_a_browser_came_with_ends() {
    let gateway = start();
    let (ada, thief) = (Visitor::of(&gateway), Visitor::of(&gateway));
    thief.log_in("/login", "ada", "correct+horse");
    let given = thief.cookie("__Host-session");
    ada.set_cookie("__Host-session", &given);
    assert_eq!(ada.log_in("/login", "ada", "correct+horse").status, 303);
    assert_ne!(ada.cookie("__Host-session"), given);
    assert_eq!((ada.get("/").status, thief.get("/").status), (200, 302));
    // An id that the server did not make becomes none.
    let other = Visitor::of(&gateway);
    other.set_cookie("__Host-session", &"x".repeat(43));
    other.log_in("/login", "ada", "correct+horse");
    assert_ne!(other.cookie("__Host-session"), "x".repeat(43));
}

#[test]
fn a_form_of_another_site_logs_nobody_in() {
    let gateway = start();
    let visitor = Visitor::of(&gateway);
    let token = hidden(&visitor.get("/login"), "token");
    let foreign = hidden(&Visitor::of(&gateway).get("/login"), "token");
    let ask = |token: &str, fields: &str| {
        let answer = visitor.post("/login", &format!("user=ada&password=correct+horse{token}"), fields);
        assert_eq!(visitor.cookie("__Host-session"), "", "{token} {fields}");
        answer
    };
    for missing in ["", "&token=", &format!("&token={foreign}"), &format!("&token={}", &token[1..])] {
        let answer = ask(missing, "");
        assert_eq!((answer.status, answer.field("Who")), (403, Some("  forged_form")), "{missing}");
        assert!(message(&answer).contains("Try again."), "{missing}");
    }
    let good = format!("&token={token}");
    for fields in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: https://localhost.evil.example\r\n",
        "Origin: https://localhost:8443\r\n",
        "Origin: localhost\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n",
    ] {
        let answer = ask(&good, fields);
        assert_eq!(
            (answer.status, message(&answer)),
            (403, "The form was sent from another site. Try again here."),
            "{fields}"
        );
    }
    gateway.says("forged_form (the form was sent from another site)");
    // Without the cookie the token is worth nothing.
    let form = format!("user=ada&password=correct+horse{good}");
    assert_eq!(Visitor::of(&gateway).post("/login", &form, "").status, 403);
    // A page in another tab has the same token, so that both are good.
    assert_eq!(hidden(&visitor.get("/login"), "token"), token);
    let own = visitor.post("/login", &form, "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(own.status, 303);
}

#[test]
fn a_login_leads_to_this_host_and_to_those_that_are_configured() {
    let gateway = start();
    let lead = |place: &str| {
        let visitor = Visitor::of(&gateway);
        let token = hidden(&visitor.get("/login"), "token");
        let form = format!("token={token}&user=ada&password=correct+horse&return={place}");
        let answer = visitor.post("/login", &form, "");
        // The page asked for with the same place has the same in its form.
        let page = visitor.get(&format!("/login?return={place}"));
        assert_eq!(hidden(&page, "return"), answer.field("Location").unwrap(), "{place}");
        answer.field("Location").unwrap().to_owned()
    };
    for (place, leads) in [
        ("%2Fa%2Fb%3Fc%3Dd%26e", "/a/b?c=d&e"),
        ("/a/b", "/a/b"),
        ("https://app.example/x?y", "https://app.example/x?y"),
        ("https://APP.example:443/", "https://APP.example:443/"),
        ("https://shop.example:8443", "https://shop.example:8443"),
    ] {
        assert_eq!(lead(place), leads);
    }
    for elsewhere in [
        "",
        "a",
        "//evil.example",
        "%2F%2Fevil.example",
        "/%5Cevil.example",
        "/\\evil.example",
        "%5C%5Cevil.example",
        "/%252Fevil.example",
        "/%255Cevil.example",
        "/%09/evil.example",
        "%09//evil.example",
        "/%0D%0ASet-Cookie:a=b",
        "/%250d%250aa",
        "https://evil.example/",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "https://app.example:8443/",
        "https://shop.example/",
        "https://evil.example%23app.example/",
        "https://evil.example%5C@app.example/",
        "http://app.example/",
        "https:app.example",
        "javascript:alert(1)",
        "%00/",
    ] {
        assert_eq!(lead(elsewhere), "/", "{elsewhere}");
    }
}

#[test]
fn what_is_no_form_of_the_page_is_not_read() {
    let gateway = start();
    let visitor = Visitor::of(&gateway);
    let token = hidden(&visitor.get("/login"), "token");
    let form = format!("token={token}&user=ada&password=correct+horse");
    let typed = |kind: &str| {
        let head =
            format!("POST /login HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {}\r\n", form.len());
        visitor.ask(&head, &form).status
    };
    for kind in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/json\r\n",
    ] {
        assert_eq!(typed(kind), 415, "{kind}");
    }
    let fits = format!("{form}&more={}", "x".repeat((16 << 10) - form.len() - 6));
    assert_eq!(visitor.post("/login", &format!("{fits}x"), "").status, 413);
    let chunked = format!("{:x}\r\n{fits}\r\n1\r\nx\r\n0\r\n\r\n", fits.len());
    let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(visitor.ask(head, &chunked).status, 413);
    for broken in ["user=%zz", "user=ada&user=eve"] {
        assert_eq!(visitor.post("/login", broken, "").status, 400, "{broken}");
    }
    assert_eq!(visitor.cookie("__Host-session"), "");
    assert_eq!(visitor.post("/login", &fits, "").status, 303);
}

#[test]
fn guesses_are_limited_before_a_password_is_looked_at() {
    let gateway = start();
    let ask = |password: &str| Visitor::of(&gateway).log_in("/limited", "ada", password);
    // What is no guess is not counted.
    for _ in 0..4 {
        assert_eq!(Visitor::of(&gateway).post("/limited", "user=ada&password=x", "").status, 403);
    }
    assert_eq!((ask("one").status, ask("two").status), (401, 401));
    let refused = ask("correct+horse");
    assert_eq!(refused.status, 429);
    assert!(refused.field("Retry-After").unwrap().parse::<u32>().unwrap() > 0);
    assert!(message(&refused).starts_with("There were too many failed attempts."));
    assert!(refused.fields("Set-Cookie").is_empty());
    gateway.says("limiting failed authentications");
}

#[test]
fn a_login_page_lets_nobody_pass_that_auth_request_asks_for() {
    let gateway = start();
    assert_eq!(Visitor::of(&gateway).get("/asks").status, 403);
}

#[test]
fn nobody_is_logged_in_while_the_store_is_away() {
    let gateway = start();
    let answer = Visitor::of(&gateway).log_in("/down", "ada", "correct+horse");
    assert_eq!((answer.status, answer.field("Who")), (503, Some("store_unavailable")));
    assert!(message(&answer).starts_with("Nobody can log in at the moment."), "{}", answer.body);
    assert!(answer.fields("Set-Cookie").is_empty());
}

#[test]
fn too_many_at_a_time_are_told_to_come_again() {
    let gateway = start();
    let visitor = Visitor::of(&gateway);
    let token = hidden(&visitor.get("/login"), "token");
    let form = format!("token={token}&user=ada&password=wrong");
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nCookie: __Host-login={token}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    );
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        waiting.push(stream);
    }
    gateway.says("too many passwords are to be compared");
    let is_told = |stream: &mut TcpStream| {
        let mut bytes = [0; 4096];
        stream.set_nonblocking(true).unwrap();
        let read = stream.read(&mut bytes).unwrap_or(0);
        let head = String::from_utf8_lossy(&bytes[..read]).into_owned();
        head.starts_with("HTTP/1.1 503 ")
            && head.contains("\r\nRetry-After: 2\r\n")
            && head.contains("Who:   busy\r\n")
    };
    wait_for("its answer comes", || waiting.iter_mut().any(is_told));
    drop(waiting);
    // Those who have gone are not worked for.
    wait_for("others get their turn", || visitor.log_in("/login", "ada", "correct+horse").status == 303);
}
