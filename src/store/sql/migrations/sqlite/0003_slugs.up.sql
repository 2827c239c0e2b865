-- Organizations that are there get their name as their slug where it is one and nobody else has it, and otherwise their id.
ALTER TABLE {s}organizations ADD COLUMN slug TEXT NOT NULL DEFAULT '';

UPDATE {s}organizations SET slug = CASE
    WHEN length(name_folded) BETWEEN 1 AND 63
        AND name_folded NOT GLOB '*[^a-z0-9-]*' AND name_folded NOT GLOB '-*' AND name_folded NOT GLOB '*-'
        AND NOT EXISTS (
            SELECT 1 FROM {s}organizations o
            WHERE o.name_folded = {s}organizations.name_folded AND o.id <> {s}organizations.id
        )
    THEN name_folded
    ELSE lower(hex(id))
END;

CREATE UNIQUE INDEX {s}organizations_by_slug ON {s}organizations (slug);

-- A row that was inserted by hand without a slug gets its id.
CREATE TRIGGER {s}organizations_slug AFTER INSERT ON {s}organizations WHEN NEW.slug = ''
BEGIN
    UPDATE {s}organizations SET slug = lower(hex(NEW.id)) WHERE id = NEW.id;
END;

-- As in step 1, with the slug.
DROP TRIGGER {s}organizations_by_hand;

CREATE TRIGGER {s}organizations_by_hand AFTER UPDATE OF id, slug, name, status, limits
ON {s}organizations WHEN NEW.revision = OLD.revision AND OLD.slug <> ''
BEGIN
    UPDATE {s}organizations SET revision = revision + 1 WHERE id = NEW.id;
END;
