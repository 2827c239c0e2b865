//! The rows that a commit locks before it looks at any, so that what its guards find holds until it is made.
//!
//! All commits lock in one order: chains of the audit trail by ascending id (the nil id is the system's, and first), organizations,
//! plans, roles, keys. So none waits for one that waits for it. What is changed by hand may be in another order; then the database
//! ends one of the two, and the commit is made anew.

use std::collections::BTreeSet;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::session::Session;
use crate::store::sql::Dialect;
use crate::store::{Commit, Guard, StoreError, Write};

/// The statements that lock.
pub(super) struct Locks {
    new_chains: Box<str>,
    chains: Box<str>,
    system: Box<str>,
    organizations: Box<str>,
    plans: Box<str>,
    roles: Box<str>,
    keys: Box<str>,
}

impl Locks {
    pub(super) fn of(dialect: &Dialect) -> Self {
        let text = |text: &str| Box::from(dialect.render(text).text());
        let rows = |table: &str, id: &str, lock: &str| {
            text(&format!(
                "SELECT 1 FROM {{s}}{table} WHERE {id} = ANY(?1) ORDER BY {id} FOR {lock}"
            ))
        };
        Self {
            new_chains: text(
                "INSERT INTO {s}organization_state (organization_id, audit_seq, audit_hash, pruned_seq, pruned_hash) \
                 SELECT id, 0, pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex'), 0, \
                 pg_catalog.decode(pg_catalog.repeat('00', 32), 'hex') FROM pg_catalog.unnest(?1::uuid[]) id ORDER BY id \
                 ON CONFLICT (organization_id) DO NOTHING",
            ),
            chains: rows("organization_state", "organization_id", "UPDATE"),
            system: rows("organization_state", "organization_id", "SHARE"),
            // An insert of a key locks its organization as well, less strictly.
            organizations: rows("organizations", "id", "NO KEY UPDATE"),
            plans: rows("plans", "id", "SHARE"),
            roles: rows("roles", "name", "SHARE"),
            keys: rows("keys", "id", "NO KEY UPDATE"),
        }
    }
}

#[cfg(test)]
impl Locks {
    pub(super) fn texts(&self) -> Vec<String> {
        let Self {
            new_chains,
            chains,
            system,
            organizations,
            plans,
            roles,
            keys,
        } = self;
        let all = [new_chains, chains, system, organizations, plans, roles, keys];
        all.map(ToString::to_string).to_vec()
    }
}

impl Locks {
    /// Locks what is the system's, for what no guard and no write names.
    pub(super) async fn lock_system(&self, session: &Session<'_>) -> Result<(), StoreError> {
        run(session, &self.chains, &vec![Uuid::nil()]).await
    }
}

pub(super) async fn lock(session: &Session<'_>, sql: &Locks, commit: &Commit) -> Result<(), StoreError> {
    let rows = Rows::of(commit);
    if !rows.chains.is_empty() {
        let ids: Vec<Uuid> = rows.chains.iter().copied().collect();
        run(session, &sql.new_chains, &ids).await?;
        run(session, &sql.chains, &ids).await?;
    }
    if rows.reads_system && !rows.chains.contains(&Uuid::nil()) {
        run(session, &sql.system, &vec![Uuid::nil()]).await?;
    }
    for (statement, ids) in [(&sql.organizations, rows.organizations), (&sql.plans, rows.plans)] {
        if !ids.is_empty() {
            run(session, statement, &Vec::from_iter(ids)).await?;
        }
    }
    if !rows.roles.is_empty() {
        run(session, &sql.roles, &Vec::from_iter(rows.roles)).await?;
    }
    if !rows.keys.is_empty() {
        run(session, &sql.keys, &Vec::from_iter(rows.keys)).await?;
    }
    Ok(())
}

async fn run(session: &Session<'_>, statement: &str, ids: &(dyn ToSql + Sync)) -> Result<(), StoreError> {
    session.execute_own(statement, &[ids]).await.map(drop)
}

#[derive(Default)]
struct Rows<'c> {
    /// Those that get events, and the system's if something of it changes that guards look at.
    chains: BTreeSet<Uuid>,
    /// Whether a guard looks at something of the system.
    reads_system: bool,
    organizations: BTreeSet<Uuid>,
    plans: BTreeSet<Uuid>,
    roles: BTreeSet<&'c str>,
    keys: BTreeSet<Uuid>,
}

impl<'c> Rows<'c> {
    fn of(commit: &'c Commit) -> Self {
        let mut rows = Self::default();
        rows.chains
            .extend(commit.audit.iter().map(|event| event.organization_id.as_uuid()));
        commit.guards.iter().for_each(|guard| rows.add_guard(guard));
        commit.writes.iter().for_each(|write| rows.add_write(write));
        rows
    }

    fn add_guard(&mut self, guard: &'c Guard) {
        match guard {
            Guard::KeyRevision(key, _) | Guard::SecretEnds { key, .. } => {
                self.keys.insert(key.as_uuid());
            }
            Guard::OrganizationRevision(id, _)
            | Guard::LiveKeysBelow(id, _)
            | Guard::UserRevision(id, ..)
            | Guard::UserIsActive(id, _) => {
                self.organizations.insert(id.as_uuid());
            }
            Guard::PlanRevision(id, _) => {
                self.plans.insert(id.as_uuid());
            }
            Guard::RoleRevision(name, _) | Guard::RoleScopes(name, _) => {
                self.roles.insert(name);
            }
            Guard::KnownScopesBelow(_) => self.reads_system = true,
            // Of two that each end one of the last two keys, the second sees the first.
            Guard::OperatorKeyLives { .. } => {
                self.chains.insert(Uuid::nil());
            }
        }
    }

    fn add_write(&mut self, write: &'c Write) {
        match write {
            Write::UpdateOrganization(row) => {
                self.organizations.insert(row.id.as_uuid());
            }
            Write::DeleteOrganization(id) | Write::DeleteUser(id, _) => {
                self.organizations.insert(id.as_uuid());
            }
            Write::InsertUser(row) | Write::UpdateUser(row) => {
                self.organizations.insert(row.organization_id.as_uuid());
            }
            Write::InsertIdempotency(row) => {
                self.organizations.insert(row.organization_id.as_uuid());
            }
            Write::InsertKey(row) => {
                self.organizations.insert(row.organization_id.as_uuid());
            }
            Write::UpdateKey(row) => {
                self.organizations.insert(row.organization_id.as_uuid());
                self.keys.insert(row.id.as_uuid());
            }
            Write::SetKeyState(change) => {
                self.keys.insert(change.key.as_uuid());
            }
            Write::DeleteKey(id) => {
                self.keys.insert(id.as_uuid());
            }
            Write::InsertSecret(key, _) | Write::UpdateSecret { key, .. } | Write::DeleteSecret { key, .. } => {
                self.keys.insert(key.as_uuid());
            }
            Write::InsertScope(_) | Write::DeleteScope(_) => {
                self.chains.insert(Uuid::nil());
            }
            Write::PruneAudit { organization, .. } => {
                self.chains.insert(organization.as_uuid());
            }
            // One row, which the write itself locks, or rows that no guard looks at.
            Write::InsertOrganization(_)
            | Write::ReplaceHash { .. }
            | Write::UpdateRealm { .. }
            | Write::AdoptRealm { .. }
            | Write::InsertServerSecret(_)
            | Write::UpdateServerSecret { .. }
            | Write::DeleteServerSecret { .. }
            | Write::InsertPlan(_)
            | Write::UpdatePlan(_)
            | Write::DeletePlan(_)
            | Write::InsertRole(_)
            | Write::UpdateRole(_)
            | Write::DeleteRole(_)
            | Write::PurgeChanges { .. }
            | Write::ForgetPersonal(_)
            | Write::ForgetOrigins { .. }
            | Write::CountRefusals(_)
            | Write::InsertRefusal(_)
            | Write::PruneRefusals { .. }
            | Write::AddUses(_)
            | Write::PruneUseSources { .. }
            | Write::PruneIdempotency { .. }
            | Write::HoldLease { .. } => {}
        }
    }
}
