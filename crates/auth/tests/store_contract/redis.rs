//! Redis and Valkey: the contract, and what is their own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use auth::api_key::NewKey;
use auth::check::{self, Why};
use auth::directory::Directory;
use auth::store::{Address, ApiKey, Change, StoreError, Time, What, open};
use tempfile::TempDir;

use crate::server::{self, Server};
use crate::{answers_again, contract, gateways, is_gone, key, killed, session, wait, with_user};

struct Redis {
    server: Server,
    databases: AtomicU32,
}

impl Redis {
    fn start() -> Redis {
        Redis::start_with(server::folder(), "--port PORT")
    }

    fn start_with(folder: TempDir, settings: &str) -> Redis {
        let names = ["valkey-server", "redis-server"];
        let program = server::program(&names, Vec::new(), "redis-server");
        let server = Server::start(folder, program, |folder, port| {
            let common = "--bind 127.0.0.1 --databases 64 --save '' --appendonly yes --appendfsync always --requirepass p@ss/word";
            let words =
                format!("{common} --dir {} {settings}", folder.display()).replace("PORT", &port.to_string());
            words.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
        });
        let redis = Redis { server, databases: AtomicU32::new(0) };
        redis.wait();
        redis
    }

    /// Waits until it answers.
    fn wait(&self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.server.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn address(&self, database: u32) -> String {
        format!("redis://:p%40ss%2Fword@127.0.0.1:{}/{database}", self.server.port)
    }

    /// The address of an empty database.
    fn empty(&self) -> String {
        self.address(self.databases.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the server something, past the store.
    fn tell(&self, address: &str, words: &str) {
        let mut connection = redis::Client::open(address).unwrap().get_connection().unwrap();
        let mut words = words.split(' ');
        redis::cmd(words.next().unwrap()).arg(words.collect::<Vec<_>>()).exec(&mut connection).unwrap();
    }
}

#[test]
fn redis_holds_the_contract() {
    let redis = Redis::start();
    contract::holds(&|| open(&redis.empty()).unwrap());
    gateways::hear_of_revocations(&redis.empty());
}

#[test]
fn a_killed_server_loses_nothing_that_was_acknowledged() {
    let mut redis = Redis::start();
    let address = redis.empty();
    let kept = killed::writes_until(&address, 300, |_| redis.server.kill_and_start_again());
    let store = open(&address).unwrap();
    answers_again(&store);
    for id in &kept {
        assert!(wait(store.key_by_id(id)).unwrap().is_some(), "{id}");
    }
}

#[test]
fn a_connection_that_is_lost_is_made_anew() {
    let mut redis = Redis::start();
    let address = redis.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    redis.tell(&address, "CLIENT KILL TYPE normal SKIPME yes");
    answers_again(&store);
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada.clone()));

    redis.server.kill();
    is_gone(&store);
    redis.server.revive();
    answers_again(&store);
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada));
}

#[test]
fn what_is_emptied_is_told_as_everything() {
    let redis = Redis::start();
    let address = redis.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    let since = wait(store.changes_since(None)).unwrap().revision;
    redis.tell(&address, "FLUSHDB");
    assert_eq!(wait(store.changes_since(Some(since))).unwrap().what, What::Everything);
    assert!(wait(store.user_by_id(&ada.id)).unwrap().is_none());
}

#[test]
fn a_server_that_forgets_is_refused_and_so_is_a_newer_store() {
    let redis = Redis::start();
    let address = redis.empty();
    redis.tell(&address, "CONFIG SET maxmemory-policy allkeys-lru");
    // It forgets only when its memory is bounded.
    wait(open(&address).unwrap().ping()).unwrap();
    redis.tell(&address, "CONFIG SET maxmemory 100mb");
    let error = wait(open(&address).unwrap().ping()).unwrap_err();
    assert!(error.to_string().contains("noeviction"), "{error}");
    redis.tell(&address, "CONFIG SET maxmemory-policy noeviction");
    wait(open(&address).unwrap().ping()).unwrap();

    redis.tell(&address, "SET doorward:version 99");
    assert!(matches!(wait(open(&address).unwrap().ping()), Err(StoreError::Newer { found: 99, known: 1 })));
}

#[test]
fn a_full_server_changes_nothing_by_halves() {
    let redis = Redis::start();
    let address = redis.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    let (key, session) = (key(&ada), session(&ada));
    wait(store.add_key(key.clone())).unwrap();
    wait(store.add_session(session.clone())).unwrap();
    let since = wait(store.changes_since(None)).unwrap().revision;
    redis.tell(&address, "CONFIG SET maxmemory 1");
    let new = crate::key(&ada);
    assert!(matches!(
        wait(store.rotate_key(&key.id, new.clone(), key.created)),
        Err(StoreError::Unavailable(_))
    ));
    assert!(wait(store.key_by_id(&key.id)).unwrap() == Some(key.clone()));
    assert!(wait(store.key_by_id(&new.id)).unwrap().is_none());
    redis.tell(&address, "CONFIG SET maxmemory 0");
    assert!(wait(store.revoke_key(&key.id)).unwrap());
    assert_eq!(wait(store.changes_since(Some(since))).unwrap().what, What::These(vec![Change::Key(key.id)]));
}

#[test]
fn a_record_that_cannot_be_understood_is_not_shown() {
    let redis = Redis::start();
    let address = redis.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    redis.tell(&address, &format!("HSET doorward:user:{} created secret", ada.id));
    let error = wait(store.user_by_name("ada")).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)));
    assert!(error.to_string().contains("created") && !error.to_string().contains("secret"), "{error}");
    redis.tell(&address, "SET doorward:revision secret");
    let error = wait(store.changes_since(Some(0))).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn tls_is_done_with_a_server_that_is_known_and_with_no_other() {
    let folder = server::folder();
    // The name is another way to this machine, for which there is a certificate.
    let certificate = server::certificate(&folder, "localhost");
    let redis = Redis::start_with(
        folder,
        "--port 0 --tls-port PORT --tls-cert-file server.pem --tls-key-file server.key --tls-auth-clients no \
         --tls-ca-cert-file server.pem",
    );
    let address = redis.empty().replace("redis://", "rediss://");
    let named = address.replace("127.0.0.1", "localhost");
    wait(open(&format!("{named}?sslrootcert={}", certificate.display())).unwrap().ping()).unwrap();
    for unknown in [named, format!("{address}?sslrootcert={}", certificate.display())] {
        let error = wait(open(&unknown).unwrap().ping()).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[test]
fn addresses() {
    for text in ["redis://:secret@h:x", "redis:", "rediss://:secret@", "redis+unix:secret"] {
        let error = Address::parse(text).unwrap_err();
        assert!(matches!(error, StoreError::Address(_)), "{text}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for text in
        ["redis://h", "rediss://h:6380/3", "valkey://u@h", "valkeys://h", "redis+unix:///run/redis.sock"]
    {
        assert!(!Address::parse(text).unwrap().has_password(), "{text}");
    }
    let secret = Address::parse("rediss://u:secret@h").unwrap();
    assert!(secret.has_password() && !format!("{secret:?}").contains("secret"), "{secret:?}");
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://:secret@127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let error = wait(open(&address).unwrap().ping()).unwrap_err();
    assert!(error.to_string().contains("refused") && !error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_wrong_password_is_said_and_not_shown() {
    let redis = Redis::start();
    let address = redis.empty().replace("p%40ss%2Fword", "secret");
    let error = wait(open(&address).unwrap().ping()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// What a gateway says of a key.
fn says(gateway: &Directory, key: &NewKey, grace: u64) -> Result<Result<String, Why>, StoreError> {
    let checked = check::key(gateway, key.text.as_bytes(), Duration::from_secs(grace), Time::now());
    wait(checked).map(|said| said.map(|identity| identity.name.clone()))
}

fn until(what: &str, is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn while_the_store_is_away_only_who_is_known_is_let_in_and_only_for_the_grace() {
    let mut redis = Redis::start();
    let address = redis.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    let keys: Vec<NewKey> = (0..2)
        .map(|_| {
            let new = NewKey::generate().unwrap();
            let key = ApiKey { id: new.id.clone(), digest: new.digest, ..key(&ada) };
            wait(store.add_key(key)).unwrap();
            new
        })
        .collect();
    let [known, other] = keys.as_slice() else { unreachable!() };
    let gateway = Directory::new(Address::parse(&address).unwrap(), 1 << 20);
    gateway.keep(|_| ());
    until("it is up to date", || {
        says(&gateway, known, 0).is_ok_and(|said| said == Ok("ada".into())) && gateway.is_up_to_date()
    });
    assert_eq!(says(&gateway, known, 0), Ok(Ok("ada".into())));

    redis.server.kill();
    until("nobody is let in", || says(&gateway, known, 0).is_err());
    let began = Instant::now();
    assert_eq!(says(&gateway, known, 3600), Ok(Ok("ada".into())));
    assert!(says(&gateway, other, 3600).is_err(), "what is not known cannot be let in");
    assert!(says(&gateway, known, 0).is_err());
    // It is known to be away: nobody waits for it, as long as that would be.
    assert!(began.elapsed() < auth::store::TIMEOUT, "{:?}", began.elapsed());
    until("the grace is over", || says(&gateway, known, 2).is_err());

    redis.server.revive();
    until("it is back", || says(&gateway, other, 0) == Ok(Ok("ada".into())));
    answers_again(&store);
    assert!(wait(store.revoke_key(&known.id)).unwrap());
    until("the revocation holds", || says(&gateway, known, 3600) == Ok(Err(Why::Revoked)));
}
