//! `doorward user`.

use auth::store::{PAGE, Time, User};
use serde_json::{Value, json};

use super::command::Given;
use super::output::{List, maybe, moment};
use super::{Desk, pages, password};

/// `user add NAME`
pub fn add(desk: &Desk, given: &Given) -> Result<(), String> {
    if given.no_password && given.password_stdin {
        return Err("either --no-password or --password-stdin".into());
    }
    let mut user = User {
        id: User::new_id().map_err(|error| error.to_string())?,
        name: given.words.concat(),
        email: email(given),
        password: None,
        scopes: given.scopes.clone().unwrap_or_default(),
        groups: given.groups.clone().unwrap_or_default(),
        disabled: false,
        created: Time::now(),
    };
    // Nobody types a password twice to learn then that the name is taken.
    user.check().map_err(|error| error.to_string())?;
    if desk.wait(desk.store.user_by_name(&user.name))?.is_some() {
        return Err("there is a user of this name already".into());
    }
    if !given.no_password {
        user.password = Some(password::new(given.password_stdin)?);
    }
    desk.wait(desk.store.add_user(user.clone()))?;
    list_of(given).show(&[row(&user)])
}

/// `user change NAME`
pub fn change(desk: &Desk, given: &Given) -> Result<(), String> {
    let mut user = desk.user(&given.words.concat())?;
    if given.email.is_some() {
        user.email = email(given);
    }
    if let Some(scopes) = &given.scopes {
        user.scopes.clone_from(scopes);
    }
    if let Some(groups) = &given.groups {
        user.groups.clone_from(groups);
    }
    desk.wait(desk.store.change_user(user.clone()))?;
    list_of(given).show(&[row(&user)])
}

fn email(given: &Given) -> Option<String> {
    given.email.clone().filter(|email| !email.is_empty())
}

/// `user list`
pub fn list(desk: &Desk, given: &Given) -> Result<(), String> {
    let mut list = list_of(given);
    pages(
        |last: Option<&User>| desk.wait(desk.store.users(last.map(|user| user.name.as_str()), PAGE)),
        |users| list.show(&users.iter().map(row).collect::<Vec<_>>()),
    )
}

/// `user passwd NAME`
pub fn passwd(desk: &Desk, given: &Given) -> Result<(), String> {
    let mut user = desk.user(&given.words.concat())?;
    user.password = Some(password::new(given.password_stdin)?);
    desk.wait(desk.store.set_password(&user.id, user.password.clone()))?;
    // Whoever knew the old password is out.
    ended(desk, &user, "the password is changed")?;
    list_of(given).show(&[row(&user)])
}

/// `user disable NAME`
pub fn disable(desk: &Desk, given: &Given) -> Result<(), String> {
    let mut user = desk.user(&given.words.concat())?;
    user.disabled = true;
    desk.wait(desk.store.set_disabled(&user.id, true))?;
    // So that they do not come back with the user.
    ended(desk, &user, "the user is disabled")?;
    list_of(given).show(&[row(&user)])
}

/// `user enable NAME`
pub fn enable(desk: &Desk, given: &Given) -> Result<(), String> {
    let mut user = desk.user(&given.words.concat())?;
    user.disabled = false;
    desk.wait(desk.store.set_disabled(&user.id, false))?;
    list_of(given).show(&[row(&user)])
}

fn ended(desk: &Desk, user: &User, done: &str) -> Result<(), String> {
    let ended = desk.wait(desk.store.delete_sessions(&user.id));
    ended.map(|_| ()).map_err(|error| {
        format!("{done}, but sessions may go on: {error}; then: doorward session revoke --user {}", user.name)
    })
}

fn list_of(given: &Given) -> List {
    List::new(given.json, &["NAME", "STATE", "PASSWORD", "EMAIL", "SCOPES", "GROUPS", "CREATED"])
}

fn row(user: &User) -> (Vec<String>, Value) {
    let cells = vec![
        user.name.clone(),
        if user.disabled { "disabled" } else { "active" }.into(),
        if user.password.is_some() { "yes" } else { "no" }.into(),
        user.email.clone().unwrap_or_default(),
        user.scopes.join(" "),
        user.groups.join(", "),
        maybe(Some(user.created)),
    ];
    let object = json!({
        "id": user.id, "name": user.name, "email": user.email, "scopes": user.scopes, "groups": user.groups,
        "disabled": user.disabled, "password": user.password.is_some(), "created": moment(user.created),
    });
    (cells, object)
}
