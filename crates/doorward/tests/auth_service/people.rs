//! Users by password and by session, and where browsers are sent.

use auth::session::NewSession;
use auth::store::{Session, Time};

use crate::Place;
use crate::support::wait_for;

/// A browser that goes to a page.
const BROWSER: &str = "Accept: text/html,application/xhtml+xml\r\nSec-Fetch-Mode: navigate\r\n";

impl Place {
    /// A session of the user, begun so many seconds ago: the cookie's value.
    fn session(&self, ago: u64) -> String {
        let new = NewSession::generate().unwrap();
        let began = Time(Time::now().0 - ago);
        let expires = began.after(12 * 3600);
        let session =
            Session { digest: new.digest, user: self.ada.clone(), created: began, last_seen: began, expires };
        let store = auth::store::open(&self.address).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(store.add_session(session)).unwrap();
        new.text
    }
}

#[test]
fn the_right_password_lets_in_and_no_other() {
    let place = Place::start();
    let status = |credentials: &str| {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
        place.gateway.get("/in-place", &format!("Authorization: Basic {encoded}\r\n"))
    };
    let right = status("ada:correct horse");
    assert_eq!(
        (right.status, right.field("Who")),
        (200, Some("ada basic orders:read orders:write")),
        "{}",
        place.gateway.log()
    );
    let wrong: Vec<_> = ["ada:wrong", "ada:", "eve:correct horse", "ada:correct horse ", "Ada:correct horse"]
        .into_iter()
        .map(status)
        .collect();
    // Whether there is such a user cannot be told from the answer.
    for answer in &wrong {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.fields("WWW-Authenticate"), wrong[0].fields("WWW-Authenticate"));
        assert_eq!(answer.body, wrong[0].body);
    }
    let challenges = ["Bearer realm=\"main\"", "Basic realm=\"main\", charset=\"UTF-8\""];
    assert_eq!(wrong[0].fields("WWW-Authenticate"), challenges);
    assert_eq!(status("ada:correct horse").status, 200);
    // Another password is in force at once, also where the old one was right a moment ago.
    place.admin("user passwd ada --password-stdin", "another horse\n");
    wait_for("the old password is refused", || status("ada:correct horse").status == 401);
    assert_eq!(status("ada:another horse").status, 200);
}

#[test]
fn a_session_is_its_users_until_it_ends() {
    let mut place = Place::start();
    let session = place.session(0);
    let ask = |value: &str| {
        place.gateway.get("/sessions", &format!("Cookie: a=b; __Host-session={value}; c=d\r\n"))
    };
    assert_eq!(ask(&session).status, 200);
    let refused = ask(&session.replace(|_| true, "x"));
    let challenge = "Cookie realm=\"sessions\", form-action=\"https://id.example.com/login?from=here\", cookie-name=\"__Host-session\"";
    assert_eq!((refused.status, refused.field("WWW-Authenticate")), (401, Some(challenge)));
    assert_eq!(ask(&place.session(29 * 60)).status, 200);
    assert_eq!(ask(&place.session(31 * 60)).status, 401);
    let listed = place.admin("session list ada", "");
    assert!(listed.is_null() || listed.is_object());
    place.admin("session revoke --user ada", "");
    wait_for("the session is refused", || ask(&session).status == 401);
    let log = place.gateway.end();
    assert!(log.contains("session_over (session: unused for too long)"), "{log}");
    assert!(!log.contains(&session), "{log}");
}

#[test]
fn browsers_are_sent_to_the_login_page_and_programs_are_not() {
    let place = Place::start();
    let gateway = &place.gateway;
    let sent = gateway.get("/in-place/page?a=b&c=%20d", BROWSER);
    assert_eq!(sent.status, 302);
    assert_eq!(sent.field("Location"), Some("/login?return=/in-place/page%3Fa%3Db%26c%3D%2520d"));
    assert_eq!((sent.field("Cache-Control"), sent.fields("WWW-Authenticate").len()), (Some("no-store"), 0));
    let elsewhere = gateway.get("/sessions", BROWSER);
    let login = "https://id.example.com/login?from=here&return=https%3A//localhost/sessions";
    assert_eq!((elsewhere.status, elsewhere.field("Location")), (302, Some(login)));
    // An old session is no reason to be refused.
    assert_eq!(gateway.get("/sessions", &format!("{BROWSER}Cookie: __Host-session=old\r\n")).status, 302);
    // With `satisfy any` as well.
    assert_eq!(gateway.get("/either", BROWSER).status, 302);
    for program in [
        "",
        "Accept: */*\r\n",
        "Accept: application/json\r\n",
        "Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n",
        "Accept: text/html\r\nSec-Fetch-Mode: cors\r\n",
        "Accept: text/html\r\nAuthorization: Bearer x\r\n",
        "Accept: text/html\r\nX-API-Key: x\r\n",
    ] {
        let answer = gateway.get("/in-place/page", program);
        assert_eq!((answer.status, answer.field("Location")), (401, None), "{program}");
    }
    let posted = format!(
        "POST /in-place HTTP/1.1\r\nHost: localhost\r\n{BROWSER}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(crate::support::send(gateway.port, &posted).status, 401);
    // Enough is known of who may not: a login would not help.
    let key = place.key("");
    assert_eq!(gateway.get("/in-place/admin", &format!("{BROWSER}X-API-Key: {key}\r\n")).status, 403);
}
