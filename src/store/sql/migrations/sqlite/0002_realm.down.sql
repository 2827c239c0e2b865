DROP TABLE {s}server_secrets;
DROP TABLE {s}realm;
DELETE FROM {s}key_changes WHERE kind = 4;
DROP INDEX {s}crc_secrets;
ALTER TABLE {s}key_secrets DROP COLUMN form;
