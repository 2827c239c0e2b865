-- Ids are UUIDs, times are milliseconds since 1970 (UTC). Texts are ordered and compared byte by byte ("C"), so letter case counts.
-- JSON that is hashed is text, other lists and maps are jsonb.

-- Types, operators and functions in tables, indexes and conditions of triggers are looked up once, here: not in a schema that somebody
-- has put in front, and not among temporary tables.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Plans: limits that many organizations have in common.
CREATE TABLE {s}plans (
    id         uuid             NOT NULL CONSTRAINT plans_pkey PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,
    key_limits jsonb            NOT NULL CONSTRAINT plans_key_limits_check CHECK (jsonb_typeof(key_limits) = 'array'),
    limits     jsonb            NOT NULL CONSTRAINT plans_limits_check CHECK (jsonb_typeof(limits) = 'array'),
    max_keys   bigint,
    revision   bigint           NOT NULL
);

CREATE UNIQUE INDEX plans_by_name ON {s}plans (name);

CREATE TABLE {s}organizations (
    id                uuid             NOT NULL CONSTRAINT organizations_pkey PRIMARY KEY,
    slug              text COLLATE "C" NOT NULL DEFAULT '',
    name              text COLLATE "C" NOT NULL,
    name_folded       text COLLATE "C" NOT NULL,
    email             text COLLATE "C",
    email_folded      text COLLATE "C",
    plan_id           uuid             CONSTRAINT organizations_plan_fkey REFERENCES {s}plans (id),
    status            text COLLATE "C" NOT NULL CONSTRAINT organizations_status_check CHECK (status IN ('active', 'inactive')),
    is_operator       boolean          NOT NULL DEFAULT FALSE,
    requires          jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT organizations_requires_check CHECK (jsonb_typeof(requires) = 'array'),
    limits            jsonb            NOT NULL
        CONSTRAINT organizations_limits_check CHECK (jsonb_typeof(limits) = 'array'),
    lifted_limits     jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT organizations_lifted_limits_check CHECK (jsonb_typeof(lifted_limits) = 'array'),
    key_limits        jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT organizations_key_limits_check CHECK (jsonb_typeof(key_limits) = 'array'),
    lifted_key_limits jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT organizations_lifted_key_limits_check CHECK (jsonb_typeof(lifted_key_limits) = 'array'),
    max_keys          bigint,
    policy            jsonb            NOT NULL DEFAULT '{}'
        CONSTRAINT organizations_policy_check CHECK (jsonb_typeof(policy) = 'object'),
    metadata          jsonb            NOT NULL DEFAULT '{}'
        CONSTRAINT organizations_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    created_at        bigint           NOT NULL DEFAULT 0,
    revision          bigint           NOT NULL
);

CREATE INDEX organizations_by_name ON {s}organizations (name_folded, id);
CREATE UNIQUE INDEX organizations_by_slug ON {s}organizations (slug);
CREATE UNIQUE INDEX organizations_by_email ON {s}organizations (email_folded) WHERE email_folded IS NOT NULL;
-- One organization is the operator's.
CREATE UNIQUE INDEX operator_organization ON {s}organizations (is_operator) WHERE is_operator;
CREATE INDEX organizations_of_plan ON {s}organizations (plan_id, id) WHERE plan_id IS NOT NULL;
CREATE INDEX organizations_by_status ON {s}organizations (status, id);

-- The end of each audit chain, and the lock of every change of an organization. The nil id is the system's, the lowest. Rows stay
-- when their organization is deleted.
CREATE TABLE {s}organization_state (
    organization_id uuid   NOT NULL CONSTRAINT organization_state_pkey PRIMARY KEY,
    audit_seq       bigint NOT NULL,
    audit_hash      bytea  NOT NULL CONSTRAINT organization_state_audit_hash_check CHECK (length(audit_hash) = 32),
    pruned_seq      bigint NOT NULL,
    pruned_hash     bytea  NOT NULL CONSTRAINT organization_state_pruned_hash_check CHECK (length(pruned_hash) = 32)
);

-- Users. One without a row is active.
CREATE TABLE {s}users (
    organization_id uuid             NOT NULL CONSTRAINT users_organization_fkey REFERENCES {s}organizations (id),
    user_id         text COLLATE "C" NOT NULL,
    display_name    text COLLATE "C",
    email           text COLLATE "C",
    metadata        jsonb            NOT NULL CONSTRAINT users_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    status          text COLLATE "C" NOT NULL CONSTRAINT users_status_check CHECK (status IN ('active', 'disabled')),
    reason          text COLLATE "C" NOT NULL,
    actor           text COLLATE "C" NOT NULL,
    changed_at      bigint           NOT NULL,
    revision        bigint           NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (organization_id, user_id)
);

-- Roles, and the scopes that the realm knows.
CREATE TABLE {s}roles (
    name        text COLLATE "C" NOT NULL CONSTRAINT roles_pkey PRIMARY KEY,
    scopes      jsonb            NOT NULL CONSTRAINT roles_scopes_check CHECK (jsonb_typeof(scopes) = 'array'),
    description text COLLATE "C" NOT NULL,
    revision    bigint           NOT NULL
);

CREATE TABLE {s}scopes (
    scope       text COLLATE "C" NOT NULL CONSTRAINT scopes_pkey PRIMARY KEY,
    description text COLLATE "C" NOT NULL
);

CREATE TABLE {s}keys (
    id              uuid             NOT NULL CONSTRAINT keys_pkey PRIMARY KEY,
    organization_id uuid             NOT NULL CONSTRAINT keys_organization_fkey REFERENCES {s}organizations (id),
    user_id         text COLLATE "C",
    ends_with_user  boolean          NOT NULL DEFAULT FALSE,
    name            text COLLATE "C" NOT NULL,
    name_folded     text COLLATE "C" NOT NULL,
    labels          jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT keys_labels_check CHECK (jsonb_typeof(labels) = 'array'),
    prefix          text COLLATE "C" NOT NULL,
    environment     text COLLATE "C",
    scopes          jsonb            NOT NULL CONSTRAINT keys_scopes_check CHECK (jsonb_typeof(scopes) = 'array'),
    roles           jsonb            NOT NULL DEFAULT '[]' CONSTRAINT keys_roles_check CHECK (jsonb_typeof(roles) = 'array'),
    networks        jsonb            NOT NULL CONSTRAINT keys_networks_check CHECK (jsonb_typeof(networks) = 'array'),
    limits          jsonb            NOT NULL CONSTRAINT keys_limits_check CHECK (jsonb_typeof(limits) = 'array'),
    lifted_limits   jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT keys_lifted_limits_check CHECK (jsonb_typeof(lifted_limits) = 'array'),
    metadata        jsonb            NOT NULL CONSTRAINT keys_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    status          text COLLATE "C" NOT NULL
        CONSTRAINT keys_status_check CHECK (status IN ('active', 'disabled', 'revoked')),
    status_at       bigint,
    status_reason   text COLLATE "C",
    status_actor    text COLLATE "C",
    -- What keeps a disabled key disabled; '[]' for one that was disabled by itself.
    holds           jsonb            NOT NULL DEFAULT '[]' CONSTRAINT keys_holds_check CHECK (jsonb_typeof(holds) = 'array'),
    created_at      bigint           NOT NULL,
    created_by      text COLLATE "C" NOT NULL,
    created_by_key  uuid,
    canary          boolean          NOT NULL DEFAULT FALSE,
    requires        jsonb            NOT NULL DEFAULT '[]'
        CONSTRAINT keys_requires_check CHECK (jsonb_typeof(requires) = 'array'),
    expires_at      bigint,
    revision        bigint           NOT NULL
);

CREATE INDEX keys_of_organization ON {s}keys (organization_id, id);
CREATE INDEX keys_of_organization_by_name ON {s}keys (organization_id, name_folded, id);
CREATE INDEX keys_by_name ON {s}keys (name_folded, id);
CREATE INDEX keys_of_user ON {s}keys (organization_id, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX keys_of_organization_by_status ON {s}keys (organization_id, status, id);
CREATE INDEX keys_by_end ON {s}keys (expires_at, id) WHERE expires_at IS NOT NULL AND status <> 'revoked';
CREATE INDEX keys_of_creator ON {s}keys (created_by_key, id) WHERE created_by_key IS NOT NULL;
-- Statistics: numbers of keys by status and end.
CREATE INDEX keys_of_organization_by_end ON {s}keys (organization_id, status, expires_at);
-- Retention: keys by the time at which they were revoked.
CREATE INDEX keys_by_revocation ON {s}keys (status_at, id) WHERE status = 'revoked';

-- `form` is what a presented key shows before it is hashed: a CRC-32, a checksum under a secret of the realm, or nothing.
CREATE TABLE {s}key_secrets (
    lookup        text COLLATE "C" NOT NULL CONSTRAINT key_secrets_pkey PRIMARY KEY,
    key_id        uuid             NOT NULL CONSTRAINT key_secrets_key_fkey REFERENCES {s}keys (id),
    position      bigint           NOT NULL,
    hash          text COLLATE "C" NOT NULL,
    hint          text COLLATE "C",
    form          text COLLATE "C" NOT NULL DEFAULT 'foreign'
        CONSTRAINT key_secrets_form_check CHECK (form IN ('none', 'crc32', 'keyed', 'foreign')),
    created_at    bigint           NOT NULL,
    expires_at    bigint,
    grace_ends_at bigint
);

CREATE INDEX secrets_of_key ON {s}key_secrets (key_id, position);
CREATE INDEX secrets_by_hash ON {s}key_secrets (hash);
CREATE INDEX crc_secrets ON {s}key_secrets (key_id) WHERE form = 'crc32';

-- Labels as rows, so that keys are found by them. `keys.labels` has the labels; triggers write these.
CREATE TABLE {s}key_labels (
    organization_id uuid             NOT NULL,
    label           text COLLATE "C" NOT NULL,
    key_id          uuid             NOT NULL,
    CONSTRAINT key_labels_pkey PRIMARY KEY (organization_id, label, key_id)
);

CREATE INDEX labels_of_key ON {s}key_labels (key_id, label);
-- Keys of all organizations by label.
CREATE INDEX keys_with_label ON {s}key_labels (label, key_id);

-- Last use: a row for each secret, which triggers insert and delete. Times are 0 for never.
CREATE TABLE {s}key_use (
    lookup          text COLLATE "C" NOT NULL CONSTRAINT key_use_pkey PRIMARY KEY,
    key_id          uuid             NOT NULL,
    organization_id uuid             NOT NULL,
    last_used_at    bigint           NOT NULL,
    last_address    text COLLATE "C",
    requests        bigint           NOT NULL
);

CREATE INDEX key_use_of_organization ON {s}key_use (organization_id, last_used_at, key_id, requests);
CREATE INDEX key_use_of_key ON {s}key_use (key_id, last_used_at);
CREATE INDEX key_use_of_address ON {s}key_use (last_address) WHERE last_address IS NOT NULL;
CREATE INDEX key_use_with_address ON {s}key_use (last_used_at) WHERE last_address IS NOT NULL;

CREATE TABLE {s}key_networks (
    key_id     uuid             NOT NULL,
    network    text COLLATE "C" NOT NULL,
    first_seen bigint           NOT NULL,
    CONSTRAINT key_networks_pkey PRIMARY KEY (key_id, network)
);

CREATE TABLE {s}scope_use (
    key_id       uuid             NOT NULL,
    scope        text COLLATE "C" NOT NULL,
    last_used_at bigint           NOT NULL,
    CONSTRAINT scope_use_pkey PRIMARY KEY (key_id, scope)
);

-- Whose batches of uses were stored up to which number, so that none is counted twice.
CREATE TABLE {s}usage_sources (
    node    uuid   NOT NULL,
    epoch   bigint NOT NULL,
    through bigint NOT NULL,
    seen_at bigint NOT NULL,
    CONSTRAINT usage_sources_pkey PRIMARY KEY (node, epoch)
);

CREATE INDEX usage_sources_by_time ON {s}usage_sources (seen_at);

-- Which process does a task of maintenance, or has done it, and until when.
CREATE TABLE {s}leases (
    task   text COLLATE "C" NOT NULL CONSTRAINT leases_pkey PRIMARY KEY,
    holder uuid             NOT NULL,
    until  bigint           NOT NULL
);

-- One row: what this database is. `crc_accepted_until` is 0 where keys with a CRC-32 are not accepted.
CREATE TABLE {s}realm (
    one                boolean NOT NULL CONSTRAINT realm_pkey PRIMARY KEY CONSTRAINT realm_one_check CHECK (one),
    realm_id           uuid    NOT NULL,
    crc_accepted_until bigint  NOT NULL,
    created_at         bigint  NOT NULL
);

-- Secrets of the servers. `value` is sealed under the root key `sealed_by`, or plain where that is NULL. `n` is 0 for the
-- first of an id.
CREATE TABLE {s}server_secrets (
    purpose     text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    n           bigint           NOT NULL,
    state       text COLLATE "C" NOT NULL
        CONSTRAINT server_secrets_state_check CHECK (state IN ('pending', 'active', 'retired')),
    sealed_by   text COLLATE "C",
    value       bytea            NOT NULL,
    created_at  bigint           NOT NULL,
    active_from bigint           NOT NULL,
    retire_at   bigint,
    CONSTRAINT server_secrets_pkey PRIMARY KEY (purpose, id, n)
);

-- `payload` is the text that `hash` covers. The other columns repeat parts of it, to be searched.
CREATE TABLE {s}audit_events (
    organization_id uuid             NOT NULL,
    seq             bigint           NOT NULL,
    commit_id       uuid             NOT NULL,
    at              bigint           NOT NULL,
    actor_kind      text COLLATE "C" NOT NULL,
    actor           text COLLATE "C" NOT NULL,
    action          text COLLATE "C" NOT NULL,
    key_id          uuid,
    user_id         text COLLATE "C",
    payload         text COLLATE "C" NOT NULL,
    hash            bytea            NOT NULL CONSTRAINT audit_events_hash_check CHECK (length(hash) = 32),
    CONSTRAINT audit_events_pkey PRIMARY KEY (organization_id, seq)
);

CREATE INDEX audit_events_of_commit ON {s}audit_events (commit_id);
CREATE INDEX audit_events_of_key ON {s}audit_events (key_id, at, organization_id, seq) WHERE key_id IS NOT NULL;
CREATE INDEX audit_events_of_actor ON {s}audit_events (organization_id, actor, at, seq);
CREATE INDEX audit_events_of_action ON {s}audit_events (organization_id, action, at, seq);
CREATE INDEX audit_events_of_time ON {s}audit_events (organization_id, at, seq);
CREATE INDEX audit_events_by_time ON {s}audit_events (at, organization_id, seq);

-- What events say of persons stands beside the chain, so that it can be forgotten. `origin` has addresses and user agents, which go
-- earlier than `values`. The columns after them find what is to go.
CREATE TABLE {s}audit_personal (
    organization_id uuid   NOT NULL,
    seq             bigint NOT NULL,
    at              bigint NOT NULL,
    origin_salt     bytea,
    origin          text COLLATE "C",
    salt            bytea,
    "values"        text COLLATE "C",
    actor           text COLLATE "C",
    user_id         text COLLATE "C",
    address         text COLLATE "C",
    CONSTRAINT audit_personal_pkey PRIMARY KEY (organization_id, seq)
);

CREATE INDEX audit_personal_of_actor ON {s}audit_personal (actor) WHERE actor IS NOT NULL;
CREATE INDEX audit_personal_of_user ON {s}audit_personal (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_personal_by_time ON {s}audit_personal (at) WHERE origin IS NOT NULL;
CREATE INDEX audit_personal_of_address ON {s}audit_personal (address) WHERE address IS NOT NULL;

-- Audit events that the store made by itself, when it was set back: the next commit that has the audit key links them.
CREATE TABLE {s}audit_waiting (
    n     bigint           NOT NULL GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_waiting_pkey PRIMARY KEY,
    event text COLLATE "C" NOT NULL
);

-- Refusals: exact counts by hour (its start), and samples. The nil organization is for those of none.
CREATE TABLE {s}refusal_counts (
    hour            bigint           NOT NULL,
    organization_id uuid             NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    n               bigint           NOT NULL,
    CONSTRAINT refusal_counts_pkey PRIMARY KEY (hour, organization_id, kind)
);

CREATE INDEX refusal_counts_of ON {s}refusal_counts (organization_id, hour, kind);

CREATE TABLE {s}refusals (
    id              uuid             NOT NULL CONSTRAINT refusals_pkey PRIMARY KEY,
    at              bigint           NOT NULL,
    organization_id uuid,
    key_id          uuid,
    lookup          text COLLATE "C",
    kind            text COLLATE "C" NOT NULL,
    address         text COLLATE "C"
);

CREATE INDEX refusals_of ON {s}refusals (organization_id, at, id);
CREATE INDEX refusals_by_time ON {s}refusals (at, id);
CREATE INDEX refusals_of_address ON {s}refusals (address) WHERE address IS NOT NULL;

-- The change log. Kinds: 1 key, 2 organization, 3 plan, 4 realm, 5 everything. Triggers write it, so that it has changes made by
-- hand too. `part` is which row of its subject an entry is about: the lookup of a secret, the id of a user, the name of a role; NULL
-- for the subject itself.
CREATE TABLE {s}key_changes (
    seq      bigint NOT NULL CONSTRAINT key_changes_pkey PRIMARY KEY,
    tag      uuid   NOT NULL,
    kind     bigint NOT NULL,
    id       uuid   NOT NULL,
    revision bigint NOT NULL,
    at       bigint NOT NULL,
    part     text COLLATE "C"
    -- Numbers of transactions that were rolled back late stay in the index, behind the last one, and each change reads over them until
    -- they are vacuumed. By default that takes as many as a fifth of the table.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- One row, whose lock is held by the transaction that numbers changes, from its first number to the end of its commit.
CREATE TABLE {s}change_counter (
    one boolean NOT NULL CONSTRAINT change_counter_pkey PRIMARY KEY CONSTRAINT change_counter_one_check CHECK (one)
);

INSERT INTO {s}change_counter (one) VALUES (TRUE);

-- Before there are triggers, so that a new log is empty. The id of the realm is a random UUID (version 4).
INSERT INTO {s}realm (one, realm_id, crc_accepted_until, created_at)
VALUES (TRUE, gen_random_uuid(), 0, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint);

INSERT INTO {s}organization_state (organization_id, audit_seq, audit_hash, pruned_seq, pruned_hash)
VALUES ('00000000-0000-0000-0000-000000000000', 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'));

-- Three to begin with, which operators change as they like.
INSERT INTO {s}plans (id, name, key_limits, limits, max_keys, revision) VALUES
    ('01900000-0000-7000-8000-000000000001', 'free',
     '[{"burst":60,"cost":1,"limit":60,"name":"requests","per_seconds":60}]', '[]', 5, 1),
    ('01900000-0000-7000-8000-000000000002', 'pro',
     '[{"burst":600,"cost":1,"limit":600,"name":"requests","per_seconds":60}]', '[]', 50, 1),
    ('01900000-0000-7000-8000-000000000003', 'enterprise', '[]', '[]', NULL, 1);

-- Numbers a change and logs it. Numbers have no gap and are in the order of the commits, since the lock is held until the commit can
-- be seen: a number of a sequence could be seen before a lower one, which a follower would then never read. The lock is taken by a
-- statement of its own, so that the next one sees what was committed while it waited. Nothing is written into the locked row: each
-- version of it would stay as long as the oldest transaction of the database.
CREATE FUNCTION {s}log_change(of_kind bigint, of_id uuid, at_revision bigint, about text) RETURNS void
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    -- A snapshot of before the lock would give a number that another transaction has, or had.
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'keys, and what they depend on, must be changed in a READ COMMITTED transaction'
            USING ERRCODE = 'invalid_transaction_state',
                HINT = 'Begin it with: BEGIN ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM FROM {s}change_counter WHERE one FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the row of {s}change_counter is missing'
            USING ERRCODE = 'data_corrupted',
                HINT = 'Insert it again: INSERT INTO {s}change_counter (one) VALUES (TRUE).';
    END IF;
    INSERT INTO {s}key_changes (seq, tag, kind, id, revision, at, part)
    SELECT coalesce(max(seq), 0) + 1, gen_random_uuid(), of_kind, of_id, at_revision,
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, about
    FROM {s}key_changes;
END
$function$;

-- Of a row with an id and a revision; the argument is its kind.
CREATE FUNCTION {s}log_row() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM {s}log_change(TG_ARGV[0]::bigint, NEW.id, NEW.revision, NULL);
    RETURN NULL;
END
$function$;

-- The same, of one that is gone under its id. One with the last revision there is can be deleted too.
CREATE FUNCTION {s}log_gone() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM {s}log_change(TG_ARGV[0]::bigint, OLD.id, least(OLD.revision, 9223372036854775806) + 1, NULL);
    RETURN NULL;
END
$function$;

-- A change of a secret is one of its key. Of a key that is gone itself, its own entry says so.
CREATE FUNCTION {s}log_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM {s}log_change(1, k.id, k.revision, OLD.lookup) FROM {s}keys k WHERE k.id = OLD.key_id;
    ELSE
        PERFORM {s}log_change(1, k.id, k.revision, OLD.lookup) FROM {s}keys k WHERE k.id IN (OLD.key_id, NEW.key_id);
    END IF;
    RETURN NULL;
END
$function$;

-- A change of a user is one of its organization. The argument is given for the user that a row was before.
CREATE FUNCTION {s}log_user() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    IF TG_OP = 'DELETE' OR TG_NARGS > 0 THEN
        PERFORM {s}log_change(2, o.id, o.revision, OLD.user_id) FROM {s}organizations o WHERE o.id = OLD.organization_id;
    ELSE
        PERFORM {s}log_change(2, o.id, o.revision, NEW.user_id) FROM {s}organizations o WHERE o.id = NEW.organization_id;
    END IF;
    RETURN NULL;
END
$function$;

-- The realm has no revision.
CREATE FUNCTION {s}log_realm() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM {s}log_change(4, OLD.realm_id, 0, NULL);
    ELSE
        PERFORM {s}log_change(4, NEW.realm_id, 0, NULL);
    END IF;
    RETURN NULL;
END
$function$;

-- A change of a role is one of the realm, also where its row is missing. The argument is given for the name that a role had before.
CREATE FUNCTION {s}log_role() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM {s}log_change(4, coalesce((SELECT r.realm_id FROM {s}realm r WHERE r.one), '00000000-0000-0000-0000-000000000000'), 0,
        CASE WHEN TG_OP = 'DELETE' OR TG_NARGS > 0 THEN OLD.name ELSE NEW.name END);
    RETURN NULL;
END
$function$;

-- So is one of a scope, and of a secret of the servers.
CREATE FUNCTION {s}log_of_realm() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM {s}log_change(4, coalesce((SELECT r.realm_id FROM {s}realm r WHERE r.one), '00000000-0000-0000-0000-000000000000'), 0,
        NULL);
    RETURN NULL;
END
$function$;

-- TRUNCATE names no row: anything may have changed.
CREATE FUNCTION {s}log_everything() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM {s}log_change(5, '00000000-0000-0000-0000-000000000000', 0, NULL);
    RETURN NULL;
END
$function$;

-- A change by hand leaves the revision as it is, or sets it back (INSERT .. ON CONFLICT DO UPDATE with a row of its own). It is
-- raised here, so that an update that was prepared before the change is a conflict and cannot undo it.
CREATE FUNCTION {s}raise_revision() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END
$function$;

-- An organization that was inserted by hand without a slug gets its id.
CREATE FUNCTION {s}slug_of_id() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    NEW.slug := replace(NEW.id::pg_catalog.text, '-', '');
    RETURN NEW;
END
$function$;

CREATE FUNCTION {s}write_labels() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM {s}key_labels WHERE key_id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {s}key_labels (organization_id, label, key_id)
        SELECT NEW.organization_id, l.label, NEW.id FROM jsonb_array_elements_text(NEW.labels) l (label)
        WHERE l.label IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$function$;

CREATE FUNCTION {s}write_uses_of_key() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {s}key_use WHERE key_id = OLD.id;
        DELETE FROM {s}key_networks WHERE key_id = OLD.id;
        DELETE FROM {s}scope_use WHERE key_id = OLD.id;
    ELSE
        IF NEW.id <> OLD.id THEN
            -- What is there already is left of another key with the id, and says nothing of this one.
            DELETE FROM {s}key_networks WHERE key_id = NEW.id;
            UPDATE {s}key_networks SET key_id = NEW.id WHERE key_id = OLD.id;
            DELETE FROM {s}scope_use WHERE key_id = NEW.id;
            UPDATE {s}scope_use SET key_id = NEW.id WHERE key_id = OLD.id;
        END IF;
        UPDATE {s}key_use SET key_id = NEW.id, organization_id = NEW.organization_id WHERE key_id = OLD.id;
    END IF;
    RETURN NULL;
END
$function$;

-- A row of uses that is there already is one of another key with the lookup, and what is left of it says nothing of this one.
CREATE FUNCTION {s}write_uses_of_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {s}key_use WHERE lookup = OLD.lookup;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO {s}key_use AS u (lookup, key_id, organization_id, last_used_at, last_address, requests)
        SELECT NEW.lookup, k.id, k.organization_id, 0, NULL, 0 FROM {s}keys k WHERE k.id = NEW.key_id
        ON CONFLICT (lookup) DO UPDATE SET key_id = excluded.key_id, organization_id = excluded.organization_id,
            last_used_at = 0, last_address = NULL, requests = 0
        WHERE u.key_id <> excluded.key_id;
    ELSE
        DELETE FROM {s}key_use WHERE lookup = NEW.lookup AND lookup <> OLD.lookup;
        UPDATE {s}key_use SET lookup = NEW.lookup, key_id = k.id, organization_id = k.organization_id
        FROM {s}keys k WHERE k.id = NEW.key_id AND key_use.lookup = OLD.lookup;
    END IF;
    RETURN NULL;
END
$function$;

-- TRUNCATE runs no trigger of a row.
CREATE FUNCTION {s}delete_uses() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog AS $function$
BEGIN
    DELETE FROM {s}key_use;
    IF TG_TABLE_NAME = 'keys' THEN
        DELETE FROM {s}key_labels;
        DELETE FROM {s}key_networks;
        DELETE FROM {s}scope_use;
    END IF;
    RETURN NULL;
END
$function$;

-- Only triggers and the roles of this schema call them.
REVOKE ALL ON FUNCTION {s}log_change(bigint, uuid, bigint, text), {s}log_row(), {s}log_gone(), {s}log_secret(), {s}log_user(),
    {s}log_realm(), {s}log_role(), {s}log_of_realm(), {s}log_everything(), {s}raise_revision(), {s}slug_of_id(), {s}write_labels(),
    {s}write_uses_of_key(), {s}write_uses_of_secret(), {s}delete_uses() FROM PUBLIC;

-- Changes are logged when their transaction commits (DEFERRED): the lock of the counter is then held for the commit alone, and not
-- for as long as somebody leaves a transaction open.

-- Keys. Inserts of keys and hashes are not logged: no answer depends on a key that was not there.
CREATE TRIGGER keys_by_hand BEFORE UPDATE ON {s}keys FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.revision < 9223372036854775807 AND OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION {s}raise_revision();

CREATE CONSTRAINT TRIGGER keys_log_update AFTER UPDATE ON {s}keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION {s}log_row(1);

-- A row that gets another id is gone under its old one.
CREATE CONSTRAINT TRIGGER keys_log_rename AFTER UPDATE ON {s}keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION {s}log_gone(1);

CREATE CONSTRAINT TRIGGER keys_log_delete AFTER DELETE ON {s}keys DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_gone(1);

CREATE TRIGGER keys_log_truncate AFTER TRUNCATE ON {s}keys FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

CREATE TRIGGER keys_label_insert AFTER INSERT ON {s}keys FOR EACH ROW
WHEN (NEW.labels <> '[]') EXECUTE FUNCTION {s}write_labels();

CREATE TRIGGER keys_label_update AFTER UPDATE ON {s}keys FOR EACH ROW
WHEN (NEW.labels <> OLD.labels OR NEW.id <> OLD.id OR NEW.organization_id <> OLD.organization_id)
EXECUTE FUNCTION {s}write_labels();

CREATE TRIGGER keys_label_delete AFTER DELETE ON {s}keys FOR EACH ROW EXECUTE FUNCTION {s}write_labels();

CREATE TRIGGER keys_use_update AFTER UPDATE ON {s}keys FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.organization_id <> OLD.organization_id) EXECUTE FUNCTION {s}write_uses_of_key();

CREATE TRIGGER keys_use_delete AFTER DELETE ON {s}keys FOR EACH ROW EXECUTE FUNCTION {s}write_uses_of_key();

CREATE TRIGGER keys_use_truncate AFTER TRUNCATE ON {s}keys FOR EACH STATEMENT EXECUTE FUNCTION {s}delete_uses();

-- Their secrets.
CREATE CONSTRAINT TRIGGER secrets_log_update AFTER UPDATE ON {s}key_secrets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.lookup <> OLD.lookup OR NEW.key_id <> OLD.key_id OR NEW.expires_at IS DISTINCT FROM OLD.expires_at
    OR NEW.grace_ends_at IS DISTINCT FROM OLD.grace_ends_at)
EXECUTE FUNCTION {s}log_secret();

CREATE CONSTRAINT TRIGGER secrets_log_delete AFTER DELETE ON {s}key_secrets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_secret();

CREATE TRIGGER secrets_log_truncate AFTER TRUNCATE ON {s}key_secrets FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

CREATE TRIGGER secrets_use_insert AFTER INSERT ON {s}key_secrets FOR EACH ROW EXECUTE FUNCTION {s}write_uses_of_secret();

CREATE TRIGGER secrets_use_update AFTER UPDATE ON {s}key_secrets FOR EACH ROW
WHEN (NEW.lookup <> OLD.lookup OR NEW.key_id <> OLD.key_id) EXECUTE FUNCTION {s}write_uses_of_secret();

CREATE TRIGGER secrets_use_delete AFTER DELETE ON {s}key_secrets FOR EACH ROW EXECUTE FUNCTION {s}write_uses_of_secret();

CREATE TRIGGER secrets_use_truncate AFTER TRUNCATE ON {s}key_secrets FOR EACH STATEMENT EXECUTE FUNCTION {s}delete_uses();

-- Organizations.
CREATE TRIGGER organizations_slug BEFORE INSERT ON {s}organizations FOR EACH ROW
WHEN (NEW.slug = '') EXECUTE FUNCTION {s}slug_of_id();

CREATE TRIGGER organizations_by_hand BEFORE UPDATE ON {s}organizations FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.revision < 9223372036854775807 AND OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION {s}raise_revision();

CREATE CONSTRAINT TRIGGER organizations_log_update AFTER UPDATE ON {s}organizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION {s}log_row(2);

CREATE CONSTRAINT TRIGGER organizations_log_rename AFTER UPDATE ON {s}organizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION {s}log_gone(2);

CREATE CONSTRAINT TRIGGER organizations_log_delete AFTER DELETE ON {s}organizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_gone(2);

CREATE TRIGGER organizations_log_truncate AFTER TRUNCATE ON {s}organizations FOR EACH STATEMENT
EXECUTE FUNCTION {s}log_everything();

-- Plans.
CREATE TRIGGER plans_by_hand BEFORE UPDATE ON {s}plans FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.revision < 9223372036854775807 AND OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION {s}raise_revision();

CREATE CONSTRAINT TRIGGER plans_log_update AFTER UPDATE ON {s}plans DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION {s}log_row(3);

CREATE CONSTRAINT TRIGGER plans_log_rename AFTER UPDATE ON {s}plans DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.id <> OLD.id) EXECUTE FUNCTION {s}log_gone(3);

CREATE CONSTRAINT TRIGGER plans_log_delete AFTER DELETE ON {s}plans DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_gone(3);

CREATE TRIGGER plans_log_truncate AFTER TRUNCATE ON {s}plans FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

-- Users. A new row may disable one that had none.
CREATE TRIGGER users_by_hand BEFORE UPDATE ON {s}users FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.revision < 9223372036854775807 AND OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION {s}raise_revision();

CREATE CONSTRAINT TRIGGER users_log_insert AFTER INSERT ON {s}users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_user();

CREATE CONSTRAINT TRIGGER users_log_update AFTER UPDATE ON {s}users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION {s}log_user();

CREATE CONSTRAINT TRIGGER users_log_rename AFTER UPDATE ON {s}users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.organization_id <> OLD.organization_id OR NEW.user_id <> OLD.user_id) EXECUTE FUNCTION {s}log_user('old');

CREATE CONSTRAINT TRIGGER users_log_delete AFTER DELETE ON {s}users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_user();

CREATE TRIGGER users_log_truncate AFTER TRUNCATE ON {s}users FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

-- Roles and scopes.
CREATE TRIGGER roles_by_hand BEFORE UPDATE ON {s}roles FOR EACH ROW
WHEN (NEW.revision <= OLD.revision AND OLD.revision < 9223372036854775807 AND OLD.* IS DISTINCT FROM NEW.*)
EXECUTE FUNCTION {s}raise_revision();

CREATE CONSTRAINT TRIGGER roles_log_insert AFTER INSERT ON {s}roles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_role();

CREATE CONSTRAINT TRIGGER roles_log_update AFTER UPDATE ON {s}roles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION {s}log_role();

CREATE CONSTRAINT TRIGGER roles_log_rename AFTER UPDATE ON {s}roles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.name <> OLD.name) EXECUTE FUNCTION {s}log_role('old');

CREATE CONSTRAINT TRIGGER roles_log_delete AFTER DELETE ON {s}roles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_role();

CREATE TRIGGER roles_log_truncate AFTER TRUNCATE ON {s}roles FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

CREATE CONSTRAINT TRIGGER scopes_log_insert AFTER INSERT ON {s}scopes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_of_realm();

CREATE CONSTRAINT TRIGGER scopes_log_update AFTER UPDATE ON {s}scopes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_of_realm();

CREATE CONSTRAINT TRIGGER scopes_log_delete AFTER DELETE ON {s}scopes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_of_realm();

CREATE TRIGGER scopes_log_truncate AFTER TRUNCATE ON {s}scopes FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

-- The realm and its secrets.
CREATE CONSTRAINT TRIGGER realm_log_insert AFTER INSERT ON {s}realm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_realm();

CREATE CONSTRAINT TRIGGER realm_log_update AFTER UPDATE ON {s}realm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_realm();

CREATE CONSTRAINT TRIGGER realm_log_delete AFTER DELETE ON {s}realm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_realm();

CREATE TRIGGER realm_log_truncate AFTER TRUNCATE ON {s}realm FOR EACH STATEMENT EXECUTE FUNCTION {s}log_everything();

CREATE CONSTRAINT TRIGGER server_secrets_log_insert AFTER INSERT ON {s}server_secrets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_of_realm();

CREATE CONSTRAINT TRIGGER server_secrets_log_update AFTER UPDATE ON {s}server_secrets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_of_realm();

CREATE CONSTRAINT TRIGGER server_secrets_log_delete AFTER DELETE ON {s}server_secrets DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION {s}log_of_realm();

CREATE TRIGGER server_secrets_log_truncate AFTER TRUNCATE ON {s}server_secrets FOR EACH STATEMENT
EXECUTE FUNCTION {s}log_everything();

-- Also under `session_replication_role = replica`, which tools of replication and loading set.
ALTER TABLE {s}keys
    ENABLE ALWAYS TRIGGER keys_by_hand,
    ENABLE ALWAYS TRIGGER keys_log_update,
    ENABLE ALWAYS TRIGGER keys_log_rename,
    ENABLE ALWAYS TRIGGER keys_log_delete,
    ENABLE ALWAYS TRIGGER keys_log_truncate,
    ENABLE ALWAYS TRIGGER keys_label_insert,
    ENABLE ALWAYS TRIGGER keys_label_update,
    ENABLE ALWAYS TRIGGER keys_label_delete,
    ENABLE ALWAYS TRIGGER keys_use_update,
    ENABLE ALWAYS TRIGGER keys_use_delete,
    ENABLE ALWAYS TRIGGER keys_use_truncate;

ALTER TABLE {s}key_secrets
    ENABLE ALWAYS TRIGGER secrets_log_update,
    ENABLE ALWAYS TRIGGER secrets_log_delete,
    ENABLE ALWAYS TRIGGER secrets_log_truncate,
    ENABLE ALWAYS TRIGGER secrets_use_insert,
    ENABLE ALWAYS TRIGGER secrets_use_update,
    ENABLE ALWAYS TRIGGER secrets_use_delete,
    ENABLE ALWAYS TRIGGER secrets_use_truncate;

ALTER TABLE {s}organizations
    ENABLE ALWAYS TRIGGER organizations_slug,
    ENABLE ALWAYS TRIGGER organizations_by_hand,
    ENABLE ALWAYS TRIGGER organizations_log_update,
    ENABLE ALWAYS TRIGGER organizations_log_rename,
    ENABLE ALWAYS TRIGGER organizations_log_delete,
    ENABLE ALWAYS TRIGGER organizations_log_truncate;

ALTER TABLE {s}plans
    ENABLE ALWAYS TRIGGER plans_by_hand,
    ENABLE ALWAYS TRIGGER plans_log_update,
    ENABLE ALWAYS TRIGGER plans_log_rename,
    ENABLE ALWAYS TRIGGER plans_log_delete,
    ENABLE ALWAYS TRIGGER plans_log_truncate;

ALTER TABLE {s}users
    ENABLE ALWAYS TRIGGER users_by_hand,
    ENABLE ALWAYS TRIGGER users_log_insert,
    ENABLE ALWAYS TRIGGER users_log_update,
    ENABLE ALWAYS TRIGGER users_log_rename,
    ENABLE ALWAYS TRIGGER users_log_delete,
    ENABLE ALWAYS TRIGGER users_log_truncate;

ALTER TABLE {s}roles
    ENABLE ALWAYS TRIGGER roles_by_hand,
    ENABLE ALWAYS TRIGGER roles_log_insert,
    ENABLE ALWAYS TRIGGER roles_log_update,
    ENABLE ALWAYS TRIGGER roles_log_rename,
    ENABLE ALWAYS TRIGGER roles_log_delete,
    ENABLE ALWAYS TRIGGER roles_log_truncate;

ALTER TABLE {s}scopes
    ENABLE ALWAYS TRIGGER scopes_log_insert,
    ENABLE ALWAYS TRIGGER scopes_log_update,
    ENABLE ALWAYS TRIGGER scopes_log_delete,
    ENABLE ALWAYS TRIGGER scopes_log_truncate;

ALTER TABLE {s}realm
    ENABLE ALWAYS TRIGGER realm_log_insert,
    ENABLE ALWAYS TRIGGER realm_log_update,
    ENABLE ALWAYS TRIGGER realm_log_delete,
    ENABLE ALWAYS TRIGGER realm_log_truncate;

ALTER TABLE {s}server_secrets
    ENABLE ALWAYS TRIGGER server_secrets_log_insert,
    ENABLE ALWAYS TRIGGER server_secrets_log_update,
    ENABLE ALWAYS TRIGGER server_secrets_log_delete,
    ENABLE ALWAYS TRIGGER server_secrets_log_truncate;
