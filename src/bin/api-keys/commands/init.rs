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
use tower_api_key::{IssueRequest, IssuedKey, Issuer, Manage, OrganizationRequest};

use crate::database::Kind;
use crate::failure::Failure;
use crate::global::Global;
use crate::key_out::{KeyOut, Place, create_private};
use crate::output::{Output, record};
use crate::work::{database, output};

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
    let output = output(global);
    let database = database(global, "init")?;
    let root_key_file = database.root_key_file(global);
    let is_there = match database.kind() {
        Kind::Sqlite(path) => path.exists(),
        Kind::Postgres(_) => super::migrate::version(&database).await? > 0,
    };
    // A database that this makes nothing in is not made at all.
    if !is_there {
        init.out.check(output)?;
    }
    // A database that is there may be sealed under a root key that is elsewhere, or have none by choice.
    let is_named = database.named_root_key_file(global).is_some();
    if !root_key_file.exists() && (is_named || !is_there) {
        make_root_key(&root_key_file)?;
    }
    let keys = database.keys_over(database.make().await?, global).await?;
    let host = keys.issuer().acting_as(Actor::operator("init"));
    let mut answer = json!({
        "database": database.place(),
        "root_key_file": fs::canonicalize(&root_key_file).ok().map(|path| path.display().to_string()),
    });
    let is_new = operator_key(&host, &init.out, output, &mut answer).await?;
    let mut is_seeded = false;
    if init.seed {
        is_seeded = seed_key(&host, &init.out.beside(".test"), output, &mut answer).await?;
    }
    answer["is_new"] = is_new.into();
    let _ = keys.flush().await;
    output.show(&answer, |answer| {
        let first = match (is_new, is_seeded) {
            (true, _) => "The database is ready. Keep the operator's key: it is not shown again.",
            (false, true) => "The database has an operator key already; the seed was added.",
            (false, false) => {
                "The database has an operator key already; nothing of it was changed. A key that is lost gets a new secret by `api-keys rotate`."
            }
        };
        format!("{first}\n\n{}", record(answer))
    })
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
async fn operator_key(
    host: &Issuer<DynStore>,
    out: &KeyOut,
    output: Output,
    answer: &mut Value,
) -> Result<bool, Failure> {
    let found = host.organization_by_slug(OPERATOR).await?;
    let organization = match found {
        Some(found) if found.is_operator => Some(found),
        Some(_) => {
            let sentence =
                "an organization with the slug `operator` is there and is not the operator's: rename it first";
            return Err(Failure::Refused(sentence.to_owned()));
        }
        None => None,
    };
    if let Some(organization) = &organization
        && has_working_key(host, organization).await?
    {
        return Ok(false);
    }
    // Before the key is made: one that could not be shown would be lost.
    let place = out.place(output)?;
    let made = async {
        let organization = match organization {
            Some(organization) => organization,
            None => {
                let made = host
                    .create_organization(OrganizationRequest::new(OPERATOR).slug(OPERATOR))
                    .await?;
                host.update_organization(made.id, |row| row.is_operator = true).await?
            }
        };
        let scopes: ScopeSet = Manage::SCOPES.join(" ").parse()?;
        let request = IssueRequest::new(organization.id, OPERATOR_KEY).scopes(scopes);
        Ok(host.issue(request).await?)
    };
    put(made.await, place, answer, "key")?;
    Ok(true)
}

async fn has_working_key(host: &Issuer<DynStore>, organization: &Organization) -> Result<bool, Failure> {
    let keys = Keys::of(organization.id).life(KeyLife::Active, Timestamp::now());
    Ok(!host.keys(keys.page(1)).await?.items.is_empty())
}

/// A key for trying things out, of an organization that has nothing else.
async fn seed_key(host: &Issuer<DynStore>, out: &KeyOut, output: Output, answer: &mut Value) -> Result<bool, Failure> {
    let organization = match host.organization_by_slug(SEED).await? {
        Some(found) => found,
        None => {
            host.create_organization(OrganizationRequest::new(SEED).slug(SEED))
                .await?
        }
    };
    if has_working_key(host, &organization).await? {
        return Ok(false);
    }
    let place = out.place(output)?;
    let request = IssueRequest::new(organization.id, SEED_KEY).environment("test");
    put(
        host.issue(request).await.map_err(Failure::from),
        place,
        answer,
        "test_key",
    )?;
    Ok(true)
}

fn put(made: Result<IssuedKey, Failure>, place: Place, answer: &mut Value, member: &str) -> Result<(), Failure> {
    match made {
        Ok(issued) => {
            answer[member] = Value::String(issued.key.expose_secret().to_owned());
            place.put_member(answer, member)
        }
        Err(failure) => {
            place.give_up();
            Err(failure)
        }
    }
}
