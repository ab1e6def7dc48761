//! A store in a file, by SQLite: one thread writes, one reads.
//!
//! What waits to be written is written in one transaction, so that it waits for the disk once (`synchronous=FULL`: what is
//! acknowledged is on the disk). Other processes may have the same file open.

mod threads;

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension as _, Params, Row, ffi, params};

use threads::Thread;

use super::record::{check_password, joined, split};
use super::{
    Answer, ApiKey, CHANGES, Change, Changes, PAGE, Session, Store, StoreError, TIMEOUT, Time, User, What,
};
use crate::secret::Digest;

/// Says that a file is one of ours (`PRAGMA application_id`): "Door".
const APPLICATION: i64 = 0x446f_6f72;

/// What leads from each version to the next (`PRAGMA user_version`); never changed, only added to.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

const USER: &str = "SELECT id, name, email, password, scopes, groups, disabled, created FROM users";
const KEY: &str =
    "SELECT id, digest, user, label, scopes, created, expires, revoked, last_used FROM api_keys";
const SESSION: &str = "SELECT digest, user, created, last_seen, expires FROM sessions";

/// The store.
pub(super) struct Sqlite {
    writer: Thread,
    reader: Thread,
}

impl Sqlite {
    /// Opens the file, creates it where there is none, and brings it up to date.
    pub(super) fn open(path: &Path) -> Result<Sqlite, StoreError> {
        create(path)?;
        let connect = || -> Result<Connection, StoreError> {
            let connection = Connection::open(path).map_err(failed)?;
            connection.busy_timeout(TIMEOUT).map_err(failed)?;
            connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
            connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
            Ok(connection)
        };
        let writer = connect()?;
        migrate(&writer)?;
        let reader = connect()?;
        reader.pragma_update(None, "query_only", true).map_err(failed)?;
        Ok(Sqlite { writer: Thread::writing(writer)?, reader: Thread::reading(reader)? })
    }

    fn write<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.writer.ask(what)
    }

    fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.reader.ask(what)
    }
}

/// Makes an empty file that only its owner may read. SQLite gives its other files the same owner and mode.
fn create(path: &Path) -> Result<(), StoreError> {
    let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // SQLite would not say why it cannot open it.
            return OpenOptions::new().read(true).write(true).open(path).map(drop).map_err(unusable);
        }
        Err(error) => return Err(unusable(error)),
    };
    // Root administers what the gateway's user reads: the file belongs to whom its folder belongs to.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (owner, own) = (folder.metadata().map_err(unusable)?, file.metadata().map_err(unusable)?);
    if own.uid() == 0 && owner.uid() != 0 {
        fchown(&file, Some(owner.uid()), Some(owner.gid())).map_err(unusable)?;
    }
    // A name that is not on the disk would lose all that is acknowledged.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)
}

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let number = |pragma: &str| {
        connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed)
    };
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let migrated = || -> Result<(), StoreError> {
        let found = number("user_version")?;
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        if number("application_id")? != APPLICATION && tables > 0 {
            return Err(StoreError::Corrupt("the file is a database of another program".into()));
        }
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        if found < known {
            let done = usize::try_from(found).unwrap_or(0);
            for step in MIGRATIONS.iter().skip(done) {
                connection.execute_batch(step).map_err(failed)?;
            }
            connection.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
            connection.pragma_update(None, "user_version", known).map_err(failed)?;
        }
        Ok(())
    }();
    let end = if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(failed)?;
    migrated
}

impl Store for Sqlite {
    fn add_user(&self, user: User) -> Answer<()> {
        self.write(move |db| {
            user.check()?;
            let mut insert = prepared(db, "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
            let row = params![
                user.id,
                user.name,
                user.email,
                user.password,
                joined(&user.scopes),
                joined(&user.groups),
                user.disabled,
                number(user.created)
            ];
            insert.execute(row).map_err(|error| taken(error, "there is a user of this name already"))?;
            note(db, &Change::User(user.id))
        })
    }

    fn user_by_name(&self, name: &str) -> Answer<Option<User>> {
        let name = name.to_owned();
        self.read(move |db| one(db, &format!("{USER} WHERE name = ?"), [name], user))
    }

    fn user_by_id(&self, id: &str) -> Answer<Option<User>> {
        let id = id.to_owned();
        self.read(move |db| one(db, &format!("{USER} WHERE id = ?"), [id], user))
    }

    fn users(&self, after: Option<&str>, limit: u32) -> Answer<Vec<User>> {
        let after = after.unwrap_or_default().to_owned();
        let page = format!("{USER} WHERE name > ? ORDER BY name LIMIT ?");
        self.read(move |db| many(db, &page, params![after, limit.min(PAGE)], user))
    }

    fn change_user(&self, user: User) -> Answer<bool> {
        self.write(move |db| {
            user.check()?;
            let set = "UPDATE users SET email = ?2, scopes = ?3, groups = ?4 WHERE id = ?1";
            let values = params![user.id, user.email, joined(&user.scopes), joined(&user.groups)];
            changed(db, set, values, &Change::User(user.id.clone()))
        })
    }

    fn set_password(&self, id: &str, password: Option<String>) -> Answer<bool> {
        let id = id.to_owned();
        self.write(move |db| {
            password.as_deref().map_or(Ok(()), check_password)?;
            let set = "UPDATE users SET password = ?2 WHERE id = ?1";
            changed(db, set, params![id, password], &Change::User(id.clone()))
        })
    }

    fn set_disabled(&self, id: &str, disabled: bool) -> Answer<bool> {
        let id = id.to_owned();
        self.write(move |db| {
            let set = "UPDATE users SET disabled = ?2 WHERE id = ?1";
            changed(db, set, params![id, disabled], &Change::User(id.clone()))
        })
    }

    fn add_key(&self, key: ApiKey) -> Answer<()> {
        self.write(move |db| {
            key.check()?;
            insert_key(db, &key)
        })
    }

    fn key_by_id(&self, id: &str) -> Answer<Option<ApiKey>> {
        let id = id.to_owned();
        self.read(move |db| one(db, &format!("{KEY} WHERE id = ?"), [id], key))
    }

    fn keys(&self, user: Option<&str>, after: Option<&str>, limit: u32) -> Answer<Vec<ApiKey>> {
        let (user, after) = (user.map(str::to_owned), after.unwrap_or_default().to_owned());
        self.read(move |db| match user {
            None => {
                let page = format!("{KEY} WHERE id > ? ORDER BY id LIMIT ?");
                many(db, &page, params![after, limit.min(PAGE)], key)
            }
            Some(user) => {
                let page = format!("{KEY} WHERE user = ? AND id > ? ORDER BY id LIMIT ?");
                many(db, &page, params![user, after, limit.min(PAGE)], key)
            }
        })
    }

    fn revoke_key(&self, id: &str) -> Answer<bool> {
        let id = id.to_owned();
        self.write(move |db| {
            changed(db, "UPDATE api_keys SET revoked = 1 WHERE id = ?", params![id], &Change::Key(id.clone()))
        })
    }

    fn rotate_key(&self, old: &str, new: ApiKey, until: Time) -> Answer<bool> {
        let old = old.to_owned();
        self.write(move |db| {
            new.check()?;
            match one(db, &format!("{KEY} WHERE id = ?"), [&old], key)? {
                None => return Ok(false),
                Some(old) if old.revoked => return Err(StoreError::Conflict("the key is revoked".into())),
                Some(_) => {}
            }
            insert_key(db, &new)?;
            let set = "UPDATE api_keys SET expires = min(ifnull(expires, ?2), ?2) WHERE id = ?1";
            changed(db, set, params![old, number(until)], &Change::Key(old.clone()))
        })
    }

    fn touch_keys(&self, used: Vec<(String, Time)>) -> Answer<()> {
        self.write(move |db| {
            let mut touch =
                prepared(db, "UPDATE api_keys SET last_used = max(ifnull(last_used, 0), ?2) WHERE id = ?1")?;
            for (id, time) in used {
                touch.execute(params![id, number(time)]).map_err(failed)?;
            }
            Ok(())
        })
    }

    fn add_session(&self, session: Session) -> Answer<()> {
        self.write(move |db| {
            let mut insert = prepared(db, "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)")?;
            let Session { digest, user, created, last_seen, expires } = session;
            let row = params![digest, user, number(created), number(last_seen), number(expires)];
            insert.execute(row).map_err(|error| taken(error, "there is this session already"))?;
            Ok(())
        })
    }

    fn session_by_digest(&self, digest: &Digest) -> Answer<Option<Session>> {
        let digest = *digest;
        self.read(move |db| one(db, &format!("{SESSION} WHERE digest = ?"), [digest], session))
    }

    fn sessions(&self, user: Option<&str>, after: Option<&Digest>, limit: u32) -> Answer<Vec<Session>> {
        // No digest is less than nothing.
        let (user, after) = (user.map(str::to_owned), after.map_or(Vec::new(), |digest| digest.to_vec()));
        self.read(move |db| match user {
            None => {
                let page = format!("{SESSION} WHERE digest > ? ORDER BY digest LIMIT ?");
                many(db, &page, params![after, limit.min(PAGE)], session)
            }
            Some(user) => {
                let page = format!("{SESSION} WHERE user = ? AND digest > ? ORDER BY digest LIMIT ?");
                many(db, &page, params![user, after, limit.min(PAGE)], session)
            }
        })
    }

    fn touch_sessions(&self, seen: Vec<(Digest, Time)>) -> Answer<()> {
        self.write(move |db| {
            let mut touch =
                prepared(db, "UPDATE sessions SET last_seen = max(last_seen, ?2) WHERE digest = ?1")?;
            for (digest, time) in seen {
                touch.execute(params![digest, number(time)]).map_err(failed)?;
            }
            Ok(())
        })
    }

    fn delete_session(&self, digest: &Digest) -> Answer<bool> {
        let digest = *digest;
        self.write(move |db| {
            changed(db, "DELETE FROM sessions WHERE digest = ?", params![digest], &Change::Session(digest))
        })
    }

    fn delete_sessions(&self, user: &str) -> Answer<u64> {
        let user = user.to_owned();
        self.write(move |db| {
            let ended = execute(db, "DELETE FROM sessions WHERE user = ?", params![user])?;
            if ended > 0 {
                note(db, &Change::User(user))?;
            }
            Ok(ended)
        })
    }

    fn purge_sessions(&self, now: Time) -> Answer<u64> {
        self.write(move |db| execute(db, "DELETE FROM sessions WHERE expires <= ?", params![number(now)]))
    }

    fn changes_since(&self, revision: Option<u64>) -> Answer<Changes> {
        self.read(move |db| {
            // Both questions see the same moment.
            let moment = db.unchecked_transaction().map_err(failed)?;
            let last = "SELECT ifnull(max(revision), 0) FROM changes";
            let last = one(&moment, last, [], |row| unsigned(row, 0))?.unwrap_or(0);
            let Some(since) = revision.filter(|since| *since <= last && last - since <= CHANGES) else {
                return Ok(Changes { revision: last, what: What::Everything });
            };
            let later = "SELECT what FROM changes WHERE revision > ? ORDER BY revision";
            let lines = many(&moment, later, params![number(Time(since))], |row| row.get::<_, String>(0))?;
            let these = lines.iter().map(|line| Change::parse(line)).collect::<Result<_, _>>()?;
            Ok(Changes { revision: last, what: What::These(these) })
        })
    }

    fn ping(&self) -> Answer<()> {
        self.write(|db| one(db, "SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map(|_| ()))
    }
}

fn insert_key(db: &Connection, key: &ApiKey) -> Result<(), StoreError> {
    let mut insert = prepared(db, "INSERT INTO api_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let row = params![
        key.id,
        key.digest,
        key.user,
        key.label,
        joined(&key.scopes),
        number(key.created),
        key.expires.map(number),
        key.revoked,
        key.last_used.map(number)
    ];
    insert.execute(row).map_err(|error| taken(error, "there is a key of this id already"))?;
    Ok(())
}

/// Changes a record, and notes that where there was one.
fn changed(db: &Connection, sql: &str, values: impl Params, change: &Change) -> Result<bool, StoreError> {
    if execute(db, sql, values)? == 0 {
        return Ok(false);
    }
    note(db, change)?;
    Ok(true)
}

/// Writes to the log of changes, and drops its oldest line.
fn note(db: &Connection, change: &Change) -> Result<(), StoreError> {
    execute(db, "INSERT INTO changes (what) VALUES (?)", params![change.line()])?;
    let kept = i64::try_from(CHANGES).unwrap_or(i64::MAX);
    execute(db, "DELETE FROM changes WHERE revision <= ?", params![db.last_insert_rowid() - kept])?;
    Ok(())
}

fn prepared<'a>(db: &'a Connection, sql: &str) -> Result<CachedStatement<'a>, StoreError> {
    db.prepare_cached(sql).map_err(failed)
}

fn execute(db: &Connection, sql: &str, values: impl Params) -> Result<u64, StoreError> {
    prepared(db, sql)?.execute(values).map(|rows| rows as u64).map_err(failed)
}

fn one<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    prepared(db, sql)?.query_row(values, read).optional().map_err(failed)
}

fn many<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    prepared(db, sql)?.query_map(values, read).and_then(Iterator::collect).map_err(failed)
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        password: row.get(3)?,
        scopes: split(row.get_ref(4)?.as_str()?),
        groups: split(row.get_ref(5)?.as_str()?),
        disabled: row.get(6)?,
        created: time(row, 7)?,
    })
}

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: row.get(0)?,
        digest: row.get(1)?,
        user: row.get(2)?,
        label: row.get(3)?,
        scopes: split(row.get_ref(4)?.as_str()?),
        created: time(row, 5)?,
        expires: maybe(row, 6)?,
        revoked: row.get(7)?,
        last_used: maybe(row, 8)?,
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        digest: row.get(0)?,
        user: row.get(1)?,
        created: time(row, 2)?,
        last_seen: time(row, 3)?,
        expires: time(row, 4)?,
    })
}

/// SQLite's integers have a sign.
fn number(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Time> {
    unsigned(row, column).map(Time)
}

fn maybe(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Time>> {
    if row.get_ref(column)?.data_type() == Type::Null { Ok(None) } else { time(row, column).map(Some) }
}

/// What an insertion failed with, and the sentence where its key is taken.
fn taken(error: rusqlite::Error, sentence: &str) -> StoreError {
    match failed(error) {
        StoreError::Conflict(what) if what == ALREADY => StoreError::Conflict(sentence.into()),
        other => other,
    }
}

const ALREADY: &str = "it is there already";

/// SQLite's sentences name tables and columns, never values.
fn failed(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqliteFailure, Utf8Error,
    };
    match error {
        SqliteFailure(failure, _) if failure.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
            StoreError::Conflict("there is no such user".into())
        }
        SqliteFailure(failure, _) if failure.code == ErrorCode::ConstraintViolation => {
            StoreError::Conflict(ALREADY.into())
        }
        SqliteFailure(failure, _)
            if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            StoreError::Corrupt(failure.to_string())
        }
        FromSqlConversionFailure(..)
        | IntegralValueOutOfRange(..)
        | InvalidColumnType(..)
        | Utf8Error(..) => StoreError::Corrupt(error.to_string()),
        other => StoreError::Unavailable(other.to_string()),
    }
}
