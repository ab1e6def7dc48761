//! PostgreSQL: the contract, and what is its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use auth::store::{Address, StoreError, open};

use tempfile::TempDir;

use crate::server::{self, Server};
use crate::{answers_again, contract, gateways, is_gone, key, killed, user, wait, with_user};

struct Postgres {
    server: Server,
    databases: AtomicU32,
}

/// Debian keeps each version in a folder of its own.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    server::program(&[name], folders, "postgresql")
}

impl Postgres {
    fn start() -> Postgres {
        Postgres::start_with(server::folder(), "-c ssl=off")
    }

    fn start_with(folder: TempDir, settings: &str) -> Postgres {
        std::fs::write(folder.path().join("password"), "p@ss/word").unwrap();
        let made = server::as_nobody(
            Command::new(program("initdb"))
                .args([
                    "--username=ada",
                    "--auth=scram-sha-256",
                    "--pwfile=password",
                    "--no-sync",
                    "--locale=C.UTF-8",
                ])
                .args(["--encoding=UTF8", "--pgdata=data"]),
        )
        .current_dir(folder.path())
        .output()
        .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let server = Server::start(folder, program("postgres"), |folder, port| {
            let folder = folder.display();
            let words =
                format!("-D {folder}/data -p {port} -c listen_addresses=127.0.0.1 -k {folder} {settings}");
            words.split(' ').map(str::to_owned).collect()
        });
        let mut postgres = Postgres { server, databases: AtomicU32::new(0) };
        postgres.wait();
        postgres
    }

    /// Waits until it answers.
    fn wait(&mut self) {
        let start = Instant::now();
        while let Err(error) = self.tell("postgres", "SELECT 1") {
            assert!(start.elapsed() < Duration::from_secs(60), "{error}\n{}", self.server.log());
            std::thread::sleep(Duration::from_millis(50));
            self.server.revive();
        }
    }

    fn address(&self, database: &str) -> String {
        format!("postgres://ada:p%40ss%2Fword@127.0.0.1:{}/{database}", self.server.port)
    }

    /// Tells the server something, past the store.
    fn tell(&self, database: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.address(database), tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute(sql).await
        })
    }

    /// The address of an empty database.
    fn empty(&self) -> String {
        let name = format!("doorward{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.tell("postgres", &format!("CREATE DATABASE {name}")).unwrap();
        self.address(&name)
    }
}

#[test]
fn postgresql_holds_the_contract() {
    // Ten thousand changes need not wait for the disk, nor for who tidies up: that is another test's subject.
    let quick = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off";
    let postgres = Postgres::start_with(server::folder(), &format!("-c ssl=off {quick}"));
    contract::holds(&|| open(&postgres.empty()).unwrap());
    gateways::hear_of_revocations(&postgres.empty());
}

#[test]
fn a_killed_server_loses_nothing_that_was_acknowledged() {
    let mut postgres = Postgres::start();
    let address = postgres.empty();
    let kept = killed::writes_until(&address, 300, |_| postgres.server.kill_and_start_again());
    postgres.wait();
    let store = open(&address).unwrap();
    for id in &kept {
        assert!(wait(store.key_by_id(id)).unwrap().is_some(), "{id}");
    }
}

#[test]
fn a_connection_that_is_lost_is_made_anew() {
    let mut postgres = Postgres::start();
    let address = postgres.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    // The server ends its connections, as at its restart.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doorward'";
    postgres.tell("postgres", end).unwrap();
    answers_again(&store);
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada.clone()));

    postgres.server.kill();
    is_gone(&store);
    postgres.server.kill_and_start_again();
    postgres.wait();
    answers_again(&store);
    assert!(wait(store.user_by_name("ada")).unwrap() == Some(ada));
}

#[test]
fn several_gateways_make_the_schema_once_and_a_newer_one_is_refused() {
    let postgres = Postgres::start();
    let address = postgres.empty();
    let stores: Vec<_> = (0..4).map(|_| open(&address).unwrap()).collect();
    for (number, store) in stores.iter().enumerate() {
        wait(store.add_user(user(&format!("user{number}")))).unwrap();
    }
    assert_eq!(wait(stores[0].users(None, 10)).unwrap().len(), 4);

    let database = address.rsplit('/').next().unwrap();
    // Whoever may only use it can use it.
    postgres
        .tell(
            database,
            "CREATE ROLE gate LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA doorward TO gate;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA doorward TO gate",
        )
        .unwrap();
    let gate = open(&address.replace("ada:p%40ss%2Fword", "gate:x")).unwrap();
    let grace = user("grace");
    wait(gate.add_user(grace.clone())).unwrap();
    let key = key(&grace);
    wait(gate.add_key(key.clone())).unwrap();
    assert!(wait(gate.revoke_key(&key.id)).unwrap());

    postgres.tell(database, "UPDATE doorward.state SET version = 99").unwrap();
    let newer = open(&address).unwrap();
    assert!(matches!(wait(newer.ping()), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn who_waits_for_another_does_not_wait_for_long() {
    let postgres = Postgres::start();
    let address = postgres.empty();
    let (store, ada) = with_user(&|| open(&address).unwrap());
    let database = address.rsplit('/').next().unwrap().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            postgres.tell(&database, "BEGIN; LOCK doorward.state; SELECT pg_sleep(10); COMMIT").unwrap();
        });
        let start = Instant::now();
        // Until the lock is held, changes go through.
        let error = loop {
            match wait(store.set_disabled(&ada.id, true)) {
                Err(error) => break error,
                Ok(_) => assert!(start.elapsed() < Duration::from_secs(60)),
            }
        };
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        // Its statement was cancelled, so that others go on at once.
        assert!(wait(store.user_by_name("ada")).unwrap().is_some());
    });
    assert!(wait(store.set_disabled(&ada.id, false)).unwrap());
}

#[test]
fn tls_is_done_with_a_server_that_is_known_and_with_no_other() {
    let folder = server::folder();
    // The name is another way to this machine, for which there is a certificate.
    let certificate = server::certificate(&folder, "localhost");
    let mut postgres = Postgres::start_with(
        folder,
        "-c ssl=on -c ssl_cert_file=../server.pem -c ssl_key_file=../server.key",
    );
    postgres.wait();
    let address = postgres.empty().replace("127.0.0.1", "localhost");
    let with = |parameters: &str| wait(open(&format!("{address}?{parameters}")).unwrap().ping());
    let known = format!("sslrootcert={}", certificate.display());
    with(&known).unwrap();
    with(&format!("sslmode=require&{known}")).unwrap();
    let refused = with("sslmode=require").unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    // The certificate is of another name than the address says.
    let other = format!("{}?{known}", postgres.address("postgres"));
    let refused = wait(open(&other).unwrap().ping()).unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    // A server that speaks no TLS is not spoken to without.
    let plain = Postgres::start();
    let refused =
        wait(open(&format!("{}?sslmode=require", plain.address("postgres"))).unwrap().ping()).unwrap_err();
    assert!(refused.to_string().contains("TLS"), "{refused}");
    let missing = open("postgres://ada@h/x?sslrootcert=/no/such.pem").map(|_| ()).unwrap_err();
    assert!(missing.to_string().contains("/no/such.pem"), "{missing}");
}

#[test]
fn what_leaves_the_machine_is_encrypted_unless_it_is_said() {
    let debug = |text: &str| format!("{:?}", Address::parse(text).unwrap());
    for (address, mode) in [
        ("postgres://ada@localhost/x", "Disable"),
        ("postgres://ada@%2Frun%2Fpostgresql/x", "Disable"),
        ("postgres://ada@db.example.org/x", "Require"),
        ("postgres://ada@localhost/x?hostaddr=192.0.2.1", "Require"),
        ("postgres://ada@localhost,db.example.org/x", "Require"),
        ("postgres://ada@db.example.org/x?sslmode=prefer", "Require"),
        ("postgres://ada@db.example.org/x?sslmode=disable", "Disable"),
    ] {
        assert!(debug(address).contains(&format!("ssl_mode: {mode}")), "{address} {}", debug(address));
    }
}

#[test]
fn what_cannot_be_reached_is_unavailable() {
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("postgres://ada:secret@127.0.0.1:{}/x", listener.local_addr().unwrap().port());
    drop(listener);
    let error = wait(open(&address).unwrap().ping()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    assert!(error.to_string().contains("refused") && !error.to_string().contains("secret"), "{error}");
    // Somebody listens, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("postgres://ada:secret@127.0.0.1:{}/x", listener.local_addr().unwrap().port());
    let error = wait(open(&address).unwrap().ping()).unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");

    for text in ["postgres://ada:secret@host:port/x", "postgres://", "postgres:x"] {
        let error = Address::parse(text).unwrap_err();
        assert!(matches!(error, StoreError::Address(_)), "{text}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert!(!format!("{:?}", Address::parse("postgres://ada:secret@h/x").unwrap()).contains("secret"));
    assert!(Address::parse("postgres://ada:secret@h/x").unwrap().has_password());
    assert!(!Address::parse("postgresql://ada@h/x").unwrap().has_password());
}
