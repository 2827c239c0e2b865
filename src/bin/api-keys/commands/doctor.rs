//! What is wrong with the database, its files and its settings.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};
use tower_api_key::key::{SecretForm, Timestamp};
use tower_api_key::store::query::{CountKeysOfForm, TheRealm};
use tower_api_key::{ApiKeys, AuditAnchors};

use super::migrate;
use crate::args::Global;
use crate::database::{Database, Kind};
use crate::failure::Failure;
use crate::output::table;
use crate::text::duration;

/// Looks for what is wrong, a sentence for each. Exit code 1 if something is.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// A file of `audit anchor`: whether it is young enough, and readable by its owner alone
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// How old anchors may be
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
    let database = super::database(global, "doctor")?;
    let mut checks = Checks::default();
    files(&mut checks, &database, global);
    connection(&mut checks, &database);
    if schema(&mut checks, &database).await {
        match database.keys(global).await {
            Ok(keys) => rows(&mut checks, &keys).await,
            Err(failure) => checks.wrong("opening", failure.sentence()),
        }
    }
    anchors(&mut checks, &doctor);
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
    super::output(global).show(&answer, |_| {
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

fn files(checks: &mut Checks, database: &Database, global: &Global) {
    if let Kind::Sqlite(path) = database.kind() {
        for (about, ending) in [
            ("database file", ""),
            ("log of the database", "-wal"),
            ("revocation journal", ".revocations"),
        ] {
            let mut name = path.clone().into_os_string();
            name.push(ending);
            let name = PathBuf::from(name);
            match name.exists() {
                true => mode(checks, about, &name),
                false if ending == ".revocations" => checks.wrong(
                    about,
                    format!(
                        "there is none at {}: a restored backup brings back what was revoked since",
                        name.display()
                    ),
                ),
                false => {}
            }
        }
    }
    let root_key = database.root_key_file(global);
    if !root_key.exists() {
        return checks.wrong(
            "root key",
            "there is none: the secrets are plain in the database and its backups. Make one: openssl rand -hex 32",
        );
    }
    mode(checks, "root key", &root_key);
    if let Kind::Sqlite(path) = database.kind() {
        let folder = |path: &Path| {
            path.canonicalize()
                .ok()
                .and_then(|path| path.parent().map(Path::to_owned))
        };
        match folder(path) == folder(&root_key) {
            true => checks.note(
                "root key",
                "it is in the folder of the database: a backup of the folder has both. Move it, and name it in API_KEYS_ROOT_KEY_FILE",
            ),
            false => checks.good("root key", "it is in another folder than the database"),
        }
    }
}

#[cfg(unix)]
fn mode(checks: &mut Checks, about: &'static str, path: &Path) {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(path) {
        Err(error) => checks.wrong(about, format!("{} cannot be looked at: {error}", path.display())),
        Ok(found) if found.mode() & 0o077 == 0 => {
            checks.good(about, format!("{} is its owner's alone", path.display()));
        }
        // As services of Kubernetes get their secrets.
        Ok(found) if about == "root key" && found.uid() == 0 && found.mode() & 0o037 == 0 => {
            checks.good(about, format!("{} is root's and its group's", path.display()));
        }
        Ok(found) => checks.wrong(
            about,
            format!(
                "{} has mode {:03o}, so others may read it: chmod 600",
                path.display(),
                found.mode() & 0o777
            ),
        ),
    }
}

#[cfg(not(unix))]
fn mode(checks: &mut Checks, about: &'static str, path: &Path) {
    checks.note(
        about,
        format!("{}: see that its owner alone may read it", path.display()),
    );
}

fn connection(checks: &mut Checks, database: &Database) {
    let Kind::Postgres(url) = database.kind() else { return };
    let is_local =
        url.contains("@localhost") || url.contains("@127.0.0.1") || url.contains("@[::1]") || url.contains("host=/");
    let mode = url
        .split(['?', '&', ' '])
        .find_map(|option| option.strip_prefix("sslmode="));
    match mode {
        Some("verify-full" | "verify-ca" | "require") => checks.good("TLS", "the URL asks for TLS"),
        Some("disable") if !is_local => {
            checks.wrong(
                "TLS",
                "sslmode=disable: hashes and the password cross the network in clear",
            );
        }
        _ if is_local => checks.good("TLS", "the database is on this machine"),
        _ => checks.good(
            "TLS",
            "the URL does not switch TLS off, and it is required to another machine",
        ),
    }
}

/// Whether the database can be opened without changing its schema.
async fn schema(checks: &mut Checks, database: &Database) -> bool {
    match migrate::version(database).await {
        Err(failure) => {
            checks.wrong("database", failure.sentence());
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

async fn rows(checks: &mut Checks, keys: &ApiKeys) {
    checks.good("opening", "its secrets open");
    let now = Timestamp::now();
    match keys.read(TheRealm).await {
        Ok(realm) if realm.accepts_crc(now) => {
            let count = keys.read(CountKeysOfForm {
                form: SecretForm::Crc32,
                at: now,
            });
            let count = count
                .await
                .map_or_else(|_| "some".to_owned(), |count| count.number.to_string());
            checks.wrong(
                "CRC keys",
                format!(
                    "{count} keys with a checksum that anyone can compute are accepted until {}: rotate them",
                    realm.crc_accepted_until
                ),
            );
        }
        Ok(_) => checks.good("CRC keys", "none are accepted"),
        Err(error) => checks.wrong("CRC keys", crate::failure::chain(&error)),
    }
    match keys.statistics(None).await {
        Ok(numbers) if numbers.expiring > 0 => {
            checks.note(
                "keys",
                format!("{} active, {} end within 30 days", numbers.active, numbers.expiring),
            );
        }
        Ok(numbers) => checks.good("keys", format!("{} active", numbers.active)),
        Err(error) => checks.wrong("keys", crate::failure::chain(&error)),
    }
}

fn anchors(checks: &mut Checks, doctor: &Doctor) {
    let Some(path) = &doctor.anchor else {
        return checks.note(
            "anchors",
            "no file of anchors was named (--anchor): a trail that is cut off or made anew is not found without",
        );
    };
    match AuditAnchors::read(path) {
        Err(error) => return checks.wrong("anchors", crate::failure::chain(&error)),
        Ok(anchors) if anchors.is_empty() => {
            return checks.wrong("anchors", format!("{} has none", path.display()));
        }
        Ok(_) => {}
    }
    mode(checks, "anchors", path);
    let age = std::fs::metadata(path)
        .and_then(|file| file.modified())
        .map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    match age {
        Ok(age) if age > doctor.anchor_age => checks.note(
            "anchors",
            format!(
                "they were written {} minutes ago; the file is written when a chain moves",
                age.as_secs() / 60
            ),
        ),
        Ok(_) => checks.good("anchors", "they are young enough"),
        Err(error) => checks.wrong("anchors", error.to_string()),
    }
}
