//! Short forms of commits that write one row.

use std::future::Future;

use tower_api_key::key::{KeyId, KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
use tower_api_key::store::{Commit, ManagedStore, StoreError, StoreExt, StoredKey, Write};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_123);

pub(crate) async fn organization(store: &impl ManagedStore) -> Organization {
    let organization = Organization::new("Acme");
    store.insert_organization(organization.clone()).await.unwrap();
    organization
}

pub(crate) fn new_key(organization: &Organization) -> StoredKey {
    let record = KeyRecord::new(organization.id, "orders", NOW);
    let lookup = Lookup::new(&record.id.as_uuid().simple().to_string()).unwrap();
    let secret = KeySecret::new(lookup, SecretHash::new("sha256:00").unwrap(), NOW);
    StoredKey::new(record, vec![secret])
}

pub(crate) async fn insert(store: &impl ManagedStore, key: &StoredKey) -> Result<(), StoreError> {
    store.insert_key(key.record.clone(), key.secrets[0].clone()).await
}

pub(crate) trait Rows: ManagedStore {
    fn insert_organization(&self, organization: Organization) -> impl Future<Output = Result<(), StoreError>> + Send {
        let commit = self.commit(Commit::new().write(Write::InsertOrganization(organization)));
        async { commit.await.map(drop) }
    }

    fn insert_key(&self, record: KeyRecord, secret: KeySecret) -> impl Future<Output = Result<(), StoreError>> + Send {
        let id = record.id;
        let commit = Commit::new()
            .write(Write::InsertKey(record))
            .write(Write::InsertSecret(id, secret));
        let commit = self.commit(commit);
        async { commit.await.map(drop) }
    }

    fn key(&self, id: KeyId) -> impl Future<Output = Result<Option<StoredKey>, StoreError>> + Send {
        self.get(id)
    }

    /// Writes the record, and replaces the key's secrets.
    fn update_key(&self, key: StoredKey) -> impl Future<Output = Result<KeyRecord, StoreError>> + Send {
        async move {
            let StoredKey {
                mut record, secrets, ..
            } = key;
            let id = record.id;
            let before = self.get(id).await?.map_or_else(Vec::new, |stored| stored.secrets);
            let mut commit = Commit::new().write(Write::UpdateKey(record.clone()));
            let gone = before
                .iter()
                .filter(|old| secrets.iter().all(|new| new.lookup != old.lookup));
            commit.writes.extend(gone.map(|old| Write::DeleteSecret {
                key: id,
                lookup: old.lookup.clone(),
            }));
            for new in secrets {
                match before.iter().find(|old| old.lookup == new.lookup) {
                    Some(old) => commit.writes.extend(changes(id, old, &new)),
                    None => commit.writes.push(Write::InsertSecret(id, new)),
                }
            }
            let committed = self.commit(commit).await?;
            record.revision = committed.revision_of(id).unwrap();
            Ok(record)
        }
    }
}

impl<S: ManagedStore> Rows for S {}

fn changes(key: KeyId, old: &KeySecret, new: &KeySecret) -> Vec<Write> {
    let mut writes = vec![Write::UpdateSecret {
        key,
        lookup: new.lookup.clone(),
        expires_at: new.expires_at,
        grace_ends_at: new.grace_ends_at,
    }];
    if old.hash != new.hash {
        writes.push(Write::ReplaceHash {
            lookup: new.lookup.clone(),
            old: old.hash.clone(),
            new: new.hash.clone(),
        });
    }
    writes
}
