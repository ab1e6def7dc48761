//! Logging out: what ends a session, and what does not.

use crate::login::{HTTP, Visitor, hidden, message, start};
use crate::support::{Gateway, wait_for};

fn logged_in(gateway: &Gateway) -> Visitor {
    let visitor = Visitor::of(gateway);
    assert_eq!(visitor.log_in("/login", "ada", "correct+horse").status, 303, "{}", gateway.log());
    visitor
}

#[test]
fn a_link_ends_no_session_and_the_button_does() {
    let gateway = start();
    let visitor = logged_in(&gateway);
    let id = visitor.cookie("__Host-session");
    let page = visitor.get("/logout");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("<button") && page.field("Content-Security-Policy").is_some(),
        "{}",
        page.head
    );
    assert_eq!(hidden(&page, "return"), "/login");
    assert_eq!(visitor.get("/").status, 200);

    let form = format!("token={}&return=/bye", hidden(&page, "token"));
    for fields in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(visitor.post("/logout", &form, fields).status, 403, "{fields}");
    }
    let forged = visitor.post("/logout", "return=/bye", "");
    assert_eq!((forged.status, forged.field("Who")), (403, Some("forged_form")));
    assert_eq!(visitor.get("/").status, 200);

    let answer = visitor.post("/logout", &form, "Origin: http://localhost\r\n");
    assert_eq!((answer.status, answer.field("Location")), (303, Some("/bye")));
    let cookie = "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";
    assert_eq!(answer.field("Set-Cookie"), Some(cookie));
    // Also for who kept the id.
    visitor.set_cookie("__Host-session", &id);
    assert_eq!(visitor.get("/").status, 302);
}

#[test]
fn a_logout_leads_to_no_foreign_host() {
    let gateway = start();
    let visitor = logged_in(&gateway);
    let token = hidden(&visitor.get("/logout"), "token");
    let answer = visitor.post("/logout", &format!("token={token}&return=//evil.example"), "");
    assert_eq!((answer.status, answer.field("Location")), (303, Some("/login")));
}

#[test]
fn a_logout_holds_on_every_gateway_within_a_second() {
    let one = start();
    let store = one.path("auth.db").display().to_string();
    let other = Gateway::start(&HTTP.replace("{dir}/auth.db", &store));
    let visitor = logged_in(&one);
    let elsewhere = Visitor::of(&other);
    elsewhere.set_cookie("__Host-session", &visitor.cookie("__Host-session"));
    wait_for("the other gateway knows the session", || elsewhere.get("/").status == 200);
    let token = hidden(&visitor.get("/logout"), "token");
    assert_eq!(visitor.post("/logout", &format!("token={token}"), "").status, 303);
    wait_for("the other gateway refuses it", || elsewhere.get("/").status == 302);
}

#[test]
fn nobody_is_told_to_be_logged_out_while_the_store_is_away() {
    let gateway = start();
    let visitor = Visitor::of(&gateway);
    let token = hidden(&visitor.get("/still"), "token");
    visitor.set_cookie("__Host-session", &"x".repeat(43));
    let answer = visitor.post("/still", &format!("token={token}"), "");
    assert_eq!((answer.status, answer.field("Who")), (503, Some("store_unavailable")));
    assert!(message(&answer).starts_with("You are still logged in"), "{}", answer.body);
    assert!(answer.fields("Set-Cookie").is_empty());
}
