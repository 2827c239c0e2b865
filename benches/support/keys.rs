//! Keys to send, and a store that has them.

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Checksum, KeyFormat, RateLimit};
use tower_api_key::store::{ManagedStore, MemoryStore};
use tower_api_key::{ApiKeys, IssueRequest, Issuer};

use super::text::{base62, with_checksum};

pub struct Keys {
    pub store: MemoryStore,
    pub texts: Vec<String>,
}

/// A limit that is charged but never exhausted.
pub fn wide_limit() -> RateLimit {
    RateLimit::per_second("requests", 100_000_000).expect("a valid limit")
}

/// Keys of one organization in a memory store, hashed with SHA-256.
pub async fn issue(count: usize, limits: &[RateLimit]) -> Keys {
    let store = MemoryStore::new();
    let texts = issue_into(&store, count, limits).await;
    Keys { store, texts }
}

/// The default format with a checksum that the baseline can verify and attackers can make.
pub fn format() -> KeyFormat {
    let settings = KeyFormat::builder("key").checksum(Checksum::Crc32);
    settings.build().expect("a valid format")
}

/// An issuer that hashes keys with SHA-256.
pub fn issuer<S: ManagedStore + Clone>(store: &S) -> Issuer<S> {
    let settings = ApiKeys::builder(store.clone()).hash_policy(HashPolicy::sha256());
    settings
        .formats(format())
        .checking()
        .issuer()
        .acting_as(Actor::service())
}

/// Issues keys in this store. Returns their texts.
pub async fn issue_into<S: ManagedStore + Clone>(store: &S, count: usize, limits: &[RateLimit]) -> Vec<String> {
    let issuer = issuer(store);
    let organization = issuer.create_organization("acme").await.expect("an organization");
    let scopes: tower_api_key::key::ScopeSet = "orders:read orders:write invoices:read".parse().expect("valid scopes");
    let mut texts = Vec::with_capacity(count);
    for number in 0..count {
        let mut request = IssueRequest::new(organization.id, format!("key {number}")).scopes(scopes.clone());
        for limit in limits {
            request = request.limit(limit.clone());
        }
        let issued = issuer.issue(request).await.expect("a key");
        texts.push(issued.key.expose_secret().to_owned());
    }
    texts
}

/// The same key with another secret and a right checksum, as an attacker would send who knows the lookup.
pub fn with_wrong_secret(key: &str, salt: u64) -> String {
    let head = key.rfind('_').expect("a key with a prefix") + 1;
    let kept = &key[..head + 12 + 22];
    with_checksum(&format!("{kept}{}", base62(salt, 10)))
}

/// The same key with another secret and the same keyed checksum, which is wrong for it.
pub fn with_forged_secret(key: &str, salt: u64) -> String {
    let (front, back) = key.split_at(key.rfind('_').expect("a key with a prefix") + 1 + 12 + 22);
    format!("{front}{}{}", base62(salt, 10), &back[10..])
}

/// A key of that format that no store has.
pub fn unknown() -> String {
    with_checksum(&format!("key_live_unknown{}", base62(rand::random(), 37)))
}
