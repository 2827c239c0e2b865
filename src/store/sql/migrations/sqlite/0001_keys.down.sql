DROP TABLE {s}key_changes;
DROP TABLE {s}audit_events;
DROP TABLE {s}key_secrets;
DROP TABLE {s}keys;
DROP TABLE {s}organization_state;
DROP TABLE {s}organizations;
