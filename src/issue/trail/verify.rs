//! Walks along chains, to find what was changed in them.

use super::AuditTrail;
use super::anchors::AuditAnchors;
use super::error::AuditError;
use crate::audit::{AuditChain, AuditHead, AuditKeys, AuditRow, ChainCheck, ChainProblem, ProblemKind};
use crate::key::OrganizationId;
use crate::store::query::{AuditChains, AuditRows, FirstAudited};
use crate::store::{ManagedStore, StoreErrorKind, StoreExt};

/// How often a chain is walked that retention cuts meanwhile.
pub(super) const ATTEMPTS: usize = 8;

/// What was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedTrail {
    /// Chains, that of the system among them.
    pub chains: u64,
    /// Events of all chains.
    pub entries: u64,
    /// Events among them whose personal fields were forgotten.
    pub forgotten: u64,
}

impl<S: ManagedStore> AuditTrail<S> {
    /// Verifies all chains, from the first event that retention left to the last. Reads every event, in pages.
    ///
    /// It finds events that were edited, inserted, deleted or moved, by whomever, and a chain that was made anew without the
    /// audit key. That the last ones of a chain were cut off, or that all of it was made anew where there is no audit key, only
    /// anchors show.
    ///
    /// # Errors
    /// [`Broken`](super::AuditErrorKind::Broken), with all events that are not as they were made or are not there, up to 1,000; at
    /// the thousandth it ends. Otherwise those of the store.
    ///
    /// Behind such an event it goes on from the hash that is stored for it, and behind a gap from that of the next event, which
    /// nobody can verify then: one change is one finding. A chain that was made anew from some event on has one for each that
    /// follows.
    pub async fn verify(&self, anchors: &AuditAnchors) -> Result<VerifiedTrail, AuditError> {
        let keys = self.keys().await?;
        let (mut verified, mut problems) = (VerifiedTrail::default(), Vec::new());
        let mut from = Some(OrganizationId::from(uuid::Uuid::nil()));
        while let Some(first) = from {
            let Some(organization) = self.first_chain(first, anchors).await? else {
                break;
            };
            let (one, mut found) = self.walk(keys, organization, anchors).await?;
            verified.add(one);
            problems.append(&mut found);
            if problems.len() >= ChainProblem::MOST {
                problems.truncate(ChainProblem::MOST);
                break;
            }
            from = next(organization);
        }
        AuditError::unless_empty(problems).map(|()| verified)
    }

    /// Verifies the chain of one organization; the nil id is the system's.
    ///
    /// # Errors
    /// Those of [`verify`](Self::verify).
    pub async fn verify_chain(
        &self,
        organization: OrganizationId,
        anchors: &AuditAnchors,
    ) -> Result<VerifiedTrail, AuditError> {
        let keys = self.keys().await?;
        let (verified, problems) = self.walk(keys, organization, anchors).await?;
        AuditError::unless_empty(problems).map(|()| verified)
    }

    pub(super) async fn keys(&self) -> Result<&AuditKeys, AuditError> {
        Ok(self.secrets.audit_keys(self.store.unbounded(), &self.clock).await?)
    }

    pub(super) async fn chain(&self, organization: OrganizationId) -> Result<AuditChain, AuditError> {
        let mut query = AuditChains::from(organization);
        query.most = 1;
        let found = self.store.get(query).await?.into_iter().next();
        let empty = AuditChain::new(organization, AuditHead::default(), AuditHead::default());
        Ok(found
            .filter(|chain| chain.organization_id == organization)
            .unwrap_or(empty))
    }

    /// The first organization from this one on that has a state, an event or an anchor: someone may have deleted the others.
    async fn first_chain(
        &self,
        from: OrganizationId,
        anchors: &AuditAnchors,
    ) -> Result<Option<OrganizationId>, AuditError> {
        let mut chains = AuditChains::from(from);
        chains.most = 1;
        let state = self.store.get(chains).await?.first().map(|chain| chain.organization_id);
        let event = self.store.get(FirstAudited(from)).await?;
        Ok([state, event, anchors.after(from)].into_iter().flatten().min())
    }

    /// What there is in a chain, and what is wrong with it.
    async fn walk(
        &self,
        keys: &AuditKeys,
        organization: OrganizationId,
        anchors: &AuditAnchors,
    ) -> Result<(VerifiedTrail, Vec<ChainProblem>), AuditError> {
        let anchored = anchors.of(organization);
        let mut chain = self.chain(organization).await?;
        let mut attempts = 0;
        loop {
            if chain.is_damaged {
                let verified = VerifiedTrail {
                    chains: 1,
                    ..VerifiedTrail::default()
                };
                return Ok((verified, vec![unreadable_state(organization)]));
            }
            let mut check = ChainCheck::new(keys, &chain, anchored);
            let verified = self.walk_once(&mut check).await?;
            let now = self.chain(organization).await?;
            attempts += 1;
            // Rows that were deleted on the way are no finding.
            if check.problems().is_empty() || now.pruned == chain.pruned || attempts == ATTEMPTS {
                return Ok((verified, check.problems().to_vec()));
            }
            chain = now;
        }
    }

    /// The next rows; `None` if the first of them cannot be read.
    pub(super) async fn rows(&self, query: &mut AuditRows) -> Result<Option<Vec<AuditRow>>, AuditError> {
        loop {
            match self.store.get(*query).await {
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord && query.most == 1 => return Ok(None),
                // One by one, to see which it is.
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => query.most = 1,
                rows => return Ok(Some(rows?)),
            }
        }
    }

    async fn walk_once(&self, check: &mut ChainCheck<'_>) -> Result<VerifiedTrail, AuditError> {
        let organization = check.organization();
        let mut verified = VerifiedTrail {
            chains: 1,
            ..VerifiedTrail::default()
        };
        // From the very start: what retention has deleted must not be there again.
        let mut query = AuditRows::after(organization, 0);
        let most = query.most;
        while check.problems().len() < ChainProblem::MOST {
            let Some(rows) = self.rows(&mut query).await? else {
                check.unreadable();
                (query.after, query.most) = (check.head().seq, most);
                continue;
            };
            let before = query.after;
            for row in &rows {
                check.row(row);
                verified.entries += 1;
                query.after = row.seq;
            }
            if query.after > before {
                continue;
            }
            // Read after the rows: a commit that adds one moves the end in the same transaction.
            let head = self.chain(organization).await?.head;
            let mut more = AuditRows::after(organization, query.after.max(check.head().seq));
            more.most = 1;
            let has_more = match self.store.get(more).await {
                Err(error) if error.kind() == StoreErrorKind::InvalidRecord => true,
                rows => !rows?.is_empty(),
            };
            if !has_more {
                check.end(head);
                break;
            }
        }
        verified.forgotten = check.forgotten();
        Ok(verified)
    }
}

impl VerifiedTrail {
    fn add(&mut self, other: Self) {
        self.chains += other.chains;
        self.entries += other.entries;
        self.forgotten += other.forgotten;
    }
}

/// The id after this one; `None` after the last.
pub(super) fn next(organization: OrganizationId) -> Option<OrganizationId> {
    let number = organization.as_uuid().as_u128().checked_add(1)?;
    Some(uuid::Uuid::from_u128(number).into())
}

pub(super) fn unreadable_state(organization: OrganizationId) -> ChainProblem {
    ChainProblem::new(organization, 0, ProblemKind::StateUnreadable)
}

pub(super) fn at_most(problems: &[ChainProblem]) -> &[ChainProblem] {
    problems.get(..ChainProblem::MOST).unwrap_or(problems)
}
