//! `doorward key`.

use auth::api_key::NewKey;
use auth::store::{ApiKey, PAGE, Time};
use serde_json::{Value, json};

use super::command::Given;
use super::output::{self, List, maybe, moment};
use super::{Desk, Names, pages};
use crate::program::say::say;

/// How long the old key is good beside the new one, in seconds.
const OVERLAP: u64 = 24 * 3600;

/// `key create USER`
pub fn create(desk: &Desk, given: &Given) -> Result<(), String> {
    let user = desk.user(&given.words.concat())?;
    let scopes = given.scopes.clone().unwrap_or_else(|| user.scopes.clone());
    // It would be refused where it is used, and nobody would know why.
    if let Some(scope) = scopes.iter().find(|scope| !user.scopes.contains(scope)) {
        let (scope, name) = (output::shown(scope), output::shown(&user.name));
        return Err(format!(
            "user \"{name}\" has no scope \"{scope}\", and a key may not do more than its user"
        ));
    }
    let new = NewKey::generate().map_err(|error| error.to_string())?;
    let now = Time::now();
    let key = ApiKey {
        id: new.id,
        digest: new.digest,
        user: user.id,
        label: given.label.clone().unwrap_or_default(),
        scopes,
        created: now,
        expires: given.expires.map(|lifetime| now.after(lifetime)),
        revoked: false,
        last_used: None,
    };
    desk.wait(desk.store.add_key(key.clone()))?;
    once(given, &key, &user.name, &new.text);
    Ok(())
}

/// `key list [USER]`
pub fn list(desk: &Desk, given: &Given) -> Result<(), String> {
    let user = desk.user_of(given)?.map(|user| user.id);
    let (mut list, mut names) = (list_of(given), Names::default());
    pages(
        |last: Option<&ApiKey>| {
            desk.wait(desk.store.keys(user.as_deref(), last.map(|key| key.id.as_str()), PAGE))
        },
        |keys| {
            let row = |key: &ApiKey| Ok(row(key, &names.of(desk, &key.user)?));
            list.show(&keys.iter().map(row).collect::<Result<Vec<_>, String>>()?)
        },
    )
}

/// `key revoke ID`
pub fn revoke(desk: &Desk, given: &Given) -> Result<(), String> {
    let mut key = known(desk, given)?;
    key.revoked = true;
    desk.wait(desk.store.revoke_key(&key.id))?;
    let name = Names::default().of(desk, &key.user)?;
    list_of(given).show(&[row(&key, &name)])
}

/// `key rotate ID`
pub fn rotate(desk: &Desk, given: &Given) -> Result<(), String> {
    let old = known(desk, given)?;
    let new = NewKey::generate().map_err(|error| error.to_string())?;
    let now = Time::now();
    let lifetime = given.expires.or(old.expires.map(|expires| expires.0.saturating_sub(old.created.0)));
    let key = ApiKey {
        id: new.id,
        digest: new.digest,
        created: now,
        expires: lifetime.map(|lifetime| now.after(lifetime)),
        last_used: None,
        ..old.clone()
    };
    let until = now.after(given.overlap.unwrap_or(OVERLAP));
    if !desk.wait(desk.store.rotate_key(&old.id, key.clone(), until))? {
        return Err(missing(&old.id));
    }
    let name = Names::default().of(desk, &key.user)?;
    say!(
        "The old key {} is good until {}.",
        old.id,
        moment(old.expires.map_or(until, |expires| expires.min(until)))
    );
    once(given, &key, &name, &new.text);
    Ok(())
}

/// Shows a new key, which nobody can do later.
fn once(given: &Given, key: &ApiKey, user: &str, text: &str) {
    if given.json {
        let (_, mut object) = row(key, user);
        if let Some(fields) = object.as_object_mut() {
            fields.insert("key".into(), text.into());
        }
        output::text(&format!("{object}\n"));
    } else {
        say!("The key is shown this once:");
        output::text(&format!("{text}\n"));
    }
}

/// The key that is meant. Whoever gives the whole key in place of the id is understood, and told that it was seen.
fn known(desk: &Desk, given: &Given) -> Result<ApiKey, String> {
    let said = given.words.concat();
    if said.starts_with("dw_") {
        return Err("ID is the part of a key between dw_ and the second underscore; a whole key on the command line can be \
                    seen by everyone on the machine"
            .into());
    }
    desk.wait(desk.store.key_by_id(&said))?.ok_or_else(|| missing(&said))
}

fn missing(id: &str) -> String {
    format!("there is no key \"{}\"", output::shown(id))
}

fn list_of(given: &Given) -> List {
    List::new(given.json, &["ID", "USER", "STATE", "LABEL", "SCOPES", "CREATED", "EXPIRES", "LAST USED"])
}

fn row(key: &ApiKey, user: &str) -> (Vec<String>, Value) {
    let state = match key.is_good(Time::now()) {
        true => "active",
        false if key.revoked => "revoked",
        false => "expired",
    };
    let cells = vec![
        key.id.clone(),
        user.to_owned(),
        state.to_owned(),
        key.label.clone(),
        key.scopes.join(" "),
        moment(key.created),
        maybe(key.expires),
        maybe(key.last_used),
    ];
    let object = json!({
        "id": key.id, "user": user, "state": state, "label": key.label, "scopes": key.scopes,
        "created": moment(key.created), "expires": key.expires.map(moment), "last_used": key.last_used.map(moment),
    });
    (cells, object)
}
