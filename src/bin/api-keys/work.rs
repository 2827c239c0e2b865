//! What commands work with: the API, the database of this machine, and a person to ask.

use std::io::{BufRead, IsTerminal, Write};

use tower_api_key::key::{Actor, OrganizationId};
use tower_api_key::store::DynStore;
use tower_api_key::{ApiKeys, Issuer};

use crate::api::{Api, operator};
use crate::database::Database;
use crate::failure::Failure;
use crate::global::Global;
use crate::output::Output;

/// What commands over the API work with.
pub(crate) struct Work {
    pub(crate) api: Api,
    pub(crate) output: Output,
    pub(crate) yes: bool,
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
    // What would be lost stands above the question, or above the sentence why nobody was asked.
    let (above, what) = what
        .rsplit_once('\n')
        .map_or((None, what), |(above, what)| (Some(above), what));
    if let Some(above) = above {
        writeln!(std::io::stderr(), "{above}")?;
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

/// Whose rows a list is about: the organization's that is named; else all that the caller sees, which is `None` for the caller's own.
pub(crate) async fn whose(work: &Work, named: Option<&str>) -> Result<Option<String>, Failure> {
    Ok(match named {
        Some(ALL) => Some(ALL.to_owned()),
        Some(named) => Some(organization_id(work, named).await?),
        None => work.api.sees_all().await?.then(|| ALL.to_owned()),
    })
}

const ALL: &str = "all";

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
