//! Refusals, as they are stored: counts that are exact, and samples.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use uuid::Uuid;

use crate::key::{KeyId, OrganizationId, Timestamp};

/// What is stored of requests with valid keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audit {
    /// An event `key.used` for the first use of each secret from each network (a /24, or a /48 of IPv6) on each day, by the UTC
    /// calendar. Of several servers each writes its own.
    #[default]
    FirstUse,
    /// An event `key.used` for each request: up to 65,536 in a minute. How many were left out is logged.
    EveryUse,
    /// Nothing.
    NoUse,
}

impl Audit {
    /// An event for the first use of each secret, network and day: the default.
    pub const fn first_use() -> Self {
        Self::FirstUse
    }

    /// An event for each request with a valid key.
    pub const fn every_use() -> Self {
        Self::EveryUse
    }

    /// No events.
    pub const fn no_use() -> Self {
        Self::NoUse
    }
}

/// How many refusals of one kind there were in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalCount {
    /// The start of the hour.
    pub hour: Timestamp,
    /// Whose keys they were; the nil id where no key was verified.
    pub organization_id: OrganizationId,
    /// The kind, such as `key_revoked`: the name of a [`RejectionKind`](crate::RejectionKind).
    pub kind: String,
    /// How many.
    pub number: u64,
}

/// One refusal of many.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalSample {
    /// Its id, ordered by time.
    pub id: Uuid,
    /// When it was.
    pub at: Timestamp,
    /// Whose key it was, if it was verified.
    pub organization_id: Option<OrganizationId>,
    /// The key, if it was verified.
    pub key_id: Option<KeyId>,
    /// The lookup that was presented, of a key in a valid format.
    pub lookup: Option<String>,
    /// The kind, such as `key_revoked`: the name of a [`RejectionKind`](crate::RejectionKind).
    pub kind: String,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

impl RefusalCount {
    /// A count of these parts.
    pub fn new(
        hour: Timestamp,
        organization_id: OrganizationId,
        kind: impl Into<Cow<'static, str>>,
        number: u64,
    ) -> Self {
        Self {
            hour,
            organization_id,
            kind: kind.into().into_owned(),
            number,
        }
    }
}

impl RefusalSample {
    /// A sample with a new id, and nothing else that is known of it.
    pub fn new(at: Timestamp, kind: impl Into<String>) -> Self {
        Self {
            id: Uuid::now_v7(),
            at,
            organization_id: None,
            key_id: None,
            lookup: None,
            kind: kind.into(),
            address: None,
        }
    }
}

/// Without the address.
impl fmt::Debug for RefusalSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sample = f.debug_struct("RefusalSample");
        let sample = sample.field("at", &self.at).field("kind", &self.kind);
        sample.field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
