//! `doorward session`.

use auth::store::{PAGE, Session, hex, unhex};
use serde_json::{Value, json};

use super::command::Given;
use super::output::{self, List, moment};
use super::{Desk, Names, pages};

/// `session list [USER]`
pub fn list(desk: &Desk, given: &Given) -> Result<(), String> {
    let user = desk.user_of(given)?.map(|user| user.id);
    let mut list = List::new(given.json, &["ID", "USER", "CREATED", "LAST SEEN", "EXPIRES"]);
    let mut names = Names::default();
    pages(
        |last: Option<&Session>| {
            desk.wait(desk.store.sessions(user.as_deref(), last.map(|session| &session.digest), PAGE))
        },
        |sessions| {
            let row = |session: &Session| Ok(row(session, &names.of(desk, &session.user)?));
            list.show(&sessions.iter().map(row).collect::<Result<Vec<_>, String>>()?)
        },
    )
}

/// `session revoke ID`, `session revoke --user USER`
pub fn revoke(desk: &Desk, given: &Given) -> Result<(), String> {
    let ended = match (given.words.first(), &given.user) {
        (Some(id), None) => {
            let digest = unhex(id).ok_or("ID is the 64 digits that \"session list\" shows")?;
            if !desk.wait(desk.store.delete_session(&digest))? {
                return Err(format!("there is no session \"{}\"", output::shown(id)));
            }
            1
        }
        (None, Some(name)) => desk.wait(desk.store.delete_sessions(&desk.user(name)?.id))?,
        _ => return Err("\"session revoke\" wants either ID or --user USER".into()),
    };
    output::text(&if given.json {
        format!("{}\n", json!({ "ended": ended }))
    } else {
        format!("{ended} ended\n")
    });
    Ok(())
}

fn row(session: &Session, user: &str) -> (Vec<String>, Value) {
    let id = hex(&session.digest);
    let [created, seen, expires] = [session.created, session.last_seen, session.expires].map(moment);
    let object = json!({ "id": id, "user": user, "created": created, "last_seen": seen, "expires": expires });
    (vec![id, user.to_owned(), created, seen, expires], object)
}
