//! A new database.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::Args;
use rand::TryRng;
use rand::rngs::SysRng;
use serde_json::{Value, json};
use tower_api_key::key::{Actor, KeyLife, Organization, ScopeSet, Timestamp};
use tower_api_key::store::DynStore;
use tower_api_key::store::query::Keys;
use tower_api_key::{IssueRequest, Issuer, Manage, OrganizationRequest};

use crate::args::Global;
use crate::database::Database;
use crate::failure::Failure;
use crate::key_out::{KeyOut, Place, create_private};
use crate::output::record;

/// Makes a new database. On one that has an operator key it changes nothing.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Adds an organization `default` with a key `test`, for trying things out
    #[arg(long)]
    seed: bool,
    #[command(flatten)]
    out: KeyOut,
}

const OPERATOR: &str = "operator";
const OPERATOR_KEY: &str = "operator";
const SEED: &str = "default";
const SEED_KEY: &str = "test";

pub(crate) async fn run(global: &Global, init: Init) -> Result<(), Failure> {
    let output = super::output(global);
    if global.server.is_some() {
        return Err(Failure::Usage(
            "init makes a database on this machine: leave --server out".to_owned(),
        ));
    }
    let database = Database::of(global)?;
    let root_key_file = database.root_key_file(global);
    let is_there = database.file().is_some_and(Path::exists);
    // The key may be lost otherwise: it goes nowhere when it is made.
    let place = match is_there {
        true => None,
        false => Some(init.out.place(output)?),
    };
    let made = make(global, &database, &root_key_file, &init).await;
    let made = match made {
        Ok(made) => made,
        Err(failure) => {
            if let Some(place) = place {
                place.give_up();
            }
            return Err(failure);
        }
    };
    show(global, &database, &root_key_file, made, place, &init)
}

/// What was made, if there was nothing before.
struct Made {
    key: Option<String>,
    seed: Option<String>,
}

async fn make(global: &Global, database: &Database, root_key_file: &Path, init: &Init) -> Result<Made, Failure> {
    // A database that is there may be sealed under a root key that is elsewhere, or have none by choice.
    let is_new = !database.file().is_some_and(Path::exists);
    let is_named = global.root_key_file.is_some() || database.config().root_key_file().is_some();
    let is_wanted = is_new || is_named;
    if is_wanted && !root_key_file.exists() {
        make_root_key(root_key_file)?;
    }
    let keys = database.keys_over(database.make().await?, global).await?;
    let host = keys.issuer().acting_as(Actor::operator("init"));
    let key = operator_key(&host).await?;
    let seed = match init.seed {
        true => seed_key(&host).await?,
        false => None,
    };
    let _ = keys.flush().await;
    Ok(Made { key, seed })
}

fn make_root_key(path: &Path) -> Result<(), Failure> {
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::Unavailable(format!("the operating system gives no random bytes: {error}")))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = create_private(path)?;
    writeln!(file, "{digits}")
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::file(path, &error))
}

/// The first key of the operator, unless there is one that works.
async fn operator_key(host: &Issuer<DynStore>) -> Result<Option<String>, Failure> {
    let organization = match host.organization_by_slug(OPERATOR).await? {
        Some(found) if found.is_operator => found,
        Some(_) => {
            let sentence =
                "an organization with the slug `operator` is there and is not the operator's: rename it first";
            return Err(Failure::Refused(sentence.to_owned()));
        }
        None => {
            let made = host
                .create_organization(OrganizationRequest::new(OPERATOR).slug(OPERATOR))
                .await?;
            host.update_organization(made.id, |row| row.is_operator = true).await?
        }
    };
    if has_working_key(host, &organization).await? {
        return Ok(None);
    }
    let scopes: ScopeSet = Manage::SCOPES.join(" ").parse()?;
    let request = IssueRequest::new(organization.id, OPERATOR_KEY).scopes(scopes);
    let issued = host.issue(request).await?;
    Ok(Some(issued.key.expose_secret().to_owned()))
}

async fn has_working_key(host: &Issuer<DynStore>, organization: &Organization) -> Result<bool, Failure> {
    let keys = Keys::of(organization.id).life(KeyLife::Active, Timestamp::now());
    Ok(!host.keys(keys.page(1)).await?.items.is_empty())
}

async fn seed_key(host: &Issuer<DynStore>) -> Result<Option<String>, Failure> {
    let organization = match host.organization_by_slug(SEED).await? {
        Some(found) => found,
        None => {
            host.create_organization(OrganizationRequest::new(SEED).slug(SEED))
                .await?
        }
    };
    if has_working_key(host, &organization).await? {
        return Ok(None);
    }
    let issued = host
        .issue(IssueRequest::new(organization.id, SEED_KEY).environment("test"))
        .await?;
    Ok(Some(issued.key.expose_secret().to_owned()))
}

fn show(
    global: &Global,
    database: &Database,
    root_key_file: &Path,
    made: Made,
    place: Option<Place>,
    init: &Init,
) -> Result<(), Failure> {
    let output = super::output(global);
    let is_new = made.key.is_some();
    let mut answer = json!({
        "database": database.place(),
        "root_key_file": fs::canonicalize(root_key_file).ok().map(|path| path.display().to_string()),
        "is_new": is_new,
    });
    if let Some(key) = made.key {
        answer["key"] = Value::String(key);
        match place {
            Some(place) => place.put(&mut answer)?,
            // A database that was there without an operator key.
            None => init.out.place(output)?.put(&mut answer)?,
        }
    } else if let Some(place) = place {
        place.give_up();
    }
    if let Some(key) = made.seed {
        // A key for trying things out, of an organization that has nothing else.
        answer["test_key"] = Value::String(key);
    }
    output.show(&answer, |answer| {
        let first = match is_new {
            true => "The database is ready. Keep the operator's key: it is not shown again.",
            false => "The database has an operator key already; nothing of it was changed.",
        };
        format!("{first}\n\n{}", record(answer))
    })
}
