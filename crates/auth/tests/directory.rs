//! What gateways know of a store: two of them, and who changes it beside them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may assume")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::api_key::NewKey;
use auth::check::{self, Why};
use auth::directory::{Directory, Event};
use auth::session::NewSession;
use auth::store::{Address, ApiKey, Session, Store, Time, User};

/// What a revocation may take, and a machine that has others to serve.
const SOON: Duration = Duration::from_millis(1000 + 9000);

const NO_GRACE: Duration = Duration::ZERO;

fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer)
}

struct Setting {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    user: User,
}

impl Setting {
    fn new() -> Setting {
        let folder = tempfile::tempdir().unwrap();
        let store = address(folder.path()).open().unwrap();
        let user = User {
            id: User::new_id().unwrap(),
            name: "ada".into(),
            email: None,
            password: None,
            scopes: vec!["read".into(), "write".into()],
            groups: vec!["staff".into(), "admins".into()],
            disabled: false,
            created: Time(1),
        };
        wait(store.add_user(user.clone())).unwrap();
        Setting { folder, store, user }
    }

    fn gateway(&self) -> Arc<Directory> {
        let directory = Directory::new(address(self.folder.path()), 1 << 20);
        directory.keep(|_| ());
        directory
    }

    fn key(&self, scopes: &[&str]) -> NewKey {
        let new = NewKey::generate().unwrap();
        let key = ApiKey {
            id: new.id.clone(),
            digest: new.digest,
            user: self.user.id.clone(),
            label: String::new(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            created: Time::now(),
            expires: None,
            revoked: false,
            last_used: None,
        };
        wait(self.store.add_key(key)).unwrap();
        new
    }

    fn session(&self, last_seen: Time) -> NewSession {
        let new = NewSession::generate().unwrap();
        let (user, expires) = (self.user.id.clone(), last_seen.after(3600));
        let session = Session { digest: new.digest, user, created: last_seen, last_seen, expires };
        wait(self.store.add_session(session)).unwrap();
        new
    }
}

fn address(folder: &Path) -> Address {
    Address::parse(&format!("sqlite:{}", folder.join("auth.db").display())).unwrap()
}

/// What a gateway says of a key.
fn says(gateway: &Directory, key: &str) -> Result<String, Why> {
    let said = wait(check::key(gateway, key.as_bytes(), NO_GRACE, Time::now())).unwrap();
    said.map(|identity| format!("{} {}", identity.name, identity.scopes))
}

fn within_a_second(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < SOON, "it does not hold after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_key_is_its_users_and_may_do_what_both_may() {
    let setting = Setting::new();
    let gateway = setting.gateway();
    let (all, some) = (setting.key(&["read", "write"]), setting.key(&["write", "delete"]));
    assert_eq!(says(&gateway, &all.text), Ok("ada read write".into()));
    // What the user may not do, none of its keys may.
    assert_eq!(says(&gateway, &some.text), Ok("ada write".into()));
    assert_eq!(says(&gateway, "dw_"), Err(Why::Malformed));
    let (wrong, unknown) = (NewKey::generate().unwrap(), NewKey::generate().unwrap());
    let stolen = format!("dw_{}_{}", all.id, &wrong.text[wrong.text.len() - 43..]);
    assert_eq!(says(&gateway, &stolen), Err(Why::Wrong));
    assert_eq!(says(&gateway, &unknown.text), Err(Why::Unknown));
}

#[test]
fn a_revocation_holds_on_every_gateway_within_a_second() {
    let setting = Setting::new();
    let gateways = [setting.gateway(), setting.gateway()];
    let (one, other) = (setting.key(&["read"]), setting.key(&["read"]));
    for gateway in &gateways {
        assert!(says(gateway, &one.text).is_ok() && says(gateway, &other.text).is_ok());
    }
    wait(setting.store.revoke_key(&one.id)).unwrap();
    for gateway in &gateways {
        within_a_second(|| says(gateway, &one.text) == Err(Why::Revoked));
        assert!(says(gateway, &other.text).is_ok());
    }
    wait(setting.store.set_disabled(&setting.user.id, true)).unwrap();
    for gateway in &gateways {
        within_a_second(|| says(gateway, &other.text) == Err(Why::Disabled));
    }
    wait(setting.store.set_disabled(&setting.user.id, false)).unwrap();
    within_a_second(|| says(&gateways[0], &other.text).is_ok());
}

#[test]
fn a_session_ends_by_idleness_by_its_time_and_at_once() {
    let setting = Setting::new();
    let (here, there) = (setting.gateway(), setting.gateway());
    let now = Time::now();
    let session = setting.session(now);
    let at = |gateway: &Directory, seconds: u64| {
        let id = session.text.as_bytes();
        wait(check::session(gateway, id, 600, NO_GRACE, now.after(seconds)))
            .unwrap()
            .map(|who| who.name.clone())
    };
    assert_eq!(at(&here, 0), Ok("ada".into()));
    assert_eq!(at(&there, 1), Ok("ada".into()));
    assert_eq!(at(&here, 599), Ok("ada".into()));
    // It is used here, which the other gateway learns of when it would end it.
    assert_eq!(at(&here, 1100), Ok("ada".into()));
    let told = || wait(setting.store.session_by_digest(&session.digest)).unwrap().unwrap().last_seen;
    let began = Instant::now();
    while told() < now.after(1100) {
        assert!(began.elapsed() < Duration::from_secs(30), "the store is not told of a use");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(at(&there, 1500), Ok("ada".into()));
    assert_eq!(at(&here, 2200), Err(Why::Idle));
    assert_eq!(at(&there, 3600), Err(Why::Idle));
    let other = setting.session(now);
    let ends = |seconds: u64| {
        let checked = check::session(&here, other.text.as_bytes(), 10_000, NO_GRACE, now.after(seconds));
        wait(checked).unwrap().err()
    };
    assert_eq!((ends(3599), ends(3600)), (None, Some(Why::Expired)));
    let third = setting.session(now);
    let is_known = || {
        let checked = check::session(&here, third.text.as_bytes(), 600, NO_GRACE, now);
        wait(checked).unwrap().is_ok()
    };
    assert!(is_known());
    wait(setting.store.delete_sessions(&setting.user.id)).unwrap();
    within_a_second(|| !is_known());
}

#[test]
fn a_store_that_cannot_be_opened_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("auth.db"), "this is no database, and longer than a header of one")
        .unwrap();
    let gateway = Directory::new(address(folder.path()), 1 << 20);
    gateway.keep(|_| ());
    let key = NewKey::generate().unwrap();
    let hour = Duration::from_secs(3600);
    assert!(wait(check::key(&gateway, key.text.as_bytes(), hour, Time::now())).is_err());
}

#[test]
fn a_store_that_cannot_be_written_to_still_lets_in_and_is_told_later() {
    let setting = Setting::new();
    let (told, hears) = std::sync::mpsc::channel();
    let gateway = Directory::new(address(setting.folder.path()), 1 << 20);
    gateway.keep(move |event| {
        if let Event::Untold(error) = event {
            told.send(error.to_string()).unwrap();
        }
    });
    let keys: Vec<NewKey> = (0..600).map(|_| setting.key(&["read"])).collect();
    let (last, used) = keys.split_last().unwrap();
    for key in used {
        says(&gateway, &key.text).unwrap();
    }
    let writer = rusqlite::Connection::open(setting.folder.path().join("auth.db")).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let untold = hears.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(untold.contains("did not answer in time") || untold.contains("locked"), "{untold}");
    // Nobody has asked for this one before: it is read, and decided on.
    assert_eq!(says(&gateway, &last.text), Ok("ada read".into()));
    writer.execute_batch("ROLLBACK").unwrap();
    let began = Instant::now();
    let is_told = |key: &NewKey| wait(setting.store.key_by_id(&key.id)).unwrap().unwrap().last_used.is_some();
    while !keys.iter().all(is_told) {
        assert!(began.elapsed() < Duration::from_secs(30), "what could not be told is lost");
        std::thread::sleep(Duration::from_millis(100));
    }
}
