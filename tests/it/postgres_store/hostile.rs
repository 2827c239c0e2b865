//! A schema of somebody else's in front of all others, and users with few rights.

use tower_api_key::store::{PostgresStore, StoreErrorKind};
use tower_api_key::testing::store_conformance;

use super::{Node, as_user, builder, chain, error};
use crate::support::postgres::{psql, schema_name, shared, try_psql};

/// Tables, functions, operators and types of names that statements use. Whatever of it is called fails.
const EVIL: &str = "
    CREATE SCHEMA {e};
    CREATE FUNCTION {e}.evil() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil was called'; END $$;
    CREATE FUNCTION {e}.of_ids(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN true; END $$;
    CREATE FUNCTION {e}.of_texts(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN true; END $$;
    CREATE FUNCTION {e}.of_numbers(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN true; END $$;
    CREATE FUNCTION {e}.of_sums(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN 1; END $$;
    CREATE FUNCTION {e}.of_json(jsonb, jsonb) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN true; END $$;
    CREATE FUNCTION {e}.of_bytes(bytea, bytea) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN true; END $$;
    CREATE FUNCTION {e}.of_truths(boolean, boolean) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN true; END $$;
    CREATE OPERATOR {e}.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = {e}.of_ids);
    CREATE OPERATOR {e}.<> (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = {e}.of_ids);
    CREATE OPERATOR {e}.> (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = {e}.of_ids);
    CREATE OPERATOR {e}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = {e}.of_texts);
    CREATE OPERATOR {e}.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = {e}.of_texts);
    CREATE OPERATOR {e}.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = {e}.of_numbers);
    CREATE OPERATOR {e}.<> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = {e}.of_numbers);
    CREATE OPERATOR {e}.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = {e}.of_numbers);
    CREATE OPERATOR {e}.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = {e}.of_numbers);
    CREATE OPERATOR {e}.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = {e}.of_sums);
    CREATE OPERATOR {e}.- (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = {e}.of_sums);
    CREATE OPERATOR {e}.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = {e}.of_json);
    CREATE OPERATOR {e}.<> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = {e}.of_json);
    CREATE OPERATOR {e}.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = {e}.of_bytes);
    CREATE OPERATOR {e}.= (LEFTARG = boolean, RIGHTARG = boolean, FUNCTION = {e}.of_truths);
    CREATE FUNCTION {e}.add(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN 1; END $$;
    CREATE FUNCTION {e}.step(bigint, \"any\") RETURNS bigint LANGUAGE internal IMMUTABLE AS 'int8inc_any';
    CREATE FUNCTION {e}.step(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN 1; END $$;
    CREATE AGGREGATE {e}.count(*) (SFUNC = {e}.step, STYPE = bigint, INITCOND = '7');
    CREATE FUNCTION {e}.max_step(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN 1; END $$;
    CREATE AGGREGATE {e}.max(bigint) (SFUNC = {e}.max_step, STYPE = bigint, INITCOND = '7');
    CREATE AGGREGATE {e}.sum(bigint) (SFUNC = {e}.max_step, STYPE = bigint, INITCOND = '7');
    CREATE FUNCTION {e}.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN '2000-01-01'; END $$;
    CREATE FUNCTION {e}.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN '2000-01-01'; END $$;
    CREATE FUNCTION {e}.pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN false; END $$;
    CREATE FUNCTION {e}.gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN NULL; END $$;
    CREATE FUNCTION {e}.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN NULL; END $$;
    CREATE FUNCTION {e}.jsonb_array_elements_text(jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); END $$;
    CREATE FUNCTION {e}.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {e}.evil(); RETURN NULL; END $$;
    CREATE FUNCTION {e}.length(bytea) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {e}.evil(); RETURN NULL; END $$;
    CREATE FUNCTION {e}.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN NULL; END $$;
    CREATE FUNCTION {e}.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$ BEGIN PERFORM {e}.evil(); RETURN NULL; END $$;
    CREATE FUNCTION {e}.log_change(bigint, uuid, bigint, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RETURN; END $$;
    CREATE FUNCTION {e}.log_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TABLE {e}.keys (id uuid, status text DEFAULT 'active'); CREATE TABLE {e}.key_secrets (lookup text, hash text);
    CREATE TABLE {e}.organizations (id uuid); CREATE TABLE {e}.realm (one boolean, realm_id uuid);
    CREATE TABLE {e}.key_changes (seq bigint, tag uuid); CREATE TABLE {e}.change_counter (one boolean);
    CREATE TABLE {e}.audit_events (seq bigint); CREATE TABLE {e}.schema_migrations (version bigint, min_program bigint);
    CREATE TABLE {e}.pg_trigger (tgname name, tgenabled \"char\"); CREATE TABLE {e}.pg_class (oid oid); CREATE TABLE {e}.pg_namespace (oid oid);
    CREATE DOMAIN {e}.uuid AS pg_catalog.text; CREATE DOMAIN {e}.text AS pg_catalog.int4; CREATE DOMAIN {e}.jsonb AS pg_catalog.text;
    CREATE DOMAIN {e}.bytea AS pg_catalog.text; CREATE DOMAIN {e}.xid8 AS pg_catalog.text; CREATE DOMAIN {e}.regclass AS pg_catalog.text;
    GRANT ALL ON SCHEMA {e} TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA {e} TO PUBLIC;
";

/// A user for whom that schema comes first.
fn misled_user(options: &str) -> String {
    let (user, evil) = (schema_name(), schema_name());
    // The domains come last: the functions before them use the types.
    psql(&shared(), &EVIL.replace("{e}", &evil));
    psql(
        &shared(),
        &format!("CREATE ROLE {user} LOGIN {options}; ALTER ROLE {user} SET search_path = {evil}, pg_catalog"),
    );
    let url = as_user(&shared(), &user);
    let called = try_psql(&url, "SELECT now()").unwrap_err();
    assert!(called.contains("evil was called"), "{called}");
    assert!(try_psql(&url, "SELECT 1 WHERE 'a'::pg_catalog.text = 'b'::pg_catalog.text").is_err());
    user
}

async fn of_new_schema(url: &str, is_borrowed: bool) -> PostgresStore {
    let builder = builder().schema(schema_name());
    match is_borrowed {
        true => builder.with_pool(super::pools::pool(url, 16)).await.unwrap(),
        false => builder.open(url).await.unwrap(),
    }
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hostile_schema_in_front_changes_no_answer(#[case] is_borrowed: bool) {
    let url = as_user(&shared(), &misled_user("SUPERUSER"));
    let store = of_new_schema(&url, is_borrowed).await;
    store_conformance(async || store.clone()).await;
    // The kit has left keys of other realms there.
    let node = Node::over(of_new_schema(&url, is_borrowed).await).await;
    let key = node.issue().await;
    assert_eq!(node.asks(&key).await, 200);
    let report = node.keys.maintenance().run_once().await;
    assert_eq!(report.failed().count(), 0, "{report:?}");
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(node.asks(&key).await, 401);
}

/// What is typed by a user who is misled so is logged and counts as everyone else's.
#[tokio::test]
async fn change_by_a_misled_user_is_seen() {
    let schema = schema_name();
    let node = Node::over(builder().schema(&schema).open(&shared()).await.unwrap()).await;
    let key = node.issue().await;
    assert_eq!(node.asks(&key).await, 200);
    let url = as_user(&shared(), &misled_user("SUPERUSER"));
    psql(&url, &format!("UPDATE {schema}.keys SET status = 'revoked'"));
    node.until(&key, 401, &[200], super::BOUND + super::BOUND).await;
}

/// Each kind of row that decides something, changed by such a user: every function of a trigger runs.
#[tokio::test]
async fn functions_of_triggers_are_not_misled() {
    let schema = schema_name();
    let node = Node::over(builder().schema(&schema).open(&shared()).await.unwrap()).await;
    let _issued = node.issue().await;
    let url = as_user(&shared(), &misled_user("SUPERUSER"));
    let rows = format!("SELECT coalesce(max(seq), 0) FROM {schema}.key_changes");
    let logged = || psql(&shared(), &rows).parse::<u64>().unwrap();
    for (statement, is_logged) in [
        ("UPDATE {s}.keys SET labels = '[\"a\"]'", true),
        ("UPDATE {s}.key_secrets SET lookup = 'another'", true),
        ("UPDATE {s}.key_secrets SET expires_at = 1", true),
        ("UPDATE {s}.organizations SET status = 'inactive'", true),
        (
            "INSERT INTO {s}.organizations (id, name, name_folded, status, limits, revision) \
             VALUES ('01900000-0000-7000-8000-00000000000a', 'b', 'b', 'active', '[]', 1)",
            false,
        ),
        (
            "UPDATE {s}.keys SET organization_id = '01900000-0000-7000-8000-00000000000a'",
            true,
        ),
        ("UPDATE {s}.plans SET max_keys = 1", true),
        (
            "INSERT INTO {s}.users (organization_id, user_id, metadata, status, reason, actor, changed_at, revision) \
             VALUES ('01900000-0000-7000-8000-00000000000a', 'u', '{}', 'active', '', '', 0, 1)",
            true,
        ),
        ("UPDATE {s}.users SET user_id = 'v'", true),
        ("DELETE FROM {s}.users", true),
        (
            "INSERT INTO {s}.roles (name, scopes, description, revision) VALUES ('r', '[]', '', 1)",
            true,
        ),
        ("UPDATE {s}.roles SET name = 'q'", true),
        ("DELETE FROM {s}.roles", true),
        ("INSERT INTO {s}.scopes (scope, description) VALUES ('a:b', '')", true),
        ("UPDATE {s}.realm SET crc_accepted_until = 1", true),
        ("UPDATE {s}.server_secrets SET retire_at = 1", true),
        ("DELETE FROM {s}.key_secrets", true),
        ("DELETE FROM {s}.keys", true),
        ("TRUNCATE {s}.key_secrets", true),
        ("TRUNCATE {s}.keys CASCADE", true),
    ] {
        let before = logged();
        let statement = statement.replace("{s}", &schema);
        try_psql(&url, &statement).unwrap_or_else(|said| panic!("{statement}: {said}"));
        assert_eq!(logged() > before, is_logged, "{statement}");
    }
}

/// What a function looks up, it looks up nowhere else. All triggers run, whatever a session says, and each table tells of TRUNCATE.
#[tokio::test]
async fn functions_and_triggers_are_as_they_must_be() {
    let schema = schema_name();
    builder().schema(&schema).open(&shared()).await.unwrap();
    let functions = format!(
        "SELECT proname, prosecdef, proconfig FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace ORDER BY 1"
    );
    let functions = psql(&shared(), &functions);
    assert_eq!(functions.lines().count(), 15, "{functions}");
    for line in functions.lines() {
        assert!(line.ends_with("|f|{search_path=pg_catalog}"), "{line}");
    }
    let of_schema = format!(
        "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = '{schema}'::regnamespace \
         AND NOT t.tgisinternal"
    );
    let triggers = psql(
        &shared(),
        &format!("SELECT t.tgenabled, count(*) {of_schema} GROUP BY 1"),
    );
    assert_eq!(triggers, "A|53");
    // Bit 5 of the type.
    let tables = |condition: &str| {
        psql(
            &shared(),
            &format!("SELECT DISTINCT c.relname {of_schema} AND {condition} ORDER BY 1"),
        )
    };
    let logging = tables("t.tgfoid::regproc::text LIKE '%.log_%'");
    assert_eq!(logging.lines().count(), 9, "{logging}");
    assert_eq!(
        tables("t.tgtype & 32 <> 0 AND t.tgfoid::regproc::text LIKE '%.log_everything'"),
        logging
    );
}

/// A login with the role of the service and nothing else; and what retention takes, which the page of roles names.
fn service_user(schema: &str, retains: bool) -> String {
    let user = schema_name();
    psql(
        &shared(),
        &format!("CREATE ROLE {user} LOGIN; GRANT {schema}_service TO {user}"),
    );
    if retains {
        let retention = format!(
            "GRANT DELETE ON {schema}.audit_events TO {user}; \
             GRANT UPDATE (pruned_seq, pruned_hash) ON {schema}.organization_state TO {user}"
        );
        psql(&shared(), &retention);
    }
    as_user(&shared(), &user)
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn role_of_the_service_suffices_for_all_that_it_does(#[case] is_borrowed: bool) {
    let schema = schema_name();
    PostgresStore::builder().schema(&schema).open(&shared()).await.unwrap();
    let url = service_user(&schema, true);
    let builder = PostgresStore::builder().schema(&schema).without_migrations();
    let store = match is_borrowed {
        true => builder.with_pool(super::pools::pool(&url, 16)).await.unwrap(),
        false => builder.open(&url).await.unwrap(),
    };
    store_conformance(async || store.clone()).await;
}

#[tokio::test]
async fn user_without_the_role_hears_which_one_to_grant() {
    let (schema, user) = (schema_name(), schema_name());
    PostgresStore::builder().schema(&schema).open(&shared()).await.unwrap();
    psql(&shared(), &format!("CREATE ROLE {user} LOGIN"));
    let builder = builder().schema(&schema).without_migrations();
    let error = error(builder.open(&as_user(&shared(), &user)).await);
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    // As a main prints it that returns the error.
    let said = format!("{error:?}");
    assert!(
        said.contains(&format!("grant it the role `{schema}_service`")),
        "{said}"
    );
}

#[tokio::test]
async fn role_of_the_service_alone_does_its_daily_work_and_no_more() {
    let schema = schema_name();
    PostgresStore::builder().schema(&schema).open(&shared()).await.unwrap();
    let url = service_user(&schema, false);
    let node = Node::over(builder().schema(&schema).without_migrations().open(&url).await.unwrap()).await;
    let key = node.issue().await;
    assert_eq!(node.asks(&key).await, 200);
    node.keys.flush().await.unwrap();
    let report = node.keys.maintenance().run_once().await;
    assert_eq!(report.failed().count(), 0, "{report:?}");
    node.revoke(key.record.id).await.unwrap();
    assert_eq!(node.asks(&key).await, 401);
    node.delete(key.record.id).await;

    let error = error(builder().schema(schema_name()).open(&url).await);
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(chain(&error).contains("without_migrations"), "{}", chain(&error));
    // An up-to-date schema is opened by it all the same, or says what to do.
    if let Err(error) = builder().schema(&schema).open(&url).await {
        assert!(chain(&error).contains("without_migrations"), "{}", chain(&error));
    }
    let tables = psql(
        &shared(),
        &format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"),
    );
    let mut forbidden: Vec<String> = tables
        .lines()
        .flat_map(|table| {
            [
                format!("TRUNCATE {schema}.{table} CASCADE"),
                format!("ALTER TABLE {schema}.{table} DISABLE TRIGGER ALL"),
                format!("ALTER TABLE {schema}.{table} ADD COLUMN a bigint"),
                format!("DROP TABLE {schema}.{table} CASCADE"),
                format!("CREATE TRIGGER t AFTER INSERT ON {schema}.{table} EXECUTE FUNCTION {schema}.log_everything()"),
                format!("ALTER TABLE {schema}.{table} OWNER TO CURRENT_USER"),
                format!("GRANT ALL ON {schema}.{table} TO PUBLIC"),
            ]
        })
        .collect();
    forbidden.extend(
        [
            "DELETE FROM {s}.audit_events",
            "UPDATE {s}.audit_events SET payload = ''",
            "UPDATE {s}.organization_state SET pruned_seq = 1",
            "DELETE FROM {s}.organization_state",
            "DELETE FROM {s}.change_counter",
            "INSERT INTO {s}.change_counter VALUES (true)",
            "UPDATE {s}.key_changes SET revision = 0",
            "UPDATE {s}.schema_migrations SET min_program = 0",
            "DELETE FROM {s}.realm",
            "DROP TRIGGER keys_log_update ON {s}.keys",
            "SET session_replication_role = replica",
            "CREATE TABLE {s}.t (a int)",
            "CREATE FUNCTION {s}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE OR REPLACE FUNCTION {s}.log_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "DROP SCHEMA {s} CASCADE",
            "SET ROLE {s}_owner",
        ]
        .map(|text| text.replace("{s}", &schema)),
    );
    for statement in forbidden {
        // GRANT of what one does not own is a warning.
        let said = try_psql(&url, &format!("{statement};"));
        if statement.starts_with("GRANT") {
            continue;
        }
        let said = said.expect_err(&statement);
        assert!(
            said.contains("permission denied") || said.contains("must be owner"),
            "{statement}: {said}"
        );
    }
    let public = format!(
        "SELECT count(*) FROM information_schema.table_privileges WHERE table_schema = '{schema}' AND grantee = 'PUBLIC'"
    );
    assert_eq!(psql(&shared(), &public), "0");
}

#[tokio::test]
async fn reader_sees_no_hash_no_secret_and_no_salt() {
    let schema = schema_name();
    let node = Node::over(builder().schema(&schema).open(&shared()).await.unwrap()).await;
    let key = node.issue().await;
    let user = schema_name();
    psql(
        &shared(),
        &format!("CREATE ROLE {user} LOGIN; GRANT {schema}_reader TO {user}"),
    );
    let url = as_user(&shared(), &user);
    let columns = psql(
        &shared(),
        &format!(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = '{schema}' ORDER BY 1, 2"
        ),
    );
    let (mut readable, mut hidden) = (Vec::new(), Vec::new());
    for line in columns.lines() {
        let (table, column) = line.split_once('|').unwrap();
        let name = format!("{table}.{column}");
        match try_psql(&url, &format!("SELECT \"{column}\" FROM {schema}.{table}")) {
            Ok(_) => readable.push(name),
            Err(said) => {
                assert!(said.contains("permission denied"), "{said}");
                hidden.push(name);
            }
        }
        for write in [
            format!("UPDATE {schema}.{table} SET \"{column}\" = NULL"),
            format!("DELETE FROM {schema}.{table}"),
        ] {
            let said = try_psql(&url, &write).unwrap_err();
            assert!(
                said.contains("permission denied") || said.contains("can only be updated to DEFAULT"),
                "{write}: {said}"
            );
        }
    }
    let secret = [
        "key_secrets.hash",
        "server_secrets.value",
        "organization_state.audit_hash",
        "organization_state.pruned_hash",
        "audit_events.hash",
        "audit_personal.salt",
        "audit_personal.origin_salt",
        "audit_personal.values",
        "audit_personal.origin",
        "audit_waiting.event",
    ];
    for name in secret {
        assert!(hidden.iter().any(|hidden| hidden == name), "{name} can be read");
    }
    for name in &readable {
        let is_suspect = ["hash", "salt", "secret", "value"]
            .iter()
            .any(|word| name.rsplit('.').next().unwrap().contains(word));
        assert!(!is_suspect, "{name} can be read");
    }
    // It is good for something.
    for name in [
        "keys.status",
        "key_secrets.lookup",
        "audit_events.action",
        "key_use.last_used_at",
    ] {
        assert!(
            readable.iter().any(|readable| readable == name),
            "{name} cannot be read"
        );
    }
    // By no other way: rows as a whole, copies, statistics of the planner.
    for way in [
        "SELECT s FROM {s}.key_secrets s",
        "SELECT to_jsonb(s) FROM {s}.key_secrets s",
        "COPY {s}.key_secrets TO STDOUT",
        "SELECT count(hash) FROM {s}.key_secrets",
        "SELECT 1 FROM {s}.key_secrets WHERE hash > ''",
        "SELECT 1 FROM {s}.key_secrets ORDER BY hash",
        "TABLE {s}.server_secrets",
    ] {
        let said = try_psql(&url, &way.replace("{s}", &schema)).unwrap_err();
        assert!(said.contains("permission denied"), "{way}: {said}");
    }
    psql(
        &shared(),
        &format!("ANALYZE {schema}.key_secrets; ANALYZE {schema}.server_secrets"),
    );
    let statistics = format!(
        "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE schemaname = '{schema}' AND attname IN ('hash', 'value')"
    );
    assert_eq!(psql(&url, &statistics), "");
    assert_eq!(node.asks(&key).await, 200);
}
