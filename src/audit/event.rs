//! One event.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use uuid::Uuid;

use crate::audit::{AuditAction, PersonalFields};
use crate::error::ParseError;
use crate::key::{Actor, KeyId, OrganizationId, Timestamp, UserId, without_nul};

/// Who did what, when, and to which key. Never holds a secret. What it says of persons is in `personal` and nowhere else, so that
/// it can be forgotten.
///
/// ```
/// use tower_api_key::audit::{AuditAction, AuditEvent};
/// use tower_api_key::key::{Actor, KeyId, OrganizationId, Timestamp};
///
/// let now = Timestamp::from_millis(1_767_225_600_000);
/// let event = AuditEvent::new(OrganizationId::new(), now, Actor::user("alice"), AuditAction::KEY_REVOKED)
///     .key(KeyId::new())
///     .detail("reason", "laptop lost");
/// assert_eq!(event.details, [("reason".to_owned(), "laptop lost".to_owned())]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent {
    /// Whose event it is. The nil id is the system's, for events of no organization.
    pub organization_id: OrganizationId,
    /// The time of the change, by the clock of the process that made it.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: AuditAction,
    /// The key it was done to.
    pub key_id: Option<KeyId>,
    /// The user that the key acts for.
    pub user: Option<UserId>,
    /// More about it, as pairs of name and value: `reason`, what changed, `before.scopes` and `after.scopes`.
    pub details: Vec<(String, String)>,
    /// What it says of persons: `actor.name`, `address`, `network`, `agent`, `before.name` and `after.name`.
    pub personal: PersonalFields,
}

impl AuditEvent {
    /// An event of an organization, without a key.
    pub fn new(organization_id: OrganizationId, at: Timestamp, actor: Actor, action: AuditAction) -> Self {
        Self {
            organization_id,
            at,
            actor,
            action,
            key_id: None,
            user: None,
            details: Vec::new(),
            personal: PersonalFields::default(),
        }
    }

    /// An event of the system, which belongs to no organization.
    pub fn of_system(at: Timestamp, actor: Actor, action: AuditAction) -> Self {
        Self::new(Uuid::nil().into(), at, actor, action)
    }

    /// The key it was done to.
    #[must_use]
    pub fn key(mut self, id: KeyId) -> Self {
        self.key_id = Some(id);
        self
    }

    /// The user that the key acts for.
    #[must_use]
    pub fn user(mut self, user: Option<UserId>) -> Self {
        self.user = user;
        self
    }

    /// One more detail.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((name.into(), without_nul(value)));
        self
    }

    /// Why it was done; nothing if the text is empty.
    #[must_use]
    pub fn reason(self, reason: &str) -> Self {
        match reason {
            "" => self,
            reason => self.detail("reason", reason),
        }
    }

    /// One more field about a person.
    #[must_use]
    pub fn personal(mut self, name: impl Into<String>, value: impl AsRef<str>) -> Self {
        self.personal.push(name, value);
        self
    }

    /// From this address: the personal fields `address`, and `network`, a /24 or a /48 of IPv6, which is kept longer.
    #[must_use]
    pub fn at_address(self, address: IpAddr) -> Self {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { 24 } else { 48 };
        let event = self.personal("address", address.to_string());
        match IpNet::new(address, length) {
            Ok(network) => event.personal("network", network.trunc().to_string()),
            Err(_) => event,
        }
    }

    /// The first detail of this name.
    pub fn detail_of(&self, name: &str) -> Option<&str> {
        let detail = self.details.iter().find(|(other, _)| other == name);
        detail.map(|(_, value)| &**value)
    }
}

/// Identifies a commit. Its audit events carry it, so that a commit of unknown outcome can be looked up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(Uuid);

impl CommitId {
    /// A new id, ordered by the time of its making (UUIDv7, RFC 9562).
    #[allow(
        clippy::new_without_default,
        reason = "a default that is another one each time surprises"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for CommitId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for CommitId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let id = Uuid::try_parse(text);
        id.map(Self).map_err(|_| ParseError::new("commit id", "must be a UUID"))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitId({self})")
    }
}
