//! Retention: what is old enough is deleted, from the start of each chain.

use super::AuditTrail;
use super::error::AuditError;
use super::verify::{ATTEMPTS, at_most, next, unreadable_state};
use crate::audit::{AuditAction, AuditChain, AuditEvent, ChainCheck};
use crate::key::{Actor, OrganizationId, Timestamp};
use crate::store::query::{AuditChains, AuditRows};
use crate::store::{Commit, ManagedStore, StoreErrorKind, StoreExt, Write};

/// Events in one transaction, which holds up other commits meanwhile.
const STEP: u64 = 5000;

impl<S: ManagedStore> AuditTrail<S> {
    /// Deletes the events before this time, from the start of each chain up to the first event that is not before it. Number and
    /// hash of the last one are kept, so that the rest still verifies, and an event `audit.pruned` names the number. Returns how
    /// many events were deleted.
    ///
    /// What is deleted is verified before, since nobody can verify it later.
    ///
    /// # Errors
    /// [`Broken`](super::AuditErrorKind::Broken) when what is to be deleted is not as it was made: such a chain stays, others are
    /// cut. Otherwise those of the store.
    pub async fn prune(&self, before: Timestamp) -> Result<u64, AuditError> {
        let (mut deleted, mut problems) = (0, Vec::new());
        let mut from = Some(OrganizationId::from(uuid::Uuid::nil()));
        while let Some(first) = from {
            let chains = self.store.get(AuditChains::from(first)).await?;
            from = chains.last().and_then(|last| next(last.organization_id));
            for chain in chains {
                match self.prune_chain(&chain, before).await {
                    Ok(events) => deleted += events,
                    Err(error) if error.problems().is_empty() => return Err(error),
                    Err(error) => problems.extend_from_slice(error.problems()),
                }
            }
        }
        AuditError::unless_empty(at_most(&problems).to_vec()).map(|()| deleted)
    }

    /// Deletes the addresses and user agents of events from before this time: 90 days ago is a good bound. Their networks, a /24 or
    /// a /48 of IPv6, stay as long as the event or until the person is [forgotten](crate::Issuer::forget).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn prune_origins(&self, before: Timestamp) -> Result<(), AuditError> {
        let commit = Commit::new().write(Write::ForgetOrigins { before });
        self.store.commit(commit).await?;
        Ok(())
    }

    /// Another process may cut the chain meanwhile: what it has deleted is no finding.
    async fn prune_chain(&self, chain: &AuditChain, before: Timestamp) -> Result<u64, AuditError> {
        let mut chain = *chain;
        for _ in 0..ATTEMPTS {
            match self.prune_once(&chain, before).await {
                Err(error) if !error.problems().is_empty() => {
                    let now = self.chain(chain.organization_id).await?;
                    if now.pruned == chain.pruned {
                        return Err(error);
                    }
                    chain = now;
                }
                pruned => return pruned,
            }
        }
        // It is cut all the time, by others.
        Ok(0)
    }

    async fn prune_once(&self, chain: &AuditChain, before: Timestamp) -> Result<u64, AuditError> {
        let organization = chain.organization_id;
        if chain.is_damaged {
            return Err(AuditError::broken(vec![unreadable_state(organization)]));
        }
        let mut check = ChainCheck::new(self.keys().await?, chain, None);
        let mut query = AuditRows::after(organization, chain.pruned.seq);
        let mut deleted = 0;
        loop {
            let start = check.head().seq;
            // What was not there at the start stays, the events of this call before all: they would be followed by more.
            let step_ends = start.saturating_add(STEP).min(chain.head.seq);
            let mut is_over = false;
            while !is_over && query.after < step_ends {
                let Some(rows) = self.rows(&mut query).await? else {
                    check.unreadable();
                    return Err(AuditError::broken(check.problems().to_vec()));
                };
                is_over = true;
                for row in rows {
                    if row.at >= before || row.seq > step_ends {
                        is_over = true;
                        break;
                    }
                    check.row(&row);
                    AuditError::unless_empty(check.problems().to_vec())?;
                    query.after = row.seq;
                    is_over = false;
                }
            }
            let through = check.head().seq;
            if through == start || !self.delete(organization, through).await? {
                return Ok(deleted);
            }
            deleted += through - start;
        }
    }

    /// Whether it was this call that did it.
    async fn delete(&self, organization: OrganizationId, through: u64) -> Result<bool, AuditError> {
        let now = self.clock.wall();
        let event = AuditEvent::new(organization, now, Actor::system(), AuditAction::AUDIT_PRUNED);
        let mut commit = Commit::new()
            .write(Write::PruneAudit { organization, through })
            .audit(event.detail("through", through.to_string()));
        commit.audit_key = self.keys().await?.current().cloned();
        match self.store.commit(commit).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), StoreErrorKind::Conflict | StoreErrorKind::NotFound) => Ok(false),
            // Nothing can be linked to the chain, as the state has it.
            Err(error) if error.kind() == StoreErrorKind::InvalidRecord => {
                Err(AuditError::broken(vec![unreadable_state(organization)]))
            }
            Err(error) => Err(error.into()),
        }
    }
}
