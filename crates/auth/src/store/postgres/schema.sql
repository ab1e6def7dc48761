-- What an auth service keeps, in a schema of its own: it may share a database with others.
CREATE SCHEMA IF NOT EXISTS doorward;

CREATE TABLE doorward.users (
    id text COLLATE "C" PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE, email text, password text,
    scopes text NOT NULL, groups text NOT NULL, disabled boolean NOT NULL, created bigint NOT NULL
);

CREATE TABLE doorward.api_keys (
    id text COLLATE "C" PRIMARY KEY, digest bytea NOT NULL, owner text COLLATE "C" NOT NULL REFERENCES doorward.users (id),
    label text NOT NULL, scopes text NOT NULL, created bigint NOT NULL, expires bigint, revoked boolean NOT NULL,
    last_used bigint
);
CREATE INDEX api_keys_of_user ON doorward.api_keys (owner, id);

CREATE TABLE doorward.sessions (
    digest bytea PRIMARY KEY, owner text COLLATE "C" NOT NULL REFERENCES doorward.users (id), created bigint NOT NULL,
    last_seen bigint NOT NULL, expires bigint NOT NULL
);
CREATE INDEX sessions_of_user ON doorward.sessions (owner, digest);
CREATE INDEX sessions_by_expiry ON doorward.sessions (expires);

CREATE TABLE doorward.changes (revision bigint PRIMARY KEY, what text NOT NULL);

-- One row: the last revision, and the version of all this.
CREATE TABLE doorward.state (last_revision bigint NOT NULL, version bigint NOT NULL);
INSERT INTO doorward.state VALUES (0, 1);

-- Writes to the log of changes. Whoever wrote last holds the row until the end of the transaction, so that revisions are seen in
-- the order in which they are given: nobody can ask from a revision while an earlier one is still to come, as with a sequence.
CREATE FUNCTION doorward.note(line text, kept bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    revision_now bigint;
BEGIN
    UPDATE doorward.state SET last_revision = last_revision + 1 RETURNING last_revision INTO revision_now;
    INSERT INTO doorward.changes VALUES (revision_now, line);
    DELETE FROM doorward.changes WHERE revision <= revision_now - kept;
    RETURN revision_now;
END
$$;
