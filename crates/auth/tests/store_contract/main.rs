//! What every store has to do, asked of each with a real server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

mod contract;
mod gateways;
mod killed;
mod postgres;
mod redis;
mod server;
mod sqlite;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::api_key::NewKey;
use auth::session::NewSession;
use auth::store::{ApiKey, Session, Store, StoreError, Time, User};

/// Waits for an answer.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer)
}

/// A user that is in no store.
fn user(name: &str) -> User {
    User {
        id: User::new_id().unwrap(),
        name: name.into(),
        email: Some(format!("{name}@example.org")),
        password: Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA".into()),
        scopes: vec!["read:orders".into(), "write".into()],
        groups: vec!["Käufer & Söhne".into(), "admins".into()],
        disabled: false,
        created: Time(1_700_000_000),
    }
}

/// A key of a user that is in no store.
fn key(user: &User) -> ApiKey {
    let new = NewKey::generate().unwrap();
    ApiKey {
        id: new.id,
        digest: new.digest,
        user: user.id.clone(),
        label: "the one of the night job".into(),
        scopes: vec!["read:orders".into()],
        created: Time(1_700_000_001),
        expires: None,
        revoked: false,
        last_used: None,
    }
}

/// A session of a user that is in no store.
fn session(user: &User) -> Session {
    Session {
        digest: NewSession::generate().unwrap().digest,
        user: user.id.clone(),
        created: Time(1_700_000_000),
        last_seen: Time(1_700_000_000),
        expires: Time(1_700_003_600),
    }
}

/// A store with a user in it.
fn with_user(open: &dyn Fn() -> Arc<dyn Store>) -> (Arc<dyn Store>, User) {
    let (store, user) = (open(), user("ada"));
    wait(store.add_user(user.clone())).unwrap();
    (store, user)
}

#[test]
fn an_address_is_told_from_one_with_another_password() {
    let digest = |text: &str| auth::store::Address::parse(text).unwrap().digest();
    let texts = [
        "sqlite:a.db",
        "sqlite:b.db",
        "postgres://ada:one@h/x",
        "postgres://ada:two@h/x",
        "postgres://ada@h/x",
        "postgres://ada:one@h/x?sslrootcert=a",
        "postgres://ada:one@h/y",
        "redis://ada:one@h/1",
        "redis://ada:two@h/1",
        "redis://ada@h/1",
        "rediss://ada:one@h/1",
        "redis://ada:one@h/2",
    ];
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(digest(text), digest(text), "{text}");
        for other in &texts[..at] {
            assert_ne!(digest(text), digest(other), "{text} {other}");
        }
    }
}

#[test]
fn relative_paths_count_from_a_folder() {
    for (text, path) in [
        ("sqlite:a.db", "/etc/x/a.db"),
        ("sqlite:/a.db", "\"/a.db\""),
        ("postgres://h/x?sslrootcert=ca.pem", "/etc/x/ca.pem"),
        ("rediss://h?sslrootcert=tls/ca.pem", "/etc/x/tls/ca.pem"),
        ("rediss://h?sslrootcert=/ca.pem", "\"/ca.pem\""),
    ] {
        let address = auth::store::Address::parse(text).unwrap().under(std::path::Path::new("/etc/x"));
        assert!(format!("{address:?}").contains(path), "{address:?}");
    }
}

/// Waits until a store's server answers again.
fn answers_again(store: &Arc<dyn Store>) {
    let start = Instant::now();
    while let Err(error) = wait(store.ping()) {
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a store's server is found to be gone: it is said, and no password with it.
fn is_gone(store: &Arc<dyn Store>) {
    let start = Instant::now();
    let gone = loop {
        match wait(store.user_by_name("ada")) {
            Err(error) => break error,
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(60)),
        }
    };
    assert!(matches!(gone, StoreError::Unavailable(_)), "{gone}");
    assert!(!gone.to_string().contains("word"), "{gone}");
}
