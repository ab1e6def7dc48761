//! Two gateways on one store: what is taken away beside them is refused by both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::api_key::NewKey;
use auth::check::{self, Why};
use auth::directory::Directory;
use auth::session::NewSession;
use auth::store::{Address, ApiKey, Session, StoreError, Time};

use crate::{key, session, user, wait};

/// How long a session may be unused, in seconds.
const IDLE: u64 = 3600;

/// Whoever is let in, by name.
type Said = Result<Result<String, Why>, StoreError>;

fn key_at(gateway: &Directory, key: &NewKey) -> Said {
    let checked = wait(check::key(gateway, key.text.as_bytes(), Duration::ZERO, Time::now()));
    checked.map(|said| said.map(|identity| identity.name.clone()))
}

fn session_at(gateway: &Directory, session: &NewSession) -> Said {
    let checked = wait(check::session(gateway, session.text.as_bytes(), IDLE, Duration::ZERO, Time::now()));
    checked.map(|said| said.map(|identity| identity.name.clone()))
}

/// Waits until all gateways say it.
fn until(expected: &Said, said: impl Fn(usize) -> Said) {
    let start = Instant::now();
    for gateway in 0..2 {
        while said(gateway) != *expected {
            assert!(start.elapsed() < Duration::from_secs(60), "{gateway} says {:?}", said(gateway));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Asks two gateways on the store at an address, which is empty.
pub fn hear_of_revocations(address: &str) {
    let store = auth::store::open(address).unwrap();
    let gateways: Vec<Arc<Directory>> = (0..2)
        .map(|_| {
            let gateway = Directory::new(Address::parse(address).unwrap(), 1 << 20);
            gateway.keep(|_| ());
            gateway
        })
        .collect();
    let ada = user("ada");
    wait(store.add_user(ada.clone())).unwrap();
    let [one, two] = [NewKey::generate().unwrap(), NewKey::generate().unwrap()];
    for new in [&one, &two] {
        wait(store.add_key(ApiKey { id: new.id.clone(), digest: new.digest, ..key(&ada) })).unwrap();
    }
    let [first, second] = [NewSession::generate().unwrap(), NewSession::generate().unwrap()];
    for new in [&first, &second] {
        let now = Time::now();
        let times = Session { last_seen: now, expires: now.after(3600), ..session(&ada) };
        wait(store.add_session(Session { digest: new.digest, ..times })).unwrap();
    }
    let is_ada = Ok(Ok("ada".to_owned()));
    for new in [&one, &two] {
        until(&is_ada, |gateway| key_at(&gateways[gateway], new));
    }
    for new in [&first, &second] {
        until(&is_ada, |gateway| session_at(&gateways[gateway], new));
    }

    wait(store.revoke_key(&one.id)).unwrap();
    until(&Ok(Err(Why::Revoked)), |gateway| key_at(&gateways[gateway], &one));
    wait(store.delete_session(&first.digest)).unwrap();
    until(&Ok(Err(Why::Unknown)), |gateway| session_at(&gateways[gateway], &first));
    // The others go on.
    until(&is_ada, |gateway| key_at(&gateways[gateway], &two));
    until(&is_ada, |gateway| session_at(&gateways[gateway], &second));

    wait(store.set_disabled(&ada.id, true)).unwrap();
    until(&Ok(Err(Why::Disabled)), |gateway| key_at(&gateways[gateway], &two));
    until(&Ok(Err(Why::Disabled)), |gateway| session_at(&gateways[gateway], &second));
    wait(store.set_disabled(&ada.id, false)).unwrap();
    until(&is_ada, |gateway| key_at(&gateways[gateway], &two));
    wait(store.delete_sessions(&ada.id)).unwrap();
    until(&Ok(Err(Why::Unknown)), |gateway| session_at(&gateways[gateway], &second));
    let until_now = wait(store.rotate_key(&two.id, key(&ada), Time::now())).unwrap();
    assert!(until_now);
    until(&Ok(Err(Why::Expired)), |gateway| key_at(&gateways[gateway], &two));
}
