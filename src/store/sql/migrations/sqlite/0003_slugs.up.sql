ALTER TABLE {s}organizations ADD COLUMN slug TEXT NOT NULL DEFAULT '';

-- Organizations that are there get the slug that their name makes. Of several with one slug the oldest gets it, and each other
-- one a number behind it. Names that are not ASCII, and what looks like an id, make none.
WITH RECURSIVE
letters (id, rest, slug) AS (
    SELECT id, name_folded, '' FROM {s}organizations WHERE name_folded NOT GLOB '*[^ -~]*'
    UNION ALL
    SELECT id, substr(rest, 2), CASE
        WHEN substr(rest, 1, 1) GLOB '[a-z0-9]' THEN slug || substr(rest, 1, 1)
        WHEN slug = '' OR slug GLOB '*-' THEN slug
        ELSE slug || '-'
    END
    FROM letters WHERE rest <> ''
),
made (id, slug) AS (
    SELECT id, rtrim(substr(slug, 1, 63), '-') FROM letters WHERE rest = ''
),
placed (id, slug, place) AS (
    SELECT id, slug, row_number() OVER (PARTITION BY slug ORDER BY id) FROM made
    WHERE slug <> '' AND (length(slug) <> 32 OR slug GLOB '*[^0-9a-f]*')
),
numbered (id, slug) AS (
    SELECT id, slug FROM placed WHERE place = 1
    UNION ALL
    SELECT id, slug || '-' || place FROM placed
    WHERE place > 1 AND length(slug || '-' || place) <= 63
        AND slug || '-' || place NOT IN (SELECT slug FROM placed WHERE place = 1)
)
UPDATE {s}organizations SET slug = numbered.slug FROM numbered WHERE numbered.id = {s}organizations.id;

-- The others get their id.
UPDATE {s}organizations SET slug = lower(hex(id)) WHERE slug = '';

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
