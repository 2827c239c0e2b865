//! A verified key, as it is cached: immutable, small, and never used without checking its mark.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use sha2::{Digest, Sha256};

use super::presented::{Tag, TaggedKey};
use super::rejection::Rejection;
use crate::clock::{Clock, Monotonic};
use crate::compact::{Interner, Tenant, bytes_of_limits, pack, unpack};
use crate::fence::Mark;
use crate::hash::HashKind;
use crate::key::{
    KeyId, Lookup, Metadata, Networks, Organization, RateLimit, Scope, ScopeSet, SecretForm, SecretHash, Timestamp,
    User,
};
use crate::last_use::{Counted, LastUsed, PendingUses, SecretUse, UseCounter};
use crate::limit::{Charge, KnownBuckets};
use crate::store::{Barrier, Candidate};

/// What one presented key was found to be.
pub(crate) struct Entry {
    pub(super) lookup: Lookup,
    pub(super) tag: Tag,
    /// Of the stored hash that the key was verified against.
    fingerprint: [u64; 2],
    pub(super) mark: Mark,
    pub(super) read_at: Monotonic,
    /// When the key ends; as far away as there is for a key without expiry.
    pub(super) deadline: Monotonic,
    /// Why the key opens nothing, apart from its end.
    pub(super) barrier: Option<Barrier>,
    /// Of that hash.
    pub(super) hash_kind: HashKind,
    /// Which checksum the presented key has. That of the stored key may not be known.
    pub(super) form: SecretForm,
    /// Of the presented key too: its format and environment.
    pub(super) shape: [u8; 2],
    /// Network and day of the last use, as `audit` has them.
    pub(super) last_use: AtomicU32,
    /// Requests since they were stored.
    pub(super) uses: UseCounter,
    key: KeyId,
    tenant: Arc<Tenant<AuthenticatorHandle>>,
    /// Name, user and environment; a key without one of them has an empty text.
    labels: Box<str>,
    label_places: [u32; 2],
    scopes: ScopeSet,
    limits: Arc<[RateLimit]>,
    extras: Option<Box<Extras>>,
    known_buckets: KnownBuckets,
}

/// What only few keys have, kept apart.
#[derive(Clone, Default)]
struct Extras {
    networks: Networks,
    /// The key must be bound to networks and is not.
    lacks_networks: bool,
    metadata: Metadata,
    /// The row of the user, of those that have one.
    user: Option<Box<User>>,
    expires_at: Option<Timestamp>,
    superseded: bool,
    /// The fingerprint of the hash that a re-hash replaced.
    former: Option<[u64; 2]>,
}

/// The authenticator behind a context.
pub(crate) struct AuthenticatorHandle {
    /// The clock by which keys end.
    pub(super) clock: Clock,
    // Weak: the cache inside the authenticator holds entries that hold this.
    pub(super) authenticator: Weak<dyn AnyAuthenticator>,
    /// Where uses of keys wait to be stored; none where nothing is.
    pub(super) uses: Option<Arc<PendingUses>>,
}

/// What contexts ask of their authenticator after the check, whatever its store is.
pub(crate) trait AnyAuthenticator: Send + Sync {
    /// Resolves when the key of this entry ends.
    fn revoked(self: Arc<Self>, entry: Arc<Entry>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// 128 bits that tell whether the stored hash is still the one that a key was verified against.
pub(super) fn fingerprint(hash: &SecretHash) -> [u64; 2] {
    let digest = Sha256::digest(hash.as_str().as_bytes());
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| digest[at + i]));
    [word(0), word(8)]
}

impl Entry {
    /// An entry for this candidate, whose secret was verified for the key behind `tagged` against the hash behind `fingerprint`.
    pub(super) fn new(
        candidate: Candidate,
        interner: &Interner<AuthenticatorHandle>,
        tagged: &TaggedKey,
        fingerprint: [u64; 2],
        mark: Mark,
        read_at: Monotonic,
        deadline: Monotonic,
    ) -> Self {
        let (barrier, expires_at) = (candidate.barrier(), candidate.ends_at());
        let (scopes, limits, lacks_networks) = (candidate.scopes(), candidate.key_limits(), candidate.lacks_networks());
        let shared_limits = candidate.shared_limits();
        let Candidate {
            record,
            secret,
            mut organization,
            user: user_row,
            ..
        } = candidate;
        // With those of its plan: what holds.
        organization.limits = shared_limits;
        let user = record.user.as_ref().map(|user| user.as_str());
        let (labels, label_places) = pack([
            &record.name,
            user.unwrap_or_default(),
            record.environment.as_deref().unwrap_or_default(),
        ]);
        Self {
            lookup: secret.lookup.clone(),
            tag: tagged.tag,
            fingerprint,
            mark,
            read_at,
            deadline,
            barrier,
            hash_kind: HashKind::of(&secret.hash),
            form: tagged.form,
            shape: tagged.shape,
            last_use: AtomicU32::new(0),
            uses: UseCounter::default(),
            key: record.id,
            tenant: interner.tenant(organization),
            labels,
            label_places,
            scopes: interner.scopes(scopes),
            limits: interner.limits(limits),
            extras: Extras::unless_empty(Extras {
                networks: record.networks,
                lacks_networks,
                metadata: record.metadata,
                user: user_row.map(Box::new),
                expires_at,
                superseded: secret.grace_ends_at.is_some(),
                former: None,
            }),
            known_buckets: KnownBuckets::default(),
        }
    }

    /// The same for a new hash of the same key. As old as this one: a change since then still counts.
    pub(super) fn rehashed(&self, hash: &SecretHash) -> Self {
        let extras = Extras {
            former: Some(self.fingerprint),
            ..self.extras.as_deref().cloned().unwrap_or_default()
        };
        Self {
            lookup: self.lookup.clone(),
            tag: self.tag,
            fingerprint: fingerprint(hash),
            mark: self.mark,
            read_at: self.read_at,
            deadline: self.deadline,
            barrier: self.barrier,
            hash_kind: HashKind::of(hash),
            form: self.form,
            shape: self.shape,
            last_use: AtomicU32::new(self.last_use.load(Ordering::Relaxed)),
            uses: UseCounter::default(),
            key: self.key,
            tenant: self.tenant.clone(),
            labels: self.labels.clone(),
            label_places: self.label_places,
            scopes: self.scopes.clone(),
            limits: self.limits.clone(),
            extras: Some(Box::new(extras)),
            known_buckets: KnownBuckets::default(),
        }
    }

    /// Whether the key is known to fit this hash: the one it was verified against or, after a re-hash, the one before. A
    /// change that was in progress at that time may put the old hash back.
    pub(super) fn is_proven_by(&self, hash: [u64; 2]) -> bool {
        self.fingerprint == hash || self.extras.as_deref().is_some_and(|extras| extras.former == Some(hash))
    }

    /// A rejection that names this key.
    pub(super) fn rejection(&self, rejection: Rejection) -> Rejection {
        rejection
            .with_lookup(self.lookup.clone())
            .of_key(self.key_id(), self.organization().id, self.user())
    }

    pub(super) fn has_limits(&self) -> bool {
        !self.limits().is_empty() || !self.organization().limits.is_empty()
    }

    pub(super) fn has_limits_of(&self, other: &Self) -> bool {
        self.limits() == other.limits() && self.organization().limits == other.organization().limits
    }

    /// One request of this key, for a limiter.
    pub(super) fn charge(&self, now: Monotonic) -> Charge<'_> {
        let organization = self.organization();
        let (own, shared) = (self.limits(), &organization.limits);
        Charge::new(self.key_id(), organization.id, own, shared, now).with_known_buckets(&self.known_buckets)
    }

    pub(super) fn key_id(&self) -> KeyId {
        self.key
    }

    pub(super) fn organization(&self) -> &Organization {
        &self.tenant.organization
    }

    pub(super) fn handle(&self) -> &AuthenticatorHandle {
        &self.tenant.handle
    }

    pub(super) fn name(&self) -> &str {
        let [name, ..] = unpack(&self.labels, &self.label_places);
        name
    }

    pub(super) fn user(&self) -> Option<&str> {
        let [_, user, _] = unpack(&self.labels, &self.label_places);
        (!user.is_empty()).then_some(user)
    }

    pub(super) fn user_row(&self) -> Option<&User> {
        self.extras.as_deref()?.user.as_deref()
    }

    pub(super) fn environment(&self) -> Option<&str> {
        let [.., environment] = unpack(&self.labels, &self.label_places);
        (!environment.is_empty()).then_some(environment)
    }

    pub(super) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    pub(super) fn limits(&self) -> &[RateLimit] {
        &self.limits
    }

    /// Where the key may be used from, if that is restricted. No address is in none.
    pub(super) fn networks(&self) -> Option<&Networks> {
        let extras = self.extras.as_deref()?;
        (extras.lacks_networks || !extras.networks.is_empty()).then_some(&extras.networks)
    }

    pub(super) fn metadata(&self) -> &Metadata {
        static NONE: OnceLock<Metadata> = OnceLock::new();
        match &self.extras {
            Some(extras) => &extras.metadata,
            None => NONE.get_or_init(Metadata::default),
        }
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.extras.as_deref()?.expires_at
    }

    pub(super) fn is_superseded(&self) -> bool {
        self.extras.as_deref().is_some_and(|extras| extras.superseded)
    }

    /// Notes that these scopes decided about a request.
    pub(super) fn scopes_used(&self, scopes: &[Scope]) {
        let handle = self.handle();
        if let Some(pending) = &handle.uses
            && pending.is_new(&self.uses, scopes)
        {
            pending.scopes_used(self.key, scopes, handle.clock.wall());
        }
    }

    fn use_of(&self, (requests, last_used): (u32, LastUsed)) -> Option<SecretUse> {
        let clock = &self.handle().clock;
        let ago = last_used.ago(clock.now());
        let mut used = SecretUse::new(self.lookup.clone(), self.key, self.organization().id);
        used.requests = requests.into();
        used.last_used_at = Some(clock.wall().before(ago));
        (requests > 0).then_some(used)
    }

    /// Bytes that the entry keeps in memory, near enough to bound a cache by. What it shares with others is counted for each
    /// of them, because the last one keeps it.
    pub(super) fn weight(&self) -> u64 {
        let shared = &self.organization().limits;
        let limits = bytes_of_limits(&self.limits) + KnownBuckets::size_for(self.limits.len() + shared.len());
        let texts = self.labels.len() + self.scopes.as_str().len();
        let extras = self.extras.as_deref().map_or(0, Extras::bytes);
        let bytes = size_of::<Self>() + 16 + texts + self.tenant.bytes() + limits + extras;
        bytes as u64
    }
}

impl Counted for Entry {
    fn take(&self) -> Option<SecretUse> {
        self.use_of(self.uses.take())
    }

    fn peek(&self) -> Option<SecretUse> {
        self.use_of(self.uses.peek())
    }
}

impl Extras {
    fn unless_empty(extras: Self) -> Option<Box<Self>> {
        let is_empty = extras.networks.is_empty()
            && !extras.lacks_networks
            && extras.metadata.is_empty()
            && extras.user.is_none()
            && extras.expires_at.is_none();
        (!is_empty).then(|| Box::new(extras))
    }

    /// Bytes in memory.
    fn bytes(&self) -> usize {
        let networks = self.networks.iter().count() * size_of::<ipnet::IpNet>();
        let user = self.user.as_deref().map_or(0, bytes_of_user);
        size_of::<Self>() + networks + bytes_of_metadata(&self.metadata) + user
    }
}

fn bytes_of_user(user: &User) -> usize {
    let texts = [Some(user.id.as_str()), user.name.as_deref(), user.email.as_deref()];
    let texts: usize = texts.into_iter().flatten().map(str::len).sum();
    size_of::<User>() + texts + user.reason.len() + user.actor.id().len() + bytes_of_metadata(&user.metadata)
}

fn bytes_of_metadata(metadata: &Metadata) -> usize {
    let texts: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    // The nodes of its tree have room for eleven, and are about half full but for the first.
    metadata.iter().count().div_ceil(6) * 384 + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_hashes_apart() {
        let of = |text: &str| fingerprint(&SecretHash::new(text).unwrap());
        assert_eq!(of("sha256:00"), of("sha256:00"));
        assert_ne!(of("sha256:00"), of("sha256:01"));
        assert_ne!(of("sha256:00"), of("sha512:00"));
    }
}
