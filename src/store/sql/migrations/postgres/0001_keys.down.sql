SET LOCAL search_path = pg_catalog, pg_temp;

-- Without CASCADE: what somebody else has built on these tables is not dropped with them, and must go first.
DROP TABLE {s}key_secrets, {s}keys, {s}users, {s}organizations, {s}plans, {s}roles, {s}scopes, {s}key_labels, {s}key_use,
    {s}key_networks, {s}scope_use, {s}usage_sources, {s}leases, {s}server_secrets, {s}realm, {s}audit_events, {s}audit_personal,
    {s}audit_waiting, {s}organization_state, {s}refusal_counts, {s}refusals, {s}key_changes, {s}change_counter;

DROP FUNCTION {s}delete_uses(), {s}write_uses_of_secret(), {s}write_uses_of_key(), {s}write_labels(), {s}slug_of_id(),
    {s}raise_revision(), {s}log_everything(), {s}log_of_realm(), {s}log_role(), {s}log_realm(), {s}log_user(), {s}log_secret(),
    {s}log_gone(), {s}log_row(), {s}log_change(bigint, uuid, bigint, text);
