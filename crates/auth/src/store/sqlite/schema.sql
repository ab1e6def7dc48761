-- What an auth service keeps, in a file of its own.
CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, email TEXT, password TEXT, scopes TEXT NOT NULL,
    groups TEXT NOT NULL, disabled INTEGER NOT NULL, created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY, digest BLOB NOT NULL, user TEXT NOT NULL REFERENCES users (id), label TEXT NOT NULL,
    scopes TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER, revoked INTEGER NOT NULL, last_used INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_of_user ON api_keys (user, id);
CREATE TABLE sessions (
    digest BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users (id), created INTEGER NOT NULL,
    last_seen INTEGER NOT NULL, expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user, digest);
CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE TABLE changes (revision INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL) STRICT;
