//! `doorward user`, `doorward key`, `doorward session`: administration of what an auth service knows, on its store.

mod command;
mod keys;
mod output;
mod password;
mod place;
mod sessions;
mod users;

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use auth::store::{Address, Answer, PAGE, Store, User};

use super::flags::Flags;
use super::say::say;
use command::{Command, Given};

/// What the command line may begin with to be administration.
pub const SUBJECTS: [&str; 3] = ["user", "key", "session"];

/// Does what the words behind the subject say: done is 0, not done 1, with the reason on the standard error output.
pub fn run(flags: &Flags, subject: &str, words: Vec<OsString>) -> ExitCode {
    match done(flags, subject, words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            say!("doorward: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn done(flags: &Flags, subject: &str, words: Vec<OsString>) -> Result<(), String> {
    let (verb, given) = match command::read(subject, words)? {
        Command::Help(text) => {
            output::text(text);
            return Ok(());
        }
        Command::Do(verb, given) => (verb, given),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| format!("there is no event loop: {error}"))?;
    let store = place::find(flags, &given)?;
    // A path that is mistyped makes no new store, in which nothing is.
    if let Address::Sqlite(path) = &store
        && !verb.begins()
        && !path.exists()
    {
        return Err(format!("there is no store {}: \"user add\" makes one", path.display()));
    }
    let store = store.open().map_err(|error| error.to_string())?;
    (verb.run)(&Desk { store, runtime }, &given)
}

/// Where administration is done: a store, and a way to wait for it.
struct Desk {
    store: Arc<dyn Store>,
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    /// Waits for an answer of the store.
    fn wait<T>(&self, answer: Answer<T>) -> Result<T, String> {
        self.runtime.block_on(answer).map_err(|error| error.to_string())
    }

    /// The user of a name.
    fn user(&self, name: &str) -> Result<User, String> {
        let found = self.wait(self.store.user_by_name(name))?;
        found.ok_or_else(|| format!("there is no user \"{}\"", output::shown(name)))
    }

    /// The user whom a list is about, where it is about one.
    fn user_of(&self, given: &Given) -> Result<Option<User>, String> {
        given.words.first().map(|name| self.user(name)).transpose()
    }
}

/// Names of users, each asked for once.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    /// The name of the user of an id.
    fn of(&mut self, desk: &Desk, id: &str) -> Result<String, String> {
        if let Some(name) = self.0.get(id) {
            return Ok(name.clone());
        }
        // A user who is gone keeps the id as a name.
        let name = desk.wait(desk.store.user_by_id(id))?.map_or_else(|| id.to_owned(), |user| user.name);
        self.0.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}

/// Turns the pages of a list to their end: `page` is given the last record so far.
fn pages<T>(
    mut page: impl FnMut(Option<&T>) -> Result<Vec<T>, String>,
    mut show: impl FnMut(&[T]) -> Result<(), String>,
) -> Result<(), String> {
    let mut last = None;
    loop {
        let mut records = page(last.as_ref())?;
        let is_full = records.len() >= PAGE as usize;
        show(&records)?;
        last = records.pop();
        if !is_full {
            return Ok(());
        }
    }
}
