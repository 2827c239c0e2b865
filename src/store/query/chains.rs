//! Audit chains as they are stored, to be verified.

use crate::audit::{AuditChain, AuditRow};
use crate::key::OrganizationId;
use crate::store::query::{Answer, Query, TypedQuery};

const MOST: u16 = 1000;

/// Rows of an organization's audit events after this one, ordered by number. At most `most`, and at most 1,000.
#[derive(Clone, Copy, Debug)]
#[must_use]
#[non_exhaustive]
pub struct AuditRows {
    /// Whose chain it is; the nil id is the system's.
    pub organization: OrganizationId,
    /// The number after which they begin.
    pub after: u64,
    /// How many.
    pub most: u16,
}

/// The first organization, from this one on, that has audit events, whether or not its state says so.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct FirstAudited(pub OrganizationId);

/// Chains of this organization and of those after it, ordered by id. At most `most`, and at most 1,000.
#[derive(Clone, Copy, Debug)]
#[must_use]
#[non_exhaustive]
pub struct AuditChains {
    /// The first organization; the nil id is the system's.
    pub from: OrganizationId,
    /// How many.
    pub most: u16,
}

impl AuditRows {
    /// 1,000 rows after this number of this organization.
    pub fn after(organization: OrganizationId, after: u64) -> Self {
        Self {
            organization,
            after,
            most: MOST,
        }
    }

    /// How many rows to read.
    pub fn limit(&self) -> usize {
        self.most.min(MOST).into()
    }
}

impl AuditChains {
    /// 1,000 chains from this organization on.
    pub fn from(organization: OrganizationId) -> Self {
        Self {
            from: organization,
            most: MOST,
        }
    }

    /// How many chains to read.
    pub fn limit(&self) -> usize {
        self.most.min(MOST).into()
    }
}

impl TypedQuery for FirstAudited {
    type Output = Option<OrganizationId>;

    fn query(self) -> Query {
        Query::FirstAudited(self.0)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::FirstAudited(organization) => Some(organization),
            _ => None,
        }
    }
}

impl TypedQuery for AuditRows {
    type Output = Vec<AuditRow>;

    fn query(self) -> Query {
        Query::AuditRows(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::AuditRows(rows) => Some(rows),
            _ => None,
        }
    }
}

impl TypedQuery for AuditChains {
    type Output = Vec<AuditChain>;

    fn query(self) -> Query {
        Query::AuditChains(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::AuditChains(chains) => Some(chains),
            _ => None,
        }
    }
}
