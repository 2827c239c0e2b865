-- What a presented key shows before it is hashed: a CRC-32, a checksum under a secret of the realm, or nothing.
ALTER TABLE {s}key_secrets
    ADD COLUMN form TEXT NOT NULL DEFAULT 'foreign' CHECK (form IN ('none', 'crc32', 'keyed', 'foreign'));

-- Secrets that are there get the form that prefix, environment and lookup suggest: those of the presets that have no
-- checksum are known by them, and all others may have a CRC-32. The realm accepts CRC-32 as long as there may be such keys.
UPDATE {s}key_secrets SET form = (
    SELECT CASE
        WHEN k.prefix = '' AND (length(lookup) = 64 OR lookup NOT GLOB '*[^0-9]*') THEN 'foreign'
        WHEN k.prefix IN ('', 'cmpz') AND k.environment IS NULL AND length(lookup) = 8 THEN 'none'
        WHEN k.prefix IN ('', 'gml') AND k.environment IS NULL AND length(lookup) = 12
            AND lookup NOT GLOB '*[^0-9a-f]*' THEN 'none'
        WHEN k.prefix IN ('pk', 'hk') AND k.environment IN ('live', 'test') AND length(lookup) = 8 THEN 'none'
        ELSE 'crc32'
    END
    FROM {s}keys k WHERE k.id = key_id
) WHERE EXISTS (SELECT 1 FROM {s}keys k WHERE k.id = key_id);

CREATE INDEX {s}crc_secrets ON {s}key_secrets (key_id) WHERE form = 'crc32';

-- One row: what this database is. `crc_accepted_until` is 0 where keys with a CRC-32 are not accepted.
CREATE TABLE {s}realm (
    one                INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    realm_id           BLOB    NOT NULL,
    crc_accepted_until INTEGER NOT NULL,
    created_at         INTEGER NOT NULL
);

-- The id is a random UUID (version 4).
INSERT INTO {s}realm (one, realm_id, crc_accepted_until, created_at)
SELECT 1,
    unhex(hex(randomblob(6)) || '4' || substr(hex(randomblob(2)), 2) || '8' || substr(hex(randomblob(8)), 2)),
    CASE WHEN EXISTS (SELECT 1 FROM {s}key_secrets) THEN 9223372036854775807 ELSE 0 END,
    CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER);

-- Secrets of the servers. `value` is sealed under the root key `sealed_by`, or plain where that is NULL. `n` is 0 for the
-- first of an id.
CREATE TABLE {s}server_secrets (
    purpose     TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    n           INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'retired')),
    sealed_by   TEXT,
    value       BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    active_from INTEGER NOT NULL,
    retire_at   INTEGER,
    PRIMARY KEY (purpose, id, n)
) WITHOUT ROWID;

-- Kind 4 of the change log: the realm or one of its secrets. It has no revision.
CREATE TRIGGER {s}realm_log_update AFTER UPDATE ON {s}realm
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    VALUES (randomblob(16), 4, NEW.realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER {s}server_secrets_log_insert AFTER INSERT ON {s}server_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}server_secrets_log_update AFTER UPDATE ON {s}server_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}realm WHERE one = 1;
END;

CREATE TRIGGER {s}server_secrets_log_delete AFTER DELETE ON {s}server_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 4, realm_id, 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}realm WHERE one = 1;
END;
