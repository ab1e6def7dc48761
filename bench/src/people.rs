//! A store with a million API keys, and what a gateway's memory grows by when many of them are used.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use auth::api_key::NewKey;
use auth::session::NewSession;
use auth::store::{ApiKey, Session, Store, Time, User};

use crate::Outcome;
use crate::backend::Backend;
use crate::rows;
use crate::server::{Gateway, Server};

/// Keys in the store.
const KEYS: usize = 1_000_000;

/// Keys that are used when memory is measured.
const USED: usize = 100_000;

/// Keys that are added at a time.
const GROUP: usize = 2000;

/// Credentials of a user in the store.
pub(crate) struct People {
    /// The user's session.
    pub(crate) session: String,
    /// Some of the keys.
    pub(crate) keys: Vec<String>,
}

/// The store's file in that folder; made when it is first asked for.
pub(crate) fn of(folder: &str) -> Outcome<&'static People> {
    static PEOPLE: OnceLock<People> = OnceLock::new();
    if let Some(people) = PEOPLE.get() {
        return Ok(people);
    }
    let people = fill(folder)?;
    Ok(PEOPLE.get_or_init(|| people))
}

fn fill(folder: &str) -> Outcome<People> {
    let store = auth::store::open(&format!("sqlite:{folder}/auth.db"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let user = User {
        id: User::new_id()?,
        name: "bench".into(),
        email: Some("bench@example.com".into()),
        password: None,
        scopes: vec!["read".into(), "write".into()],
        groups: vec!["staff".into()],
        disabled: false,
        created: Time::now(),
    };
    runtime.block_on(store.add_user(user.clone()))?;
    let new = NewSession::generate()?;
    let now = Time::now();
    let session = Session {
        digest: new.digest,
        user: user.id.clone(),
        created: now,
        last_seen: now,
        expires: now.after(12 * 3600),
    };
    runtime.block_on(store.add_session(session))?;
    let mut keys = Vec::new();
    for _ in 0..KEYS / GROUP {
        let group = (0..GROUP).map(|_| add_key(&*store, &user.id)).collect::<Outcome<Vec<_>>>()?;
        for (text, added) in group {
            runtime.block_on(added)?;
            if keys.len() < USED {
                keys.push(text);
            }
        }
    }
    Ok(People { session: new.text, keys })
}

fn add_key(store: &dyn Store, user: &str) -> Outcome<(String, auth::store::Answer<()>)> {
    let new = NewKey::generate()?;
    let key = ApiKey {
        id: new.id,
        digest: new.digest,
        user: user.to_owned(),
        label: "a key of the bench".into(),
        scopes: vec!["read".into()],
        created: Time::now(),
        expires: None,
        revoked: false,
        last_used: None,
    };
    Ok((new.text, store.add_key(key)))
}

/// Prints what the memory of a gateway grows by when it has seen many keys.
pub(crate) fn measure(gateway: &Gateway, backend: &Backend) -> Outcome<()> {
    println!("\n{USED} of {KEYS} API keys, resident memory");
    let row = rows::ALL.iter().find(|row| row.name == "service-key").ok_or("no row service-key")?;
    let server = Server::start(gateway, row.http, row.bearer, &backend.ports)?;
    server.answers(row)?;
    thread::sleep(Duration::from_secs(1));
    let before = server.process.memory()?;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    for key in &of(&backend.ports.files)?.keys {
        let path = row.path;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer {key}\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 204") {
            return Err(format!("a key is answered with {line:?}: {}", server.log()).into());
        }
        while line != "\r\n" {
            line.clear();
            answers.by_ref().take(1 << 16).read_line(&mut line)?;
        }
    }
    let after = server.process.memory()?;
    println!(
        "{:8}  {:6.1} MB before  {:6.1} MB after  {:6.2} MB more",
        gateway.kind.name(),
        before as f64 / 1e6,
        after as f64 / 1e6,
        after.saturating_sub(before) as f64 / 1e6
    );
    Ok(())
}
