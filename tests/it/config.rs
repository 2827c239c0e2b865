//! Configuration files: what they may have, what comes of it, and what is said about mistakes.

#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod asked;
mod databases;
mod effects;
mod example;
#[cfg(unix)]
mod files;
mod layers;
mod mistakes;
#[cfg(all(feature = "postgres", target_os = "linux"))]
mod postgres;
#[cfg(feature = "legacy-hashes")]
mod service;

use std::path::{Path, PathBuf};

use tower_api_key::config::Config;
use tower_api_key::key::Actor;
use tower_api_key::store::MemoryStore;
use tower_api_key::{ApiKeys, IssueRequest, IssuedKey};

/// The message about a text that is refused.
fn refused(text: &str) -> String {
    match Config::parse(text) {
        Ok(_) => panic!("is accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

fn config(text: &str) -> Config {
    Config::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A handle over a store in memory. The scheme of hashes is a fast one, unless the text names one.
async fn keys(text: &str) -> ApiKeys<MemoryStore> {
    keys_over(MemoryStore::new(), text).await
}

async fn keys_over(store: MemoryStore, text: &str) -> ApiKeys<MemoryStore> {
    let fast = if text.contains("[hash]") {
        ""
    } else {
        "[hash]\nscheme = \"sha256\"\n"
    };
    let config = config(&format!("{fast}{text}"));
    config
        .apply_to(config.builder(store).unwrap().open().await.unwrap())
        .unwrap()
}

async fn issue<S>(keys: &ApiKeys<S>, change: impl FnOnce(IssueRequest) -> IssueRequest) -> IssuedKey
where
    S: tower_api_key::store::ManagedStore + Clone,
{
    let issuer = keys.issuer().acting_as(Actor::service());
    let organization = issuer.create_organization("acme").await.unwrap();
    issuer
        .issue(change(IssueRequest::new(organization.id, "a key")))
        .await
        .unwrap()
}

/// A folder with a configuration file for its owner alone.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        place.write(text);
        place
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(), text).unwrap();
        #[cfg(unix)]
        crate::support::files::set_mode(&self.path(), 0o600);
    }

    fn path(&self) -> PathBuf {
        self.file("api-keys.toml")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn has(&self, name: &str) -> bool {
        Path::exists(&self.file(name))
    }
}
