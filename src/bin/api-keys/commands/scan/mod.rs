//! Finds keys in files, without a database.

mod find;
pub(crate) mod rules;
mod walk;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use tower_api_key::key::{KeyFormat, KeyFormats, SecretForm};
use tower_api_key::{ApiKeys, PresentedKey};

use self::find::Find;
pub(crate) use self::find::Finder;
use self::walk::Source;
use crate::database::configuration;
use crate::failure::Failure;
use crate::global::Global;
use crate::output::Output;
use crate::text::{number, shown};
use crate::work::{database, output};

/// Finds keys in files, folders and standard input, of any size, also in binary files. Says where they are and their lookups, never the
/// keys. Exit code 1 if it found some.
///
/// Symbolic links are not followed, and the objects of Git are left out: they are compressed, `git log -p | api-keys scan -` reads them.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Files and folders; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    formats: Formats,
    /// Asks the database whose each key is, and whether it works
    #[arg(long)]
    known: bool,
}

/// Which keys. Without any of these, those of the formats in the configuration file, and without formats there key_live_… and key_test_…
#[derive(Args, Clone, Debug)]
pub(crate) struct Formats {
    /// The prefix of your keys, such as acme for acme_live_…; may be given several times
    #[arg(long, value_name = "TEXT")]
    prefix: Vec<String>,
    /// Keys of another system, too; may be given several times
    #[arg(long, value_enum, value_name = "NAME")]
    format: Vec<Preset>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    Cmpz,
    Pk,
    Hk,
    Gml,
    Hex,
    Django,
    Sanctum,
}

impl Formats {
    /// The formats that are named here, beside those of the configuration unless prefixes are named.
    pub(super) fn list(&self, global: &Global) -> Result<Vec<KeyFormat>, Failure> {
        let mut formats = Vec::new();
        for prefix in &self.prefix {
            formats.push(KeyFormat::new(prefix)?);
        }
        if self.prefix.is_empty() {
            let config = configuration(global)?;
            match config.formats() {
                Some(configured) => formats.extend(configured.iter().cloned()),
                None => formats.push(KeyFormat::default()),
            }
        }
        formats.extend(self.format.iter().map(|preset| match preset {
            Preset::Cmpz => KeyFormat::cmpz(),
            Preset::Pk => KeyFormat::pk(),
            Preset::Hk => KeyFormat::hk(),
            Preset::Gml => KeyFormat::gml(),
            Preset::Hex => KeyFormat::bare_hex(),
            Preset::Django => KeyFormat::django_rest_framework(),
            Preset::Sanctum => KeyFormat::sanctum(),
        }));
        Ok(formats)
    }
}

pub(crate) async fn run(global: &Global, scan: Scan) -> Result<(), Failure> {
    let formats = KeyFormats::new(scan.formats.list(global)?)?;
    let unseen: Vec<&str> = formats
        .iter()
        .filter(|format| format.scanner_regex().is_none())
        .map(KeyFormat::prefix)
        .collect();
    if unseen.len() == formats.iter().len() {
        return Err(Failure::Usage(
            "any text can be a key of these formats, so there is nothing to look for: name others with --prefix or --format".to_owned(),
        ));
    }
    let database = match scan.known {
        true => Some(open(global, formats.clone()).await?),
        false => None,
    };
    // Those of the database know its secrets, and take no text for a key whose keyed checksum is wrong.
    let finder = Finder::new(database.as_ref().map_or(formats.clone(), |keys| keys.formats().clone()))?;
    let mut report = Report::new(output(global));
    report.has_raw = !unseen.is_empty();
    for path in &scan.paths {
        let mut walk = walk::Walk::new(path);
        while let Some(step) = walk.next() {
            match step {
                Source::File(path) => {
                    let name = path.display().to_string();
                    match std::fs::File::open(&path) {
                        Ok(file) => report.search(&finder, &name, file, database.as_ref()).await?,
                        Err(error) => report.unread(&name, &error)?,
                    }
                }
                Source::Standard => {
                    report
                        .search(&finder, "-", io::stdin().lock(), database.as_ref())
                        .await?;
                }
                Source::Unread(path, error) => report.unread(&path.display().to_string(), &error)?,
                Source::Link => report.links += 1,
                Source::GitObjects => report.git_objects += 1,
            }
        }
    }
    report.end()
}

/// The database as a service has it, except that it counts nothing against anyone.
async fn open(global: &Global, formats: KeyFormats) -> Result<ApiKeys, Failure> {
    let database = database(global, "scan --known")?;
    let builder = database.builder(database.open().await?, global)?;
    let builder = builder.formats(formats).failure_budget(false);
    Ok(builder.open().await?)
}

fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", number(count))
}

struct Report {
    output: Output,
    found: u64,
    files: u64,
    unread: u64,
    links: u64,
    git_objects: u64,
    /// Whether there is a format of which any text can be a key.
    has_raw: bool,
}

impl Report {
    fn new(output: Output) -> Self {
        Self {
            output,
            found: 0,
            files: 0,
            unread: 0,
            links: 0,
            git_objects: 0,
            has_raw: false,
        }
    }

    async fn search(
        &mut self,
        finder: &Finder,
        name: &str,
        source: impl io::Read,
        database: Option<&ApiKeys>,
    ) -> Result<(), Failure> {
        self.files += 1;
        let mut search = finder.search(source);
        loop {
            match search.next() {
                Ok(Some(find)) => self.show(name, find, database).await?,
                Ok(None) => return Ok(()),
                Err(error) => return self.unread(name, &error),
            }
        }
    }

    async fn show(&mut self, name: &str, find: Find, database: Option<&ApiKeys>) -> Result<(), Failure> {
        let stored = match database {
            Some(keys) => {
                keys.find_key(PresentedKey::new(find.key.expose_secret().as_bytes()))
                    .await?
            }
            None => None,
        };
        let proof = match (&stored, find.form, database) {
            (Some(_), _, _) => "known",
            (None, SecretForm::Crc32, _) | (None, SecretForm::Keyed, Some(_)) => "checksum",
            (None, _, _) => "possible",
        };
        self.found += 1;
        if self.output.json {
            let value = json!({
                "path": name,
                "line": find.line,
                "prefix": find.prefix,
                "lookup": find.lookup,
                "proof": proof,
                "key_id": stored.as_ref().map(|key| key.record.id.to_string()),
                "name": stored.as_ref().map(|key| key.record.name.clone()),
                "status": stored.as_ref().map(|key| super::incident::life(key)),
            });
            return self.output.json(&value);
        }
        let known = stored.map_or_else(String::new, |key| {
            format!(
                " {} \"{}\" {}",
                key.record.id,
                shown(&key.record.name),
                super::incident::life(&key)
            )
        });
        self.output.lines(&format!(
            "{}:{}: {} {} {proof}{known}",
            shown(name),
            find.line,
            find.prefix,
            find.lookup
        ))
    }

    fn unread(&mut self, name: &str, error: &io::Error) -> Result<(), Failure> {
        self.unread += 1;
        writeln!(io::stderr(), "api-keys: {} was not read: {error}", shown(name))?;
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        let files = counted(self.files, "file");
        let mut notes = Vec::new();
        if self.links > 0 {
            notes.push(format!("{} symbolic links were not followed", number(self.links)));
        }
        if self.git_objects > 0 {
            notes.push("objects of Git were left out: `git log -p --all | api-keys scan -` reads them".to_owned());
        }
        if self.unread > 0 {
            notes.push(format!("{} files were not read", number(self.unread)));
        }
        if self.has_raw {
            notes.push("keys of the format `raw` were not looked for: any text can be one".to_owned());
        }
        for note in notes {
            writeln!(io::stderr(), "api-keys: {note}")?;
        }
        match (self.found, self.unread) {
            (0, 0) if self.output.json => Ok(()),
            (0, 0) => self.output.lines(&format!("No keys in {files}.")),
            (0, _) => Err(Failure::Unavailable(format!(
                "no keys in {files}, but not all were read"
            ))),
            (found, _) => Err(Failure::Refused(format!("{} in {files}", counted(found, "key")))),
        }
    }
}
