//! What is wrong with the database, its files and its settings.

mod files;
mod postgres;
mod rows;
mod settings;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::ApiKeys;
use tower_api_key::store::DynStore;

use super::migrate;
use crate::database::{Database, Kind};
use crate::failure::Failure;
use crate::global::Global;
use crate::output::table;
use crate::text::duration;
use crate::work::{database, output};

/// Looks for what is wrong, a sentence for each. Exit code 1 if something is.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// A file of `audit anchor`, instead of that of the configuration: whether it has the end of the trail, and is readable by its owner
    /// alone
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// How old anchors may be, if the trail has gone on since
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
    anchor_age: Duration,
}

/// What was looked at, and what was found.
struct Check {
    about: &'static str,
    /// `None`: nothing is wrong, and it should be known.
    is_good: Option<bool>,
    sentence: String,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn good(&mut self, about: &'static str, sentence: impl Into<String>) {
        self.add(about, Some(true), sentence.into());
    }

    fn note(&mut self, about: &'static str, sentence: impl Into<String>) {
        self.add(about, None, sentence.into());
    }

    fn wrong(&mut self, about: &'static str, sentence: impl Into<String>) {
        self.add(about, Some(false), sentence.into());
    }

    fn add(&mut self, about: &'static str, is_good: Option<bool>, sentence: String) {
        self.0.push(Check {
            about,
            is_good,
            sentence,
        });
    }
}

pub(crate) async fn run(global: &Global, doctor: Doctor) -> Result<(), Failure> {
    let database = database(global, "doctor")?;
    let mut checks = Checks::default();
    files::look(&mut checks, &database, global);
    settings::look(&mut checks, database.config());
    let mut opens = false;
    if schema(&mut checks, &database).await {
        match opened(&database, global).await {
            Ok(keys) => {
                opens = true;
                checks.good("opening", "its secrets open");
                rows::look(&mut checks, &keys).await;
                rows::anchors(&mut checks, &keys, &database, &doctor).await;
            }
            Err(failure) => checks.wrong("opening", failure.sentence()),
        }
    }
    files::root_key(&mut checks, &database, global, opens);
    show(global, &database, &checks)
}

fn show(global: &Global, database: &Database, checks: &Checks) -> Result<(), Failure> {
    let wrong = checks.0.iter().filter(|check| check.is_good == Some(false)).count();
    let values: Vec<Value> = checks
        .0
        .iter()
        .map(|check| json!({"about": check.about, "ok": check.is_good, "sentence": check.sentence}))
        .collect();
    let answer = json!({"database": database.place(), "ok": wrong == 0, "checks": values});
    output(global).show(&answer, |_| {
        let rows = checks.0.iter().map(|check| {
            let mark = match check.is_good {
                Some(true) => "ok",
                Some(false) => "WRONG",
                None => "note",
            };
            vec![mark.to_owned(), check.about.to_owned(), check.sentence.clone()]
        });
        format!(
            "{}\n\n{}",
            crate::text::shown(&database.place()),
            table(&["", "about", "found"], rows)
        )
    })?;
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::Refused("1 thing is wrong".to_owned())),
        _ => Err(Failure::Refused(format!("{wrong} things are wrong"))),
    }
}

/// The handle. Opening brings a schema of PostgreSQL up to date otherwise, and starts triggers that were stopped.
async fn opened(database: &Database, global: &Global) -> Result<ApiKeys, Failure> {
    let Kind::Postgres(url) = database.kind() else {
        return database.keys(global).await;
    };
    let builder = database.config().postgres_builder().without_migrations();
    database
        .keys_over(DynStore::new(builder.open(url).await?), global)
        .await
}

/// Whether the database can be opened without changing its schema.
async fn schema(checks: &mut Checks, database: &Database) -> bool {
    let found = match database.kind() {
        Kind::Sqlite(_) => migrate::version(database).await,
        Kind::Postgres(url) => postgres::look(checks, database, url).await,
    };
    match found {
        Err(failure) => {
            checks.wrong("database", failure.sentence());
            false
        }
        Ok(0) => {
            checks.wrong("schema", "there is none yet: api-keys init");
            false
        }
        Ok(found) if found < migrate::newest(database) => {
            let newest = migrate::newest(database);
            checks.wrong(
                "schema",
                format!("it has version {found}, and this program makes {newest}: api-keys migrate up"),
            );
            false
        }
        Ok(found) => {
            checks.good("database", "it can be reached");
            checks.good("schema", format!("it has version {found}"));
            true
        }
    }
}
