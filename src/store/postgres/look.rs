//! What the follower looks at before it reads the log: who answers, its clock, and whether changes are logged.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::schema::Schema;
use super::session::Session;
use super::state::State;
use crate::key::{Timestamp, hex};
use crate::store::sql::migration::{COPY, Migration, Outgrown, functions_of, number, triggers_of};
use crate::store::sql::{Statement, Value, first};
use crate::store::{StoreError, StoreErrorKind};

pub(super) struct Look {
    statement: Statement,
    schema: String,
    /// Tables that have triggers. Without their names all tables of the database would be gone through.
    tables: String,
    triggers: String,
    functions: String,
    /// A hash for each function's source.
    sources: String,
    /// How many triggers and functions there are.
    counts: (u64, u64),
    /// The newest version that this program knows.
    known: i64,
}

/// What was seen.
pub(super) struct Looked {
    /// The schema that asks for a newer program, if it does.
    pub(super) outgrown: Option<u32>,
    /// Whether transactions only read, as on a server that does not decide any more.
    pub(super) only_reads: bool,
    pub(super) clock: Timestamp,
    /// Which transactions made or changed triggers and functions.
    pub(super) versions: Versions,
    /// Why changes may not be logged.
    pub(super) problem: Option<&'static str>,
}

pub(super) type Versions = [Option<String>; 2];

impl Look {
    pub(super) fn of(schema: &Schema, migrations: &[Migration]) -> Self {
        let (triggers, functions) = (triggers_of(migrations), functions_of(migrations));
        let sources = functions.values().map(|source| hash(&schema.rendered(source)));
        Self {
            statement: schema.dialect().render(&LOOK.replace("{outgrown}", &Outgrown::asked())),
            schema: schema.name().to_owned(),
            tables: list(tables(migrations)),
            triggers: list(triggers.iter().copied()),
            functions: list(functions.keys().copied()),
            sources: sources.collect::<Vec<_>>().join(","),
            counts: (triggers.len() as u64, functions.len() as u64),
            known: number(migrations.len()).into(),
        }
    }

    pub(super) async fn look(&self, session: &Session<'_>, state: &State) -> Result<Looked, StoreError> {
        let values = [
            Value::from(&*self.schema),
            Value::from(&*self.triggers),
            Value::from(&*self.functions),
            Value::from(&*self.sources),
            Value::Integer(self.known),
            Value::from(&*self.tables),
            Value::Integer(COPY),
        ];
        let looked = first(session, &self.statement, &values, |row| {
            state.identify(row)?;
            let outgrown = row.optional_number("schema_migrations.version")?;
            let only_reads = row.truth("transaction_read_only")?;
            let clock = row.time("clock_timestamp")?;
            let (triggers, functions) = (row.count("triggers")?, row.count("functions")?);
            let is_newer = row.truth("schema_migrations.version")?;
            let problem = if triggers < self.counts.0 {
                Some("a trigger of this crate is missing or disabled in the database, so changes are not logged")
            } else if functions < self.counts.1 && !is_newer {
                Some("a function of this crate was replaced in the database, so changes may not be logged")
            } else {
                None
            };
            Ok(Looked {
                outgrown,
                only_reads,
                clock,
                versions: [
                    row.optional_text("pg_trigger.xmin")?,
                    row.optional_text("pg_proc.xmin")?,
                ],
                problem,
            })
        });
        let nothing = || StoreError::with_source(StoreErrorKind::Unavailable, "the database did not say who it is");
        looked.await?.ok_or_else(nothing)
    }
}

fn tables(migrations: &[Migration]) -> BTreeSet<&'static str> {
    let lines = migrations.iter().flat_map(|migration| migration.up.lines());
    let of_triggers = lines.filter(|line| line.starts_with("CREATE ") && line.contains(" TRIGGER "));
    let tables = of_triggers.filter_map(|line| line.split(" ON {s}").nth(1));
    tables.filter_map(|rest| rest.split(' ').next()).collect()
}

fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(",")
}

/// Whatever the line ends of the files are that a program was built from.
fn hash(source: &str) -> String {
    hex::encode(&Sha256::digest(source.replace('\r', "")))
}

#[cfg(test)]
impl Look {
    pub(super) fn text(&self) -> &str {
        self.statement.text()
    }
}

/// A later version of this crate may have other functions: its migration is in the ledger.
const LOOK: &str = "WITH functions AS (SELECT count(*) FILTER (WHERE pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to( \
     pg_catalog.replace(p.prosrc, pg_catalog.chr(13), ''), 'UTF8')), 'hex') = ANY(pg_catalog.string_to_array(?4, ','))) AS known, \
     pg_catalog.hashtextextended(pg_catalog.string_agg(p.proname::text || p.xmin::text, ',' ORDER BY p.oid), 0)::text AS version \
     FROM pg_catalog.pg_proc p WHERE p.proname = ANY(pg_catalog.string_to_array(?3, ',')) \
     AND p.pronamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = CAST(?1 AS text))) \
     SELECT {standby}, {realm}, ({outgrown}), pg_catalog.current_setting('transaction_read_only') = 'on', \
     CAST(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000 AS bigint), \
     count(*) FILTER (WHERE t.tgenabled = 'A'), (SELECT f.known FROM functions f), \
     EXISTS (SELECT 1 FROM {s}schema_migrations m WHERE m.version > ?5 AND m.version < ?7), \
     pg_catalog.hashtextextended(pg_catalog.string_agg(t.tgname::text || t.xmin::text, ',' ORDER BY t.oid), 0)::text, \
     (SELECT f.version FROM functions f) \
     FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
     WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = CAST(?1 AS text)) \
     AND c.relname = ANY(pg_catalog.string_to_array(?6, ',')) AND t.tgname = ANY(pg_catalog.string_to_array(?2, ','))";
