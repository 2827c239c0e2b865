//! A copied database is production until it is adopted: then it has its own identity, secrets and operators.

use std::error::Error;

use tower_api_key::audit::{AuditAction, Caller};
use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, Metadata, Organization, RealmId, SecretPurpose, SecretState};
use tower_api_key::secrets::{RootKey, RootKeys};
use tower_api_key::store::query::{AuditEvents, AuditRows, OneUser, ServerSecretRecords, TheRealm};
use tower_api_key::store::{DynStore, StoreErrorKind};
use tower_api_key::{
    Adopt, ApiKeys, ApiKeysBuilder, IssueRequest, IssuedKey, PresentedKey, RejectionKind, UserRequest,
};

use crate::support::stores::Database;

fn root(byte: u8) -> RootKey {
    RootKey::new(&[byte; 32]).unwrap()
}

/// Production, with a key of the operator and one of a customer; and a copy of its database.
struct Copied {
    database: Database,
    copy: Database,
    production: ApiKeys,
    operators: IssuedKey,
    customers: IssuedKey,
}

impl Copied {
    async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in Database::shared() {
            all.push(Self::of(database).await);
        }
        all
    }

    async fn of(database: Database) -> Self {
        let production = builder(&database, Some(root(1).into())).await;
        let production = production.open().await.unwrap();
        let host = production.issuer().acting_as(Actor::operator("alice"));
        let operator = host.create_organization("operator").await.unwrap();
        let mark = |row: &mut Organization| row.is_operator = true;
        host.update_organization(operator.id, mark).await.unwrap();
        let acme = host.create_organization("acme").await.unwrap();
        let scopes = "api-keys.keys:write".parse().unwrap();
        let operators = host
            .issue(IssueRequest::new(operator.id, "root").scopes(scopes))
            .await
            .unwrap();
        let customers = host.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
        Self {
            copy: database.copy().await,
            database,
            production,
            operators,
            customers,
        }
    }

    async fn copy(&self, root: Option<RootKeys>) -> ApiKeysBuilder<DynStore> {
        builder(&self.copy, root).await
    }
}

async fn builder(database: &Database, root: Option<RootKeys>) -> ApiKeysBuilder<DynStore> {
    let builder = ApiKeys::builder(database.open().await).hash_policy(HashPolicy::sha256());
    match root {
        Some(root) => builder.root_keys(root),
        None => builder,
    }
}

async fn check(keys: &ApiKeys, issued: &IssuedKey) -> Result<(), RejectionKind> {
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    let checked = keys.authenticator().check(key).await;
    checked.map(drop).map_err(|rejection| rejection.kind())
}

async fn realm(keys: &ApiKeys) -> RealmId {
    keys.read(TheRealm).await.unwrap().id
}

#[tokio::test]
async fn copy_with_another_root_key_is_refused_and_told_to_adopt() {
    for copied in Copied::each().await {
        for root_key in [None, Some(root(2).into())] {
            let error = copied.copy(root_key).await.open().await.map(drop).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unusable);
            let said = error.source().unwrap().to_string();
            assert!(said.contains("ApiKeysBuilder::adopt"), "{said}");
        }
        assert_eq!(check(&copied.production, &copied.operators).await, Ok(()));
    }
}

#[tokio::test]
async fn adopted_copy_admits_customers_and_no_operator() {
    for copied in Copied::each().await {
        let roots = || RootKeys::from(root(2)).former(root(1));
        let keys = copied.copy(Some(roots())).await.adopt(Adopt::new()).await.unwrap();
        assert_eq!(check(&keys, &copied.customers).await, Ok(()));
        assert_eq!(check(&keys, &copied.operators).await, Err(RejectionKind::KeyRevoked));
        assert_ne!(realm(&keys).await, realm(&copied.production).await);

        // Its own secrets make its keys, which production does not take for its own.
        let secrets = keys
            .read(ServerSecretRecords::of(SecretPurpose::CHECKSUM))
            .await
            .unwrap();
        let states: Vec<SecretState> = secrets.iter().map(|row| row.state).collect();
        assert_eq!(states, [SecretState::Retired, SecretState::Active]);
        let host = keys.issuer().acting_as(Actor::operator("bob"));
        let acme = copied.customers.record.organization_id;
        let new = host.issue(IssueRequest::new(acme, "new")).await.unwrap();
        assert_eq!(check(&keys, &new).await, Ok(()));
        assert!(check(&copied.production, &new).await.is_err());

        let events = keys
            .read(AuditEvents::of(uuid::Uuid::nil().into()).page(100))
            .await
            .unwrap()
            .items;
        let adopted = events
            .iter()
            .filter(|entry| entry.event.action == AuditAction::REALM_ADOPTED);
        assert_eq!(adopted.count(), 1);
        keys.audit().verify(&Default::default()).await.unwrap();

        // Production goes on as before, and the copy opens without its root key.
        assert_eq!(check(&copied.production, &copied.operators).await, Ok(()));
        drop((keys, host));
        let keys = copied.copy(Some(root(2).into())).await.open().await.unwrap();
        assert_eq!(check(&keys, &copied.customers).await, Ok(()));
    }
}

#[tokio::test]
async fn all_keys_are_revoked_when_asked() {
    for copied in Copied::each().await {
        let adopt = Adopt::new().revoke_all_keys().forget_origins();
        let keys = copied.copy(Some(root(1).into())).await.adopt(adopt).await.unwrap();
        for key in [&copied.operators, &copied.customers] {
            assert_eq!(check(&keys, key).await, Err(RejectionKind::KeyRevoked));
        }
    }
}

/// Who has the copy, with its secrets, makes no event of the other database's trail.
#[tokio::test]
async fn adopted_copy_has_an_audit_secret_of_its_own() {
    for copied in Copied::each().await {
        let audit = ServerSecretRecords::of(SecretPurpose::AUDIT);
        let [was] = &copied.production.read(audit.clone()).await.unwrap()[..] else {
            panic!("one secret");
        };
        let roots = || RootKeys::from(root(2)).former(root(1));
        let keys = copied.copy(Some(roots())).await.adopt(Adopt::new()).await.unwrap();
        let own = keys.read(audit.clone()).await.unwrap();
        let of = |id: &str| own.iter().find(|row| row.id == id).map(|row| row.state);
        assert_eq!((own.len(), of(&was.id)), (2, Some(SecretState::Retired)));
        let new = own.iter().find(|row| row.id != was.id).unwrap();
        assert_eq!(new.state, SecretState::Active);

        // The events from before verify under the old one, those since under the new one.
        let host = keys.issuer().acting_as(Actor::operator("bob"));
        let acme = copied.customers.record.organization_id;
        let before = copied.production.read(AuditRows::after(acme, 0)).await.unwrap().len();
        let _key = host.issue(IssueRequest::new(acme, "new")).await.unwrap();
        let verified = keys.audit().verify(&Default::default()).await.unwrap();
        let rows = keys.read(AuditRows::after(acme, 0)).await.unwrap();
        assert!(rows.len() > before && verified.entries > rows.len() as u64);
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(row.payload.contains(&new.id), index >= before, "{}", row.payload);
        }

        // So it does without the other root key, and after a second adoption.
        drop((keys, host));
        let keys = copied
            .copy(Some(root(2).into()))
            .await
            .adopt(Adopt::new())
            .await
            .unwrap();
        assert_eq!(keys.read(audit).await.unwrap().len(), 3);
        let host = keys.issuer().acting_as(Actor::operator("carol"));
        let _key = host.issue(IssueRequest::new(acme, "newer")).await.unwrap();
        keys.audit().verify(&Default::default()).await.unwrap();
        assert_eq!(check(&keys, &copied.customers).await, Ok(()));
    }
}

/// Of a copy for tests, nobody needs to know whose the keys are.
#[tokio::test]
async fn persons_of_a_copy_are_forgotten_when_asked() {
    for mut copied in Copied::each().await {
        let host = copied.production.issuer();
        let caller = Caller::new(Actor::operator("alice")).address("192.0.2.7".parse().unwrap());
        let host = host.acting_as(caller.name("Alice Adams-Heron"));
        let acme = copied.customers.record.organization_id;
        let mut metadata = Metadata::default();
        metadata.set("owner", "metadata-heron").unwrap();
        let contact = |row: &mut Organization| {
            (row.email, row.metadata) = (Some("email-heron@acme.example".into()), metadata.clone());
        };
        host.update_organization(acme, contact).await.unwrap();
        let bob = UserRequest::new(acme, "u-17".parse().unwrap()).name("Bob Brown-Heron");
        let bob = bob.email("bob-heron@acme.example").metadata(metadata.clone());
        let bob = host.create_user(bob).await.unwrap();
        let request = IssueRequest::new(acme, "orders")
            .user(bob.id.clone())
            .metadata(metadata.clone());
        let key = host.issue(request).await.unwrap();
        host.disable_user(acme, &bob.id, "left").await.unwrap();
        copied.copy = copied.database.copy().await;

        let roots = RootKeys::from(root(2)).former(root(1));
        let adopt = Adopt::new().forget_persons();
        let keys = copied.copy(Some(roots)).await.adopt(adopt).await.unwrap();
        let user = keys.read(OneUser(acme, bob.id)).await.unwrap().unwrap();
        assert_eq!(
            (user.name, user.email, user.metadata),
            (None, None, Metadata::default())
        );
        // What stopped the user still does.
        assert_eq!(check(&keys, &key).await, Err(RejectionKind::UserDisabled));
        assert_eq!(check(&keys, &copied.customers).await, Ok(()));
        let verified = keys.audit().verify(&Default::default()).await.unwrap();
        assert!(verified.forgotten > 0);
        drop(keys);
        if !copied.copy.is_postgres() {
            let vacuum = "PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)";
            copied.copy.by_hand(vacuum, &[]).await;
        }
        let contents = copied.copy.contents();
        let text = String::from_utf8_lossy(&contents).to_lowercase();
        for gone in ["heron", "192.0.2.7"] {
            assert!(!text.contains(gone), "{gone}");
        }
        assert!(text.contains("u-17"));
    }
}

#[tokio::test]
async fn copy_adopted_without_its_root_key_loses_its_secrets() {
    for copied in Copied::each().await {
        let keys = copied.copy(None).await.adopt(Adopt::new()).await.unwrap();
        assert!(check(&keys, &copied.customers).await.is_err());
        assert!(check(&keys, &copied.operators).await.is_err());
        let host = keys.issuer().acting_as(Actor::operator("bob"));
        let acme = copied.customers.record.organization_id;
        let new = host.issue(IssueRequest::new(acme, "new")).await.unwrap();
        assert_eq!(check(&keys, &new).await, Ok(()));
    }
}

/// A dump or a copy has no secret of the servers.
#[tokio::test]
async fn no_secret_of_the_servers_is_stored_under_a_root_key() {
    use tower_api_key::store::Commit;

    for database in Database::shared() {
        // First without a root key, as an older service: then they are plain, and that is how they are known here.
        let keys = builder(&database, None).await.open().await.unwrap();
        keys.read(tower_api_key::store::query::Keys::default().page(1))
            .await
            .unwrap();
        let rows = keys.read(ServerSecretRecords::all()).await.unwrap();
        let plain: Vec<Vec<u8>> = rows.iter().map(|row| row.value.expose_secret().to_vec()).collect();
        assert_eq!(plain.len(), 2, "of checksums and of cursors");
        assert!(plain.iter().all(|secret| database.has(secret)));
        drop(keys);
        let keys = builder(&database, Some(root(7).into())).await.open().await.unwrap();
        let host = keys.issuer().acting_as(Actor::operator("alice"));
        let acme = host.create_organization("acme").await.unwrap();
        let issued = host.issue(IssueRequest::new(acme.id, "orders")).await.unwrap();
        host.revoke(issued.record.id, "").await.unwrap();
        host.commit(Commit::new()).await.unwrap();
        let rows = keys.read(ServerSecretRecords::all()).await.unwrap();
        assert_eq!(rows.len(), 3, "and of the audit trail");
        assert!(rows.iter().all(|row| row.sealed_by.is_some()));
        // What is in the log of before goes with the next checkpoint.
        if !database.is_postgres() {
            database.by_hand("PRAGMA wal_checkpoint(TRUNCATE)", &[]).await;
        }
        assert!(plain.iter().all(|secret| !database.has(secret)));
        assert!(!database.has(&[7; 32]), "the root key");
        assert!(!database.has(issued.key.expose_secret().as_bytes()), "a key");
    }
}
