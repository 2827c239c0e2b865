-- What was made for which idempotency key. `request_hash` is a keyed digest of the request; neither the request nor a secret is here.
CREATE TABLE {s}idempotency (
    organization_id BLOB    NOT NULL,
    actor           TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    request_hash    BLOB    NOT NULL CHECK (length(request_hash) = 32),
    key_id          BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    PRIMARY KEY (organization_id, actor, key)
) WITHOUT ROWID;

CREATE INDEX {s}idempotency_by_age ON {s}idempotency (organization_id, key_id);
CREATE INDEX {s}idempotency_by_end ON {s}idempotency (expires_at);
