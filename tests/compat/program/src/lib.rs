//! What every program here does with keys in a SQLite file.

use std::error::Error;
use std::path::{Path, PathBuf};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::Actor;
use tower_api_key::store::SqliteStore;
use tower_api_key::{ApiKeys, IssueRequest, PresentedKey};

/// Issues a key, checks it, revokes it, and opens the file again. Returns the file, which has one key.
pub async fn run(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("keys.sqlite");
    let keys = open(&path).await?;
    let issuer = keys.issuer().acting_as(Actor::operator("compat"));
    let acme = issuer.create_organization("acme").await?;
    let issued = issuer.issue(IssueRequest::new(acme.id, "orders")).await?;
    let key = || PresentedKey::new(issued.key.expose_secret().as_bytes());
    keys.authenticator().check(key()).await?;
    issuer.revoke(issued.record.id, "the end").await?;
    assert!(keys.authenticator().check(key()).await.is_err(), "a revoked key works");
    drop((keys, issuer));

    let keys = open(&path).await?;
    assert!(keys.authenticator().check(key()).await.is_err(), "a revoked key works");
    assert!(keys.read(issued.record.id).await?.is_some(), "the key is lost");
    Ok(path)
}

async fn open(path: &Path) -> Result<ApiKeys<SqliteStore>, Box<dyn Error>> {
    let store = SqliteStore::open(path).await?;
    Ok(ApiKeys::builder(store).hash_policy(HashPolicy::sha256()).open().await?)
}

/// Removes what `run` left.
pub fn clean(path: &Path) -> Result<(), Box<dyn Error>> {
    Ok(std::fs::remove_dir_all(path.parent().ok_or("no folder")?)?)
}
