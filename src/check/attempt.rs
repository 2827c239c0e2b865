//! What a request brings to be checked.

use std::cell::OnceCell;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretSlice};

use super::entry::Entry;
use crate::client::Origin;
use crate::hash::ClientGroup;
use crate::key::Scope;
use crate::limit::Allowance;

/// A presented key and where it comes from: one request, and charged at most once however often it is retried.
///
/// ```
/// use tower_api_key::Attempt;
///
/// let attempt = Attempt::new(b"key_live_not_a_real_key").client_address("192.0.2.7".parse().ok());
/// assert_eq!(format!("{attempt:?}"), "Attempt { client_address: Some(192.0.2.7), .. }");
/// ```
pub struct Attempt<'a> {
    key: &'a [u8],
    client: Origin,
    scope: Option<&'a Scope>,
    // Set when limits were charged and the request must be looked at again: a second charge would take twice. Boxed,
    // since that is rare and every request has one of these.
    charged: OnceCell<Box<Charged>>,
}

/// An [`Attempt`] that owns its key, to be carried over an await. The key is wiped on drop.
pub struct OwnedAttempt {
    key: SecretSlice<u8>,
    client: Origin,
    scope: Option<Scope>,
    charged: Option<Charged>,
}

impl<'a> Attempt<'a> {
    /// An attempt with this key, as the client sent it.
    pub fn new(key: &'a [u8]) -> Self {
        Self::from_client(key, Origin::UNKNOWN)
    }

    /// An attempt from there.
    #[inline]
    pub(crate) fn from_client(key: &'a [u8], client: Origin) -> Self {
        Self {
            key,
            client,
            scope: None,
            charged: OnceCell::new(),
        }
    }

    /// Where the request comes from. Keys with allowed networks are refused when it is not known.
    #[must_use]
    pub fn client_address(mut self, address: Option<IpAddr>) -> Self {
        self.client = Origin::client(address);
        self
    }

    /// Asks that the key has this scope.
    #[must_use]
    pub fn require_scope(mut self, scope: &'a Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// The same attempt, with a copy of the key.
    pub fn into_owned(self) -> OwnedAttempt {
        OwnedAttempt {
            key: SecretSlice::from(self.key.to_vec()),
            client: self.client,
            scope: self.scope.cloned(),
            charged: self.charged.into_inner().map(|charged| *charged),
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.key
    }

    pub(super) fn charged(&self) -> &OnceCell<Box<Charged>> {
        &self.charged
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            client: self.client,
            scope: self.scope,
        }
    }
}

impl OwnedAttempt {
    pub(super) fn key(&self) -> &[u8] {
        self.key.expose_secret()
    }

    pub(super) fn take_charged(&mut self) -> Option<Charged> {
        self.charged.take()
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            client: self.client,
            scope: self.scope.as_ref(),
        }
    }
}

/// What a request was charged when it was looked at before.
pub(super) struct Charged {
    allowance: Allowance,
    by: Arc<Entry>,
}

impl Charged {
    /// What is left of the limits of this entry after they were charged.
    pub(super) fn new(allowance: Allowance, by: Arc<Entry>) -> Self {
        Self { allowance, by }
    }

    /// The states, if they are those of this entry's limits. They go by position: after a change they would be told as those
    /// of limits that the request was not charged by.
    pub(super) fn states_for(&self, entry: &Entry) -> Allowance {
        let is_same =
            self.by.limits() == entry.limits() && self.by.organization().limits == entry.organization().limits;
        if is_same {
            self.allowance.clone()
        } else {
            Allowance::default()
        }
    }
}

/// What policy judges an entry by.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) client: Origin,
    pub(super) scope: Option<&'a Scope>,
}

impl Terms<'_> {
    /// Whom a wrong key is held against. Nobody for a trusted proxy's own address: one client behind it would use up the
    /// budget of all. But one group for all whose address is not known: a client can make itself unknown, by a `Forwarded`
    /// that cannot be read for instance, and would nothing be held against it then, it could fill the queue and the loads
    /// that those share whose address is known. Where nobody's is known the shared budget costs new keys the second half of
    /// the queue under a flood, which would be full of wrong ones without it.
    pub(super) fn answerable(&self) -> Option<ClientGroup> {
        (!self.client.is_proxy()).then(|| self.client.group())
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("client_address", &self.client.address())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedAttempt")
            .field("client_address", &self.client.address())
            .finish_non_exhaustive()
    }
}
