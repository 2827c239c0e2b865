//! The application's own tables in the same database, and a schema that has somebody else's objects.

use tower_api_key::store::StoreErrorKind;

use super::pools::{pool, work};
use super::{Node, SCHEMA, builder, chain, error};
use crate::support::postgres::{Server, dump_without, psql, schema_name, shared, try_psql};

/// The application's own schema: another ledger of the same name, triggers on everything, sqlx's table.
const APPLICATION: &str = "
    CREATE TABLE public.customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
    INSERT INTO public.customers (name) SELECT 'customer ' || n FROM generate_series(1, 100) n;
    CREATE TABLE public._sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, installed_on timestamptz NOT NULL,
        success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL);
    INSERT INTO public._sqlx_migrations VALUES (1, 'first', '2026-01-01', true, '\\x00', 1);
    CREATE TABLE public.schema_migrations (version varchar PRIMARY KEY);
    INSERT INTO public.schema_migrations VALUES ('20260101000000');
    CREATE TABLE public.keys (id bigint PRIMARY KEY);
    CREATE TABLE public.organizations (id bigint PRIMARY KEY);
    CREATE TABLE public.audit (tag text);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO public.audit VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON public.keys FOR EACH ROW EXECUTE FUNCTION public.note();
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON public.customers FOR EACH ROW EXECUTE FUNCTION public.note();
    CREATE FUNCTION public.note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
    CREATE EVENT TRIGGER note_ddl ON ddl_command_end EXECUTE FUNCTION public.note_ddl();
    CREATE SCHEMA app; CREATE TYPE app.status AS ENUM ('active', 'revoked');
    CREATE VIEW app.v AS SELECT id FROM public.customers;
    CREATE DOMAIN public.uuid2 AS uuid;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
    CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
";

#[tokio::test]
async fn tables_of_the_application_are_untouched() {
    let server = Server::start();
    server.psql(APPLICATION);
    let rest = || dump_without(&server.url(), SCHEMA);
    let before = rest();
    assert!(before.contains("customer 100") && before.contains("_sqlx_migrations"));
    for is_borrowed in [false, true] {
        let node = match is_borrowed {
            true => Node::over(builder().with_pool(pool(&server.url(), 4)).await.unwrap()).await,
            false => Node::open(&server.url()).await,
        };
        work(&node).await;
        let report = node.keys.maintenance().run_once().await;
        assert_eq!(report.failed().count(), 0, "{report:?}");
        assert_eq!(rest(), before);
    }
    // Its schema can be thrown away, and nothing else goes with it.
    server.psql(&format!("DROP SCHEMA {SCHEMA} CASCADE"));
    assert_eq!(rest(), before);
    assert_eq!(server.psql("SELECT count(*) FROM public.audit"), "0");
}

#[rstest::rstest]
#[case::table("CREATE TABLE {s}.theirs (a int)")]
#[case::other_ledger("CREATE TABLE {s}.schema_migrations (version varchar PRIMARY KEY)")]
#[case::function("CREATE FUNCTION {s}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")]
#[case::function_of_ours("CREATE FUNCTION {s}.log_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")]
#[case::kind("CREATE TYPE {s}.status AS ENUM ('active')")]
#[case::operator("CREATE OPERATOR {s}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq)")]
#[case::view("CREATE VIEW {s}.keys AS SELECT 1 AS id")]
#[tokio::test]
async fn schema_with_objects_of_others_is_refused(#[case] theirs: &str) {
    let schema = schema_name();
    let theirs = theirs.replace("{s}", &schema);
    psql(&shared(), &format!("CREATE SCHEMA {schema}; {theirs}"));
    for builder in [builder(), builder().without_migrations()] {
        let error = error(builder.schema(&schema).open(&shared()).await);
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(
            chain(&error).contains("objects of another program"),
            "{}",
            chain(&error)
        );
    }
    let ours = format!(
        "SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relname = 'key_secrets'"
    );
    assert_eq!(psql(&shared(), &ours), "0");
    assert!(try_psql(&shared(), &format!("DROP SCHEMA {schema} CASCADE")).is_ok());
}
