//! Whom the audit trail forgets.

use std::net::IpAddr;

use crate::audit::{AuditEvent, RefusalSample};
use crate::key::{Actor, ActorKind, KeyId, OrganizationId, UserId};

/// A person that the audit trail forgets: a user, or who has an address; or everyone.
///
/// ```
/// use tower_api_key::audit::Forget;
/// use tower_api_key::key::OrganizationId;
///
/// let everywhere = Forget::user("alice".parse()?);
/// let in_one_organization = everywhere.clone().of(OrganizationId::new());
/// let by_address = Forget::address("192.0.2.7".parse()?);
/// # let _ = (in_one_organization, by_address);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Forget {
    organization: Option<OrganizationId>,
    person: Person,
}

#[derive(Clone, PartialEq, Eq)]
enum Person {
    User(UserId),
    Address(IpAddr),
    Everyone,
}

impl Forget {
    /// The personal fields of events that this user made, and of those about keys of this user or the user itself; the addresses
    /// of uses and refusals of those keys; the idempotency keys of the user's requests.
    pub fn user(user: UserId) -> Self {
        Self {
            organization: None,
            person: Person::User(user),
        }
    }

    /// The personal fields of events from this address, and the address of refusals.
    pub fn address(address: IpAddr) -> Self {
        Self {
            organization: None,
            person: Person::Address(address.to_canonical()),
        }
    }

    /// The personal fields of all events; all addresses of uses and refusals, all networks of uses, and all idempotency keys.
    pub fn everyone() -> Self {
        Self {
            organization: None,
            person: Person::Everyone,
        }
    }

    /// Only in this organization.
    pub fn of(mut self, organization: OrganizationId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// The organization, unless it is all of them.
    pub fn organization(&self) -> Option<OrganizationId> {
        self.organization
    }

    /// The user's id, unless it is an address.
    pub fn user_id(&self) -> Option<&UserId> {
        match &self.person {
            Person::User(user) => Some(user),
            Person::Address(_) | Person::Everyone => None,
        }
    }

    /// The address as it is stored, unless it is a user.
    pub fn address_text(&self) -> Option<String> {
        match &self.person {
            Person::User(_) | Person::Everyone => None,
            Person::Address(address) => Some(address.to_string()),
        }
    }

    /// Whether it is everyone.
    pub fn is_everyone(&self) -> bool {
        self.person == Person::Everyone
    }

    /// Whether an event's personal fields are to be forgotten, for stores that hold rows in memory.
    pub fn concerns(&self, event: &AuditEvent) -> bool {
        if self.organization.is_some_and(|id| id != event.organization_id) {
            return false;
        }
        match &self.person {
            Person::User(user) => {
                let is_actor = event.actor.kind() == ActorKind::User && event.actor.id() == user.as_str();
                is_actor || event.user.as_ref() == Some(user)
            }
            Person::Address(address) => {
                let of_event = event.personal.get("address").and_then(|text| text.parse().ok());
                of_event == Some(*address)
            }
            Person::Everyone => true,
        }
    }

    /// Whether what this caller asked for in an organization is to be forgotten, for stores that hold rows in memory.
    pub fn concerns_caller(&self, organization: OrganizationId, caller: &Actor) -> bool {
        let is_in = self.organization.is_none_or(|id| id == organization);
        is_in
            && match &self.person {
                Person::User(user) => *caller == Actor::user(user.as_str()),
                Person::Address(_) => false,
                Person::Everyone => true,
            }
    }

    /// Whether the address of a refusal is to be forgotten, for stores that hold rows in memory. `is_of_user` says whether a key
    /// acts for the [user](Self::user_id) or did so before, as far as there are audit events of it.
    pub fn concerns_sample(&self, sample: &RefusalSample, is_of_user: impl FnOnce(KeyId) -> bool) -> bool {
        let is_in = self.organization.is_none_or(|id| sample.organization_id == Some(id));
        is_in
            && match &self.person {
                Person::User(_) => sample.key_id.is_some_and(is_of_user),
                Person::Address(address) => sample.address == Some(*address),
                Person::Everyone => true,
            }
    }
}

/// Shows neither user nor address: what is forgotten must not stay in a log.
impl std::fmt::Debug for Forget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.person {
            Person::User(_) => "Forget(user)",
            Person::Address(_) => "Forget(address)",
            Person::Everyone => "Forget(everyone)",
        })
    }
}
