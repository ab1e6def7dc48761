//! A store in PostgreSQL, which several gateways share.
//!
//! Every call is one statement, which is a transaction of its own, so that calls of all workers go down one connection without
//! waiting for each other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::link::{Connected, Link};
use super::record::{check_password, joined, split};
use super::{
    Answer, ApiKey, CHANGES, Change, Changes, PAGE, Session, Store, StoreError, TIMEOUT, Time, User, What,
    tls,
};
use crate::secret::Digest;

/// What leads from each version to the next; never changed, only added to. Each sets `doorward.state.version`.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// Taken while the schema is changed: "Door".
const MIGRATING: i64 = 0x446f_6f72;

macro_rules! users {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, email, password, scopes, groups, disabled, created FROM doorward.users ",
            $rest
        )
    };
}

macro_rules! keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, digest, owner, label, scopes, created, expires, revoked, last_used FROM doorward.api_keys ",
            $rest
        )
    };
}

macro_rules! sessions {
    ($rest:literal) => {
        concat!("SELECT digest, owner, created, last_seen, expires FROM doorward.sessions ", $rest)
    };
}

/// What stands in the place of `$1`, `$2` ...
type Value = Box<dyn ToSql + Send + Sync>;

macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value) as Value),*] };
}

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?...`
#[derive(Clone, Debug)]
pub struct Place {
    config: Config,
    /// Who vouches for the server, where it is not whom the machine trusts.
    pub(super) authority: Option<PathBuf>,
}

impl Place {
    /// Reads an address that begins with `postgres:` or `postgresql:`.
    pub(super) fn parse(text: &str) -> Result<Place, StoreError> {
        let (text, authority) = tls::without_authority(text);
        // The library's sentence could show a password.
        let mut config: Config = text.parse().map_err(|_| {
            StoreError::Address(
                "the address of PostgreSQL is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of \
                 the password as %XX"
                    .into(),
            )
        })?;
        if config.get_hosts().is_empty() {
            return Err(StoreError::Address("the address of PostgreSQL names no host".into()));
        }
        // What may leave the machine is encrypted, unless it is said that it need not be; "if the server wants to" would
        // leave that to whoever sits between.
        if config.get_ssl_mode() == SslMode::Prefer {
            let is_near = config.get_hosts().iter().all(|host| match host {
                Host::Unix(_) => true,
                Host::Tcp(name) => tls::is_near(name),
            }) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
            config.ssl_mode(if is_near && authority.is_none() { SslMode::Disable } else { SslMode::Require });
        }
        if config.get_application_name().is_none() {
            config.application_name("doorward");
        }
        config.connect_timeout(TIMEOUT).keepalives_idle(Duration::from_secs(30));
        Ok(Place { config, authority })
    }

    /// The password, where there is one.
    pub(super) fn password(&self) -> Option<&[u8]> {
        self.config.get_password()
    }
}

/// The store.
pub(super) struct Postgres {
    link: Link<Linked>,
}

/// A connection, and what was prepared on it.
struct Linked {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

impl Postgres {
    /// Begins to connect, and goes on with that until it is dropped.
    pub(super) fn open(place: &Place) -> Result<Postgres, StoreError> {
        let config = place.config.clone();
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls::client(place.authority.as_deref())?)),
        };
        let link = Link::start("store-postgres", move || {
            let (config, tls) = (config.clone(), tls.clone());
            Box::pin(async move { connect(&config, tls).await })
        })?;
        Ok(Postgres { link })
    }

    /// Asks one statement.
    fn ask<T: Send + 'static>(
        &self,
        statement: &'static str,
        values: Vec<Value>,
        read: impl FnOnce(Vec<Row>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.link.ask(move |linked| async move { read(linked.ask(statement, &values).await?) })
    }

    /// The same, for a record that is there or not.
    fn one<T: Send + 'static>(
        &self,
        statement: &'static str,
        values: Vec<Value>,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Answer<Option<T>> {
        self.ask(statement, values, move |rows| rows.first().map(read).transpose())
    }

    /// The same, for a list.
    fn many<T: Send + 'static>(
        &self,
        statement: &'static str,
        values: Vec<Value>,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Answer<Vec<T>> {
        self.ask(statement, values, move |rows| rows.iter().map(read).collect())
    }

    /// The same, for a change: whether there was something to change.
    fn changed(&self, statement: &'static str, values: Vec<Value>) -> Answer<bool> {
        self.ask(statement, values, |rows| Ok(!rows.is_empty()))
    }
}

impl Linked {
    async fn ask(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.client.prepare(sql).await.map_err(failed)?;
                let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
                statements.entry(sql).or_insert(statement).clone()
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        self.client.query(&statement, &values).await.map_err(failed)
    }
}

async fn connect(config: &Config, tls: Option<MakeRustlsConnect>) -> Connected<Linked> {
    let mut moving = JoinSet::new();
    let mut client = match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            moving.spawn(connection);
            client
        }
        Some(tls) => {
            let (client, connection) = config.connect(tls).await.map_err(failed)?;
            moving.spawn(connection);
            client
        }
    };
    migrate(&mut client).await?;
    // A call that waits for another's lock ends before nobody waits for it.
    let patience = TIMEOUT.as_millis() * 3 / 4;
    client.batch_execute(&format!("SET statement_timeout = {patience}")).await.map_err(failed)?;
    // Those who wait for an answer hear why it was lost.
    let lost = Box::pin(async move { drop(moving.join_next().await) });
    Ok((Linked { client, statements: Mutex::default() }, lost))
}

async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    // Whoever only uses the store needs no permission to make one.
    if version(client).await? == known {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATING]).await.map_err(failed)?;
    let found = version(transaction.client()).await?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(step).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

/// The version of what is there; 0 when nothing is.
async fn version(client: &Client) -> Result<i64, StoreError> {
    // A look into the catalogue sees what others have done meanwhile, which to_regclass may not.
    let there =
        "SELECT count(*) > 0 FROM pg_catalog.pg_tables WHERE schemaname = 'doorward' AND tablename = 'state'";
    if !client.query_one(there, &[]).await.map_err(failed).and_then(|row| column(&row, 0))? {
        return Ok(0);
    }
    client
        .query_one("SELECT version FROM doorward.state", &[])
        .await
        .map_err(failed)
        .and_then(|row| column(&row, 0))
}

impl Store for Postgres {
    fn add_user(&self, user: User) -> Answer<()> {
        if let Err(error) = user.check() {
            return refused(error);
        }
        let line = Change::User(user.id.clone()).line();
        let values = values![
            user.id,
            user.name,
            user.email,
            user.password,
            joined(&user.scopes),
            joined(&user.groups),
            user.disabled,
            number(user.created),
            line,
            CHANGES as i64
        ];
        self.ask(
            "WITH added AS (INSERT INTO doorward.users VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id)
             SELECT doorward.note($9, $10) FROM added",
            values,
            |_| Ok(()),
        )
    }

    fn user_by_name(&self, name: &str) -> Answer<Option<User>> {
        self.one(users!("WHERE name = $1"), values![text(name)], user)
    }

    fn user_by_id(&self, id: &str) -> Answer<Option<User>> {
        self.one(users!("WHERE id = $1"), values![text(id)], user)
    }

    fn users(&self, after: Option<&str>, limit: u32) -> Answer<Vec<User>> {
        let values = values![text(after.unwrap_or_default()), page(limit)];
        self.many(users!("WHERE name > $1 ORDER BY name LIMIT $2"), values, user)
    }

    fn change_user(&self, user: User) -> Answer<bool> {
        if let Err(error) = user.check() {
            return refused(error);
        }
        let line = Change::User(user.id.clone()).line();
        let (scopes, groups) = (joined(&user.scopes), joined(&user.groups));
        self.changed(
            "WITH changed AS (
                UPDATE doorward.users SET email = $2, scopes = $3, groups = $4 WHERE id = $1 RETURNING id
             )
             SELECT doorward.note($5, $6) FROM changed",
            values![user.id, user.email, scopes, groups, line, CHANGES as i64],
        )
    }

    fn set_password(&self, user: &str, password: Option<String>) -> Answer<bool> {
        if let Err(error) = password.as_deref().map_or(Ok(()), check_password) {
            return refused(error);
        }
        let line = Change::User(user.to_owned()).line();
        self.changed(
            "WITH changed AS (UPDATE doorward.users SET password = $2 WHERE id = $1 RETURNING id)
             SELECT doorward.note($3, $4) FROM changed",
            values![text(user), password, text(&line), CHANGES as i64],
        )
    }

    fn set_disabled(&self, user: &str, disabled: bool) -> Answer<bool> {
        let line = Change::User(user.to_owned()).line();
        self.changed(
            "WITH changed AS (UPDATE doorward.users SET disabled = $2 WHERE id = $1 RETURNING id)
             SELECT doorward.note($3, $4) FROM changed",
            values![text(user), disabled, text(&line), CHANGES as i64],
        )
    }

    fn add_key(&self, key: ApiKey) -> Answer<()> {
        if let Err(error) = key.check() {
            return refused(error);
        }
        let insert = "INSERT INTO doorward.api_keys VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        self.ask(insert, values_of(key), |_| Ok(()))
    }

    fn key_by_id(&self, id: &str) -> Answer<Option<ApiKey>> {
        self.one(keys!("WHERE id = $1"), values![text(id)], key)
    }

    fn keys(&self, user: Option<&str>, after: Option<&str>, limit: u32) -> Answer<Vec<ApiKey>> {
        let after = text(after.unwrap_or_default());
        match user {
            None => self.many(keys!("WHERE id > $1 ORDER BY id LIMIT $2"), values![after, page(limit)], key),
            Some(user) => {
                let values = values![text(user), after, page(limit)];
                self.many(keys!("WHERE owner = $1 AND id > $2 ORDER BY id LIMIT $3"), values, key)
            }
        }
    }

    fn revoke_key(&self, id: &str) -> Answer<bool> {
        let line = Change::Key(id.to_owned()).line();
        self.changed(
            "WITH changed AS (UPDATE doorward.api_keys SET revoked = true WHERE id = $1 RETURNING id)
             SELECT doorward.note($2, $3) FROM changed",
            values![text(id), text(&line), CHANGES as i64],
        )
    }

    fn rotate_key(&self, old: &str, new: ApiKey, until: Time) -> Answer<bool> {
        if let Err(error) = new.check() {
            return refused(error);
        }
        let (old, line) = (text(old), text(&Change::Key(old.to_owned()).line()));
        self.link.ask(move |linked| async move {
            // A new key without an old one is not made; a new key that cannot be made leaves the old one as it is.
            let rotate = "WITH old AS (
                    UPDATE doorward.api_keys SET expires = least(expires, $11) WHERE id = $10 AND NOT revoked RETURNING id
                ), new AS (
                    INSERT INTO doorward.api_keys SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM old RETURNING id
                )
                SELECT doorward.note($12, $13) FROM new";
            let mut values = values_of(new);
            values.extend(values![old.clone(), number(until), line, CHANGES as i64]);
            if !linked.ask(rotate, &values).await?.is_empty() {
                return Ok(true);
            }
            match linked.ask(keys!("WHERE id = $1"), &[Box::new(old)]).await?.first() {
                Some(_) => Err(StoreError::Conflict("the key is revoked".into())),
                None => Ok(false),
            }
        })
    }

    fn touch_keys(&self, used: Vec<(String, Time)>) -> Answer<()> {
        let (ids, times): (Vec<String>, Vec<i64>) =
            used.into_iter().map(|(id, time)| (text(&id), number(time))).unzip();
        self.ask(
            "UPDATE doorward.api_keys SET last_used = greatest(last_used, used.time)
             FROM unnest($1::text[], $2::bigint[]) AS used (id, time) WHERE api_keys.id = used.id",
            values![ids, times],
            |_| Ok(()),
        )
    }

    fn add_session(&self, session: Session) -> Answer<()> {
        let Session { digest, user, created, last_seen, expires } = session;
        let values =
            values![digest.to_vec(), text(&user), number(created), number(last_seen), number(expires)];
        self.ask("INSERT INTO doorward.sessions VALUES ($1, $2, $3, $4, $5)", values, |_| Ok(()))
    }

    fn session_by_digest(&self, digest: &Digest) -> Answer<Option<Session>> {
        self.one(sessions!("WHERE digest = $1"), values![digest.to_vec()], session)
    }

    fn sessions(&self, user: Option<&str>, after: Option<&Digest>, limit: u32) -> Answer<Vec<Session>> {
        // No digest is less than nothing.
        let after = after.map_or(Vec::new(), |digest| digest.to_vec());
        match user {
            None => {
                let values = values![after, page(limit)];
                self.many(sessions!("WHERE digest > $1 ORDER BY digest LIMIT $2"), values, session)
            }
            Some(user) => {
                let values = values![text(user), after, page(limit)];
                let page = sessions!("WHERE owner = $1 AND digest > $2 ORDER BY digest LIMIT $3");
                self.many(page, values, session)
            }
        }
    }

    fn touch_sessions(&self, seen: Vec<(Digest, Time)>) -> Answer<()> {
        let (digests, times): (Vec<Vec<u8>>, Vec<i64>) =
            seen.into_iter().map(|(digest, time)| (digest.to_vec(), number(time))).unzip();
        self.ask(
            "UPDATE doorward.sessions SET last_seen = greatest(last_seen, seen.time)
             FROM unnest($1::bytea[], $2::bigint[]) AS seen (digest, time) WHERE sessions.digest = seen.digest",
            values![digests, times],
            |_| Ok(()),
        )
    }

    fn delete_session(&self, digest: &Digest) -> Answer<bool> {
        self.changed(
            "WITH gone AS (DELETE FROM doorward.sessions WHERE digest = $1 RETURNING digest)
             SELECT doorward.note($2, $3) FROM gone",
            values![digest.to_vec(), Change::Session(*digest).line(), CHANGES as i64],
        )
    }

    fn delete_sessions(&self, user: &str) -> Answer<u64> {
        let line = Change::User(user.to_owned()).line();
        self.ask(
            "WITH gone AS (DELETE FROM doorward.sessions WHERE owner = $1 RETURNING digest)
             SELECT count(*), CASE WHEN count(*) > 0 THEN doorward.note($2, $3) END FROM gone",
            values![text(user), text(&line), CHANGES as i64],
            |rows| count(&rows),
        )
    }

    fn purge_sessions(&self, now: Time) -> Answer<u64> {
        self.ask(
            "WITH gone AS (DELETE FROM doorward.sessions WHERE expires <= $1 RETURNING digest) SELECT count(*) FROM gone",
            values![number(now)],
            |rows| count(&rows),
        )
    }

    fn changes_since(&self, revision: Option<u64>) -> Answer<Changes> {
        // One statement sees one moment. Where everything has to be forgotten, no line matters.
        let since = revision.map_or(i64::MAX, |since| number(Time(since)));
        self.ask(
            "SELECT last_revision, what FROM doorward.state LEFT JOIN doorward.changes ON revision > $1 ORDER BY revision",
            values![since],
            move |rows| {
                let first = rows.first().ok_or_else(|| StoreError::Corrupt("the table of its state is empty".into()))?;
                let last = unsigned(column(first, 0)?)?;
                if revision.is_none_or(|since| since > last || last - since > CHANGES) {
                    return Ok(Changes { revision: last, what: What::Everything });
                }
                let mut these = Vec::new();
                for row in &rows {
                    if let Some(line) = column::<Option<&str>>(row, 1)? {
                        these.push(Change::parse(line)?);
                    }
                }
                Ok(Changes { revision: last, what: What::These(these) })
            },
        )
    }

    fn ping(&self) -> Answer<()> {
        self.ask("SELECT last_revision FROM doorward.state", Vec::new(), |_| Ok(()))
    }
}

fn refused<T: Send + 'static>(error: StoreError) -> Answer<T> {
    Box::pin(async { Err(error) })
}

/// PostgreSQL's text has no NUL: what has one is in no record, and is asked for as what is in none either.
fn text(text: &str) -> String {
    if text.contains('\0') { "\u{1}".into() } else { text.into() }
}

fn page(limit: u32) -> i64 {
    limit.min(PAGE).into()
}

/// PostgreSQL's integers have a sign.
fn number(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt("a number is negative".into()))
}

fn values_of(key: ApiKey) -> Vec<Value> {
    values![
        key.id,
        key.digest.to_vec(),
        text(&key.user),
        key.label,
        joined(&key.scopes),
        number(key.created),
        key.expires.map(number),
        key.revoked,
        key.last_used.map(number)
    ]
}

fn count(rows: &[Row]) -> Result<u64, StoreError> {
    rows.first().map_or(Ok(0), |row| unsigned(column(row, 0)?))
}

fn column<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn time(row: &Row, number: usize) -> Result<Time, StoreError> {
    unsigned(column(row, number)?).map(Time)
}

fn maybe(row: &Row, number: usize) -> Result<Option<Time>, StoreError> {
    column::<Option<i64>>(row, number)?.map(|number| unsigned(number).map(Time)).transpose()
}

fn digest(row: &Row, number: usize) -> Result<Digest, StoreError> {
    let bytes: &[u8] = column(row, number)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt("a digest has another length than 32".into()))
}

fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: column(row, 0)?,
        name: column(row, 1)?,
        email: column(row, 2)?,
        password: column(row, 3)?,
        scopes: split(column(row, 4)?),
        groups: split(column(row, 5)?),
        disabled: column(row, 6)?,
        created: time(row, 7)?,
    })
}

fn key(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: column(row, 0)?,
        digest: digest(row, 1)?,
        user: column(row, 2)?,
        label: column(row, 3)?,
        scopes: split(column(row, 4)?),
        created: time(row, 5)?,
        expires: maybe(row, 6)?,
        revoked: column(row, 7)?,
        last_used: maybe(row, 8)?,
    })
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        digest: digest(row, 0)?,
        user: column(row, 1)?,
        created: time(row, 2)?,
        last_seen: time(row, 3)?,
        expires: time(row, 4)?,
    })
}

/// PostgreSQL's main sentences name no values of ours; what follows them (`DETAIL`) does, and is left out.
#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return StoreError::Unavailable(format!("{error}{cause}"));
    };
    match *db.code() {
        SqlState::FOREIGN_KEY_VIOLATION => StoreError::Conflict("there is no such user".into()),
        SqlState::UNIQUE_VIOLATION => StoreError::Conflict(
            match db.table() {
                Some("users") => "there is a user of this name already",
                Some("api_keys") => "there is a key of this id already",
                _ => "there is this session already",
            }
            .into(),
        ),
        _ => StoreError::Unavailable(db.message().to_owned()),
    }
}
