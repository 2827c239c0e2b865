//! The authenticator: checks keys, with or without waiting.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::context::AuthContext;
use super::core::Core;
use super::entry::Entry;
use super::load::Load;
use super::loads::{LoadKey, LoadResult, LoadSlot};
use super::presented::{OwnedPresentedKey, PresentedKey, TaggedKey, failure_budget_group};
use super::realm::Presented;
use super::rejection::{RETRY_AFTER, Rejection, RejectionKind};
use super::step::{Check, Step};
use crate::client::{ClientGroup, ClientOrigin};
use crate::clock::Clock;
use crate::hash::{HashPolicy, HashPool};
use crate::key::{KeyFormat, KeyFormats, KeyId};
use crate::limit::{Decision, Take};
use crate::secrets::RealmSecrets;
use crate::store::KeyStore;

/// Checks API keys against a store, for any protocol. Cheap to clone; clones share the cache, loads and limits.
///
/// [`ApiKeyLayer`](crate::ApiKeyLayer) is built on it; where there is no HTTP, call it directly.
///
/// ```
/// use tower_api_key::store::MemoryStore;
/// use tower_api_key::{Authenticator, IssueRequest, Issuer, PresentedKey, RejectionKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let issuer = Issuer::new(store.clone())?;
/// let acme = issuer.create_organization("acme").await?;
/// let issued = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
///
/// let authenticator = Authenticator::new(store);
/// let key = issued.key.expose_secret().as_bytes();
/// let context = authenticator.check(PresentedKey::new(key)).await?;
/// assert_eq!(context.organization().name, "acme");
///
/// // The key is cached now, so it is checked without waiting.
/// assert!(matches!(authenticator.try_check(PresentedKey::new(key)), Some(Ok(_))));
///
/// let rejected = authenticator.check(PresentedKey::new(b"key_live_wrong")).await;
/// assert_eq!(rejected.unwrap_err().kind(), RejectionKind::MalformedKey);
/// # Ok(())
/// # }
/// ```
pub struct Authenticator<S> {
    pub(super) core: Arc<Core<S>>,
}

impl<S> Authenticator<S> {
    pub(crate) fn formats(&self) -> &KeyFormats {
        &self.core.formats
    }
}

impl<S: KeyStore> Authenticator<S> {
    pub(super) fn from_core(core: Arc<Core<S>>) -> Self {
        Self { core }
    }

    /// Decides at once if nothing has to be waited for: the key is cached and unchanged and its limits are in memory, or it
    /// cannot be a key. `None` means that nothing was decided, charged or recorded: await [`check`](Self::check).
    ///
    /// A key whose record changes after its limits were charged and before the decision is rejected as
    /// [`NotConfirmed`](crate::RejectionKind::NotConfirmed), so that a `check` never charges a request twice.
    pub fn try_check(&self, key: PresentedKey<'_>) -> Option<Result<AuthContext, Rejection>> {
        let mut check = Check::default();
        match check.step(&self.core, &key) {
            Step::Done(decided) => Some(decided),
            Step::Malformed => Some(Err(check.malformed(&self.core, &key, RejectionKind::MalformedKey))),
            Step::Load(_) | Step::Secrets | Step::Limit(_) => check.abandon(&self.core, &key).map(Err),
        }
    }

    /// Decides, reading and hashing as needed, within bounded time.
    ///
    /// Dropping the future at any point leaves nothing behind: a load or a hash that no other request waits for is dropped.
    /// Poll it on a tokio runtime with timers enabled.
    ///
    /// # Errors
    /// A [`Rejection`] when the request must not be served. An `Ok` was confirmed as the very last step: await nothing
    /// between it and what it lets through.
    pub fn check(
        &self,
        key: PresentedKey<'_>,
    ) -> impl Future<Output = Result<AuthContext, Rejection>> + Send + 'static + use<S> {
        finish(self.core.clone(), Check::default(), None, key.into_owned())
    }

    /// Decides at once, or returns a future that continues the same check: the key is parsed once and the limits are charged
    /// once. `malformed` says why a text is rejected that is no key.
    #[expect(clippy::type_complexity, reason = "a name for it would be one more to look up")]
    pub(crate) fn start(
        &self,
        key: PresentedKey<'_>,
        malformed: impl FnOnce() -> RejectionKind,
    ) -> Result<
        Result<AuthContext, Rejection>,
        Pin<Box<dyn Future<Output = Result<AuthContext, Rejection>> + Send + 'static>>,
    > {
        let mut check = Check::default();
        match check.step(&self.core, &key) {
            Step::Done(decided) => Ok(decided),
            Step::Malformed => Ok(Err(check.malformed(&self.core, &key, malformed()))),
            step => Err(Box::pin(finish(self.core.clone(), check, Some(step), key.into_owned()))),
        }
    }

    /// Whose key this is, if its secret is right; whatever its state. It is no request: nothing is charged and no use recorded,
    /// apart from the failure budget, which a wrong secret takes from as ever. It takes as long as a check.
    pub(crate) async fn identify(&self, key: PresentedKey<'_>) -> Result<Option<KeyId>, Rejection> {
        let (core, owned) = (&self.core, key.into_owned());
        let unavailable = |kind, after| Err(Rejection::new(kind).with_retry_after(after));
        let tagged = match core.parse(&owned.borrow(), false) {
            Presented::NeedsSecrets if !core.read_secrets_again().await => {
                return unavailable(RejectionKind::StoreUnavailable, RETRY_AFTER);
            }
            Presented::NeedsSecrets => core.parse(&owned.borrow(), true),
            presented => presented,
        };
        let Presented::Key(tagged) = tagged else {
            return Ok(None);
        };
        let failure_group = failure_budget_group(owned.client);
        if let Some(wait) = wait_for_budget(core, failure_group) {
            return unavailable(RejectionKind::TooManyFailures, wait);
        }
        let mut load = Load::new(core.clone(), tagged.clone());
        load.by_hash = core.by_hash(owned.key.as_bytes(), &tagged);
        load.key = Some(owned.key.clone());
        load.client = owned.client.group();
        load.failure_group = failure_group;
        match load.run().await {
            LoadResult::Verified(entry) => Ok(Some(entry.key_id())),
            LoadResult::Rejected { .. } => Ok(None),
            LoadResult::Unavailable(kind, after) => unavailable(kind, after),
        }
    }

    /// The same authenticator, as long as something else keeps it.
    pub(crate) fn while_kept(&self) -> impl Fn() -> Option<Self> + Send + use<S> {
        let core = Arc::downgrade(&self.core);
        move || core.upgrade().map(Self::from_core)
    }

    pub(crate) fn store(&self) -> &S {
        &self.core.store
    }

    pub(crate) fn format_of_new_keys(&self) -> KeyFormat {
        self.core.formats.iter().next().cloned().unwrap_or_default()
    }

    pub(crate) fn secrets(&self) -> &Arc<RealmSecrets> {
        self.core.secrets.realm()
    }

    pub(crate) fn hash_policy(&self) -> HashPolicy {
        self.core.policy
    }

    pub(crate) fn pool(&self) -> &HashPool {
        &self.core.pool
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.core.clock
    }

    /// Keys in the cache now.
    pub fn cached_keys(&self) -> usize {
        self.core.cache.len()
    }

    /// Loads in progress now.
    pub fn loads_in_flight(&self) -> usize {
        self.core.loads.len()
    }

    /// Records a rejection that was decided without a check, as long as the authenticator exists: what it is for is part of
    /// every context, and a context that is kept must not keep store and cache.
    pub(crate) fn recorder(&self) -> impl Fn(&Rejection, ClientOrigin) + Send + Sync + use<S> {
        let core = Arc::downgrade(&self.core);
        move |rejection, client| {
            let Some(core) = core.upgrade() else { return };
            let now = core.clock.now();
            match rejection.key_id() {
                // Counted as admitted before.
                Some(_) => core.outcomes.refused(rejection, client, now),
                None => core.refused(rejection, client, now),
            }
        }
    }
}

/// Steps a check to its end, and does in between what it asks for. It owns the key, in the one buffer that load, hash and
/// re-hash share.
async fn finish<S: KeyStore>(
    core: Arc<Core<S>>,
    mut check: Check,
    step: Option<Step>,
    owned: OwnedPresentedKey,
) -> Result<AuthContext, Rejection> {
    let presented = owned.borrow();
    let mut step = step.unwrap_or_else(|| check.step(&core, &presented));
    loop {
        step = match step {
            Step::Done(decided) => return decided,
            Step::Malformed => return Err(check.malformed(&core, &presented, RejectionKind::MalformedKey)),
            Step::Load(stale) => {
                let result = load(&core, &check, &owned, stale).await;
                check.loaded(&core, &presented, result)
            }
            Step::Secrets => {
                let were_read = core.read_secrets_again().await;
                check.secrets_read(&core, &presented, were_read)
            }
            Step::Limit(entry) => {
                let decision = charge(&core, &entry).await;
                check.limited(&core, &presented, entry, decision)
            }
        };
    }
}

/// Loads the key that a check waits for, together with all others who wait for the same.
async fn load<S: KeyStore>(
    core: &Arc<Core<S>>,
    check: &Check,
    presented: &OwnedPresentedKey,
    stale: Option<Arc<Entry>>,
) -> LoadResult {
    let (key, client) = (&presented.key, presented.client);
    let Some(tagged) = check.key() else {
        return LoadResult::Unavailable(RejectionKind::StoreUnavailable, RETRY_AFTER);
    };
    if check.is_first_load() {
        core.outcomes.read(stale.is_some());
    }
    let failure_group = failure_budget_group(client);
    let by_hash = core.by_hash(key.as_bytes(), tagged);
    let is_proven = |tagged: &TaggedKey, entry: &Entry| entry.tag.is(&tagged.tag);
    let proven = stale
        .as_ref()
        .filter(|entry| is_proven(tagged, entry) || by_hash.as_ref().is_some_and(|tagged| is_proven(tagged, entry)));
    if proven.is_none()
        && let Some(wait) = wait_for_budget(core, failure_group)
    {
        return LoadResult::Unavailable(RejectionKind::TooManyFailures, wait);
    }
    let changes = core.fence.changes();
    let slot = proven.is_none().then(|| LoadSlot {
        lookup: tagged.lookup.clone(),
        client: client.group(),
        is_other: !core.speaks_for(tagged),
    });
    let load_key = LoadKey {
        tag: tagged.tag,
        changes: proven.is_none().then_some(changes),
        mark: proven.map(|entry| core.fence.protocol().mark(entry.mark.stripes())),
        has_key: true,
        runtime: None,
    };
    let load = |reading| {
        let mut load = Load::new(core.clone(), tagged.clone());
        load.key = Some(key.clone());
        load.by_hash = by_hash.clone();
        load.known = stale.clone();
        load.client = client.group();
        load.failure_group = failure_group;
        load.changes = changes;
        load.reading = reading;
        load.run()
    };
    core.loads.join(load_key, slot, load).await
}

/// How long a client that has sent many wrong keys has to wait, while the service is under pressure.
fn wait_for_budget<S: KeyStore>(core: &Core<S>, client: Option<ClientGroup>) -> Option<Duration> {
    let (budget, client) = (core.budget.as_ref()?, client?);
    if !core.is_under_pressure() {
        return None;
    }
    budget.wait(client, core.loads.unproven_of(client), core.clock.now())
}

async fn charge<S: KeyStore>(core: &Core<S>, entry: &Entry) -> Decision {
    let taken = core.limiter.take(&entry.charge(core.clock.now()));
    match taken {
        Take::Now(decision) => decision,
        // A server that answers too late has not answered.
        Take::Later(decision) => tokio::time::timeout(core.load_timeout, decision)
            .await
            .unwrap_or(Decision::Unavailable),
    }
}

// By hand: deriving would ask `S: Clone`.
impl<S> Clone for Authenticator<S> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
        }
    }
}

impl<S> fmt::Debug for Authenticator<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}
