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
    /// The last entry.
    head: AuditHead,
    /// Whether its hash is known.
    is_linked: bool,
    anchored: Option<AuditHead>,
    is_keyed: bool,
    /// The highest number that an event says was deleted by retention.
    pruned_by_event: u64,
    forgotten: u64,
    problems: Vec<ChainProblem>,
}

/// What is wrong with a chain, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainProblem {
    /// Whose chain it is.
    pub organization_id: OrganizationId,
    /// The number of the entry that is not as it was made, or of the first one that is not there.
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
    /// The organization's state, which has the ends of the chain, cannot be read. Of the entries nothing is known.
    StateUnreadable,
}

impl<'k> ChainCheck<'k> {
    pub(crate) fn new(keys: &'k AuditKeys, chain: &AuditChain, anchored: Option<AuditHead>) -> Self {
        Self {
            keys,
            organization: chain.organization_id,
            pruned: chain.pruned,
            head: chain.pruned,
            is_linked: true,
            anchored,
            is_keyed: keys.are_from_the_start(),
            pruned_by_event: 0,
            forgotten: 0,
            problems: Vec::new(),
        }
    }

    pub(crate) fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The last entry. Its hash was verified, unless there are problems.
    pub(crate) fn head(&self) -> AuditHead {
        self.head
    }

    /// Entries whose personal fields were forgotten.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// What is wrong, in the order of the entries.
    pub(crate) fn problems(&self) -> &[ChainProblem] {
        &self.problems
    }

    /// Verifies the next row, and goes on behind one that is not as it was made: from the hash that is stored for it, so that one
    /// change is not found in all entries that follow.
    pub(crate) fn row(&mut self, row: &AuditRow) {
        let expected = self.head.seq.saturating_add(1);
        if row.seq < expected {
            return self.found(row.seq, ProblemKind::Reinserted);
        }
        if row.seq > expected {
            self.found(expected, ProblemKind::Missing);
            self.is_linked = false;
        }
        if let Err(kind) = self.entry(row) {
            self.found(row.seq, kind);
        }
        let hash = row.hash.as_slice().try_into();
        self.is_linked = hash.is_ok();
        self.head = AuditHead {
            seq: row.seq,
            hash: hash.unwrap_or_default(),
        };
    }

    /// Goes on behind an entry that the store cannot read.
    pub(crate) fn unreadable(&mut self) {
        let seq = self.head.seq.saturating_add(1);
        self.found(seq, ProblemKind::Unreadable);
        self.head.seq = seq;
        self.is_linked = false;
    }

    fn entry(&mut self, row: &AuditRow) -> Result<(), ProblemKind> {
        let payload = canonical::read(&row.payload).ok_or(ProblemKind::Unreadable)?;
        let key = match payload.key {
            "" if self.is_keyed => return Err(ProblemKind::Unkeyed),
            "" => None,
            id => Some(self.keys.with_id(id).ok_or(ProblemKind::UnknownKey)?),
        };
        // Nobody knows the hash of one that is gone, so the first entry behind it is taken as it is.
        if self.is_linked && row.hash != self.head.next(&row.payload, key) {
            return Err(ProblemKind::Altered);
        }
        if !has_columns_of(row, &payload) {
            return Err(ProblemKind::ColumnAltered);
        }
        let are_forgotten = PersonalRow::check(row.personal.as_ref(), payload.commitments);
        self.forgotten += u64::from(are_forgotten.map_err(|()| ProblemKind::PersonalAltered)?);
        if self
            .anchored
            .is_some_and(|anchored| anchored.seq == row.seq && row.hash != anchored.hash)
        {
            return Err(ProblemKind::NotAsAnchored);
        }
        if payload.event.action == AuditAction::AUDIT_PRUNED {
            let through = payload.event.detail_of("through");
            let through = through.and_then(|number| number.parse().ok());
            self.pruned_by_event = self.pruned_by_event.max(through.unwrap_or_default());
        }
        self.is_keyed |= key.is_some();
        Ok(())
    }

    /// Ends after the last row, with the end of the chain as the organization's state has it.
    pub(crate) fn end(&mut self, head: AuditHead) {
        let last = self.head.seq;
        if head.seq > last {
            return self.found(last.saturating_add(1), ProblemKind::CutOff);
        }
        if head.seq < last || (self.is_linked && head.hash != self.head.hash) {
            return self.found(last, ProblemKind::HeadAltered);
        }
        if let Some(anchored) = self.anchored {
            let is_pruned = anchored.seq == self.pruned.seq && anchored.hash != self.pruned.hash;
            if anchored.seq > last {
                return self.found(last.saturating_add(1), ProblemKind::NotAsAnchored);
            }
            if is_pruned && anchored.seq > 0 {
                return self.found(anchored.seq, ProblemKind::NotAsAnchored);
            }
        }
        // Without a key, who can delete entries can write that event too.
        if self.is_keyed && self.pruned_by_event < self.pruned.seq {
            self.found(self.pruned.seq, ProblemKind::PrunedByOthers);
        }
    }

    fn found(&mut self, seq: u64, kind: ProblemKind) {
        if self.problems.len() < ChainProblem::MOST {
            let problem = ChainProblem::new(self.organization, seq, kind);
            self.problems.push(problem);
        }
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
    /// The most that are named.
    pub(crate) const MOST: usize = 1000;

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
            Self::StateUnreadable => "and all others are not verified: the organization's state cannot be read",
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
