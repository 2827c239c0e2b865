//! Rows of the audit trail and of refusals, as JSON.

use serde::{Deserialize, Serialize};
use tower_api_key::audit::{AuditChain, AuditHead, AuditRow, PersonalPart, PersonalRow, RefusalCount, RefusalSample};
use tower_api_key::key::{KeyId, OrganizationId, Timestamp};
use uuid::Uuid;

use crate::rows::Stored;

#[derive(Serialize, Deserialize)]
pub struct EventForm {
    organization_id: u128,
    seq: u64,
    commit: u128,
    at: i64,
    actor_kind: String,
    actor: String,
    action: String,
    key_id: Option<u128>,
    user: Option<String>,
    payload: String,
    hash: Vec<u8>,
    /// Salts and values, in a table of their own if they are to be deleted from backups too.
    origin: Option<(Vec<u8>, String)>,
    others: Option<(Vec<u8>, String)>,
}

impl Stored for AuditRow {
    type Form = EventForm;

    fn form(&self) -> EventForm {
        let personal = self.personal.clone().unwrap_or_default();
        let part = |part: Option<PersonalPart>| part.map(|part| (part.salt, part.values));
        EventForm {
            organization_id: self.organization_id.as_uuid().as_u128(),
            seq: self.seq,
            commit: self.commit.as_uuid().as_u128(),
            at: self.at.as_millis(),
            actor_kind: self.actor_kind.clone(),
            actor: self.actor.clone(),
            action: self.action.clone(),
            key_id: self.key_id.map(|id| id.as_u128()),
            user: self.user.clone(),
            payload: self.payload.clone(),
            hash: self.hash.clone(),
            origin: part(personal.origin),
            others: part(personal.others),
        }
    }

    fn row(form: EventForm) -> Option<Self> {
        let organization_id = OrganizationId::from(Uuid::from_u128(form.organization_id));
        let mut row = Self::new(organization_id, form.seq, form.payload, form.hash);
        row.commit = Uuid::from_u128(form.commit).into();
        row.at = Timestamp::from_millis(form.at);
        (row.actor_kind, row.actor, row.action) = (form.actor_kind, form.actor, form.action);
        row.key_id = form.key_id.map(Uuid::from_u128);
        row.user = form.user;
        let part = |(salt, values)| PersonalPart::new(salt, values);
        let personal = PersonalRow::new(form.origin.map(part), form.others.map(part));
        row.personal = (personal != PersonalRow::default()).then_some(personal);
        Some(row)
    }
}

#[derive(Serialize, Deserialize)]
pub struct ChainForm {
    organization_id: u128,
    head: (u64, [u8; 32]),
    pruned: (u64, [u8; 32]),
}

impl Stored for AuditChain {
    type Form = ChainForm;

    fn form(&self) -> ChainForm {
        ChainForm {
            organization_id: self.organization_id.as_uuid().as_u128(),
            head: (self.head.seq, self.head.hash),
            pruned: (self.pruned.seq, self.pruned.hash),
        }
    }

    fn row(form: ChainForm) -> Option<Self> {
        let end = |(seq, hash)| AuditHead { seq, hash };
        let organization_id = OrganizationId::from(Uuid::from_u128(form.organization_id));
        Some(Self::new(organization_id, end(form.head), end(form.pruned)))
    }
}

#[derive(Serialize, Deserialize)]
pub struct RefusalCountForm {
    hour: i64,
    organization_id: u128,
    kind: String,
    number: u64,
}

impl Stored for RefusalCount {
    type Form = RefusalCountForm;

    fn form(&self) -> RefusalCountForm {
        RefusalCountForm {
            hour: self.hour.as_millis(),
            organization_id: self.organization_id.as_uuid().as_u128(),
            kind: self.kind.clone(),
            number: self.number,
        }
    }

    fn row(form: RefusalCountForm) -> Option<Self> {
        let organization_id = OrganizationId::from(Uuid::from_u128(form.organization_id));
        let hour = Timestamp::from_millis(form.hour);
        Some(Self::new(hour, organization_id, form.kind, form.number))
    }
}

#[derive(Serialize, Deserialize)]
pub struct RefusalForm {
    id: u128,
    at: i64,
    organization_id: Option<u128>,
    key_id: Option<u128>,
    lookup: Option<String>,
    kind: String,
    address: Option<std::net::IpAddr>,
}

impl Stored for RefusalSample {
    type Form = RefusalForm;

    fn form(&self) -> RefusalForm {
        RefusalForm {
            id: self.id.as_u128(),
            at: self.at.as_millis(),
            organization_id: self.organization_id.map(|id| id.as_uuid().as_u128()),
            key_id: self.key_id.map(|id| id.as_uuid().as_u128()),
            lookup: self.lookup.clone(),
            kind: self.kind.clone(),
            address: self.address,
        }
    }

    fn row(form: RefusalForm) -> Option<Self> {
        let mut sample = Self::new(Timestamp::from_millis(form.at), form.kind);
        sample.id = Uuid::from_u128(form.id);
        sample.organization_id = form.organization_id.map(|id| Uuid::from_u128(id).into());
        sample.key_id = form.key_id.map(KeyId::from_u128);
        sample.lookup = form.lookup;
        sample.address = form.address;
        Some(sample)
    }
}
