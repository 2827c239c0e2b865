-- The change log.
DROP TRIGGER {s}realm_log_delete;
DROP TRIGGER {s}realm_log_insert;
DROP TRIGGER {s}secrets_log_replace;
DROP TRIGGER {s}organizations_log_replace;
DROP TRIGGER {s}keys_log_replace;
DROP TRIGGER {s}organizations_log_rename;
DROP TRIGGER {s}keys_log_rename;
DELETE FROM {s}key_changes WHERE kind = 0;

-- Audit.
DROP TABLE {s}refusals;
DROP TABLE {s}refusal_counts;
DROP INDEX {s}audit_events_by_time;
DROP INDEX {s}audit_events_of_time;
DROP INDEX {s}audit_events_of_action;
DROP INDEX {s}audit_events_of_actor;
DROP INDEX {s}audit_events_of_key;
DROP TABLE {s}audit_personal;
