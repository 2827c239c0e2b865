DROP TABLE {s}idempotency;
