-- The change log. Kind 0 is a transaction that changed nothing that a decision depends on: every transaction of this crate
-- leaves a row, so that one which left none is known to be another program's. The triggers below log what is done by hand.

-- Which row of its subject an entry is about: the lookup of a secret, the id of a user, the name of a role. NULL, or empty where
-- INSERT OR REPLACE has replaced it, for the subject itself.
ALTER TABLE {s}key_changes ADD COLUMN part TEXT;

DROP TRIGGER {s}secrets_log_update;
CREATE TRIGGER {s}secrets_log_update AFTER UPDATE OF lookup, key_id, expires_at, grace_ends_at ON {s}key_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 1, k.id, k.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), OLD.lookup
    FROM {s}keys k WHERE k.id IN (OLD.key_id, NEW.key_id);
END;

DROP TRIGGER {s}secrets_log_delete;
CREATE TRIGGER {s}secrets_log_delete AFTER DELETE ON {s}key_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 1, k.id, k.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), OLD.lookup
    FROM {s}keys k WHERE k.id = OLD.key_id;
END;

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

-- INSERT OR REPLACE runs no trigger for the row that it deletes. The new row gets a later revision than that one had, so that an
-- update which was prepared before is a conflict. With `recursive_triggers`, the row of the deletion comes in between.
CREATE TRIGGER {s}keys_log_replace BEFORE INSERT ON {s}keys
WHEN EXISTS (SELECT 1 FROM {s}keys WHERE id = NEW.id)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 1, id, revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), ''
    FROM {s}keys WHERE id = NEW.id;
END;

CREATE TRIGGER {s}keys_replaced AFTER INSERT ON {s}keys
WHEN EXISTS (
    SELECT 1 FROM {s}key_changes WHERE seq > (SELECT max(seq) FROM {s}key_changes) - 3
    AND kind = 1 AND id = NEW.id AND part = '' AND revision > NEW.revision
)
BEGIN
    UPDATE {s}keys SET revision = (
        SELECT max(revision) FROM {s}key_changes WHERE seq > (SELECT max(seq) FROM {s}key_changes) - 3
        AND kind = 1 AND id = NEW.id AND part = ''
    ) WHERE id = NEW.id;
END;

CREATE TRIGGER {s}secrets_log_replace BEFORE INSERT ON {s}key_secrets
WHEN EXISTS (SELECT 1 FROM {s}key_secrets WHERE lookup = NEW.lookup)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 1, key_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), lookup
    FROM {s}key_secrets WHERE lookup = NEW.lookup;
END;

-- UPDATE OR REPLACE runs none either.
CREATE TRIGGER {s}keys_log_replace_update BEFORE UPDATE OF id ON {s}keys
WHEN NEW.id <> OLD.id AND EXISTS (SELECT 1 FROM {s}keys WHERE id = NEW.id)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 1, NEW.id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}secrets_log_replace_update BEFORE UPDATE OF lookup ON {s}key_secrets
WHEN NEW.lookup <> OLD.lookup AND EXISTS (SELECT 1 FROM {s}key_secrets WHERE lookup = NEW.lookup)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 1, key_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), lookup
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

-- Plans: limits that many organizations have in common.
CREATE TABLE {s}plans (
    id         BLOB    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    key_limits TEXT    NOT NULL,
    limits     TEXT    NOT NULL,
    max_keys   INTEGER,
    revision   INTEGER NOT NULL
);

CREATE UNIQUE INDEX {s}plans_by_name ON {s}plans (name);

-- Three to begin with, which operators change as they like.
INSERT INTO {s}plans (id, name, key_limits, limits, max_keys, revision) VALUES
    (x'01900000000070008000000000000001', 'free',
     '[{"burst":60,"cost":1,"limit":60,"name":"requests","per_seconds":60}]', '[]', 5, 1),
    (x'01900000000070008000000000000002', 'pro',
     '[{"burst":600,"cost":1,"limit":600,"name":"requests","per_seconds":60}]', '[]', 50, 1),
    (x'01900000000070008000000000000003', 'enterprise', '[]', '[]', NULL, 1);

-- Organizations: address, plan, policy, and what else there is of them. Triggers that a change of the columns would set off
-- are made anew below.
DROP TRIGGER {s}organizations_by_hand;

ALTER TABLE {s}organizations ADD COLUMN email TEXT;
ALTER TABLE {s}organizations ADD COLUMN email_folded TEXT;
ALTER TABLE {s}organizations ADD COLUMN plan_id BLOB REFERENCES {s}plans (id);
ALTER TABLE {s}organizations ADD COLUMN is_operator INTEGER NOT NULL DEFAULT 0 CHECK (is_operator IN (0, 1));
ALTER TABLE {s}organizations ADD COLUMN requires TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}organizations ADD COLUMN lifted_limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}organizations ADD COLUMN key_limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}organizations ADD COLUMN lifted_key_limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}organizations ADD COLUMN max_keys INTEGER;
ALTER TABLE {s}organizations ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';
ALTER TABLE {s}organizations ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE {s}organizations ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;

-- The first 48 bits of an id are the time at which it was made, in milliseconds.
UPDATE {s}organizations SET created_at = (
    WITH RECURSIVE digits (place, value) AS (
        SELECT 0, 0
        UNION ALL
        SELECT place + 1, value * 16 + instr('0123456789ABCDEF', substr(hex(id), place + 1, 1)) - 1
        FROM digits WHERE place < 12
    )
    SELECT value FROM digits WHERE place = 12
) WHERE substr(hex(id), 13, 1) = '7';

CREATE UNIQUE INDEX {s}organizations_by_email ON {s}organizations (email_folded) WHERE email_folded IS NOT NULL;
-- One organization is the operator's.
CREATE UNIQUE INDEX {s}operator_organization ON {s}organizations (is_operator) WHERE is_operator = TRUE;
CREATE INDEX {s}organizations_of_plan ON {s}organizations (plan_id, id) WHERE plan_id IS NOT NULL;
CREATE INDEX {s}organizations_by_status ON {s}organizations (status, id);

-- INSERT OR REPLACE runs no trigger for the rows that it deletes: those with the same id, slug or address, and the operator's.
CREATE TRIGGER {s}organizations_log_replace BEFORE INSERT ON {s}organizations
WHEN EXISTS (
    SELECT 1 FROM {s}organizations WHERE id = NEW.id OR slug = NEW.slug OR email_folded = NEW.email_folded
    OR (is_operator = 1 AND NEW.is_operator = 1)
)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 2, id, CASE WHEN id = NEW.id THEN revision + 1 ELSE 0 END, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), ''
    FROM {s}organizations WHERE id = NEW.id OR slug = NEW.slug OR email_folded = NEW.email_folded
    OR (is_operator = 1 AND NEW.is_operator = 1);
END;

CREATE TRIGGER {s}organizations_replaced AFTER INSERT ON {s}organizations
WHEN EXISTS (
    SELECT 1 FROM {s}key_changes WHERE seq > (SELECT max(seq) FROM {s}key_changes) - 6
    AND kind = 2 AND id = NEW.id AND part = '' AND revision > NEW.revision
)
BEGIN
    UPDATE {s}organizations SET revision = (
        SELECT max(revision) FROM {s}key_changes WHERE seq > (SELECT max(seq) FROM {s}key_changes) - 6
        AND kind = 2 AND id = NEW.id AND part = ''
    ) WHERE id = NEW.id;
END;

-- UPDATE OR REPLACE does the same.
CREATE TRIGGER {s}organizations_log_replace_update BEFORE UPDATE OF id, slug, email_folded, is_operator ON {s}organizations
WHEN EXISTS (
    SELECT 1 FROM {s}organizations WHERE id <> OLD.id AND (
        id = NEW.id OR slug = NEW.slug OR email_folded = NEW.email_folded OR (is_operator = 1 AND NEW.is_operator = 1)
    )
)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 2, id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}organizations WHERE id <> OLD.id AND (
        id = NEW.id OR slug = NEW.slug OR email_folded = NEW.email_folded OR (is_operator = 1 AND NEW.is_operator = 1)
    );
END;

CREATE TRIGGER {s}organizations_by_hand AFTER UPDATE OF
    id, slug, name, email, email_folded, plan_id, status, is_operator, requires, limits, lifted_limits, key_limits,
    lifted_key_limits, max_keys, policy, metadata, created_at
ON {s}organizations WHEN NEW.revision = OLD.revision AND NOT (OLD.slug = '' AND NEW.slug <> '')
BEGIN
    UPDATE {s}organizations SET revision = revision + 1 WHERE id = NEW.id;
END;

-- Kind 3 of the change log: a plan.
CREATE TRIGGER {s}plans_log_replace BEFORE INSERT ON {s}plans
WHEN EXISTS (SELECT 1 FROM {s}plans WHERE id = NEW.id OR name = NEW.name)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 3, id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}plans WHERE id = NEW.id OR name = NEW.name;
END;

CREATE TRIGGER {s}plans_log_replace_update BEFORE UPDATE OF id, name ON {s}plans
WHEN EXISTS (SELECT 1 FROM {s}plans WHERE id <> OLD.id AND (id = NEW.id OR name = NEW.name))
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 3, id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}plans WHERE id <> OLD.id AND (id = NEW.id OR name = NEW.name);
END;

CREATE TRIGGER {s}plans_log_update AFTER UPDATE OF revision ON {s}plans WHEN NEW.revision <> OLD.revision
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 3, NEW.id, NEW.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}plans_log_delete AFTER DELETE ON {s}plans
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 3, OLD.id, OLD.revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}plans_by_hand AFTER UPDATE OF id, name, key_limits, limits, max_keys
ON {s}plans WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}plans SET revision = revision + 1 WHERE id = NEW.id;
END;

-- Users. One without a row is active.
CREATE TABLE {s}users (
    organization_id BLOB    NOT NULL REFERENCES {s}organizations (id),
    user_id         TEXT    NOT NULL,
    display_name    TEXT,
    email           TEXT,
    metadata        TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    reason          TEXT    NOT NULL,
    actor           TEXT    NOT NULL,
    changed_at      INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    PRIMARY KEY (organization_id, user_id)
) WITHOUT ROWID;

-- A change of a user is one of its organization.
CREATE TRIGGER {s}users_log_insert AFTER INSERT ON {s}users
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 2, o.id, o.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.user_id
    FROM {s}organizations o WHERE o.id = NEW.organization_id;
END;

CREATE TRIGGER {s}users_log_update AFTER UPDATE OF revision ON {s}users WHEN NEW.revision <> OLD.revision
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 2, o.id, o.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.user_id
    FROM {s}organizations o WHERE o.id = NEW.organization_id;
END;

CREATE TRIGGER {s}users_log_rename AFTER UPDATE OF organization_id, user_id ON {s}users
WHEN (NEW.organization_id, NEW.user_id) <> (OLD.organization_id, OLD.user_id)
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 2, o.id, o.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), OLD.user_id
    FROM {s}organizations o WHERE o.id = OLD.organization_id;
END;

CREATE TRIGGER {s}users_log_delete AFTER DELETE ON {s}users
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 2, o.id, o.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), OLD.user_id
    FROM {s}organizations o WHERE o.id = OLD.organization_id;
END;

CREATE TRIGGER {s}users_by_hand AFTER UPDATE OF
    organization_id, user_id, display_name, email, metadata, status, reason, actor, changed_at
ON {s}users WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}users SET revision = revision + 1
    WHERE organization_id = NEW.organization_id AND user_id = NEW.user_id;
END;

-- Roles, and the scopes that the realm knows. A change of either is one of the realm.
CREATE TABLE {s}roles (
    name        TEXT    NOT NULL PRIMARY KEY,
    scopes      TEXT    NOT NULL,
    description TEXT    NOT NULL,
    revision    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE {s}scopes (
    scope       TEXT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER {s}roles_log_insert AFTER INSERT ON {s}roles
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.name
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}roles_log_update AFTER UPDATE OF revision ON {s}roles WHEN NEW.revision <> OLD.revision
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), NEW.name
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}roles_log_rename AFTER UPDATE OF name ON {s}roles WHEN NEW.name <> OLD.name
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), OLD.name
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}roles_log_delete AFTER DELETE ON {s}roles
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at, part)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), OLD.name
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}roles_by_hand AFTER UPDATE OF name, scopes, description ON {s}roles WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}roles SET revision = revision + 1 WHERE name = NEW.name;
END;

CREATE TRIGGER {s}scopes_log_insert AFTER INSERT ON {s}scopes
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}scopes_log_update AFTER UPDATE ON {s}scopes
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}scopes_log_delete AFTER DELETE ON {s}scopes
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}realm WHERE one = 1;
END;

-- Keys: roles, labels, who made them, and what a server must know of them.
DROP TRIGGER {s}keys_by_hand;

ALTER TABLE {s}keys ADD COLUMN ends_with_user INTEGER NOT NULL DEFAULT 0 CHECK (ends_with_user IN (0, 1));
ALTER TABLE {s}keys ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}keys ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}keys ADD COLUMN lifted_limits TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}keys ADD COLUMN created_by_key BLOB;
ALTER TABLE {s}keys ADD COLUMN canary INTEGER NOT NULL DEFAULT 0 CHECK (canary IN (0, 1));
ALTER TABLE {s}keys ADD COLUMN requires TEXT NOT NULL DEFAULT '[]';
-- What keeps a disabled key disabled; '[]' for one that was disabled by itself.
ALTER TABLE {s}keys ADD COLUMN holds TEXT NOT NULL DEFAULT '[]';
ALTER TABLE {s}key_secrets ADD COLUMN hint TEXT;

CREATE INDEX {s}keys_of_user ON {s}keys (organization_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX {s}keys_of_organization_by_status ON {s}keys (organization_id, status, id);
CREATE INDEX {s}keys_by_end ON {s}keys (expires_at, id) WHERE expires_at IS NOT NULL AND status <> 'revoked';
CREATE INDEX {s}keys_of_creator ON {s}keys (created_by_key, id) WHERE created_by_key IS NOT NULL;
CREATE INDEX {s}secrets_by_hash ON {s}key_secrets (hash);

CREATE TRIGGER {s}keys_by_hand AFTER UPDATE OF
    id, organization_id, user_id, ends_with_user, name, labels, prefix, environment, scopes, roles, networks, limits,
    lifted_limits, metadata, status, status_at, status_reason, status_actor, created_at, created_by, created_by_key, canary,
    requires, expires_at, holds
ON {s}keys WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}keys SET revision = revision + 1 WHERE id = NEW.id;
END;

-- Labels as rows, so that keys are found by them. `keys.labels` has the labels; triggers write these.
CREATE TABLE {s}key_labels (
    organization_id BLOB NOT NULL,
    label           TEXT NOT NULL,
    key_id          BLOB NOT NULL,
    PRIMARY KEY (organization_id, label, key_id)
) WITHOUT ROWID;

CREATE INDEX {s}labels_of_key ON {s}key_labels (key_id, label);

-- A row that INSERT OR REPLACE has replaced may have had others.
CREATE TRIGGER {s}keys_label_insert AFTER INSERT ON {s}keys
WHEN NEW.labels <> '[]' OR EXISTS (SELECT 1 FROM {s}key_labels WHERE key_id = NEW.id)
BEGIN
    DELETE FROM {s}key_labels WHERE key_id = NEW.id;
    INSERT OR IGNORE INTO {s}key_labels (organization_id, label, key_id)
    SELECT NEW.organization_id, value, NEW.id FROM json_each(NEW.labels);
END;

CREATE TRIGGER {s}keys_label_update AFTER UPDATE OF id, organization_id, labels ON {s}keys
WHEN NEW.labels <> OLD.labels OR NEW.id <> OLD.id OR NEW.organization_id <> OLD.organization_id
BEGIN
    DELETE FROM {s}key_labels WHERE key_id = OLD.id;
    INSERT OR IGNORE INTO {s}key_labels (organization_id, label, key_id)
    SELECT NEW.organization_id, value, NEW.id FROM json_each(NEW.labels);
END;

CREATE TRIGGER {s}keys_label_delete AFTER DELETE ON {s}keys
BEGIN
    DELETE FROM {s}key_labels WHERE key_id = OLD.id;
END;

-- Last use: a row for each secret, which triggers insert and delete. Times are 0 for never.
CREATE TABLE {s}key_use (
    lookup          TEXT    NOT NULL PRIMARY KEY,
    key_id          BLOB    NOT NULL,
    organization_id BLOB    NOT NULL,
    last_used_at    INTEGER NOT NULL,
    last_address    TEXT,
    requests        INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX {s}key_use_of_organization ON {s}key_use (organization_id, last_used_at, key_id, requests);
CREATE INDEX {s}key_use_of_key ON {s}key_use (key_id, last_used_at);
CREATE INDEX {s}key_use_of_address ON {s}key_use (last_address) WHERE last_address IS NOT NULL;
CREATE INDEX {s}key_use_with_address ON {s}key_use (last_used_at) WHERE last_address IS NOT NULL;

INSERT INTO {s}key_use (lookup, key_id, organization_id, last_used_at, last_address, requests)
SELECT s.lookup, s.key_id, k.organization_id, 0, NULL, 0 FROM {s}key_secrets s JOIN {s}keys k ON k.id = s.key_id;

CREATE TABLE {s}key_networks (
    key_id     BLOB    NOT NULL,
    network    TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (key_id, network)
) WITHOUT ROWID;

CREATE TABLE {s}scope_use (
    key_id       BLOB    NOT NULL,
    scope        TEXT    NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, scope)
) WITHOUT ROWID;

-- What is there already under a lookup or an id is left of another secret or key, and says nothing of this one.
CREATE TRIGGER {s}secrets_use_insert AFTER INSERT ON {s}key_secrets
BEGIN
    DELETE FROM {s}key_use WHERE lookup = NEW.lookup AND key_id <> NEW.key_id;
    INSERT OR IGNORE INTO {s}key_use (lookup, key_id, organization_id, last_used_at, last_address, requests)
    SELECT NEW.lookup, k.id, k.organization_id, 0, NULL, 0 FROM {s}keys k WHERE k.id = NEW.key_id;
END;

CREATE TRIGGER {s}secrets_use_update AFTER UPDATE OF lookup, key_id ON {s}key_secrets
WHEN NEW.lookup <> OLD.lookup OR NEW.key_id <> OLD.key_id
BEGIN
    DELETE FROM {s}key_use WHERE lookup = NEW.lookup AND lookup <> OLD.lookup;
    UPDATE {s}key_use SET lookup = NEW.lookup, key_id = k.id, organization_id = k.organization_id
    FROM {s}keys k WHERE k.id = NEW.key_id AND {s}key_use.lookup = OLD.lookup;
END;

CREATE TRIGGER {s}secrets_use_delete AFTER DELETE ON {s}key_secrets
BEGIN
    DELETE FROM {s}key_use WHERE lookup = OLD.lookup;
END;

CREATE TRIGGER {s}keys_use_move AFTER UPDATE OF organization_id ON {s}keys
WHEN NEW.organization_id <> OLD.organization_id
BEGIN
    UPDATE {s}key_use SET organization_id = NEW.organization_id WHERE key_id = NEW.id;
END;

CREATE TRIGGER {s}keys_use_rename AFTER UPDATE OF id ON {s}keys WHEN NEW.id <> OLD.id
BEGIN
    DELETE FROM {s}key_networks WHERE key_id = NEW.id;
    UPDATE {s}key_networks SET key_id = NEW.id WHERE key_id = OLD.id;
    DELETE FROM {s}scope_use WHERE key_id = NEW.id;
    UPDATE {s}scope_use SET key_id = NEW.id WHERE key_id = OLD.id;
    UPDATE {s}key_use SET key_id = NEW.id, organization_id = NEW.organization_id WHERE key_id = OLD.id;
END;

CREATE TRIGGER {s}keys_use_delete AFTER DELETE ON {s}keys
BEGIN
    DELETE FROM {s}key_use WHERE key_id = OLD.id;
    DELETE FROM {s}key_networks WHERE key_id = OLD.id;
    DELETE FROM {s}scope_use WHERE key_id = OLD.id;
END;

-- Whose batches of uses were stored up to which number, so that none is counted twice.
CREATE TABLE {s}usage_sources (
    node    BLOB    NOT NULL,
    epoch   INTEGER NOT NULL,
    through INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (node, epoch)
) WITHOUT ROWID;

CREATE INDEX {s}usage_sources_by_time ON {s}usage_sources (seen_at);

-- Which process does a task of maintenance, or has done it, and until when.
CREATE TABLE {s}leases (
    task   TEXT    NOT NULL PRIMARY KEY,
    holder BLOB    NOT NULL,
    until  INTEGER NOT NULL
) WITHOUT ROWID;

-- Statistics: numbers of keys by status and end.
CREATE INDEX {s}keys_of_organization_by_end ON {s}keys (organization_id, status, expires_at);

-- Retention: keys by the time at which they were revoked.
CREATE INDEX {s}keys_by_revocation ON {s}keys (status_at, id) WHERE status = 'revoked';

-- Keys of all organizations by label.
CREATE INDEX {s}keys_with_label ON {s}key_labels (label, key_id);

-- Audit events that the store made by itself, when it was set back: the next commit that has the audit key links them.
CREATE TABLE {s}audit_waiting (
    n     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    event TEXT    NOT NULL
);
