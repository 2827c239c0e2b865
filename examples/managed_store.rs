//! A managed store of your own, as small as can be: all rows in memory, and the rules of writes in the helpers of `store`.
//!
//! `cargo run --example managed_store --features testing`. It issues a key, checks it, and revokes it. `cargo test --example
//! managed_store --features testing` runs the conformance kit over it. With a database in place of the maps it becomes `examples/redb`.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use tower_api_key::hash::HashPolicy;
use tower_api_key::key::{Actor, KeyId, Lookup, Organization, OrganizationId};
use tower_api_key::store::StoreErrorKind::{AlreadyExists, Conflict, InvalidRecord, NotFound, Unsupported};
use tower_api_key::store::query::{Answer, Count, Query};
use tower_api_key::store::{
    AuditLog, Candidate, Change, Commit, Committed, IdempotencyRows, KeyStore, ManagedStore, SharedRows, Sharing,
    StoreError, StoreErrorKind, StoredKey, UseRows, Write, replace_organization,
};
use tower_api_key::{ApiKeys, Fence, IssueRequest, PresentedKey, RejectionKind};

/// All rows.
#[derive(Clone, Default)]
struct Rows {
    organizations: BTreeMap<OrganizationId, Organization>,
    keys: BTreeMap<KeyId, StoredKey>,
    shared: SharedRows,
    audit: AuditLog,
    uses: UseRows,
    idempotency: IdempotencyRows,
}

/// Keys in memory. Readers have the rows of one point in time, and a commit that fails leaves no trace: it is made in a copy.
#[derive(Clone)]
struct Keys {
    rows: Arc<Mutex<Arc<Rows>>>,
    fence: Fence,
}

impl Keys {
    fn new() -> Self {
        Self {
            rows: Arc::default(),
            fence: Fence::new(),
        }
    }

    fn rows(&self) -> Arc<Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KeyStore for Keys {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let rows = self.rows();
        let Some(key) = rows.owner(lookup).and_then(|id| rows.keys.get(&id)) else {
            return Ok(None);
        };
        let organization = rows.organizations.get(&key.record.organization_id);
        let candidate = key.candidate(lookup, organization.ok_or(InvalidRecord)?);
        Ok(candidate.map(|candidate| rows.shared.complete(candidate)))
    }

    fn fence(&self) -> Option<&Fence> {
        Some(&self.fence)
    }

    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }
}

impl ManagedStore for Keys {
    /// Without an await, so that no caller that goes away can stop it half-way.
    async fn commit(&self, mut commit: Commit) -> Result<Committed, StoreError> {
        commit.check()?;
        let mut current = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Rows::clone(&current);
        commit.check_guards(|guard| Ok::<_, StoreError>(rows.shared.holds(guard, &rows.organizations, &rows.keys)))?;
        let mut changes = Vec::new();
        for write in std::mem::take(&mut commit.writes) {
            changes.extend(rows.write(write)?);
        }
        commit.check_outcome(|guard| Ok::<_, StoreError>(rows.shared.holds(guard, &rows.organizations, &rows.keys)))?;
        let events = rows.audit.link(&commit);
        *current = Arc::new(rows);
        drop(current);
        // Everyone can read it now, and `commit` has not returned yet.
        self.fence.announce(&changes);
        tower_api_key::audit::emit(&events);
        Ok(Committed::new(changes))
    }

    async fn read(&self, query: Query) -> Result<Answer, StoreError> {
        let rows = self.rows();
        let (organizations, keys) = (&rows.organizations, &rows.keys);
        let organization = |is_it: &dyn Fn(&Organization) -> bool| {
            let found = organizations.values().find(|row| is_it(row));
            Answer::Organization(found.cloned())
        };
        Ok(match query {
            Query::Organization(id) => Answer::Organization(organizations.get(&id).cloned()),
            Query::OrganizationBySlug(slug) => organization(&|row| row.slug == slug),
            Query::OrganizationByEmail(address) => organization(&|row| row.has_email(&address)),
            Query::Organizations(filter, page) => Answer::Organizations(page.cut(&filter, organizations.values())?),
            Query::CountOrganizations(filter) => Answer::Count(Count::of_rows(&filter, organizations.values())),
            Query::Key(id) => Answer::Key(keys.get(&id).cloned()),
            Query::KeyByHash(hash) => Answer::Key(keys.values().find(|key| key.has_hash(&hash)).cloned()),
            Query::EndedKeys(ended) => Answer::KeyRecords(ended.among(keys.values())),
            Query::Keys(filter, page) => Answer::Keys(page.cut(&filter, keys.values())?),
            Query::DescendantsOf(of) => Answer::KeyRecords(of.among(keys.values())),
            Query::CountKeys(filter) => Answer::Count(Count::of_rows(&filter, keys.values())),
            Query::CountKeysOfForm { form, at } => Answer::Count(Count::of_form(keys.values(), form, at)),
            query if query.is_of_use() => rows.uses.read(query, keys)?,
            query if query.is_of_idempotency() => rows.idempotency.read(query)?,
            query if query.is_of_audit() => rows.audit.read(query)?,
            query => rows.shared.read(query)?,
        })
    }
}

impl Rows {
    fn owner(&self, lookup: &Lookup) -> Option<KeyId> {
        let mut keys = self.keys.values();
        let owner = keys.find(|key| key.secret(lookup).is_some());
        owner.map(|key| key.record.id)
    }

    /// What the write changes; `None` for a secret, whose key the same commit writes, and for the audit trail and uses.
    fn write(&mut self, write: Write) -> Result<Option<Change>, StoreErrorKind> {
        Ok(Some(match write {
            Write::InsertOrganization(row) => {
                check(!self.organizations.contains_key(&row.id), AlreadyExists)?;
                self.shared.check_organization(&row, &self.organizations)?;
                let change = Change::new(row.id, row.revision);
                self.organizations.insert(row.id, row);
                change
            }
            Write::UpdateOrganization(row) => {
                self.shared.check_organization(&row, &self.organizations)?;
                let stored = self.organizations.get_mut(&row.id).ok_or(NotFound)?;
                replace_organization(stored, row)?
            }
            Write::DeleteOrganization(id) => {
                let row = self.organizations.remove(&id).ok_or(NotFound)?;
                let has_keys = self.keys.values().any(|key| key.record.organization_id == id);
                check(!has_keys && !self.shared.has_users(id), Conflict)?;
                self.idempotency.delete_of(id);
                Change::new(id, row.revision + 1)
            }
            Write::InsertKey(row) => {
                check(self.organizations.contains_key(&row.organization_id), NotFound)?;
                check(!self.keys.contains_key(&row.id), AlreadyExists)?;
                let change = Change::new(row.id, row.revision);
                self.keys.insert(row.id, StoredKey::new(row, Vec::new()));
                change
            }
            Write::UpdateKey(row) => self.keys.get_mut(&row.id).ok_or(NotFound)?.replace_record(row)?,
            Write::SetKeyState(change) => self.keys.get_mut(&change.key).ok_or(NotFound)?.set_state(change)?,
            Write::DeleteKey(id) => {
                let key = self.keys.remove(&id).ok_or(NotFound)?;
                self.uses.keep(id, None);
                Change::new(id, key.record.revision + 1)
            }
            write if write.is_shared() => self.shared.write(write, &self.organizations, &self.keys)?,
            write if write.is_of_idempotency() => {
                self.idempotency.write(&write)?;
                return Ok(None);
            }
            // Persons are forgotten in all three.
            write if write.is_of_audit() || write.is_of_use() => {
                self.uses.write(&write, &self.keys)?;
                if matches!(write, Write::ForgetPersonal(_)) {
                    self.idempotency.write(&write)?;
                }
                if write.is_of_audit() {
                    self.audit.write(&write, &self.keys)?;
                }
                return Ok(None);
            }
            write => {
                self.write_secret(write)?;
                return Ok(None);
            }
        }))
    }

    fn write_secret(&mut self, write: Write) -> Result<(), StoreErrorKind> {
        let id = match &write {
            Write::InsertSecret(_, secret) if self.owner(&secret.lookup).is_some() => return Err(AlreadyExists),
            Write::ReplaceHash { lookup, .. } => self.owner(lookup).ok_or(Conflict)?,
            // An unknown write is not made.
            write => write.key().ok_or(Unsupported)?,
        };
        let key = self.keys.get_mut(&id).ok_or(NotFound)?;
        key.write_secret(write)?;
        self.uses.keep(id, Some(key));
        Ok(())
    }
}

fn check(holds: bool, otherwise: StoreErrorKind) -> Result<(), StoreErrorKind> {
    holds.then_some(()).ok_or(otherwise)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let keys = ApiKeys::builder(Keys::new())
        .hash_policy(HashPolicy::sha256())
        .open()
        .await?;
    let issuer = keys.issuer().acting_as(Actor::operator("root"));
    let acme = issuer.create_organization("acme").await?;
    let issued = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;

    let authenticator = keys.authenticator();
    let presented = || PresentedKey::new(issued.key.expose_secret().as_bytes());
    let context = authenticator.check(presented()).await?;
    println!("{} of {}", context.name(), context.organization().name);

    issuer.revoke(issued.record.id, "the example ends").await?;
    match authenticator.check(presented()).await {
        Ok(_) => Err("a revoked key passes".into()),
        Err(refused) => {
            println!("{refused}");
            assert_eq!(refused.kind(), RejectionKind::KeyRevoked);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, main};

    #[test]
    fn example_runs() {
        main().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn managed_store_conforms() {
        tower_api_key::testing::store_conformance(async || Keys::new()).await;
    }
}
