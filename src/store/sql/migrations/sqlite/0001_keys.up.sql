-- Ids are the 16 bytes of a UUID, times are milliseconds since 1970 (UTC), lists and maps are JSON text.

CREATE TABLE {s}organizations (
    id          BLOB    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    name_folded TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('active', 'inactive')),
    limits      TEXT    NOT NULL,
    revision    INTEGER NOT NULL
);

CREATE INDEX {s}organizations_by_name ON {s}organizations (name_folded, id);

-- The end of each audit chain. The nil id is the system's. Rows stay when their organization is deleted.
CREATE TABLE {s}organization_state (
    organization_id BLOB    NOT NULL PRIMARY KEY,
    audit_seq       INTEGER NOT NULL,
    audit_hash      BLOB    NOT NULL,
    pruned_seq      INTEGER NOT NULL,
    pruned_hash     BLOB    NOT NULL
);

CREATE TABLE {s}keys (
    id              BLOB    NOT NULL PRIMARY KEY,
    organization_id BLOB    NOT NULL REFERENCES {s}organizations (id),
    user_id         TEXT,
    name            TEXT    NOT NULL,
    name_folded     TEXT    NOT NULL,
    prefix          TEXT    NOT NULL,
    environment     TEXT,
    scopes          TEXT    NOT NULL,
    networks        TEXT    NOT NULL,
    limits          TEXT    NOT NULL,
    metadata        TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('active', 'disabled', 'revoked')),
    status_at       INTEGER,
    status_reason   TEXT,
    status_actor    TEXT,
    created_at      INTEGER NOT NULL,
    created_by      TEXT    NOT NULL,
    expires_at      INTEGER,
    revision        INTEGER NOT NULL
);

CREATE INDEX {s}keys_of_organization ON {s}keys (organization_id, id);
CREATE INDEX {s}keys_of_organization_by_name ON {s}keys (organization_id, name_folded, id);
CREATE INDEX {s}keys_by_name ON {s}keys (name_folded, id);

-- Lookups are compared byte by byte (SQLite's default collation), so letter case counts.
CREATE TABLE {s}key_secrets (
    lookup        TEXT    NOT NULL PRIMARY KEY,
    key_id        BLOB    NOT NULL REFERENCES {s}keys (id),
    position      INTEGER NOT NULL,
    hash          TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    grace_ends_at INTEGER
) WITHOUT ROWID;

CREATE INDEX {s}secrets_of_key ON {s}key_secrets (key_id, position);

-- `payload` is the text that `hash` covers. The other columns repeat parts of it, to be searched.
CREATE TABLE {s}audit_events (
    organization_id BLOB    NOT NULL,
    seq             INTEGER NOT NULL,
    commit_id       BLOB    NOT NULL,
    at              INTEGER NOT NULL,
    actor_kind      TEXT    NOT NULL,
    actor           TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    key_id          BLOB,
    user_id         TEXT,
    payload         TEXT    NOT NULL,
    hash            BLOB    NOT NULL,
    PRIMARY KEY (organization_id, seq)
) WITHOUT ROWID;

CREATE INDEX {s}audit_events_of_commit ON {s}audit_events (commit_id);

-- The change log. Kinds: 1 key, 2 organization. Triggers write it, so that it has changes made by hand too.
CREATE TABLE {s}key_changes (
    seq      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    tag      BLOB    NOT NULL,
    kind     INTEGER NOT NULL,
    id       BLOB    NOT NULL,
    revision INTEGER NOT NULL,
    at       INTEGER NOT NULL
);

CREATE TRIGGER {s}keys_log_update AFTER UPDATE OF revision ON {s}keys WHEN NEW.revision <> OLD.revision
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 1, NEW.id, NEW.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}keys_log_delete AFTER DELETE ON {s}keys
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 1, OLD.id, OLD.revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}secrets_log_update AFTER UPDATE OF lookup, key_id, expires_at, grace_ends_at ON {s}key_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 1, k.id, k.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}keys k WHERE k.id IN (OLD.key_id, NEW.key_id);
END;

CREATE TRIGGER {s}secrets_log_delete AFTER DELETE ON {s}key_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 1, k.id, k.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}keys k WHERE k.id = OLD.key_id;
END;

CREATE TRIGGER {s}organizations_log_update AFTER UPDATE OF revision ON {s}organizations
WHEN NEW.revision <> OLD.revision
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 2, NEW.id, NEW.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}organizations_log_delete AFTER DELETE ON {s}organizations
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 2, OLD.id, OLD.revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- A change by hand leaves the revision as it is. It is raised here, so that an update that was prepared before the change
-- is a conflict and cannot undo it.
CREATE TRIGGER {s}keys_by_hand AFTER UPDATE OF
    id, organization_id, user_id, name, prefix, environment, scopes, networks, limits, metadata, status, status_at,
    status_reason, status_actor, created_at, created_by, expires_at
ON {s}keys WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}keys SET revision = revision + 1 WHERE id = NEW.id;
END;

CREATE TRIGGER {s}organizations_by_hand AFTER UPDATE OF id, name, status, limits
ON {s}organizations WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}organizations SET revision = revision + 1 WHERE id = NEW.id;
END;
