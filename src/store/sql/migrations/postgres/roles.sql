-- Three roles, which nobody can log in as; to be granted to those who do:
--
-- `{r}owner` owns tables and functions, and migrates.
-- `{r}service` is what the program needs that checks and manages keys: no DDL, no TRUNCATE. What is in the audit chain it can neither
--   change nor delete, so that a stolen password of the service does not remove its traces. For retention of audit events run the
--   maintenance as the owner, or grant the service what it takes: DELETE on `audit_events`, and UPDATE (pruned_seq, pruned_hash) on
--   `organization_state`. What is said of persons stands beside the chain; that the service can delete, to forget them.
-- `{r}reader` reads what no key, no hash and no secret is in, and nothing of what is to be forgotten of the audit trail. Columns are
--   granted, so that a new one is not shown before it is named here.
--
-- Roles are of the whole server: databases whose schemas have one name share them. This runs after every migration, as often as that
-- may be. What the current user may not do is left out: the database works without it, for this user. Two settings of the
-- transaction say what was done, since a connection of the application's drops notices: `tower_api_key.new_roles`, and
-- `tower_api_key.left_out`, a line for each.

SET LOCAL search_path = pg_catalog, pg_temp;

DO $roles$
DECLARE
    tables CONSTANT text[] := ARRAY[
        'plans', 'organizations', 'organization_state', 'users', 'roles', 'scopes', 'keys', 'key_secrets', 'key_labels', 'key_use',
        'key_networks', 'scope_use', 'usage_sources', 'idempotency', 'leases', 'realm', 'server_secrets', 'audit_events', 'audit_personal',
        'audit_waiting', 'refusal_counts', 'refusals', 'key_changes', 'change_counter', 'schema_migrations'
    ];
    functions CONSTANT text[] := ARRAY[
        'log_change(bigint, uuid, bigint, text)', 'log_row()', 'log_gone()', 'log_secret()', 'log_user()', 'log_realm()', 'log_role()',
        'log_of_realm()', 'log_everything()', 'raise_revision()', 'slug_of_id()', 'write_labels()', 'write_uses_of_key()',
        'write_uses_of_secret()', 'delete_uses()'
    ];
    of_service CONSTANT text[] := ARRAY[
        ['plans', 'SELECT, INSERT, UPDATE, DELETE'],
        ['organizations', 'SELECT, INSERT, UPDATE, DELETE'],
        ['organization_state', 'SELECT, INSERT, UPDATE (audit_seq, audit_hash)'],
        ['users', 'SELECT, INSERT, UPDATE, DELETE'],
        ['roles', 'SELECT, INSERT, UPDATE, DELETE'],
        ['scopes', 'SELECT, INSERT, DELETE'],
        ['keys', 'SELECT, INSERT, UPDATE, DELETE'],
        ['key_secrets', 'SELECT, INSERT, UPDATE, DELETE'],
        ['key_labels', 'SELECT, INSERT, DELETE'],
        ['key_use', 'SELECT, INSERT, UPDATE, DELETE'],
        ['key_networks', 'SELECT, INSERT, UPDATE, DELETE'],
        ['scope_use', 'SELECT, INSERT, UPDATE, DELETE'],
        ['usage_sources', 'SELECT, INSERT, UPDATE, DELETE'],
        ['idempotency', 'SELECT, INSERT, UPDATE, DELETE'],
        ['leases', 'SELECT, INSERT, UPDATE'],
        ['realm', 'SELECT, UPDATE'],
        ['server_secrets', 'SELECT, INSERT, UPDATE, DELETE'],
        ['audit_events', 'SELECT, INSERT'],
        ['audit_personal', 'SELECT, INSERT, UPDATE, DELETE'],
        ['audit_waiting', 'SELECT, INSERT, DELETE'],
        ['refusal_counts', 'SELECT, INSERT, UPDATE, DELETE'],
        ['refusals', 'SELECT, INSERT, UPDATE, DELETE'],
        ['key_changes', 'SELECT, INSERT, DELETE'],
        -- UPDATE is for the lock.
        ['change_counter', 'SELECT, UPDATE'],
        ['schema_migrations', 'SELECT']
    ];
    of_reader CONSTANT text[] := ARRAY[
        ['plans', 'id, name, key_limits, limits, max_keys, revision'],
        ['organizations', 'id, slug, name, name_folded, email, email_folded, plan_id, status, is_operator, requires, limits,
            lifted_limits, key_limits, lifted_key_limits, max_keys, policy, metadata, created_at, revision'],
        ['organization_state', 'organization_id, audit_seq, pruned_seq'],
        ['users', 'organization_id, user_id, display_name, email, metadata, status, reason, actor, changed_at, revision'],
        ['roles', 'name, scopes, description, revision'],
        ['scopes', 'scope, description'],
        ['keys', 'id, organization_id, user_id, ends_with_user, name, name_folded, labels, prefix, environment, scopes, roles,
            networks, limits, lifted_limits, metadata, status, status_at, status_reason, status_actor, holds, created_at, created_by,
            created_by_key, canary, requires, expires_at, revision'],
        ['key_secrets', 'lookup, key_id, position, hint, form, created_at, expires_at, grace_ends_at'],
        ['key_labels', 'organization_id, label, key_id'],
        ['key_use', 'lookup, key_id, organization_id, last_used_at, last_address, requests'],
        ['key_networks', 'key_id, network, first_seen'],
        ['scope_use', 'key_id, scope, last_used_at'],
        ['usage_sources', 'node, epoch, through, seen_at'],
        ['idempotency', 'organization_id, actor, key, key_id, created_at, expires_at'],
        ['leases', 'task, holder, until'],
        ['realm', 'one, realm_id, crc_accepted_until, created_at'],
        ['server_secrets', 'purpose, id, n, state, sealed_by, created_at, active_from, retire_at'],
        ['audit_events', 'organization_id, seq, commit_id, at, actor_kind, actor, action, key_id, user_id, payload'],
        ['refusal_counts', 'hour, organization_id, kind, n'],
        ['refusals', 'id, at, organization_id, key_id, lookup, kind, address'],
        ['key_changes', 'seq, tag, kind, id, revision, at, part'],
        ['schema_migrations', 'version, name, min_program, applied_at']
    ];
    owner   regrole;
    name    text;
    pair    text[];
    space   text;
    command text;
    todo    text[] := '{}';
    made    text[] := '{}';
    said    text[] := '{}';
BEGIN
    SELECT c.relnamespace::regnamespace::text INTO space FROM pg_class c WHERE c.oid = to_regclass('{s}keys');
    IF space IS NULL THEN
        RETURN;
    END IF;
    FOREACH name IN ARRAY ARRAY['{r}owner', '{r}service', '{r}reader'] LOOP
        IF to_regrole(quote_ident(name)) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
                made := made || name;
            EXCEPTION WHEN OTHERS THEN
                said := said || format('role %s was not made: %s', name, SQLERRM);
            END;
        END IF;
    END LOOP;

    owner := to_regrole(quote_ident('{r}owner'));
    IF owner IS NOT NULL THEN
        todo := todo || format('GRANT USAGE, CREATE ON SCHEMA %s TO %I', space, '{r}owner');
        -- Only if the current user keeps all rights, as one that inherits those of the owner: it may be the service's.
        IF NOT pg_has_role(current_user, '{r}owner', 'USAGE') THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', '{r}owner', current_user);
            EXCEPTION WHEN OTHERS THEN
                said := said || format('user %s was not granted role %s: %s', current_user, '{r}owner', SQLERRM);
            END;
        END IF;
        IF pg_has_role(current_user, '{r}owner', 'USAGE') THEN
            FOREACH name IN ARRAY tables LOOP
                IF (SELECT c.relowner FROM pg_class c WHERE c.oid = to_regclass('{s}' || name)) <> owner THEN
                    todo := todo || format('ALTER TABLE %s OWNER TO %I', '{s}' || name, '{r}owner');
                END IF;
            END LOOP;
            FOREACH name IN ARRAY functions LOOP
                IF (SELECT p.proowner FROM pg_proc p WHERE p.oid = to_regprocedure('{s}' || name)) <> owner THEN
                    todo := todo || format('ALTER FUNCTION %s OWNER TO %I', '{s}' || name, '{r}owner');
                END IF;
            END LOOP;
        ELSE
            said := said || format('tables and functions keep their owner: user %s does not have the rights of role %s',
                current_user, '{r}owner');
        END IF;
    END IF;

    -- Default privileges of the database may have granted them.
    FOREACH name IN ARRAY tables LOOP
        IF to_regclass('{s}' || name) IS NOT NULL THEN
            todo := todo || format('REVOKE ALL ON TABLE %s FROM PUBLIC', '{s}' || name);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY functions LOOP
        IF to_regprocedure('{s}' || name) IS NOT NULL THEN
            todo := todo || format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', '{s}' || name);
        END IF;
    END LOOP;

    IF to_regrole(quote_ident('{r}service')) IS NOT NULL THEN
        todo := todo || format('GRANT USAGE ON SCHEMA %s TO %I', space, '{r}service');
        FOREACH pair SLICE 1 IN ARRAY of_service LOOP
            IF to_regclass('{s}' || pair[1]) IS NOT NULL THEN
                todo := todo || format('GRANT %s ON TABLE %s TO %I', pair[2], '{s}' || pair[1], '{r}service');
            END IF;
        END LOOP;
        -- The functions of triggers need no grant to run.
        todo := todo
            || format('GRANT EXECUTE ON FUNCTION %s TO %I', '{s}log_change(bigint, uuid, bigint, text)', '{r}service');
    END IF;

    IF to_regrole(quote_ident('{r}reader')) IS NOT NULL THEN
        todo := todo || format('GRANT USAGE ON SCHEMA %s TO %I', space, '{r}reader');
        FOREACH pair SLICE 1 IN ARRAY of_reader LOOP
            IF to_regclass('{s}' || pair[1]) IS NOT NULL THEN
                todo := todo || format('GRANT SELECT (%s) ON TABLE %s TO %I', pair[2], '{s}' || pair[1], '{r}reader');
            END IF;
        END LOOP;
    END IF;

    FOREACH command IN ARRAY todo LOOP
        BEGIN
            EXECUTE command;
        EXCEPTION WHEN OTHERS THEN
            said := said || format('%s: %s', command, SQLERRM);
        END;
    END LOOP;
    PERFORM set_config('tower_api_key.new_roles', array_to_string(made, ','), TRUE);
    PERFORM set_config('tower_api_key.left_out', array_to_string(said, chr(10)), TRUE);
END
$roles$;
