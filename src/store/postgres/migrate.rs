//! Brings the schema of a database up and down.

use std::time::Duration;

use tokio_postgres::{Client, Row, Transaction};

use super::fault::{Unusable, is_in_the_way, is_locked};
use super::roles;
use super::schema::Schema;
use crate::key::Timestamp;
use crate::store::StoreError;
use crate::store::sql::migration::{Applied, Migration, check, number, triggers_of, way_down};

/// Brings the schema up to date. One transaction under a lock of this schema: of two processes that open a new database at once,
/// the second finds everything done.
pub(super) async fn upgrade(
    client: &mut Client,
    schema: &Schema,
    migrations: &[Migration],
    is_copy_target: bool,
) -> Result<(), StoreError> {
    // Any user of the server can hold the lock of migrations without an end: a service whose schema is up to date starts without it.
    if is_up_to_date(client, schema, migrations, is_copy_target).await? {
        return Ok(());
    }
    for turn in 1..TURNS {
        let upgraded = upgrade_now(client, schema, migrations, is_copy_target).await;
        if !others_use_it(&upgraded) {
            return upgraded;
        }
        pause(turn).await;
    }
    upgrade_now(client, schema, migrations, is_copy_target).await
}

async fn is_up_to_date(
    client: &mut Client,
    schema: &Schema,
    migrations: &[Migration],
    is_copy_target: bool,
) -> Result<bool, StoreError> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    if let Contents::Room { .. } = contents(&transaction, schema).await? {
        return Ok(false);
    }
    refuse_strangers(&transaction, schema).await?;
    let applied = check(&ledger(&transaction, schema, is_copy_target).await?, migrations)?;
    Ok(applied >= migrations.len()
        && !has_roles_to_grant(&transaction, schema).await?
        && half_enabled(&transaction, schema, migrations).await?.is_empty())
}

async fn upgrade_now(
    client: &mut Client,
    schema: &Schema,
    migrations: &[Migration],
    is_copy_target: bool,
) -> Result<(), StoreError> {
    let transaction = begin(client, schema).await?;
    if let Contents::Room { exists } = contents(&transaction, schema).await? {
        make_ledger(&transaction, schema, exists).await?;
    }
    refuse_strangers(&transaction, schema).await?;
    let applied = check(&ledger(&transaction, schema, is_copy_target).await?, migrations)?;
    for (index, migration) in migrations.iter().enumerate().skip(applied) {
        transaction.batch_execute(&schema.rendered(migration.up)).await?;
        let version = i64::from(number(index + 1));
        let (checksum, min_program) = (migration.checksum(), i64::from(migration.min_program));
        let now = Timestamp::now().as_millis();
        transaction
            .execute(
                &schema.rendered(INSERT),
                &[&version, &migration.name, &checksum, &min_program, &now],
            )
            .await?;
    }
    // Not at every start: what was granted and taken by hand since stays so.
    let granted = match applied < migrations.len() || has_roles_to_grant(&transaction, schema).await? {
        true => Some(roles::grant(&transaction, schema).await?),
        false => None,
    };
    enable_triggers(&transaction, schema, migrations).await?;
    transaction.commit().await?;
    if let Some(granted) = granted {
        granted.log();
    }
    Ok(())
}

async fn half_enabled(
    transaction: &Transaction<'_>,
    schema: &Schema,
    migrations: &[Migration],
) -> Result<Vec<Row>, StoreError> {
    let names: Vec<&str> = triggers_of(migrations).into_iter().collect();
    Ok(transaction.query(HALF_ENABLED, &[&schema.name(), &names]).await?)
}

/// Tools that load rows, as `pg_restore --disable-triggers`, switch triggers off and then on again, but not for good: until they run
/// always, no process trusts its cache.
async fn enable_triggers(
    transaction: &Transaction<'_>,
    schema: &Schema,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let rows = half_enabled(transaction, schema, migrations).await?;
    if rows.is_empty() {
        return Ok(());
    }
    for row in &rows {
        let (table, trigger): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        transaction
            .batch_execute(&format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"))
            .await?;
    }
    tracing::warn!(
        triggers = rows.len(),
        "triggers of this crate were disabled in the database, or did not run always; they are enabled now"
    );
    Ok(())
}

/// Whether the tables are not yet those of the role of their owner, though this user can make them so: the one who made them may have
/// been allowed to make no roles, or they come from a backup, which has none.
async fn has_roles_to_grant(transaction: &Transaction<'_>, schema: &Schema) -> Result<bool, StoreError> {
    let row = transaction
        .query_one(ROLES_TO_GRANT, &[&schema.name(), &schema.rendered("{r}owner")])
        .await?;
    Ok(row.try_get(0)?)
}

/// Takes the schema back to `version`, with all that the steps above it added.
pub(super) async fn downgrade(
    client: &mut Client,
    schema: &Schema,
    migrations: &[Migration],
    version: u32,
) -> Result<(), StoreError> {
    for turn in 1..TURNS {
        let downgraded = downgrade_now(client, schema, migrations, version).await;
        if !others_use_it(&downgraded) {
            return downgraded;
        }
        pause(turn).await;
    }
    downgrade_now(client, schema, migrations, version).await
}

async fn downgrade_now(
    client: &mut Client,
    schema: &Schema,
    migrations: &[Migration],
    version: u32,
) -> Result<(), StoreError> {
    let transaction = begin(client, schema).await?;
    let found = check(&ledger(&transaction, schema, false).await?, migrations)?;
    for index in way_down(found, version, migrations)? {
        let down = migrations.get(index).map(|migration| schema.rendered(migration.down));
        transaction.batch_execute(&down.unwrap_or_default()).await?;
        transaction
            .execute(&schema.rendered(DELETE), &[&i64::from(number(index + 1))])
            .await?;
    }
    Ok(transaction.commit().await?)
}

/// Whether this program may use the schema as it is.
pub(super) async fn check_as_it_is(
    client: &mut Client,
    schema: &Schema,
    migrations: &[Migration],
    is_copy_target: bool,
) -> Result<(), StoreError> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    if let Contents::Room { .. } = contents(&transaction, schema).await? {
        return Err(Unusable::NoSchema(schema.name().to_owned()).into());
    }
    let applied = check(&ledger(&transaction, schema, is_copy_target).await?, migrations)?;
    if applied < migrations.len() {
        let (found, known) = (number(applied), number(migrations.len()));
        return Err(Unusable::Older { found, known }.into());
    }
    Ok(())
}

/// Of a schema that is not changed; 0 where there is none.
pub(super) async fn version(client: &mut Client, schema: &Schema, migrations: &[Migration]) -> Result<u32, StoreError> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    match contents(&transaction, schema).await? {
        Contents::Room { .. } => Ok(0),
        Contents::Ours => Ok(number(check(&ledger(&transaction, schema, false).await?, migrations)?)),
    }
}

/// Whether others use the tables, so that another turn may find them free. What waits for a table that someone reads lets nobody else
/// read it meanwhile, so each turn waits for a moment only: behind one long report in psql, every node would answer 503 until
/// that ends.
fn others_use_it(migrated: &Result<(), StoreError>) -> bool {
    migrated
        .as_ref()
        .is_err_and(|error| is_locked(error) || is_in_the_way(error))
}

async fn pause(turn: u32) {
    if turn == 1 {
        tracing::info!("the migration waits until other transactions have ended that use the tables");
    }
    tokio::time::sleep(PAUSE).await;
}

async fn begin<'c>(client: &'c mut Client, schema: &Schema) -> Result<Transaction<'c>, StoreError> {
    let transaction = client.transaction().await?;
    // It may take long, and others wait for it: in turns, since any user of the server can hold the lock without an end.
    transaction
        .batch_execute(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = 0",
        )
        .await?;
    let lock = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    transaction
        .execute(lock, &[&format!("tower-api-key migrations of {}", schema.name())])
        .await?;
    transaction.batch_execute(WAITS_BRIEFLY).await?;
    Ok(transaction)
}

enum Contents {
    /// A schema of this crate.
    Ours,
    /// Nothing.
    Room { exists: bool },
}

async fn contents(transaction: &Transaction<'_>, schema: &Schema) -> Result<Contents, StoreError> {
    let row = transaction.query_one(CONTENTS, &[&schema.name()]).await?;
    let (exists, has_ledger, has_others): (bool, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let is_renamed: bool = row.try_get(3)?;
    match (has_ledger, has_others) {
        (true, _) if is_renamed => Err(Unusable::Renamed(schema.name().to_owned()).into()),
        (true, _) => Ok(Contents::Ours),
        (false, false) => Ok(Contents::Room { exists }),
        (false, true) => Err(Unusable::Foreign(schema.name().to_owned()).into()),
    }
}

/// Who else may make objects in the schema could have made it before this program, with keys and functions of their own, or makes a
/// function that fits a call better than that of this program.
async fn refuse_strangers(transaction: &Transaction<'_>, schema: &Schema) -> Result<(), StoreError> {
    let owner = schema.rendered("{r}owner");
    let rows = transaction.query(STRANGERS, &[&schema.name(), &owner]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    match names.is_empty() {
        true => Ok(()),
        false => Err(Unusable::Strangers {
            schema: schema.name().to_owned(),
            names: names.join(", "),
        }
        .into()),
    }
}

async fn make_ledger(transaction: &Transaction<'_>, schema: &Schema, exists: bool) -> Result<(), StoreError> {
    // Who may not make schemas may not say IF NOT EXISTS either.
    if !exists {
        transaction
            .batch_execute(&format!("CREATE SCHEMA \"{}\"", schema.name()))
            .await?;
    }
    Ok(transaction.batch_execute(&schema.rendered(LEDGER)).await?)
}

/// Without the row of a copy that is not finished, if that is to be finished.
async fn ledger(
    transaction: &Transaction<'_>,
    schema: &Schema,
    is_copy_target: bool,
) -> Result<Vec<Applied>, StoreError> {
    let rows = transaction.query(&schema.rendered(SELECT), &[]).await?;
    let applied = rows.iter().map(|row| {
        let positive = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok::<_, tokio_postgres::Error>(Applied {
            version: positive(row.try_get(0)?),
            name: row.try_get(1)?,
            checksum: row.try_get(2)?,
            min_program: positive(row.try_get(3)?),
        })
    });
    let mut applied = applied.collect::<Result<Vec<_>, _>>()?;
    applied.retain(|row| !(is_copy_target && row.is_unfinished_copy()));
    Ok(applied)
}

/// How often it is tried, and the pause in between: for about two minutes.
const TURNS: u32 = 60;
const PAUSE: Duration = Duration::from_secs(2);
/// Less than a check of a key waits for the database.
const WAITS_BRIEFLY: &str = "SET LOCAL lock_timeout = '200ms'";

/// Other programs name their ledger so too: ours has a column that theirs lack. Whatever is in a schema depends on it: tables,
/// functions, types, operators.
const CONTENTS: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1), \
     EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
     WHERE n.nspname = $1 AND c.relname = 'schema_migrations' AND a.attname = 'min_program'), \
     EXISTS (SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_namespace n ON n.oid = d.refobjid \
     WHERE n.nspname = $1 AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.deptype = 'n'), \
     EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname = $1 AND p.proname = 'log_change' AND pg_catalog.strpos(p.prosrc, '\".key_changes') > 0 \
     AND pg_catalog.strpos(p.prosrc, '\"' || $1 || '\".') = 0)";
/// Who owns the schema or may make objects in it, but for superusers, the owner of the database, those with the role of the owner, and
/// the current user. A superuser has every role, so its own do not count.
const STRANGERS: &str = "WITH RECURSIVE owners (id) AS (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = $2 \
     UNION SELECT m.member FROM pg_catalog.pg_auth_members m JOIN owners o ON o.id = m.roleid), \
     me AS (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), \
     makers (id) AS (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname = $1 \
     UNION SELECT a.grantee FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a \
     WHERE n.nspname = $1 AND a.privilege_type = 'CREATE') \
     SELECT coalesce(r.rolname::text, 'PUBLIC') FROM makers k LEFT JOIN pg_catalog.pg_roles r ON r.oid = k.id \
     WHERE (r.rolsuper OR r.rolname IN (current_user, 'pg_database_owner') OR r.oid IN (SELECT o.id FROM owners o) \
     OR r.oid IN (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
     OR CASE WHEN (SELECT rolsuper FROM me) THEN FALSE ELSE pg_catalog.pg_has_role(r.oid, 'MEMBER') END) IS NOT TRUE \
     ORDER BY 1";
const ROLES_TO_GRANT: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles me ON me.rolname = CURRENT_USER \
     LEFT JOIN pg_catalog.pg_roles owner ON owner.rolname = $2 \
     WHERE n.nspname = $1 AND c.relname = 'keys' AND pg_catalog.pg_has_role(c.relowner, 'USAGE') \
     AND (c.relacl IS NULL OR c.relowner IS DISTINCT FROM owner.oid) \
     AND (me.rolsuper OR pg_catalog.pg_has_role(owner.oid, 'USAGE') OR owner.oid IS NULL AND me.rolcreaterole))";
/// Of tables that this user may change.
const HALF_ENABLED: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(t.tgname) \
     FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND t.tgname = ANY($2::pg_catalog.text[]) AND t.tgenabled <> 'A' \
     AND pg_catalog.pg_has_role(c.relowner, 'USAGE')";
const LEDGER: &str = "CREATE TABLE {s}schema_migrations (
    version     bigint NOT NULL PRIMARY KEY,
    name        text   NOT NULL,
    checksum    text   NOT NULL,
    min_program bigint NOT NULL,
    applied_at  bigint NOT NULL
)";
const SELECT: &str = "SELECT version, name, checksum, min_program FROM {s}schema_migrations ORDER BY version";
const INSERT: &str = "INSERT INTO {s}schema_migrations (version, name, checksum, min_program, applied_at) \
     VALUES ($1, $2, $3, $4, $5)";
const DELETE: &str = "DELETE FROM {s}schema_migrations WHERE version = $1";
