//! Who is logged in, and what the service lets that person give to keys.

use std::fmt;
use std::net::IpAddr;

use crate::audit::Caller;
use crate::error::{ConfigError, quoted};
use crate::key::{Actor, KeyRecord, OrganizationId, ScopeSet, UserId};

/// A user of an organization who is logged in to the service, and manages keys of their own without a key: for
/// [`ApiKeys::issuer_for_principal`](crate::ApiKeys::issuer_for_principal).
///
/// By default it grants no scopes, so the keys that it makes open nothing that requires one, and it sees its own keys alone.
///
/// ```
/// use tower_api_key::key::OrganizationId;
/// use tower_api_key::{Principal, Sees};
///
/// let acme = OrganizationId::new();
/// let alice = Principal::new(acme, "alice".parse()?)
///     .grants("orders:read orders:write".parse()?)?
///     .sees(Sees::Organization)
///     .client_address(Some("192.0.2.7".parse()?));
///
/// let error = alice.clone().grants("orders:*".parse()?).unwrap_err();
/// assert_eq!(error.to_string(), "invalid grants: must name each scope in full, got the wildcard \"orders:*\"");
/// assert!(alice.grants("api-keys.keys:write".parse()?).is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Security
/// Both ids must come from the session of the login, as the server keeps it. Taken from a header, a form or a path, they let every
/// user act as any other one. Without a session there is no principal: answer with 401.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Principal {
    organization: OrganizationId,
    user: UserId,
    grants: ScopeSet,
    sees: Sees,
    address: Option<IpAddr>,
}

/// Which keys a [`Principal`] sees. It changes its own ones only, whatever it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sees {
    /// Those of its user.
    #[default]
    Own,
    /// Those of its organization, while its user and its organization are active.
    Organization,
}

impl Principal {
    /// This user of this organization. It grants nothing, and sees its own keys.
    pub fn new(organization: OrganizationId, user: UserId) -> Self {
        Self {
            organization,
            user,
            grants: ScopeSet::default(),
            sees: Sees::Own,
            address: None,
        }
    }

    /// The scopes that keys of the user may be given: those that the user has in the service. They replace what was granted before.
    ///
    /// # Errors
    /// When one of them has a `*`, or begins with `api-keys.`: a key with such a scope could do more than the user, such as manage
    /// keys of others.
    pub fn grants(mut self, scopes: ScopeSet) -> Result<Self, ConfigError> {
        let invalid = |problem: String| Err(ConfigError::new("grants", problem));
        for text in scopes.iter() {
            if text.contains('*') {
                return invalid(format!(
                    "must name each scope in full, got the wildcard {}",
                    quoted(text)
                ));
            }
        }
        if scopes.has_management() {
            return invalid("must have no scope of managing keys, which begin with `api-keys.`".to_owned());
        }
        self.grants = scopes;
        Ok(self)
    }

    /// Which keys it sees. Default: [`Own`](Sees::Own).
    pub fn sees(mut self, sees: Sees) -> Self {
        self.sees = sees;
        self
    }

    /// The address of the client, for the audit trail. Default: it is not known, and audit events have none.
    pub fn client_address(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// Who acts, as audit events name it.
    pub(in crate::issue) fn caller(&self) -> Caller {
        let caller = Caller::new(self.actor());
        match self.address {
            Some(address) => caller.address(address),
            None => caller,
        }
    }

    pub(crate) fn organization(&self) -> OrganizationId {
        self.organization
    }

    pub(crate) fn user(&self) -> &UserId {
        &self.user
    }

    /// Whom events and idempotency keys name.
    pub(super) fn actor(&self) -> Actor {
        Actor::user(self.user.as_str())
    }

    pub(super) fn sight(&self) -> Sees {
        self.sees
    }

    /// Whether it may give all of these.
    pub(super) fn has_all(&self, scopes: &ScopeSet) -> bool {
        self.grants.includes(scopes)
    }

    /// Whether the key is one of its user. The same user id in another organization is another user.
    pub(super) fn owns(&self, record: &KeyRecord) -> bool {
        record.organization_id == self.organization && record.user.as_ref() == Some(&self.user)
    }
}

/// Without the address, which is personal.
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("organization", &self.organization)
            .field("user", &self.user)
            .field("grants", &self.grants)
            .field("sees", &self.sees)
            .finish_non_exhaustive()
    }
}
