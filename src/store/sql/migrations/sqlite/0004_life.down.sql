-- The program of the older version does not know what refuses these keys, and would admit them. So they are disabled, and those
-- whose life a policy bounds get an end of their own. A policy that cannot be read may bound anything.
UPDATE {s}keys SET status = 'disabled', revision = revision + 1
WHERE status = 'active' AND (
    canary <> 0 OR requires <> '[]'
    OR EXISTS (
        SELECT 1 FROM {s}users u
        WHERE u.organization_id = {s}keys.organization_id AND u.user_id = {s}keys.user_id AND u.status <> 'active'
    )
    OR EXISTS (
        SELECT 1 FROM {s}organizations o WHERE o.id = {s}keys.organization_id AND (
            o.requires <> '[]'
            OR CASE WHEN json_valid(o.policy) THEN
                json_extract(o.policy, '$.grantable') IS NOT NULL
                OR ({s}keys.networks = '[]' AND json_extract(o.policy, '$.requires_networks') IS NOT NULL)
            ELSE TRUE END
        )
    )
);

UPDATE {s}keys SET expires_at = created_at + life, revision = revision + 1
FROM (
    SELECT o.id AS owner, CASE WHEN json_valid(o.policy) THEN json_extract(o.policy, '$.longest_life_ms') END AS life
    FROM {s}organizations o
)
WHERE owner = organization_id AND status <> 'revoked' AND typeof(life) = 'integer' AND life < 4000000000000
    AND (expires_at IS NULL OR expires_at > created_at + life);
-- Audit events of the store itself.
DROP TABLE {s}audit_waiting;

-- Retention.
DROP INDEX {s}keys_by_revocation;

-- Statistics.
DROP INDEX {s}keys_of_organization_by_end;

-- Last use.
DROP TABLE {s}leases;
DROP TABLE {s}usage_sources;
DROP TRIGGER {s}keys_use_delete;
DROP TRIGGER {s}keys_use_rename;
DROP TRIGGER {s}keys_use_move;
DROP TRIGGER {s}secrets_use_delete;
DROP TRIGGER {s}secrets_use_update;
DROP TRIGGER {s}secrets_use_insert;
DROP TABLE {s}scope_use;
DROP TABLE {s}key_networks;
DROP TABLE {s}key_use;

DROP TRIGGER {s}keys_label_delete;
DROP TRIGGER {s}keys_label_update;
DROP TRIGGER {s}keys_label_insert;
DROP TABLE {s}key_labels;
DROP INDEX {s}secrets_by_hash;
DROP INDEX {s}keys_of_creator;
DROP INDEX {s}keys_by_end;
DROP INDEX {s}keys_of_organization_by_status;
DROP INDEX {s}keys_of_user;
DROP TRIGGER {s}keys_by_hand;
ALTER TABLE {s}key_secrets DROP COLUMN hint;
ALTER TABLE {s}keys DROP COLUMN holds;
ALTER TABLE {s}keys DROP COLUMN requires;
ALTER TABLE {s}keys DROP COLUMN canary;
ALTER TABLE {s}keys DROP COLUMN created_by_key;
ALTER TABLE {s}keys DROP COLUMN lifted_limits;
ALTER TABLE {s}keys DROP COLUMN roles;
ALTER TABLE {s}keys DROP COLUMN labels;
ALTER TABLE {s}keys DROP COLUMN ends_with_user;

CREATE TRIGGER {s}keys_by_hand AFTER UPDATE OF
    id, organization_id, user_id, name, prefix, environment, scopes, networks, limits, metadata, status, status_at,
    status_reason, status_actor, created_at, created_by, expires_at
ON {s}keys WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE {s}keys SET revision = revision + 1 WHERE id = NEW.id;
END;

DROP TABLE {s}scopes;
DROP TABLE {s}roles;
DROP TABLE {s}users;

DROP TRIGGER {s}organizations_by_hand;
DROP TRIGGER {s}organizations_log_replace_update;
DROP TRIGGER {s}organizations_replaced;
DROP TRIGGER {s}organizations_log_replace;
DROP INDEX {s}organizations_by_status;
DROP INDEX {s}organizations_of_plan;
DROP INDEX {s}operator_organization;
DROP INDEX {s}organizations_by_email;
ALTER TABLE {s}organizations DROP COLUMN created_at;
ALTER TABLE {s}organizations DROP COLUMN metadata;
ALTER TABLE {s}organizations DROP COLUMN policy;
ALTER TABLE {s}organizations DROP COLUMN max_keys;
ALTER TABLE {s}organizations DROP COLUMN lifted_key_limits;
ALTER TABLE {s}organizations DROP COLUMN key_limits;
ALTER TABLE {s}organizations DROP COLUMN lifted_limits;
ALTER TABLE {s}organizations DROP COLUMN requires;
ALTER TABLE {s}organizations DROP COLUMN is_operator;
ALTER TABLE {s}organizations DROP COLUMN plan_id;
ALTER TABLE {s}organizations DROP COLUMN email_folded;
ALTER TABLE {s}organizations DROP COLUMN email;
DROP TABLE {s}plans;
-- An older program does not know this kind. The row stays: the revocation journal would take its absence for a restored backup.
UPDATE {s}key_changes SET kind = 4, revision = 0 WHERE kind = 3;

CREATE TRIGGER {s}organizations_by_hand AFTER UPDATE OF id, slug, name, status, limits
ON {s}organizations WHEN NEW.revision = OLD.revision AND OLD.slug <> ''
BEGIN
    UPDATE {s}organizations SET revision = revision + 1 WHERE id = NEW.id;
END;
-- The change log.
DROP TRIGGER {s}realm_log_delete;
DROP TRIGGER {s}realm_log_insert;
DROP TRIGGER {s}secrets_log_replace_update;
DROP TRIGGER {s}keys_log_replace_update;
DROP TRIGGER {s}secrets_log_replace;
DROP TRIGGER {s}keys_replaced;
DROP TRIGGER {s}keys_log_replace;
DROP TRIGGER {s}secrets_log_delete;
DROP TRIGGER {s}secrets_log_update;
DROP TRIGGER {s}organizations_log_rename;
DROP TRIGGER {s}keys_log_rename;
UPDATE {s}key_changes SET kind = 4 WHERE kind = 0;
ALTER TABLE {s}key_changes DROP COLUMN part;

CREATE TRIGGER {s}secrets_log_update AFTER UPDATE OF lookup, key_id, expires_at, grace_ends_at ON {s}key_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 1, k.id, k.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}keys k WHERE k.id IN (OLD.key_id, NEW.key_id);
END;

CREATE TRIGGER {s}secrets_log_delete AFTER DELETE ON {s}key_secrets
BEGIN
    INSERT INTO {s}key_changes (tag, kind, id, revision, at)
    SELECT randomblob(16), 1, k.id, k.revision, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)
    FROM {s}keys k WHERE k.id = OLD.key_id;
END;

-- Audit.
DROP TABLE {s}refusals;
DROP TABLE {s}refusal_counts;
DROP INDEX {s}audit_events_by_time;
DROP INDEX {s}audit_events_of_time;
DROP INDEX {s}audit_events_of_action;
DROP INDEX {s}audit_events_of_actor;
DROP INDEX {s}audit_events_of_key;
DROP TABLE {s}audit_personal;
