//! Takes persons out of the rows of a database.

use crate::audit::{AuditAction, AuditEvent, AuditKey, Forget};
use crate::clock::Clock;
use crate::key::{Actor, Metadata, Organization, User};
use crate::store::query::{Keys, Organizations, Users};
use crate::store::{Commit, ManagedStore, StoreError, StoreExt, Write};

/// Deletes what the database holds of persons, in pieces. Each event says that it was done, and not what was there.
///
/// # Errors
/// Those of the store. Nothing else may write meanwhile.
pub(super) async fn anonymize<S: ManagedStore>(
    store: &S,
    key: Option<&AuditKey>,
    clock: &Clock,
    reason: &str,
) -> Result<(), StoreError> {
    let anonymizer = Anonymizer {
        store,
        key,
        clock,
        reason,
    };
    let mut organizations = Organizations::all().page(PAGE);
    loop {
        let page = store.get(organizations.clone()).await?;
        for organization in page.items {
            anonymizer.users(&organization).await?;
            anonymizer.organization(organization).await?;
        }
        let Some(next) = page.next else { break };
        organizations = organizations.after(next);
    }
    anonymizer.keys().await?;
    // Last: what the events of these changes say is forgotten too.
    anonymizer.trail().await
}

struct Anonymizer<'a, S> {
    store: &'a S,
    key: Option<&'a AuditKey>,
    clock: &'a Clock,
    reason: &'a str,
}

impl<S: ManagedStore> Anonymizer<'_, S> {
    async fn users(&self, organization: &Organization) -> Result<(), StoreError> {
        let mut users = Users::of(organization.id).page(PAGE);
        loop {
            let page = self.store.get(users.clone()).await?;
            let mut commit = Commit::new();
            for user in page.items {
                let event = AuditEvent::new(
                    organization.id,
                    self.clock.wall(),
                    Actor::system(),
                    AuditAction::USER_UPDATED,
                );
                let event = event
                    .user(Some(user.id.clone()))
                    .detail("changed", "name email metadata");
                // The row stays: by it a user is disabled.
                let user = User {
                    name: None,
                    email: None,
                    metadata: Metadata::default(),
                    ..user
                };
                commit = commit.write(Write::UpdateUser(user)).audit(event.reason(self.reason));
            }
            self.commit(commit).await?;
            let Some(next) = page.next else { return Ok(()) };
            users = users.after(next);
        }
    }

    /// Its name and its slug are no person's.
    async fn organization(&self, row: Organization) -> Result<(), StoreError> {
        let event = AuditEvent::new(
            row.id,
            self.clock.wall(),
            Actor::system(),
            AuditAction::ORGANIZATION_UPDATED,
        );
        let event = event.detail("changed", "email metadata").reason(self.reason);
        let row = Organization {
            email: None,
            metadata: Metadata::default(),
            ..row
        };
        self.commit(Commit::new().write(Write::UpdateOrganization(row)).audit(event))
            .await
    }

    async fn keys(&self) -> Result<(), StoreError> {
        let mut keys = Keys::all().page(PAGE);
        loop {
            let page = self.store.get(keys.clone()).await?;
            let mut commit = Commit::new();
            for mut key in page.items.into_iter().map(|key| key.record) {
                if key.metadata == Metadata::default() {
                    continue;
                }
                key.metadata = Metadata::default();
                let event = AuditEvent::new(
                    key.organization_id,
                    self.clock.wall(),
                    Actor::system(),
                    AuditAction::KEY_UPDATED,
                );
                let event = event.key(key.id).user(key.user.clone());
                let event = event.detail("changed", "metadata").reason(self.reason);
                commit = commit.write(Write::UpdateKey(key)).audit(event);
            }
            self.commit(commit).await?;
            let Some(next) = page.next else { return Ok(()) };
            keys = keys.after(next);
        }
    }

    async fn trail(&self) -> Result<(), StoreError> {
        let event = AuditEvent::of_system(self.clock.wall(), Actor::system(), AuditAction::PERSONAL_FORGOTTEN);
        let event = event.detail("subject", "everyone").reason(self.reason);
        let forget = Write::ForgetPersonal(Forget::everyone());
        self.commit(Commit::new().write(forget).audit(event)).await
    }

    async fn commit(&self, mut commit: Commit) -> Result<(), StoreError> {
        if commit.writes.is_empty() {
            return Ok(());
        }
        commit.audit_key = self.key.cloned();
        self.store.commit(commit).await.map(drop)
    }
}

const PAGE: u16 = 1000;
