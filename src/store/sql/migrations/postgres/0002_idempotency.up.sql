SET LOCAL search_path = pg_catalog, pg_temp;

-- What was made for which idempotency key. `request_hash` is a keyed digest of the request; neither the request nor a secret is here.
CREATE TABLE {s}idempotency (
    organization_id uuid             NOT NULL,
    actor           text COLLATE "C" NOT NULL,
    key             text COLLATE "C" NOT NULL,
    request_hash    bytea            NOT NULL CONSTRAINT idempotency_request_hash_check CHECK (length(request_hash) = 32),
    key_id          uuid             NOT NULL,
    created_at      bigint           NOT NULL,
    expires_at      bigint           NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (organization_id, actor, key)
);

CREATE INDEX idempotency_by_age ON {s}idempotency (organization_id, key_id);
CREATE INDEX idempotency_by_end ON {s}idempotency (expires_at);
