//! Finds what was changed in a chain by someone else than the crate.

use std::error::Error;
use std::fmt;

use crate::audit::{AuditAction, AuditChain, AuditHead, AuditKeys, AuditRow, PersonalRow, canonical};
use crate::key::OrganizationId;

/// A walk along one chain, from its first row to its last.
pub(crate) struct ChainCheck<'k> {
    keys: &'k AuditKeys,
    organization: OrganizationId,
    pruned: AuditHead,
    /// The last entry that was verified.
    head: AuditHead,
    anchored: Option<AuditHead>,
    is_keyed: bool,
    /// The highest number that an event says was deleted by retention.
    pruned_by_event: u64,
    forgotten: u64,
}

/// What is wrong with a chain, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainProblem {
    /// Whose chain it is.
    pub organization_id: OrganizationId,
    /// The number of the first entry that is not as it was made, or is not there.
    pub seq: u64,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What is wrong with an entry of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It is not there, though later ones are.
    Missing,
    /// It is there again, though retention has deleted it.
    Reinserted,
    /// It cannot be read.
    Unreadable,
    /// Its hash is not that of it and of all before: it was edited, inserted or moved, or one before was.
    Altered,
    /// A column, by which it is searched, differs from what was hashed.
    ColumnAltered,
    /// Its personal fields are not those that were hashed.
    PersonalAltered,
    /// It was linked without the audit key, though the chain has one.
    Unkeyed,
    /// It names an audit key that is not there.
    UnknownKey,
    /// The chain ends before it, though the organization's state says that there are more.
    CutOff,
    /// The organization's state has another end of the chain.
    HeadAltered,
    /// The anchor has another hash for it, or it is not there: the chain was cut, or made anew.
    NotAsAnchored,
    /// Entries up to it are deleted, and no event says that retention did it.
    PrunedByOthers,
}

impl<'k> ChainCheck<'k> {
    pub(crate) fn new(keys: &'k AuditKeys, chain: &AuditChain, anchored: Option<AuditHead>) -> Self {
        Self {
            keys,
            organization: chain.organization_id,
            pruned: chain.pruned,
            head: chain.pruned,
            anchored,
            is_keyed: keys.are_from_the_start(),
            pruned_by_event: 0,
            forgotten: 0,
        }
    }

    pub(crate) fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The last entry that was verified.
    pub(crate) fn head(&self) -> AuditHead {
        self.head
    }

    /// Entries whose personal fields were forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A problem with the entry after the last one.
    pub(crate) fn next_is(&self, kind: ProblemKind) -> ChainProblem {
        self.problem(self.head.seq.saturating_add(1), kind)
    }

    /// Verifies the next row.
    pub(crate) fn row(&mut self, row: &AuditRow) -> Result<(), ChainProblem> {
        let expected = self.head.seq.saturating_add(1);
        if row.seq > expected {
            return Err(self.problem(expected, ProblemKind::Missing));
        }
        let bad = |kind| Err(ChainProblem::new(row.organization_id, row.seq, kind));
        if row.seq < expected {
            return bad(ProblemKind::Reinserted);
        }
        let Some(payload) = canonical::read(&row.payload) else {
            return bad(ProblemKind::Unreadable);
        };
        let key = match payload.key {
            "" if self.is_keyed => return bad(ProblemKind::Unkeyed),
            "" => None,
            id => match self.keys.with_id(id) {
                None => return bad(ProblemKind::UnknownKey),
                key => key,
            },
        };
        let hash = self.head.next(&row.payload, key);
        if row.hash != hash {
            return bad(ProblemKind::Altered);
        }
        if !has_columns_of(row, &payload) {
            return bad(ProblemKind::ColumnAltered);
        }
        match PersonalRow::check(row.personal.as_ref(), payload.commitments) {
            Ok(are_forgotten) => self.forgotten += u64::from(are_forgotten),
            Err(()) => return bad(ProblemKind::PersonalAltered),
        }
        if self
            .anchored
            .is_some_and(|anchored| anchored.seq == row.seq && anchored.hash != hash)
        {
            return bad(ProblemKind::NotAsAnchored);
        }
        if payload.event.action == AuditAction::AUDIT_PRUNED {
            let through = payload
                .event
                .detail_of("through")
                .and_then(|number| number.parse().ok());
            self.pruned_by_event = self.pruned_by_event.max(through.unwrap_or_default());
        }
        self.is_keyed |= key.is_some();
        self.head = AuditHead { seq: row.seq, hash };
        Ok(())
    }

    /// Ends after the last row, with the end of the chain as the organization's state has it.
    pub(crate) fn end(&self, head: AuditHead) -> Result<(), ChainProblem> {
        if head.seq > self.head.seq {
            return Err(self.next_is(ProblemKind::CutOff));
        }
        if head != self.head {
            return Err(self.problem(self.head.seq, ProblemKind::HeadAltered));
        }
        if let Some(anchored) = self.anchored {
            let is_pruned = anchored.seq == self.pruned.seq && anchored.hash != self.pruned.hash;
            if anchored.seq > self.head.seq {
                return Err(self.next_is(ProblemKind::NotAsAnchored));
            }
            if is_pruned && anchored.seq > 0 {
                return Err(self.problem(anchored.seq, ProblemKind::NotAsAnchored));
            }
        }
        // Without a key, who can delete entries can write that event too.
        if self.is_keyed && self.pruned_by_event < self.pruned.seq {
            return Err(self.problem(self.pruned.seq, ProblemKind::PrunedByOthers));
        }
        Ok(())
    }

    fn problem(&self, seq: u64, kind: ProblemKind) -> ChainProblem {
        ChainProblem::new(self.organization, seq, kind)
    }
}

fn has_columns_of(row: &AuditRow, payload: &canonical::Payload<'_>) -> bool {
    let event = &payload.event;
    row.organization_id == event.organization_id
        && row.commit == payload.commit
        && row.at == event.at
        && row.actor_kind == event.actor.kind().as_str()
        && row.actor == event.actor.id()
        && row.action == event.action.as_str()
        && row.key_id == event.key_id.map(|id| id.as_uuid())
        && row.user.as_deref() == event.user.as_ref().map(|user| user.as_str())
}

impl ChainProblem {
    pub(crate) fn new(organization_id: OrganizationId, seq: u64, kind: ProblemKind) -> Self {
        Self {
            organization_id,
            seq,
            kind,
        }
    }
}

impl ProblemKind {
    fn text(self) -> &'static str {
        match self {
            Self::Missing => "is missing, and later ones are there",
            Self::Reinserted => "is there, though retention has deleted it",
            Self::Unreadable => "cannot be read",
            Self::Altered => "or one before it was edited, inserted or moved: its hash is another",
            Self::ColumnAltered => "has a column that differs from what was hashed",
            Self::PersonalAltered => "has other personal fields than those that were hashed",
            Self::Unkeyed => "was linked without the audit key",
            Self::UnknownKey => "names an audit key that is not there",
            Self::CutOff => "is missing at the end",
            Self::HeadAltered => "is the last, and the organization's state has another end",
            Self::NotAsAnchored => "is missing or another one than was anchored: the chain was cut or made anew",
            Self::PrunedByOthers => "and those before are missing, and no event says that retention deleted them",
        }
    }
}

impl fmt::Display for ChainProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (organization, seq) = (self.organization_id, self.seq);
        write!(f, "audit chain of {organization}: entry {seq} {}", self.kind.text())
    }
}

impl Error for ChainProblem {}
