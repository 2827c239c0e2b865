//! Stores what requests met: counts and samples of refusals, and uses of keys.

use std::collections::BTreeMap;

use super::AuditTrail;
use super::error::AuditError;
use crate::audit::{Attempts, AuditAction, AuditEvent, KeyUse, Waiting};
use crate::key::{Actor, OrganizationId, Timestamp};
use crate::store::{Commit, KeyStore, ManagedStore, StoreError, StoreErrorKind, Write};

/// Rows in one transaction, which holds up other commits meanwhile.
const STEP: usize = 500;

impl<S: ManagedStore> AuditTrail<S> {
    /// Stores the refusals and uses of keys since the last time. A handle that was [opened](crate::ApiKeys::open) does this every
    /// minute by itself: call it before the process ends, or to see them at once.
    ///
    /// Refusals are not in the chains, and take no lock of theirs. Uses are events of their organizations.
    ///
    /// # Errors
    /// Those of the store; [`Forbidden`](StoreErrorKind::Forbidden) for a key that acts and is not the operator's, and for a principal:
    /// nothing is taken then. What could not be stored is kept for the next time, except for samples, and for counts whose commit has
    /// an unknown outcome: those may be missing then.
    pub async fn flush(&self) -> Result<(), AuditError> {
        let Some(fence) = self.store.fence() else {
            return Ok(());
        };
        // What is taken and then refused would have to be put back, and of samples it is not known which were there first.
        self.store.check_operator().await?;
        let attempts = Attempts::of(fence);
        let mut waiting = attempts.take(self.clock.wall());
        if waiting.uses_left_out > 0 {
            tracing::warn!(
                target: "tower_api_key::audit",
                left_out = waiting.uses_left_out,
                "uses of keys were not recorded: there were too many in a minute"
            );
            waiting.uses_left_out = 0;
        }
        let stored = match self.store_refusals(&mut waiting).await {
            Ok(()) => self.store_uses(&mut waiting).await,
            failed => failed,
        };
        attempts.put_back(waiting);
        Ok(stored?)
    }

    /// Deletes counts and samples of refusals from before this time.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn prune_refusals(&self, before: Timestamp) -> Result<(), AuditError> {
        self.store
            .commit(Commit::new().write(Write::PruneRefusals { before }))
            .await?;
        Ok(())
    }

    /// What is stored is taken out of `waiting`.
    async fn store_refusals(&self, waiting: &mut Waiting) -> Result<(), StoreError> {
        while !waiting.counts.is_empty() || !waiting.samples.is_empty() {
            let counts = split(&mut waiting.counts);
            let samples = split(&mut waiting.samples);
            let mut commit = Commit::new();
            commit.writes = counts.iter().cloned().map(Write::CountRefusals).collect();
            commit.writes.extend(samples.into_iter().map(Write::InsertRefusal));
            match self.store.commit(commit).await {
                Ok(_) => {}
                Err(error) => {
                    // Counted twice would be wrong, and is not seen; missing ones are in the logs.
                    if error.kind() != StoreErrorKind::OutcomeUnknown {
                        waiting.counts.extend(counts);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn store_uses(&self, waiting: &mut Waiting) -> Result<(), StoreError> {
        while !waiting.uses.is_empty() {
            let uses = split(&mut waiting.uses);
            match self.commit_uses(&uses).await {
                Ok(()) => {}
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => self.store_apart(uses, waiting).await?,
                Err(error) => {
                    if error.kind() != StoreErrorKind::OutcomeUnknown {
                        waiting.uses.extend(uses);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Each organization's alone: the chain of one cannot go on, and would hold up those of all others for good.
    async fn store_apart(&self, uses: Vec<KeyUse>, waiting: &mut Waiting) -> Result<(), StoreError> {
        let mut apart = BTreeMap::<OrganizationId, Vec<KeyUse>>::new();
        for used in uses {
            apart.entry(used.organization_id).or_default().push(used);
        }
        while let Some((organization, uses)) = apart.pop_first() {
            match self.commit_uses(&uses).await {
                Ok(()) => {}
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => tracing::error!(
                    target: "tower_api_key::audit",
                    %organization,
                    left_out = uses.len(),
                    source = std::error::Error::source(&error).map(tracing::field::display),
                    "uses of keys were not recorded: the organization's audit chain is damaged"
                ),
                Err(error) => {
                    if error.kind() != StoreErrorKind::OutcomeUnknown {
                        waiting.uses.extend(uses);
                    }
                    waiting.uses.extend(apart.into_values().flatten());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn commit_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let mut commit = Commit::new();
        let keys = self.secrets.audit_keys(self.store.unbounded(), &self.clock).await?;
        commit.audit_key = keys.current().cloned();
        commit.audit = uses.iter().map(event).collect();
        self.store.commit(commit).await.map(drop)
    }
}

fn split<T>(rows: &mut Vec<T>) -> Vec<T> {
    let rest = rows.len().saturating_sub(STEP);
    rows.split_off(rest)
}

fn event(used: &KeyUse) -> AuditEvent {
    let actor = Actor::key(used.key_id);
    let event = AuditEvent::new(used.organization_id, used.at, actor, AuditAction::KEY_USED);
    let event = event
        .key(used.key_id)
        .user(used.user.clone())
        .detail("lookup", used.lookup.as_str());
    match used.address {
        Some(address) => event.at_address(address),
        None => event,
    }
}
