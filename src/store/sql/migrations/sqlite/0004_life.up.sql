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
