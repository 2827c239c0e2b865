-- The change log. Kind 0 is a transaction that changed nothing that a decision depends on: every transaction of this crate
-- leaves a row, so that one which left none is known to be another program's. The triggers below log what is done by hand.

-- A row that gets another id is gone under its old one.
CREATE TRIGGER {s}keys_log_rename AFTER UPDATE OF id ON {s}keys WHEN NEW.id <> OLD.id
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 1, OLD.id, OLD.revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}organizations_log_rename AFTER UPDATE OF id ON {s}organizations WHEN NEW.id <> OLD.id
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 2, OLD.id, OLD.revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- INSERT OR REPLACE runs no trigger for the row that it deletes. The new row has the revision that it was given, so the log
-- names none.
CREATE TRIGGER {s}keys_log_replace BEFORE INSERT ON {s}keys
WHEN EXISTS (SELECT 1 FROM {s}keys WHERE id = NEW.id)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 1, NEW.id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}organizations_log_replace BEFORE INSERT ON {s}organizations
WHEN EXISTS (SELECT 1 FROM {s}organizations WHERE id = NEW.id OR slug = NEW.slug)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 2, id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}organizations WHERE id = NEW.id OR slug = NEW.slug;
END;

CREATE TRIGGER {s}secrets_log_replace BEFORE INSERT ON {s}key_secrets
WHEN EXISTS (SELECT 1 FROM {s}key_secrets WHERE lookup = NEW.lookup)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 1, key_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}key_secrets WHERE lookup = NEW.lookup;
END;

CREATE TRIGGER {s}realm_log_insert AFTER INSERT ON {s}realm
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 4, NEW.realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}realm_log_delete AFTER DELETE ON {s}realm
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 4, OLD.realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- Audit: what events say of persons stands beside the chain, so that it can be forgotten. `origin` has addresses and
-- user agents, which go earlier than `values`. The columns after them find what is to go.
CREATE TABLE {s}audit_personal (
    organization_id BLOB    NOT NULL,
    seq             INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    origin_salt     BLOB,
    origin          TEXT,
    salt            BLOB,
    "values"        TEXT,
    actor           TEXT,
    user_id         TEXT,
    address         TEXT,
    PRIMARY KEY (organization_id, seq)
) WITHOUT ROWID;

CREATE INDEX {s}audit_personal_of_actor ON {s}audit_personal (actor) WHERE actor IS NOT NULL;
CREATE INDEX {s}audit_personal_of_user ON {s}audit_personal (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX {s}audit_personal_by_time ON {s}audit_personal (at) WHERE origin IS NOT NULL;
CREATE INDEX {s}audit_personal_of_address ON {s}audit_personal (address) WHERE address IS NOT NULL;

CREATE INDEX {s}audit_events_of_key ON {s}audit_events (key_id, at, organization_id, seq) WHERE key_id IS NOT NULL;
CREATE INDEX {s}audit_events_of_actor ON {s}audit_events (organization_id, actor, at, seq);
CREATE INDEX {s}audit_events_of_action ON {s}audit_events (organization_id, action, at, seq);
CREATE INDEX {s}audit_events_of_time ON {s}audit_events (organization_id, at, seq);
CREATE INDEX {s}audit_events_by_time ON {s}audit_events (at, organization_id, seq);

-- Refusals: exact counts by hour (its start), and samples. The nil organization is for those of none.
CREATE TABLE {s}refusal_counts (
    hour            INTEGER NOT NULL,
    organization_id BLOB    NOT NULL,
    kind            TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    PRIMARY KEY (hour, organization_id, kind)
) WITHOUT ROWID;

CREATE INDEX {s}refusal_counts_of ON {s}refusal_counts (organization_id, hour);

CREATE TABLE {s}refusals (
    id              BLOB    NOT NULL PRIMARY KEY,
    at              INTEGER NOT NULL,
    organization_id BLOB,
    key_id          BLOB,
    lookup          TEXT,
    kind            TEXT    NOT NULL,
    address         TEXT
) WITHOUT ROWID;

CREATE INDEX {s}refusals_of ON {s}refusals (organization_id, at, id);
CREATE INDEX {s}refusals_by_time ON {s}refusals (at, id);
CREATE INDEX {s}refusals_of_address ON {s}refusals (address) WHERE address IS NOT NULL;
