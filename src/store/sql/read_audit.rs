//! Rows of the audit trail, of refusals and of the change log.

use super::follower::{LogEntry, LogRow, Place};
use super::row::{Columns, invalid, required};
use crate::audit::{
    AuditChain, AuditEntry, AuditEvent, AuditHead, AuditRow, PersonalPart, PersonalRow, RefusalCount, RefusalSample,
};
use crate::fence::Change;
use crate::key::{KeyId, OrganizationId, Subject, Timestamp};
use crate::store::StoreError;
use crate::store::query::LoggedChange;

/// Where the time of a logged change stands.
const LOGGED_AT: usize = 5;

impl Columns<'_> {
    pub(in crate::store) fn audit_entry(&mut self) -> Result<AuditEntry, StoreError> {
        let row = self.audit_row()?;
        AuditEntry::from_stored(&row).ok_or_else(|| invalid("audit_events.payload", "invalid event"))
    }

    /// Whatever it says: only what is of another type is not read.
    pub(in crate::store) fn audit_row(&mut self) -> Result<AuditRow, StoreError> {
        let organization = OrganizationId::from(self.uuid("audit_events.organization_id")?);
        let seq = self.count("audit_events.seq")?;
        let payload = self.text("audit_events.payload")?;
        let hash = required("audit_events.hash", self.optional_bytes("audit_events.hash")?)?;
        let mut row = AuditRow::new(organization, seq, payload, hash);
        row.commit = self.uuid("audit_events.commit_id")?.into();
        row.at = self.time("audit_events.at")?;
        row.actor_kind = self.text("audit_events.actor_kind")?;
        row.actor = self.text("audit_events.actor")?;
        row.action = self.text("audit_events.action")?;
        row.key_id = self.optional_uuid("audit_events.key_id")?;
        row.user = self.optional_text("audit_events.user_id")?;
        let origin = self.personal_part(["audit_personal.origin_salt", "audit_personal.origin"])?;
        let others = self.personal_part(["audit_personal.salt", "audit_personal.values"])?;
        let personal = PersonalRow::new(origin, others);
        row.personal = (personal != PersonalRow::default()).then_some(personal);
        Ok(row)
    }

    fn personal_part(&mut self, [salt, values]: [&'static str; 2]) -> Result<Option<PersonalPart>, StoreError> {
        let salt = self.optional_bytes(salt)?;
        let values = self.optional_text(values)?;
        Ok(match (salt, values) {
            (None, None) => None,
            // One without the other is neither forgotten nor as it was.
            (salt, values) => Some(PersonalPart::new(salt.unwrap_or_default(), values.unwrap_or_default())),
        })
    }

    pub(in crate::store) fn organization_id(&mut self) -> Result<OrganizationId, StoreError> {
        Ok(self.uuid("audit_events.organization_id")?.into())
    }

    pub(in crate::store) fn audit_chain(&mut self) -> Result<AuditChain, StoreError> {
        let organization = OrganizationId::from(self.uuid("organization_state.organization_id")?);
        // One that cannot be read must not hide the others.
        Ok(match self.ends() {
            Ok([head, pruned]) => AuditChain::new(organization, head, pruned),
            Err(_) => AuditChain::damaged(organization),
        })
    }

    fn ends(&mut self) -> Result<[AuditHead; 2], StoreError> {
        let head = self.audit_head()?;
        let pruned = AuditHead {
            seq: self.count("organization_state.pruned_seq")?,
            hash: self.hash("organization_state.pruned_hash")?,
        };
        Ok([head, pruned])
    }

    pub(in crate::store) fn audit_head(&mut self) -> Result<AuditHead, StoreError> {
        Ok(AuditHead {
            seq: self.count("organization_state.audit_seq")?,
            hash: self.hash("organization_state.audit_hash")?,
        })
    }

    pub(in crate::store) fn refusal_count(&mut self) -> Result<RefusalCount, StoreError> {
        let hour = self.time("refusal_counts.hour")?;
        let organization = OrganizationId::from(self.uuid("refusal_counts.organization_id")?);
        let kind = self.text("refusal_counts.kind")?;
        Ok(RefusalCount::new(
            hour,
            organization,
            kind,
            self.count("refusal_counts.n")?,
        ))
    }

    pub(in crate::store) fn refusal(&mut self) -> Result<RefusalSample, StoreError> {
        let id = self.uuid("refusals.id")?;
        let at = self.time("refusals.at")?;
        let organization = self.optional_uuid("refusals.organization_id")?;
        let key = self.optional_uuid("refusals.key_id")?;
        let lookup = self.optional_text("refusals.lookup")?;
        let mut sample = RefusalSample::new(at, self.text("refusals.kind")?);
        sample.id = id;
        sample.organization_id = organization.map(OrganizationId::from);
        sample.key_id = key.map(KeyId::from);
        sample.lookup = lookup;
        sample.address =
            self.optional_parsed("refusals.address", |text| text.parse().map_err(|_| "invalid address"))?;
        Ok(sample)
    }

    pub(in crate::store) fn logged_change(&mut self) -> Result<LoggedChange, StoreError> {
        let seq = self.count("key_changes.seq")?;
        // A row that was written by hand may have anything here.
        let tag = self.uuid("key_changes.tag").map_or(0, |tag| tag.as_u128());
        let change = self.logged_or_all();
        let change = change.ok_or_else(|| invalid("key_changes.kind", "must not be 0"))?;
        self.rewind();
        self.skip(LOGGED_AT);
        let at = self.time("key_changes.at").unwrap_or(Timestamp::from_millis(0));
        Ok(LoggedChange::new(seq, tag, change, at))
    }

    /// A row of the change log, for who follows it. What cannot be understood, such as a row of a newer program, may concern
    /// every key.
    pub(in crate::store) fn log_row(&mut self) -> Result<LogRow, StoreError> {
        let place = self.place()?;
        let change = self.logged_or_all();
        Ok(LogRow { place, change })
    }

    /// An event that waits to be linked; `None` for one that cannot be read.
    pub(in crate::store) fn waiting_event(&mut self) -> Result<(u64, Option<AuditEvent>), StoreError> {
        let number = self.count("audit_waiting.n")?;
        let text = self.text("audit_waiting.event").ok();
        Ok((number, text.and_then(|text| AuditEvent::from_text(&text))))
    }

    /// A row of the change log with which row of its subject it is about, for the revocation journal.
    pub(in crate::store) fn log_entry(&mut self) -> Result<LogEntry, StoreError> {
        Ok(LogEntry {
            place: self.place()?,
            // No key is found by what cannot be understood.
            kind: self.count("key_changes.kind").unwrap_or(0),
            id: self.uuid("key_changes.id").unwrap_or_default(),
            part: self.optional_text("key_changes.part").unwrap_or_default(),
        })
    }

    /// The number and the tag of a row of the change log.
    pub(in crate::store) fn place(&mut self) -> Result<Place, StoreError> {
        Ok(Place {
            seq: self.count("key_changes.seq")?,
            // A row that was written by hand may have anything here.
            tag: self.uuid("key_changes.tag").map_or(0, |tag| tag.as_u128()),
        })
    }

    fn logged_or_all(&mut self) -> Option<Change> {
        self.logged().unwrap_or_else(|_| Some(Change::new(Subject::Realm, 0)))
    }

    /// `None` for kind 0: nothing that a decision depends on.
    fn logged(&mut self) -> Result<Option<Change>, StoreError> {
        let kind = self.count("key_changes.kind")?;
        let id = self.uuid("key_changes.id")?;
        let subject = match kind {
            0 => return Ok(None),
            1 => Subject::Key(id.into()),
            2 => Subject::Organization(id.into()),
            3 => Subject::Plan(id.into()),
            4 => Subject::Realm,
            _ => return Err(invalid("key_changes.kind", "unknown kind")),
        };
        let revision = self.count("key_changes.revision")?;
        Ok(Some(Change::new(subject, revision)))
    }
}
