//! A verified key, as it is cached: immutable, small, and never trusted without its mark.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::common::Common;
use super::home::Home;
use super::tag::Tag;
use crate::clock::Monotonic;
use crate::fence::Mark;
use crate::key::{KeyId, KeyStatus, Metadata, Networks, Organization, RateLimit, ScopeSet, SecretHash, Timestamp};
use crate::limit::KnownBuckets;
use crate::store::Candidate;

/// What one presented key was found to be.
///
/// A million of these may be in memory: strings are packed, and what few keys have is apart in [`Rare`].
pub(crate) struct Entry {
    pub(super) tag: Tag,
    fingerprint: Fingerprint,
    pub(super) mark: Mark,
    pub(super) read_at: Monotonic,
    /// The monotonic end of the key's life; the end of time for a key without expiry.
    pub(super) deadline: Monotonic,
    pub(super) status: KeyStatus,
    key: KeyId,
    tenant: Arc<Tenant>,
    labels: Labels,
    scopes: ScopeSet,
    limits: Arc<[RateLimit]>,
    rare: Option<Box<Rare>>,
    pub(super) known_buckets: KnownBuckets,
}

/// An organization as of one revision, shared by the entries of its keys.
pub(crate) struct Tenant {
    pub(super) organization: Organization,
    pub(super) home: Arc<Home>,
}

/// What only few keys have.
#[derive(Clone, Default)]
struct Rare {
    networks: Networks,
    metadata: Metadata,
    expires_at: Option<Timestamp>,
    superseded: bool,
    /// Of the hash that was replaced by one of today's policy.
    former: Option<Fingerprint>,
}

/// Name, user and environment in one allocation.
#[derive(Clone)]
struct Labels {
    text: Box<str>,
    name_end: u32,
    user_end: u32,
    has_user: bool,
    has_environment: bool,
}

/// 128 bits of the hash of a stored hash string: tells whether the stored secret is still the one verified against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u64; 2]);

impl Fingerprint {
    pub(super) fn of(hash: &SecretHash) -> Self {
        let digest = Sha256::digest(hash.as_str().as_bytes());
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| digest[at + i]));
        Self([word(0), word(8)])
    }
}

impl Entry {
    /// An entry for this candidate, whose secret was verified for the key behind `tag`.
    pub(super) fn new(
        candidate: Candidate,
        common: &Common,
        tag: Tag,
        fingerprint: Fingerprint,
        mark: Mark,
        read_at: Monotonic,
        deadline: Monotonic,
    ) -> Self {
        let Candidate {
            record,
            secret,
            organization,
            ..
        } = candidate;
        let expires_at = earlier(record.expires_at, secret.expires_at);
        let plain = record.networks.is_empty() && record.metadata.is_empty() && expires_at.is_none();
        Self {
            tag,
            fingerprint,
            mark,
            read_at,
            deadline,
            status: record.status,
            key: record.id,
            tenant: common.tenant(organization),
            labels: Labels::new(
                &record.name,
                record.user.as_ref().map(|user| user.as_str()),
                record.environment.as_deref(),
            ),
            scopes: common.scopes(record.scopes),
            limits: common.limits(record.limits),
            rare: (!plain).then(|| {
                Box::new(Rare {
                    networks: record.networks,
                    metadata: record.metadata,
                    expires_at,
                    superseded: secret.expires_at.is_some(),
                    former: None,
                })
            }),
            known_buckets: KnownBuckets::default(),
        }
    }

    /// The same, for a hash of the same key by another policy. As old as this: a change since then is not forgotten.
    pub(super) fn rehashed(&self, fingerprint: Fingerprint) -> Self {
        let rare = Rare {
            former: Some(self.fingerprint),
            ..self.rare.as_deref().cloned().unwrap_or_default()
        };
        Self {
            tag: self.tag,
            fingerprint,
            mark: self.mark,
            read_at: self.read_at,
            deadline: self.deadline,
            status: self.status,
            key: self.key,
            tenant: self.tenant.clone(),
            labels: self.labels.clone(),
            scopes: self.scopes.clone(),
            limits: self.limits.clone(),
            rare: Some(Box::new(rare)),
            known_buckets: KnownBuckets::default(),
        }
    }

    /// Whether the key is known to fit this hash: the one that it was verified against, and where that was replaced by one of
    /// today's policy, either. A change that was under way at that time puts the old one back.
    pub(super) fn is_proven_by(&self, hash: Fingerprint) -> bool {
        self.fingerprint == hash || self.rare.as_deref().is_some_and(|rare| rare.former == Some(hash))
    }

    pub(super) fn key_id(&self) -> KeyId {
        self.key
    }

    pub(super) fn organization(&self) -> &Organization {
        &self.tenant.organization
    }

    pub(super) fn home(&self) -> &Home {
        &self.tenant.home
    }

    pub(super) fn name(&self) -> &str {
        self.labels.name()
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.labels.user()
    }

    pub(super) fn environment(&self) -> Option<&str> {
        self.labels.environment()
    }

    pub(super) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    pub(super) fn limits(&self) -> &[RateLimit] {
        &self.limits
    }

    pub(super) fn networks(&self) -> Option<&Networks> {
        let networks = &self.rare.as_deref()?.networks;
        (!networks.is_empty()).then_some(networks)
    }

    pub(super) fn metadata(&self) -> &Metadata {
        static NONE: OnceLock<Metadata> = OnceLock::new();
        match &self.rare {
            Some(rare) => &rare.metadata,
            None => NONE.get_or_init(Metadata::default),
        }
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.rare.as_deref()?.expires_at
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.rare.as_deref().is_some_and(|rare| rare.superseded)
    }

    /// Bytes that the entry keeps in memory, near enough to bound a cache by. What it shares with others is counted for each
    /// of them: whichever is the last to stay keeps it.
    pub(super) fn weight(&self) -> u64 {
        let organization = self.organization();
        let tenant = size_of::<Tenant>() + 16 + organization.name.len() + size_of_limits(&organization.limits);
        let limits =
            size_of_limits(&self.limits) + KnownBuckets::size_for(self.limits.len() + organization.limits.len());
        let rare = self.rare.as_deref().map_or(0, |rare| {
            let texts: usize = rare.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
            // The nodes of its tree have room for eleven, and are about half full but for the first.
            let metadata = rare.metadata.iter().count().div_ceil(6) * 384 + texts;
            size_of::<Rare>() + rare.networks.iter().count() * size_of::<ipnet::IpNet>() + metadata
        });
        let texts = self.labels.text.len() + self.scopes.as_str().len();
        let bytes = size_of::<Self>() + 16 + texts + tenant + limits + rare;
        bytes as u64
    }
}

fn size_of_limits(limits: &[RateLimit]) -> usize {
    let names: usize = limits.iter().map(|limit| 16 + limit.name().len()).sum();
    size_of_val(limits) + names
}

/// The earlier of two ends, either of which may be open.
pub(super) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Labels {
    fn new(name: &str, user: Option<&str>, environment: Option<&str>) -> Self {
        let (has_user, has_environment) = (user.is_some(), environment.is_some());
        let user = user.unwrap_or_default();
        let text = [name, user, environment.unwrap_or_default()].concat();
        // A name beyond 4 GiB cannot come out of a record that is in memory; it would be cut, not trusted.
        Self {
            name_end: u32::try_from(name.len()).unwrap_or(u32::MAX),
            user_end: u32::try_from(name.len() + user.len()).unwrap_or(u32::MAX),
            text: text.into(),
            has_user,
            has_environment,
        }
    }

    fn name(&self) -> &str {
        self.text.get(..self.name_end as usize).unwrap_or_default()
    }

    fn user(&self) -> Option<&str> {
        self.has_user.then(|| {
            self.text
                .get(self.name_end as usize..self.user_end as usize)
                .unwrap_or_default()
        })
    }

    fn environment(&self) -> Option<&str> {
        self.has_environment
            .then(|| self.text.get(self.user_end as usize..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_out_as_they_went_in() {
        let texts = ["", "a", "nightly export", "\u{e9}\u{1F511}", &"x".repeat(255)];
        let optional = || texts.into_iter().map(Some).chain([None]);
        for name in texts {
            for user in optional() {
                for environment in optional() {
                    let labels = Labels::new(name, user, environment);
                    let out = (labels.name(), labels.user(), labels.environment());
                    assert_eq!(out, (name, user, environment));
                }
            }
        }
    }

    #[test]
    fn the_earlier_end_counts_and_an_open_one_does_not() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(earlier(None, None), None);
        assert_eq!(earlier(at(1), None), at(1));
        assert_eq!(earlier(None, at(1)), at(1));
        assert_eq!(earlier(at(2), at(1)), at(1));
        assert_eq!(earlier(at(1), at(2)), at(1));
    }

    #[test]
    fn fingerprints_tell_hashes_apart() {
        let of = |text: &str| Fingerprint::of(&SecretHash::new(text).unwrap());
        assert!(of("sha256:00") == of("sha256:00"));
        assert!(of("sha256:00") != of("sha256:01"));
        assert!(of("sha256:00") != of("sha512:00"));
    }
}
