-- Times are milliseconds since 1970, ids are the 16 bytes of a UUID, lists are JSON text.

CREATE TABLE organizations (
    id       BLOB   NOT NULL PRIMARY KEY,
    name     TEXT   NOT NULL,
    status   TEXT   NOT NULL,
    limits   TEXT   NOT NULL,
    revision BIGINT NOT NULL
);

CREATE TABLE keys (
    id                BLOB   NOT NULL PRIMARY KEY,
    organization_id   BLOB   NOT NULL REFERENCES organizations (id),
    user_id           TEXT,
    name              TEXT   NOT NULL,
    prefix            TEXT   NOT NULL,
    environment       TEXT,
    scopes            TEXT   NOT NULL,
    networks          TEXT   NOT NULL,
    limits            TEXT   NOT NULL,
    metadata          TEXT   NOT NULL,
    status            TEXT   NOT NULL,
    revoked_at        BIGINT,
    revocation_reason TEXT,
    revocation_actor  TEXT,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT,
    revision          BIGINT NOT NULL
);

CREATE INDEX keys_of_organization ON keys (organization_id);

-- The lookup is compared byte by byte (SQLite's default collation), so letter case counts.
CREATE TABLE key_secrets (
    lookup     TEXT    NOT NULL PRIMARY KEY,
    key_id     BLOB    NOT NULL REFERENCES keys (id),
    position   INTEGER NOT NULL,
    hash       TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    expires_at BIGINT
) WITHOUT ROWID;

CREATE INDEX secrets_of_key ON key_secrets (key_id);
