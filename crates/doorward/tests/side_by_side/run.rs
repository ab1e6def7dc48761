//! Runs a case on one server and gathers what was seen on all sides.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::case::{Case, Step};
use crate::client::{self, Answer, Client};
use crate::fold::{self, Fold};
use crate::server::{Ground, Server};

/// What a case brought to light on one server, with names in place of ports and folders.
#[derive(Default)]
pub(crate) struct Seen {
    /// The answers in order; an expectation looks at the one before it.
    pub(crate) answers: Vec<Answer>,
    /// For each connection: closed or kept.
    pub(crate) ends: Vec<&'static str>,
    /// What each service got.
    pub(crate) services: BTreeMap<String, Vec<String>>,
    /// How many connections each service got.
    pub(crate) connections: BTreeMap<String, usize>,
    /// The access logs.
    pub(crate) logs: BTreeMap<String, String>,
    /// The error log's levels and sentences.
    pub(crate) errors: Vec<String>,
    /// What `-t` said, where the case is about that.
    pub(crate) check: Option<(bool, Vec<String>)>,
    /// How many answers there were when each step was done.
    pub(crate) marks: Vec<usize>,
}

/// Runs the case; an error is a server that does not start or does not end.
pub(crate) fn run(case: &Case, binary: &Path, fold: bool) -> Result<Seen, String> {
    for _ in 0..3 {
        match attempt(case, binary, fold) {
            // Between our giving a free port and the server's taking it, somebody else took it.
            Err(error) if error.contains("Address already in use") => {}
            outcome => return outcome,
        }
    }
    attempt(case, binary, fold)
}

fn attempt(case: &Case, binary: &Path, fold: bool) -> Result<Seen, String> {
    let ground = Ground::prepare(case)?;
    let names = Fold::new(&ground.values, fold);
    let mut seen = Seen::default();
    if case.steps.iter().any(|step| matches!(step, Step::ConfigError(_))) {
        let (accepted, text) = ground.check(binary)?;
        seen.check = Some((accepted, names.sentences(&text)));
        return Ok(seen);
    }
    let server = Server::start(binary, &ground)?;
    act(case, &ground, &mut seen).map_err(|error| format!("asking: {error}"))?;
    server.stop()?;
    let pages: Vec<String> = seen.answers.iter().filter_map(fold::page_in_log).collect();
    for answer in &mut seen.answers {
        names.answer(answer);
    }
    for (name, mock) in &ground.mocks {
        let memory = mock.seen();
        seen.connections.insert(name.clone(), memory.connections);
        let requests = memory.requests.iter().map(|request| names.request(request)).collect();
        seen.services.insert(name.clone(), requests);
    }
    for name in ground.logs() {
        let text = names.log(&ground.text(&name), &pages);
        seen.logs.insert(name, text);
    }
    seen.errors = names.sentences(&ground.text("error.log"));
    Ok(seen)
}

fn act(case: &Case, ground: &Ground, seen: &mut Seen) -> std::io::Result<()> {
    let mut client: Option<Box<dyn Client>> = None;
    for step in &case.steps {
        if let Step::Connect(address) = step {
            leave(&mut client, seen);
            client = Some(client::connect(&ground.fill(address), case.over)?);
        }
        if matches!(step, Step::Ask { .. } | Step::Send(_)) && client.is_none() {
            client = Some(client::connect(&ground.fill("%listen%"), case.over)?);
        }
        if let Some(client) = &mut client {
            match step {
                Step::Ask { bytes, head } => {
                    client.send(bytes)?;
                    seen.answers.extend(client.answers(*head));
                }
                Step::Send(bytes) => client.send(bytes)?,
                Step::Read { head } => seen.answers.extend(client.answers(*head)),
                Step::ReadInterim => seen.answers.push(client.answer(true)),
                Step::ReadAll => seen.answers.push(client.everything()),
                Step::Shutdown => client.shutdown(),
                _ => {}
            }
        }
        if let Step::Pause(time) = step {
            thread::sleep(Duration::from_millis(*time));
        }
        seen.marks.push(seen.answers.len());
    }
    leave(&mut client, seen);
    Ok(())
}

fn leave(client: &mut Option<Box<dyn Client>>, seen: &mut Seen) {
    if let Some(mut client) = client.take() {
        let closed = client.is_closed(seen.answers.last());
        seen.ends.push(if closed { "closed" } else { "kept" });
    }
}
