//! Files: who may read them, and which are missing.

use std::env;
use std::path::{Path, PathBuf};

use tower_api_key::config::JournalConfig;

use super::Checks;
use crate::database::{Database, Kind};
use crate::global::Global;

pub(super) fn look(checks: &mut Checks, database: &Database, global: &Global) {
    if let Kind::Sqlite(path) = database.kind() {
        for (about, ending) in [("database file", ""), ("log of the database", "-wal")] {
            let name = beside(path, ending);
            if name.exists() {
                mode(checks, about, &name);
            }
        }
    }
    journal(checks, database);
    configuration(checks, global);
    if let Some(path) = env::var_os("API_KEYS_TOKEN_FILE") {
        mode(checks, "key for the server", Path::new(&path));
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

fn journal(checks: &mut Checks, database: &Database) {
    let path = match (database.config().journal(), database.kind()) {
        (JournalConfig::File(path), _) => Some(path),
        (JournalConfig::Off, _) => None,
        (_, Kind::Sqlite(path)) => Some(beside(path, ".revocations")),
        (_, Kind::Postgres(_)) => None,
    };
    match (path, database.kind()) {
        (Some(path), _) if path.exists() => mode(checks, "revocation journal", &path),
        (Some(path), Kind::Sqlite(_)) => checks.wrong(
            "revocation journal",
            format!(
                "there is none at {}: a restored backup brings back what was revoked since",
                path.display()
            ),
        ),
        _ => checks.note(
            "revocation journal",
            "this machine keeps none: a restored backup brings back what was revoked since. Name a file in database.journal of the \
             configuration",
        ),
    }
}

/// The file of the root key, of a database whose secrets open with what there is, or do not.
pub(super) fn root_key(checks: &mut Checks, database: &Database, global: &Global, opens: bool) {
    let root_key = database.root_key_file(global);
    if !root_key.exists() {
        let why = match opens {
            true => "the secrets are plain in the database and its backups. Make one: openssl rand -hex 32",
            // A new one would open nothing.
            false => {
                "if it was moved, name its file with --root-key-file or in API_KEYS_ROOT_KEY_FILE; do not make another one"
            }
        };
        return checks.wrong("root key", format!("there is none at {}: {why}", root_key.display()));
    }
    mode(checks, "root key", &root_key);
    let Kind::Sqlite(path) = database.kind() else { return };
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

/// Who can write it decides which database and which proxies are trusted.
#[cfg(unix)]
fn configuration(checks: &mut Checks, global: &Global) {
    use std::os::unix::fs::MetadataExt;
    let Some(path) = &global.config else { return };
    match std::fs::metadata(path) {
        Err(error) => checks.wrong(
            "configuration",
            format!("{} cannot be looked at: {error}", path.display()),
        ),
        Ok(found) if found.mode() & 0o022 != 0 => checks.wrong(
            "configuration",
            format!(
                "{} has mode {:03o}: who may write it decides which database and which proxies are trusted. chmod go-w",
                path.display(),
                found.mode() & 0o777
            ),
        ),
        Ok(_) => checks.good(
            "configuration",
            format!("{} is written by its owner alone", path.display()),
        ),
    }
}

#[cfg(not(unix))]
fn configuration(_: &mut Checks, _: &Global) {}

#[cfg(unix)]
pub(super) fn mode(checks: &mut Checks, about: &'static str, path: &Path) {
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
pub(super) fn mode(checks: &mut Checks, about: &'static str, path: &Path) {
    checks.note(
        about,
        format!("{}: see that its owner alone may read it", path.display()),
    );
}
