//! What commands do.

pub(crate) mod adopt;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod doctor;
pub(crate) mod files;
pub(crate) mod hygiene;
pub(crate) mod incident;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod maintain;
pub(crate) mod migrate;
pub(crate) mod move_data;
mod pages;
mod route;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod verify;

use std::io::{BufRead, IsTerminal, Write};

use tower_api_key::key::{Actor, OrganizationId};
use tower_api_key::store::DynStore;
use tower_api_key::{ApiKeys, Issuer};

use crate::api::{Api, operator};
use crate::args::{Arguments, Command, Global};
use crate::database::Database;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Init(init) => init::run(&global, init).await,
        Command::Serve(serve) => serve::run(&global, serve).await,
        Command::Verify(verify) => verify::run(&global, verify).await,
        Command::Hygiene(hygiene) => over_the_api(&global, async |work| hygiene.run(work).await).await,
        Command::Incident(incident) => over_the_api(&global, async |work| incident.run(work).await).await,
        Command::Audit(audit::Audit::List(list)) => over_the_api(&global, async |work| list.run(work).await).await,
        Command::Audit(audit) => audit::run(&global, audit).await,
        Command::Scan(scan) => scan::run(&global, scan).await,
        Command::ScannerRules(rules) => rules.run(&global),
        Command::Doctor(doctor) => doctor::run(&global, doctor).await,
        Command::Migrate(migrate) => migrate::run(&global, migrate).await,
        Command::Copy(copy) => copy.run(&global).await,
        Command::Backup(backup) => backup.run(&global).await,
        Command::Restore(restore) => restore.run(&global).await,
        Command::Adopt(adopt) => adopt.run(&global).await,
        Command::Maintain(maintain) => maintain.run(&global).await,
        Command::Bench(bench) => bench.run(&global).await,
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(output(&global)),
        Command::Auth(auth) => over_the_api(&global, async |work| keys::run(work, auth.into()).await).await,
        other => over_the_api(&global, async |work| rows::run(work, other).await).await,
    }
}

/// What works alike on a database and on a server.
async fn over_the_api(global: &Global, command: impl AsyncFnOnce(&Work) -> Result<(), Failure>) -> Result<(), Failure> {
    let work = Work {
        api: Api::open(global).await?,
        output: output(global),
        yes: global.yes,
    };
    let done = command(&work).await;
    // What was changed is announced and stored before the program ends.
    work.api.close().await;
    done
}

/// What commands over the API work with.
pub(crate) struct Work {
    pub(crate) api: Api,
    pub(crate) output: Output,
    yes: bool,
}

impl Work {
    /// As [`confirm`].
    pub(crate) fn confirm(&self, what: &str) -> Result<(), Failure> {
        confirm(self.yes, what)
    }
}

/// Asks before something is destroyed.
///
/// # Errors
/// When the answer is no, or there is nobody to ask.
pub(crate) fn confirm(is_sure: bool, what: &str) -> Result<(), Failure> {
    if is_sure {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{what}: this needs --yes, because there is no terminal to ask at"
        )));
    }
    write!(std::io::stderr(), "{what}? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Refused("nothing was changed".to_owned())),
    }
}

/// How a command prints.
pub(crate) fn output(global: &Global) -> Output {
    Output { json: global.json }
}

/// The database of this machine that a command works on.
///
/// # Errors
/// When a server was named.
pub(crate) fn database(global: &Global, command: &str) -> Result<Database, Failure> {
    match global.server {
        None => Database::of(global),
        Some(_) => Err(Failure::Usage(format!(
            "{command} works on a database of this machine: leave --server out, or name the database with --database if API_KEYS_SERVER is set"
        ))),
    }
}

/// Who acts on this machine.
pub(crate) fn host(keys: &ApiKeys) -> Issuer<DynStore> {
    keys.issuer().acting_as(Actor::operator(operator()))
}

/// The id of an organization, from its id or slug.
pub(crate) async fn organization_id(work: &Work, text: &str) -> Result<String, Failure> {
    if text.parse::<OrganizationId>().is_ok() {
        return Ok(text.to_owned());
    }
    work.api.organization_by_slug(text).await
}

/// An organization of the database, from its id or slug.
pub(crate) async fn organization_here(keys: &ApiKeys, text: &str) -> Result<OrganizationId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let found = host(keys).organization_by_slug(text).await?;
    found
        .map(|found| found.id)
        .ok_or_else(|| Failure::Refused(format!("no organization has the id or slug `{text}`")))
}
