DROP TRIGGER {s}organizations_by_hand;
DROP TRIGGER {s}organizations_slug;
DROP INDEX {s}organizations_by_slug;
ALTER TABLE {s}organizations DROP COLUMN slug;

CREATE TRIGGER {s}organizations_by_hand AFTER UPDATE OF id, name, status, limits
ON {s}organizations WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}organizations SET revision = revision + 1 WHERE id = NEW.id;
END;
