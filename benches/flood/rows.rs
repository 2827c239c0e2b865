//! The service's keys. The clients' process makes them, so that the server has hashed nothing before the measurement.

use tower_api_key::key::{Actor, Lookup, SecretForm, ServerSecret};
use tower_api_key::store::{KeyStore, MemoryStore};
use tower_api_key::{ApiKeys, IssueRequest};

use crate::support::keys;

const KNOWN: usize = 16;
const NEW: usize = 64;
const TARGETS: usize = 2_000;

pub struct Rows {
    pub known: Vec<String>,
    pub new: Vec<String>,
    pub targets: Vec<String>,
    /// The lookup, the hash and the form of each key above.
    pub lines: Vec<String>,
}

/// The secret of keyed checksums.
pub fn secret() -> ServerSecret {
    ServerSecret::new('a', &[7; 32]).expect("a secret")
}

/// Keys with the default hash, with keyed checksums or with a CRC-32. All targets share one hash, which is right for none of
/// them: only wrong secrets are sent. Targets have a CRC-32, which attackers can make.
pub fn make(is_keyed: bool) -> Rows {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let store = MemoryStore::new();
        let settings = ApiKeys::builder(store.clone());
        let issuing = match is_keyed {
            true => {
                let settings = settings.realm_secret(secret(), []).expect("a secret");
                settings.open().await.expect("a store with a fence")
            }
            false => settings.formats(keys::format()).checking(),
        };
        let issuer = issuing.issuer().acting_as(Actor::service());
        let organization = issuer.create_organization("acme").await.expect("an organization");
        let (mut texts, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..KNOWN + NEW {
            let issued = issuer.issue(IssueRequest::new(organization.id, "good")).await;
            let key = issued.expect("a key").key.expose_secret().to_owned();
            let found = store.find(&lookup(&key)).await.expect("the store answers");
            let secret = found.expect("the key").secret;
            lines.push(line(&key, secret.hash.as_str(), secret.form));
            texts.push(key);
        }
        let shared = lines[0].split(' ').nth(1).expect("a hash").to_owned();
        let targets = keys::issue(TARGETS, &[]).await.texts;
        lines.extend(targets.iter().map(|key| line(key, &shared, SecretForm::Crc32)));
        Rows {
            new: texts.split_off(KNOWN),
            known: texts,
            targets,
            lines,
        }
    })
}

fn line(key: &str, hash: &str, form: SecretForm) -> String {
    format!("{} {hash} {}", lookup(key).as_str(), form.as_str())
}

fn lookup(key: &str) -> Lookup {
    let body = key.rfind('_').expect("a prefix") + 1;
    Lookup::new(&key[body..body + 12]).expect("a lookup")
}
