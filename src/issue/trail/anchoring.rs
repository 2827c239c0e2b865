//! Remembers the ends of chains, and looks whether each chain still has what was remembered.

use std::path::Path;

use super::AuditTrail;
use super::anchors::AuditAnchors;
use super::error::AuditError;
use super::verify::{at_most, next, unreadable_state};
use crate::audit::{AuditChain, AuditHead, ChainProblem, ProblemKind};
use crate::key::{OrganizationId, hex};
use crate::store::query::{AuditChains, AuditRows};
use crate::store::{ManagedStore, StoreExt};

impl<S: ManagedStore> AuditTrail<S> {
    /// Anchors each chain that has moved: remembers its end, and writes it to `tracing` (target `tower_api_key::audit::anchor`,
    /// message `audit_anchor`, with `organization`, `seq` and `hash`). Call it every 10 minutes. Returns how many have moved.
    ///
    /// # Errors
    /// Those of the store. [`Broken`](super::AuditErrorKind::Broken) when a chain no longer has what was anchored: the old
    /// anchor stays, so that the finding does too. The other chains are anchored all the same.
    pub async fn anchor(&self, anchors: &mut AuditAnchors) -> Result<usize, AuditError> {
        let (mut moved, mut problems) = (0, Vec::new());
        let mut known = AuditAnchors::default();
        let mut from = Some(OrganizationId::from(uuid::Uuid::nil()));
        while let Some(first) = from {
            let chains = self.store.get(AuditChains::from(first)).await?;
            from = chains.last().and_then(|last| next(last.organization_id));
            for chain in chains {
                let id = chain.organization_id;
                known.set(id, chain.head);
                if chain.is_damaged {
                    problems.push(unreadable_state(id));
                    continue;
                }
                let anchored = anchors.of(id);
                if anchored == Some(chain.head) {
                    continue;
                }
                if let Some(anchored) = anchored
                    && !self.continues(&chain, anchored).await?
                {
                    problems.push(problem(id, anchored.seq));
                    continue;
                }
                anchors.set(id, chain.head);
                moved += 1;
                tracing::info!(
                    target: "tower_api_key::audit::anchor",
                    organization = %id,
                    seq = chain.head.seq,
                    hash = hex::encode(&chain.head.hash),
                    "audit_anchor"
                );
            }
        }
        let gone = anchors.iter().filter(|id| known.of(*id).is_none());
        problems.extend(gone.map(|id| problem(id, 1)));
        for problem in at_most(&problems) {
            tracing::error!(target: "tower_api_key::audit::anchor", "{problem}");
        }
        AuditError::unless_empty(at_most(&problems).to_vec()).map(|()| moved)
    }

    /// [`anchor`](Self::anchor) with the anchors in a file, which is made if there is none: new with mode 600, put in the place of
    /// the old one at once. Keep it on another machine or with another owner than the database.
    ///
    /// # Errors
    /// Those of [`anchor`](Self::anchor) and [`AuditAnchors::read`].
    pub async fn anchor_file(&self, path: impl AsRef<Path>) -> Result<usize, AuditError> {
        let path = path.as_ref();
        let mut anchors = AuditAnchors::read_if_there(path)?.unwrap_or_default();
        let moved = self.anchor(&mut anchors).await;
        if !matches!(moved, Ok(0)) {
            anchors.write(path)?;
        }
        moved
    }

    /// Whether the chain still has this entry, or has lost it to retention.
    async fn continues(&self, chain: &AuditChain, anchored: AuditHead) -> Result<bool, AuditError> {
        if anchored.seq > chain.head.seq || anchored.seq == 0 {
            return Ok(anchored.seq == 0);
        }
        if anchored.seq == chain.head.seq {
            return Ok(anchored.hash == chain.head.hash);
        }
        if anchored.seq <= chain.pruned.seq {
            return Ok(anchored.seq < chain.pruned.seq || anchored.hash == chain.pruned.hash);
        }
        let mut query = AuditRows::after(chain.organization_id, anchored.seq - 1);
        query.most = 1;
        let rows = self.rows(&mut query).await?.unwrap_or_default();
        Ok(rows
            .first()
            .is_some_and(|row| row.seq == anchored.seq && row.hash == anchored.hash))
    }
}

fn problem(organization_id: OrganizationId, seq: u64) -> ChainProblem {
    ChainProblem::new(organization_id, seq, ProblemKind::NotAsAnchored)
}
