//! A store that is copied into another one, between SQLite and PostgreSQL: nothing is lost, and nothing half-copied answers.

mod cut_off;
mod damage;
mod life;
mod targets;
mod unchanging;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use tower_api_key::audit::Caller;
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{
    Actor, KnownScope, Labels, Networks, Organization, Plan, RateLimit, Role, RoleNames, Scope, UserId,
};
use tower_api_key::secrets::RootKey;
use tower_api_key::store::{ManagedStore, PostgresStore, SqliteStore, StoreError};
use tower_api_key::{ApiKeys, AuditAnchors, IfUsed, IssueRequest, IssuedKey, OnceIssued, PresentedKey, UserRequest};

use crate::support::postgres::{psql, schema_name, shared};

/// A folder for files, and schemas of the shared server.
struct Places(tempfile::TempDir);

impl Places {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn sqlite(&self, name: &str) -> SqliteStore {
        SqliteStore::open(self.file(name)).await.unwrap()
    }

    async fn sqlite_target(&self, name: &str) -> SqliteStore {
        let builder = SqliteStore::builder().copy_target();
        builder.open(self.file(name)).await.unwrap()
    }
}

async fn postgres(schema: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::builder().schema(schema).open(&shared()).await
}

async fn postgres_target(schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder().schema(schema).copy_target();
    builder.open(&shared()).await.unwrap()
}

async fn handle<S: ManagedStore + Clone>(store: S, has_root_key: bool) -> ApiKeys<S> {
    let mut builder = ApiKeys::builder(store).hash_policy(HashPolicy::sha256());
    if has_root_key {
        builder = builder.root_keys(RootKey::new(&[7; 32]).unwrap());
    }
    builder.open().await.unwrap()
}

/// What a handle says about a key.
async fn verdict<S: ManagedStore + Clone>(keys: &ApiKeys<S>, key: &str) -> String {
    let address = "192.0.2.9".parse().unwrap();
    let presented = PresentedKey::new(key.as_bytes()).client_address(Some(address));
    match keys.authenticator().check(presented).await {
        Ok(context) => format!("{:?} {:?}", context.key_id(), context.scopes()),
        Err(rejection) => format!("{:?}", rejection.kind()),
    }
}

/// Keys, with what is said about them.
type Verdicts = Vec<(String, String)>;

async fn verdicts<S: ManagedStore + Clone>(keys: &ApiKeys<S>, of: &Verdicts) -> Verdicts {
    let mut found = Vec::new();
    for (key, _) in of {
        found.push((key.clone(), verdict(keys, key).await));
    }
    found
}

/// A store with something in every table; its keys, and the ends of its chains.
async fn live<S: ManagedStore + Clone>(store: S, has_root_key: bool) -> (Verdicts, AuditAnchors) {
    let keys = handle(store, has_root_key).await;
    let alice = Caller::new(Actor::user("alice"))
        .name("Alice")
        .address("192.0.2.7".parse().unwrap());
    let issuer = keys.issuer().acting_as(alice);
    issuer
        .create_role(Role::new("reader", "orders:read".parse().unwrap()))
        .await
        .unwrap();
    let mut plan = Plan::new("small");
    plan.key_limits = vec![RateLimit::per_minute("requests", 1000).unwrap()];
    let plan = issuer.create_plan(plan).await.unwrap();
    let acme = issuer.create_organization("Acme").await.unwrap();
    let change = |row: &mut Organization| {
        row.plan = Some(plan.id);
        row.email = Some("Ops@Acme.example".to_owned());
        row.policy.longest_life = Some(Duration::from_secs(1_000_000));
        row.metadata.set("größe", "\"a\" \\ b: c, d ").unwrap();
    };
    let acme = issuer.update_organization(acme.id, change).await.unwrap();
    let off = issuer.create_organization("Off").await.unwrap();
    let mut issued: Vec<IssuedKey> = Vec::new();
    let request = |name: &str| IssueRequest::new(acme.id, name);
    issued.push(
        issuer
            .issue(request("plain").scopes("orders:write".parse().unwrap()))
            .await
            .unwrap(),
    );
    let user: UserId = "bob".parse().unwrap();
    issuer
        .create_user(
            UserRequest::new(acme.id, user.clone())
                .name("Bob")
                .email("bob@example.com"),
        )
        .await
        .unwrap();
    let of_user = request("of a user")
        .user(user.clone())
        .roles(RoleNames::new(["reader"]).unwrap())
        .labels(Labels::new(["blue", "green"]).unwrap())
        .networks("192.0.2.0/24".parse::<Networks>().unwrap())
        .expires_in(Duration::from_secs(5000));
    issued.push(issuer.issue(of_user).await.unwrap());
    issued.push(issuer.issue(IssueRequest::new(off.id, "off")).await.unwrap());
    let once = issuer.issue_once(request("once"), &"once".parse().unwrap()).await;
    assert!(matches!(once, Ok(OnceIssued::Made(_))));
    for name in [
        "revoked",
        "disabled",
        "of a disabled user",
        "canary",
        "rotated",
        "taken back",
    ] {
        let mut request = request(name)
            .created_by_key(issued[0].record.id)
            .scopes("orders:write".parse().unwrap());
        if name == "canary" {
            request = request.canary();
        }
        if name == "of a disabled user" {
            request = request.user("carol".parse().unwrap());
        }
        issued.push(issuer.issue(request).await.unwrap());
    }
    let mut texts: Vec<String> = issued.iter().map(|key| key.key.expose_secret().to_owned()).collect();
    for text in &texts {
        verdict(&keys, text).await;
    }
    verdict(&keys, "nothing like a key").await;
    let scope: Scope = "orders:write".parse().unwrap();
    let needing_a_scope = PresentedKey::new(texts[0].as_bytes()).require_scope(&scope);
    keys.authenticator().check(needing_a_scope).await.unwrap();
    let id = |index: usize| issued[index].record.id;
    issuer.deactivate_organization(off.id, "unpaid").await.unwrap();
    issuer.revoke(id(3), "lost").await.unwrap();
    issuer.disable(id(4)).await.unwrap();
    issuer
        .disable_user(acme.id, &"carol".parse().unwrap(), "left")
        .await
        .unwrap();
    let day = Duration::from_secs(86_400);
    texts.push(issuer.rotate(id(7), day).await.unwrap().key.expose_secret().to_owned());
    texts.push(issuer.rotate(id(8), day).await.unwrap().key.expose_secret().to_owned());
    issuer.take_back(id(8), IfUsed::Refuse).await.unwrap();
    issuer.rotate_checksum_secret().await.unwrap();
    let scope: Scope = "orders:*".parse().unwrap();
    issuer
        .create_scope(KnownScope::new(scope, "all of orders"))
        .await
        .unwrap();
    keys.flush().await.unwrap();
    let unknown = texts.iter().map(|text| (text.clone(), String::new())).collect();
    let found = verdicts(&keys, &unknown).await;
    keys.flush().await.unwrap();
    let mut anchors = AuditAnchors::default();
    keys.audit().anchor(&mut anchors).await.unwrap();
    (found, anchors)
}

/// Everything in a file that a copy has too, a line for each row. Lists and maps are written anew.
fn rows(path: &Path) -> Vec<String> {
    const OWN: [&str; 3] = ["api_keys_key_changes", "api_keys_leases", "api_keys_schema_migrations"];
    let by_hand = Connection::open(path).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'api_keys_%' ORDER BY name";
    let mut tables = by_hand.prepare(tables).unwrap();
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut all = Vec::new();
    for table in tables.iter().filter(|table| !OWN.contains(&&***table)) {
        let mut found: Vec<String> = Vec::new();
        let mut statement = by_hand.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names: Vec<String> = (0..statement.column_count())
            .map(|index| statement.column_name(index).unwrap().to_owned())
            .collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = names.iter().enumerate().map(|(index, name)| {
                let value = match row.get::<_, Value>(index).unwrap() {
                    Value::Text(text) if text.starts_with(['[', '{']) => {
                        match serde_json::from_str::<serde_json::Value>(&text) {
                            Ok(json) => json.to_string(),
                            Err(_) => text,
                        }
                    }
                    value => format!("{value:?}"),
                };
                format!("{name}={value}")
            });
            found.push(format!("{table} {}", values.collect::<Vec<_>>().join(" ")));
        }
        found.sort();
        all.extend(found);
    }
    all
}

/// Every table that is copied has something, so that one that is forgotten is missed.
fn is_full(rows: &[String]) {
    for table in [
        "audit_events",
        "audit_personal",
        "idempotency",
        "key_labels",
        "key_networks",
        "key_secrets",
        "key_use",
        "keys",
        "organization_state",
        "organizations",
        "plans",
        "realm",
        "refusal_counts",
        "refusals",
        "roles",
        "scope_use",
        "scopes",
        "server_secrets",
        "usage_sources",
        "users",
    ] {
        assert!(
            rows.iter().any(|row| row.starts_with(&format!("api_keys_{table} "))),
            "{table}"
        );
    }
}

/// An error with all its causes.
fn text(error: &dyn Error) -> String {
    let links = std::iter::successors(Some(error), |&error| error.source());
    links.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Statements in a schema of the shared server.
fn by_hand(schema: &str, statements: &str) -> String {
    psql(&shared(), &statements.replace("{s}", &format!("{schema}.")))
}
