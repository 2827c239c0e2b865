//! Shared by the tests of checking: a store with an issuer and an authenticator, and keys to check.

pub(crate) mod brake;
pub(crate) mod elsewhere;
pub(crate) mod place;
pub(crate) mod process;

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::support::rows::Rows as _;
use tower_api_key::hash::{Argon2Params, HashPolicy, HashPool};
use tower_api_key::key::{Actor, Checksum, KeyFormat, KeyRecord, KeySecret, Organization};
use tower_api_key::store::{KeyStore, ManagedStore, MemoryStore};
use tower_api_key::testing::{FaultStore, Faults, ManualClock};
use tower_api_key::{
    ApiKeys, ApiKeysBuilder, AuthContext, Authenticator, IssueRequest, IssuedKey, Issuer, PresentedKey, Rejection,
    RejectionKind,
};

/// A memory store with injected faults, an issuer and an authenticator over it, and a manual clock.
pub(crate) struct House {
    pub(crate) hand: ManualClock,
    pub(crate) store: FaultStore<MemoryStore>,
    pub(crate) pool: HashPool,
    policy: HashPolicy,
    pub(crate) issuer: Issuer<FaultStore<MemoryStore>>,
    pub(crate) authenticator: Authenticator<FaultStore<MemoryStore>>,
    pub(crate) organization: Organization,
}

impl House {
    /// With fast hashes.
    pub(crate) async fn new() -> Self {
        Self::with(HashPolicy::sha256(), |builder| builder).await
    }

    /// With the cheapest Argon2 hashes.
    pub(crate) async fn with_argon2() -> Self {
        Self::with(argon2(), |builder| builder).await
    }

    /// An issuer in the same store, with other settings.
    pub(crate) fn issuer_with(
        &self,
        settings: impl FnOnce(ApiKeysBuilder<FaultStore<MemoryStore>>) -> ApiKeysBuilder<FaultStore<MemoryStore>>,
    ) -> Issuer<FaultStore<MemoryStore>> {
        let same = ApiKeys::builder(self.store.clone()).formats(crc_format());
        let same = same.hash_policy(self.policy);
        acting(settings(same.clock(self.hand.clock())))
    }

    pub(crate) fn issuer_of(&self, format: KeyFormat) -> Issuer<FaultStore<MemoryStore>> {
        self.issuer_with(|settings| settings.formats(format))
    }

    pub(crate) async fn with(
        policy: HashPolicy,
        settings: impl FnOnce(ApiKeysBuilder<FaultStore<MemoryStore>>) -> ApiKeysBuilder<FaultStore<MemoryStore>>,
    ) -> Self {
        Self::with_pool(policy, HashPool::builder().build(), settings).await
    }

    /// The issuer hashes on a pool of its own: the authenticator's counts checks alone.
    pub(crate) async fn with_pool(
        policy: HashPolicy,
        pool: HashPool,
        settings: impl FnOnce(ApiKeysBuilder<FaultStore<MemoryStore>>) -> ApiKeysBuilder<FaultStore<MemoryStore>>,
    ) -> Self {
        let hand = ManualClock::new();
        let store = FaultStore::new(MemoryStore::new());
        let issuing = ApiKeys::builder(store.clone()).formats(crc_format());
        let issuing = issuing.hash_policy(policy).clock(hand.clock());
        let issuer = acting(issuing.pool(HashPool::builder().build()));
        let builder = Authenticator::builder(store.clone())
            .clock(hand.clock())
            .hash_policy(policy)
            .pool(pool.clone());
        let authenticator = settings(builder).build();
        let organization = issuer.create_organization("acme").await.unwrap();
        Self {
            hand,
            store,
            pool,
            policy,
            issuer,
            authenticator,
            organization,
        }
    }

    pub(crate) fn faults(&self) -> &Faults {
        self.store.faults()
    }

    pub(crate) fn request(&self, name: &str) -> IssueRequest {
        IssueRequest::new(self.organization.id, name)
    }

    pub(crate) async fn key(&self) -> IssuedKey {
        self.issuer.issue(self.request("key")).await.unwrap()
    }

    /// A key that has been used before.
    pub(crate) async fn known_key(&self) -> IssuedKey {
        let issued = self.key().await;
        self.check(text(&issued)).await.unwrap();
        issued
    }

    pub(crate) async fn check(&self, key: &str) -> Result<AuthContext, Rejection> {
        self.authenticator.check(presented(key)).await
    }

    pub(crate) async fn refusal(&self, key: &str) -> RejectionKind {
        kind(&self.check(key).await)
    }

    /// Makes all cached keys stale.
    pub(crate) fn everything_changed(&self) {
        self.store.fence().unwrap().everything_changed();
    }

    /// Waits until clients that went away have left nothing behind.
    pub(crate) async fn is_at_rest(&self) {
        until(|| {
            self.authenticator.loads_in_flight() == 0
                && self.pool.queued() == 0
                && self.pool.running() == 0
                && self.faults().finds_in_progress() == 0
        })
        .await;
    }
}

/// The cheapest Argon2id.
pub(crate) fn argon2() -> HashPolicy {
    HashPolicy::argon2id(Argon2Params::new(8, 1, 1).unwrap())
}

pub(crate) fn issuer<S: ManagedStore + Clone>(store: &S) -> Issuer<S> {
    let settings = ApiKeys::builder(store.clone()).formats(crc_format());
    acting(settings.hash_policy(HashPolicy::sha256()))
}

/// The default format with a checksum that anyone can compute, as attackers' keys here have it.
pub(crate) fn crc_format() -> KeyFormat {
    KeyFormat::builder("key").checksum(Checksum::Crc32).build().unwrap()
}

/// The issuer of a handle with these settings.
pub(crate) fn acting<S: ManagedStore + Clone>(settings: ApiKeysBuilder<S>) -> Issuer<S> {
    settings.checking().issuer().acting_as(Actor::service())
}

/// A new key with its record and secret, which no store has yet.
pub(crate) async fn unborn(organization: &Organization) -> (String, KeyRecord, KeySecret) {
    let nursery = MemoryStore::new();
    nursery.insert_organization(organization.clone()).await.unwrap();
    let request = IssueRequest::new(organization.id, "key");
    let issued = issuer(&nursery).issue(request).await.unwrap();
    let mut stored = nursery.key(issued.record.id).await.unwrap().unwrap();
    (text(&issued).to_owned(), stored.record, stored.secrets.remove(0))
}

pub(crate) fn text(issued: &IssuedKey) -> &str {
    issued.key.expose_secret()
}

pub(crate) fn presented(key: &str) -> PresentedKey<'_> {
    PresentedKey::new(key.as_bytes())
}

/// The key, presented from this address.
pub(crate) fn presented_from<'a>(key: &'a str, address: &str) -> PresentedKey<'a> {
    let address = Some(address.parse().unwrap());
    PresentedKey::new(key.as_bytes()).client_address(address)
}

pub(crate) async fn check<S: KeyStore>(authenticator: &Authenticator<S>, key: &str) -> Result<AuthContext, Rejection> {
    authenticator.check(presented(key)).await
}

/// The kind of a refusal. Panics on an admission.
#[track_caller]
pub(crate) fn kind(checked: &Result<AuthContext, Rejection>) -> RejectionKind {
    match checked {
        Ok(context) => panic!("{context:?} was admitted"),
        Err(rejection) => rejection.kind(),
    }
}

/// A key with the same lookup, another secret (number `n`) and a right checksum.
pub(crate) fn with_other_secret(key: &str, n: usize) -> String {
    let (head, body) = key.split_at(key.len() - 50);
    let (lookup, secret) = body[..44].split_at(12);
    let other = format!("{n:0>32}");
    assert_ne!(secret, other);
    with_checksum(head, &format!("{lookup}{other}"))
}

/// Number `n` of the keys that do not exist.
pub(crate) fn unknown_key(n: usize) -> String {
    with_checksum("key_live_", &format!("{n:Z>12}{n:0>32}"))
}

/// The key with the other environment, as an attacker would forge it.
pub(crate) fn in_test_environment(key: &str) -> String {
    format!("key_test_{}", key.strip_prefix("key_live_").unwrap())
}

/// A key of this text and its CRC-32.
pub(crate) fn with_checksum(head: &str, body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut checksum = [b'0'; 6];
    for place in checksum.iter_mut().rev() {
        *place = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    format!("{head}{body}{}", std::str::from_utf8(&checksum).unwrap())
}

/// Lets other tasks and threads run until the condition is true. Panics after a minute, which is far longer than a busy machine
/// needs.
#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let (caller, deadline) = (Location::caller(), Instant::now() + Duration::from_secs(60));
    async move {
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "{caller}: the condition was not true within a minute"
            );
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
    }
}

/// Polls once, and returns the answer if it is ready.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Lets all ready tasks run. Deterministic on a runtime with one thread.
pub(crate) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
