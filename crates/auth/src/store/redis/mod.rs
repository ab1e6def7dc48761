//! A store in Redis or Valkey, which several gateways share.
//!
//! A record is a hash; its id stands in sorted sets, by which lists are turned page by page. Every call is one script, which the
//! server does as a whole or not at all, so that calls of all workers go down one connection without waiting for each other.

mod scripts;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo as _, RedisError, Script,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::link::{Connected, Link};
use super::record::{check_password, joined, split};
use super::{
    Answer, ApiKey, CHANGES, Change, Changes, PAGE, Session, Store, StoreError, Time, User, What, hex, tls,
    unhex,
};
use crate::secret::Digest;

/// The version of what is written here.
const VERSION: i64 = 1;

/// Sessions that are purged in one script: nobody else is served meanwhile.
const PURGED: u64 = 2000;

/// `redis://USER:PASSWORD@HOST:PORT/NUMBER`, `rediss://` with TLS, `redis+unix:///PATH`; the same with `valkey`.
#[derive(Clone, Debug)]
pub struct Place {
    info: ConnectionInfo,
    /// Whether TLS is spoken.
    tls: bool,
    /// Who vouches for the server, where it is not whom the machine trusts.
    pub(super) authority: Option<PathBuf>,
}

impl Place {
    /// Reads an address with one of these schemes.
    pub(super) fn parse(scheme: &str, text: &str) -> Result<Place, StoreError> {
        let (text, authority) = tls::without_authority(text);
        let tls = matches!(scheme, "rediss" | "valkeys");
        let rest = text.strip_prefix(scheme).unwrap_or_default();
        let plain = if scheme.ends_with("+unix") { "redis+unix" } else { "redis" };
        // The library's sentence could show a password.
        let info = format!("{plain}{rest}").into_connection_info().map_err(|_| {
            StoreError::Address(
                "the address of Redis is redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss://... with TLS, or \
                 redis+unix:///PATH, with special characters of the password as %XX"
                    .into(),
            )
        })?;
        Ok(Place { info, tls, authority })
    }

    /// The password, where there is one.
    pub(super) fn password(&self) -> Option<&[u8]> {
        self.info.redis_settings().password().map(str::as_bytes)
    }
}

/// The store.
pub(super) struct Redis {
    link: Link<MultiplexedConnection>,
}

/// A record as the server sends it: its id, and its fields.
type Record = (String, HashMap<String, Vec<u8>>);

/// What a script is given.
type Values = Vec<Vec<u8>>;

macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(Vec::<u8>::from($value)),*] };
}

impl Redis {
    /// Begins to connect, and goes on with that until it is dropped.
    pub(super) fn open(place: &Place) -> Result<Redis, StoreError> {
        let info = place.info.clone();
        let tls = match place.tls {
            true => Some(Arc::new(tls::client(place.authority.as_deref())?)),
            false => None,
        };
        let link = Link::start("store-redis", move || {
            let (info, tls) = (info.clone(), tls.clone());
            Box::pin(async move { connect(&info, tls).await })
        })?;
        Ok(Redis { link })
    }

    /// Does a script.
    fn ask<R: FromRedisValue + Send, T: Send + 'static>(
        &self,
        script: &'static str,
        values: Values,
        read: impl FnOnce(R) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.link.ask(move |connection| async move { read(run(&connection, script, &values).await?) })
    }

    fn many<T: Send + 'static>(
        &self,
        script: &'static str,
        values: Values,
        read: fn(&Record) -> Result<T, StoreError>,
    ) -> Answer<Vec<T>> {
        self.ask(script, values, move |records: Vec<Record>| records.iter().map(read).collect())
    }

    fn one<T: Send + 'static>(
        &self,
        script: &'static str,
        values: Values,
        read: fn(&Record) -> Result<T, StoreError>,
    ) -> Answer<Option<T>> {
        self.ask(script, values, move |records: Vec<Record>| records.first().map(read).transpose())
    }

    /// Does a script that says how it went: whether there was something to change.
    fn change(&self, script: &'static str, values: Values, taken: &'static str) -> Answer<bool> {
        self.ask(script, values, move |outcome: String| match outcome.as_str() {
            "done" => Ok(true),
            "missing" => Ok(false),
            "nobody" => Err(StoreError::Conflict("there is no such user".into())),
            "revoked" => Err(StoreError::Conflict("the key is revoked".into())),
            _ => Err(StoreError::Conflict(taken.into())),
        })
    }

    /// The same, for what is always there.
    fn add(&self, script: &'static str, values: Values, taken: &'static str) -> Answer<()> {
        let changed = self.change(script, values, taken);
        Box::pin(async { changed.await.map(|_| ()) })
    }
}

async fn run<R: FromRedisValue>(
    connection: &MultiplexedConnection,
    script: &str,
    values: &[Vec<u8>],
) -> Result<R, StoreError> {
    let script = Script::new(script);
    let mut invocation = script.prepare_invoke();
    for value in values {
        invocation.arg(value.as_slice());
    }
    invocation.invoke_async(&mut connection.clone()).await.map_err(failed)
}

async fn connect(info: &ConnectionInfo, tls: Option<Arc<ClientConfig>>) -> Connected<MultiplexedConnection> {
    let lost = |error: std::io::Error| StoreError::Unavailable(error.to_string());
    let mut moving = JoinSet::new();
    let connection = match (info.addr(), tls) {
        (ConnectionAddr::Unix(path), _) => {
            over(UnixStream::connect(path).await.map_err(lost)?, info, &mut moving).await?
        }
        (ConnectionAddr::Tcp(host, port), tls) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(lost)?;
            stream.set_nodelay(true).map_err(lost)?;
            match tls {
                None => over(stream, info, &mut moving).await?,
                Some(tls) => {
                    let name = ServerName::try_from(host.clone()).map_err(|_| {
                        StoreError::Address("the host of Redis is no name that a certificate has".into())
                    })?;
                    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(lost)?;
                    over(stream, info, &mut moving).await?
                }
            }
        }
        _ => return Err(StoreError::Address("the address of Redis is of an unknown kind".into())),
    };
    check(&connection).await?;
    Ok((connection, Box::pin(async move { drop(moving.join_next().await) })))
}

/// Begins to speak, and lets the bytes be moved.
async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    info: &ConnectionInfo,
    moving: &mut JoinSet<()>,
) -> Result<MultiplexedConnection, StoreError> {
    // The store's calls are bounded themselves.
    let unbounded = AsyncConnectionConfig::new().set_response_timeout(None);
    let settings = info.redis_settings();
    let (connection, driver) =
        MultiplexedConnection::new_with_config(settings, stream, unbounded).await.map_err(failed)?;
    moving.spawn(driver);
    Ok(connection)
}

/// Whether the server can be a store, and what is in it can be understood.
async fn check(connection: &MultiplexedConnection) -> Result<(), StoreError> {
    // Who may not ask this is let go on.
    let memory = redis::cmd("INFO").arg("memory").query_async(&mut connection.clone()).await;
    let memory: String = memory.unwrap_or_default();
    let bounded = !memory.lines().any(|line| line == "maxmemory:0");
    if bounded && memory.lines().any(|line| line.starts_with("maxmemory_policy:allkeys")) {
        return Err(StoreError::Unavailable(
            "the server throws away what it keeps when its memory is full (maxmemory-policy): set noeviction"
                .into(),
        ));
    }
    let found: i64 = run(connection, scripts::OPEN, &[VERSION.to_string().into()]).await?;
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    Ok(())
}

impl Store for Redis {
    fn add_user(&self, user: User) -> Answer<()> {
        if let Err(error) = user.check() {
            return refused(error);
        }
        let line = Change::User(user.id.clone()).line();
        let mut values =
            values![CHANGES.to_string(), line, user.id, user.name.as_str(), "name", user.name.as_str()];
        values.extend(values!["scopes", joined(&user.scopes), "groups", joined(&user.groups)]);
        values.extend(values!["disabled", flag(user.disabled), "created", number(user.created)]);
        values.extend(user.email.map(|email| values!["email", email]).into_iter().flatten());
        values.extend(user.password.map(|password| values!["password", password]).into_iter().flatten());
        self.add(scripts::ADD_USER, values, "there is a user of this name already")
    }

    fn user_by_name(&self, name: &str) -> Answer<Option<User>> {
        self.one(scripts::USER_BY_NAME, values![name], user)
    }

    fn user_by_id(&self, id: &str) -> Answer<Option<User>> {
        self.one(scripts::ONE, values!["user:", id], user)
    }

    fn users(&self, after: Option<&str>, limit: u32) -> Answer<Vec<User>> {
        self.many(scripts::USERS, values![behind(after), page(limit)], user)
    }

    fn change_user(&self, user: User) -> Answer<bool> {
        if let Err(error) = user.check() {
            return refused(error);
        }
        let line = Change::User(user.id.clone()).line();
        let mut values = values![CHANGES.to_string(), line, user.id];
        values.extend(values![joined(&user.scopes), joined(&user.groups)]);
        values.extend(user.email.map(Vec::from));
        self.change(scripts::CHANGE_USER, values, "")
    }

    fn set_password(&self, user: &str, password: Option<String>) -> Answer<bool> {
        if let Err(error) = password.as_deref().map_or(Ok(()), check_password) {
            return refused(error);
        }
        let mut values = change(&Change::User(user.into()), "user:", user, "password");
        values.extend(password.map(Vec::from));
        self.change(scripts::CHANGE, values, "")
    }

    fn set_disabled(&self, user: &str, disabled: bool) -> Answer<bool> {
        let mut values = change(&Change::User(user.into()), "user:", user, "disabled");
        values.extend(values![flag(disabled)]);
        self.change(scripts::CHANGE, values, "")
    }

    fn add_key(&self, key: ApiKey) -> Answer<()> {
        if let Err(error) = key.check() {
            return refused(error);
        }
        self.add(scripts::ADD_KEY, values_of(key), "there is a key of this id already")
    }

    fn key_by_id(&self, id: &str) -> Answer<Option<ApiKey>> {
        self.one(scripts::ONE, values!["key:", id], key)
    }

    fn keys(&self, user: Option<&str>, after: Option<&str>, limit: u32) -> Answer<Vec<ApiKey>> {
        let set = user.map_or_else(|| "keys".to_owned(), |user| format!("keys:{user}"));
        self.many(scripts::LIST, values!["key:", set, behind(after), page(limit)], key)
    }

    fn revoke_key(&self, id: &str) -> Answer<bool> {
        let mut values = change(&Change::Key(id.into()), "key:", id, "revoked");
        values.extend(values![flag(true)]);
        self.change(scripts::CHANGE, values, "")
    }

    fn rotate_key(&self, old: &str, new: ApiKey, until: Time) -> Answer<bool> {
        if let Err(error) = new.check() {
            return refused(error);
        }
        let mut values = values![CHANGES.to_string(), Change::Key(old.into()).line(), old, number(until)];
        values.extend(values_of(new));
        self.change(scripts::ROTATE_KEY, values, "there is a key of this id already")
    }

    fn touch_keys(&self, used: Vec<(String, Time)>) -> Answer<()> {
        let pairs = used.into_iter().flat_map(|(id, time)| values![id, number(time)]);
        let values = values!["key:", "last_used"].into_iter().chain(pairs).collect();
        self.add(scripts::TOUCH, values, "")
    }

    fn add_session(&self, session: Session) -> Answer<()> {
        let Session { digest, user, created, last_seen, expires } = session;
        let mut values = values![hex(&digest), user.as_str(), number(expires), "owner", user.as_str()];
        values.extend(values![
            "created",
            number(created),
            "last_seen",
            number(last_seen),
            "expires",
            number(expires)
        ]);
        self.add(scripts::ADD_SESSION, values, "there is this session already")
    }

    fn session_by_digest(&self, digest: &Digest) -> Answer<Option<Session>> {
        self.one(scripts::ONE, values!["session:", hex(digest)], session)
    }

    fn sessions(&self, user: Option<&str>, after: Option<&Digest>, limit: u32) -> Answer<Vec<Session>> {
        let set = user.map_or_else(|| "sessions".to_owned(), |user| format!("sessions:{user}"));
        let after = after.map(hex);
        self.many(scripts::LIST, values!["session:", set, behind(after.as_deref()), page(limit)], session)
    }

    fn touch_sessions(&self, seen: Vec<(Digest, Time)>) -> Answer<()> {
        let pairs = seen.into_iter().flat_map(|(digest, time)| values![hex(&digest), number(time)]);
        let values = values!["session:", "last_seen"].into_iter().chain(pairs).collect();
        self.add(scripts::TOUCH, values, "")
    }

    fn delete_session(&self, digest: &Digest) -> Answer<bool> {
        let line = Change::Session(*digest).line();
        self.change(scripts::DELETE_SESSION, values![CHANGES.to_string(), line, hex(digest)], "")
    }

    fn delete_sessions(&self, user: &str) -> Answer<u64> {
        let line = Change::User(user.into()).line();
        self.ask(scripts::DELETE_SESSIONS, values![CHANGES.to_string(), line, user], Ok)
    }

    fn purge_sessions(&self, now: Time) -> Answer<u64> {
        self.link.ask(move |connection| async move {
            let mut purged = 0;
            loop {
                let values = values![number(now), PURGED.to_string()];
                let more: u64 = run(&connection, scripts::PURGE_SESSIONS, &values).await?;
                purged += more;
                if more < PURGED {
                    return Ok(purged);
                }
            }
        })
    }

    fn changes_since(&self, revision: Option<u64>) -> Answer<Changes> {
        let since = revision.map_or_else(String::new, |since| since.to_string());
        let values = values![CHANGES.to_string(), since];
        self.ask(scripts::CHANGES_SINCE, values, |(revision, complete, lines): (u64, bool, Vec<String>)| {
            let what = if complete {
                What::These(lines.iter().map(|line| Change::parse(line)).collect::<Result<_, _>>()?)
            } else {
                What::Everything
            };
            Ok(Changes { revision, what })
        })
    }

    fn ping(&self) -> Answer<()> {
        // A read-only server answers a plain PING.
        self.add(scripts::TOUCH, values!["key:", "last_used"], "")
    }
}

fn refused<T: Send + 'static>(error: StoreError) -> Answer<T> {
    Box::pin(async { Err(error) })
}

/// What `CHANGE` wants before the value.
fn change(change: &Change, kind: &str, id: &str, field: &str) -> Values {
    values![CHANGES.to_string(), change.line(), format!("{kind}{id}"), field]
}

/// What `ADD_KEY` wants.
fn values_of(key: ApiKey) -> Values {
    let mut values = values![key.id, key.user.as_str(), "owner", key.user.as_str(), "digest", key.digest];
    values.extend(values!["label", key.label, "scopes", joined(&key.scopes)]);
    values.extend(values!["created", number(key.created), "revoked", flag(key.revoked)]);
    values.extend(key.expires.map(|time| values!["expires", number(time)]).into_iter().flatten());
    values.extend(key.last_used.map(|time| values!["last_used", number(time)]).into_iter().flatten());
    values
}

/// Where a page begins, as `ZRANGEBYLEX` has it.
fn behind(after: Option<&str>) -> String {
    after.map_or_else(|| "-".into(), |after| format!("({after}"))
}

fn page(limit: u32) -> String {
    limit.min(PAGE).to_string()
}

fn flag(is_set: bool) -> &'static str {
    if is_set { "1" } else { "0" }
}

/// As far as a script's numbers are exact.
fn number(time: Time) -> String {
    time.0.min(1 << 53).to_string()
}

fn damaged(field: &str) -> StoreError {
    StoreError::Corrupt(format!("the field {field} of a record"))
}

fn bytes<'r>((_, fields): &'r Record, field: &str) -> Result<&'r [u8], StoreError> {
    fields.get(field).map(Vec::as_slice).ok_or_else(|| damaged(field))
}

fn text<'r>(record: &'r Record, field: &str) -> Result<&'r str, StoreError> {
    str::from_utf8(bytes(record, field)?).map_err(|_| damaged(field))
}

fn maybe_text(record: &Record, field: &str) -> Result<Option<String>, StoreError> {
    if record.1.contains_key(field) { text(record, field).map(|text| Some(text.into())) } else { Ok(None) }
}

fn time(record: &Record, field: &str) -> Result<Time, StoreError> {
    text(record, field)?.parse().map(Time).map_err(|_| damaged(field))
}

fn maybe_time(record: &Record, field: &str) -> Result<Option<Time>, StoreError> {
    if record.1.contains_key(field) { time(record, field).map(Some) } else { Ok(None) }
}

/// What is neither is taken for what refuses.
fn is_set(record: &Record, field: &str) -> Result<bool, StoreError> {
    Ok(bytes(record, field)? != b"0")
}

fn user(record: &Record) -> Result<User, StoreError> {
    Ok(User {
        id: record.0.clone(),
        name: text(record, "name")?.into(),
        email: maybe_text(record, "email")?,
        password: maybe_text(record, "password")?,
        scopes: split(text(record, "scopes")?),
        groups: split(text(record, "groups")?),
        disabled: is_set(record, "disabled")?,
        created: time(record, "created")?,
    })
}

fn key(record: &Record) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: record.0.clone(),
        digest: bytes(record, "digest")?.try_into().map_err(|_| damaged("digest"))?,
        user: text(record, "owner")?.into(),
        label: text(record, "label")?.into(),
        scopes: split(text(record, "scopes")?),
        created: time(record, "created")?,
        expires: maybe_time(record, "expires")?,
        revoked: is_set(record, "revoked")?,
        last_used: maybe_time(record, "last_used")?,
    })
}

fn session(record: &Record) -> Result<Session, StoreError> {
    Ok(Session {
        digest: unhex(&record.0).ok_or_else(|| damaged("id"))?,
        user: text(record, "owner")?.into(),
        created: time(record, "created")?,
        last_seen: time(record, "last_seen")?,
        expires: time(record, "expires")?,
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed(error: RedisError) -> StoreError {
    match error.kind() {
        // The library's sentence shows what came, which may be a record.
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            StoreError::Corrupt("the server's answer is of another kind than was asked for".into())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}
