//! Waiting for the end of a key, for responses that last: streams, sockets.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::core::Core;
use super::entry::{AnyAuthenticator, Entry};
use super::load::Load;
use super::loads::{LoadKey, LoadResult};
use super::policy;
use super::presented::TaggedKey;
use super::rejection::{RETRY_AFTER, RejectionKind};
use crate::clock::Monotonic;
use crate::store::KeyStore;

/// The least time that a reader waits for its turn.
const TURN: Duration = Duration::from_secs(5);

impl<S: KeyStore> AnyAuthenticator for Core<S> {
    fn revoked(self: Arc<Self>, entry: Arc<Entry>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { until_rejected(&self, entry).await })
    }
}

/// Returns when the key of this entry is rejected.
async fn until_rejected<S: KeyStore>(core: &Arc<Core<S>>, mut entry: Arc<Entry>) {
    let mut is_due = false;
    loop {
        let [key_change, organization_change] = core.fence.notifications(entry.mark.stripes());
        let mut key_change = pin!(key_change.notified());
        let mut organization_change = pin!(organization_change.notified());
        // Registered before the marks are compared: a change in between notifies.
        key_change.as_mut().enable();
        organization_change.as_mut().enable();

        let now = core.clock.now();
        if !is_current(core, &entry, now) || is_due && now < entry.deadline {
            match read_again(core, &entry).await {
                Some(newer) => entry = newer,
                None => return,
            }
        }
        // Judged before waiting: otherwise the stream could outlive the key by a whole time to live.
        let mut now = core.clock.now();
        if policy::state(&entry, now) == Err(RejectionKind::KeyExpired) && !policy::is_over(&entry, &core.clock) {
            match read_again(core, &entry).await {
                Some(newer) => entry = newer,
                None => return,
            }
            now = core.clock.now();
        }
        if policy::state(&entry, now).is_err() {
            return;
        }
        // What was read may be stale again already, and then there is nothing to wait for.
        is_due = is_current(core, &entry, now) && wait(core, &entry, key_change, organization_change).await;
    }
}

/// Whether no change was announced since the entry was read. Whether it is due for a read anyway, [`wait`] tells.
fn is_current<S: KeyStore>(core: &Core<S>, entry: &Entry, now: Monotonic) -> bool {
    core.is_fresh(entry, entry.read_at, now)
}

/// Until something on the entry's stripes changes, it expires, or it is due for a read anyway, which is `true`.
async fn wait<S: KeyStore>(
    core: &Core<S>,
    entry: &Entry,
    key_change: impl Future<Output = ()>,
    organization_change: impl Future<Output = ()>,
) -> bool {
    let now = core.clock.now();
    let due = core.fresh_until(entry, now);
    let rest = due.since(now);
    // Streams that began together must not read the store together.
    let jitter = rest.mul_f64(rand::random::<f64>() * 0.1);
    let at_most = (rest - jitter).min(entry.deadline.since(now)) + Duration::from_millis(1);
    let mut key_change = pin!(key_change);
    let mut organization_change = pin!(organization_change);
    let changed = poll_fn(|cx| {
        if key_change.as_mut().poll(cx).is_ready() || organization_change.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    });
    // A follower may have extended the lease meanwhile.
    let has_changed = tokio::time::timeout(at_most, changed).await.is_ok();
    let now = core.clock.now();
    !has_changed && core.fresh_until(entry, now) <= due.max(now)
}

/// The entry as it is now, or `None` when the key is rejected or could not be read: after one failed read the key is not
/// known to be valid, and a stream must not outlive that.
async fn read_again<S: KeyStore>(core: &Arc<Core<S>>, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
    let now = core.clock.now();
    if let Some(cached) = cached(core, entry)
        && !Arc::ptr_eq(&cached, entry)
        && cached.read_at >= entry.read_at
        && now < cached.deadline
        && core.is_fresh(&cached, now, now)
    {
        return Some(cached);
    }
    let key = LoadKey {
        tag: entry.tag,
        changes: None,
        mark: Some(core.fence.protocol().mark(entry.mark.stripes())),
        has_key: false,
        runtime: None,
    };
    let load = |_| read_in_turn(core.clone(), entry.clone());
    match core.loads.join(key, None, load).await {
        LoadResult::Verified(entry) => Some(entry),
        _ => None,
    }
}

/// Many readers at once are no failure, so each waits for its turn before the timeout of its read starts; but a store that
/// hangs must not keep the last in line waiting without end.
///
/// The turn belongs to the load, which has a task of its own, and not to the stream: a handler that is busy with a slow
/// client does not poll what it watches, and a few dozen of those would keep all turns to themselves.
async fn read_in_turn<S: KeyStore>(core: Arc<Core<S>>, entry: Arc<Entry>) -> LoadResult {
    let turn = tokio::time::timeout(core.max_staleness.max(TURN), core.watching_reads.acquire());
    let Ok(Ok(_turn)) = turn.await else {
        return LoadResult::Unavailable(RejectionKind::StoreUnavailable, RETRY_AFTER);
    };
    let tagged = TaggedKey {
        lookup: entry.lookup.clone(),
        tag: entry.tag,
        shape: entry.shape,
        form: entry.form,
        is_proven: false,
    };
    // Fresh or not, the cached entry knows of a re-hash since.
    let known = cached(&core, &entry).unwrap_or(entry);
    let mut load = Load::new(core.clone(), tagged);
    load.known = Some(known);
    load.run().await
}

/// What is cached of the same secret.
fn cached<S: KeyStore>(core: &Core<S>, entry: &Entry) -> Option<Arc<Entry>> {
    core.cache
        .get(entry.lookup.as_bytes())
        .filter(|cached| cached.tag.is(&entry.tag))
}
