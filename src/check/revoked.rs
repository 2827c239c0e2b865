//! Waiting for the end of a key, for answers that go on after the check: streams, sockets.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::context::AuthContext;
use super::core::Core;
use super::entry::Entry;
use super::flight::{AsOf, FlightKey, Landing};
use super::home::Watch;
use super::load::Load;
use super::policy;
use super::rejection::{Rejection, RejectionKind};
use crate::client::Origin;
use crate::clock::Monotonic;
use crate::hash::ClientGroup;
use crate::key::Lookup;
use crate::store::{KeyStore, Sharing};

impl<S: KeyStore> Watch for Core<S> {
    fn revoked(self: Arc<Self>, context: AuthContext) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { self.until_refused(context).await })
    }

    fn record_refusal(&self, rejection: &Rejection, client: Origin) {
        self.outcomes.refused(rejection, client, self.clock.now());
    }
}

impl<S: KeyStore> Core<S> {
    async fn until_refused(self: Arc<Self>, context: AuthContext) {
        let lookup = context.lookup().clone();
        let mut entry = context.entry().clone();
        drop(context);
        let mut is_due = false;
        loop {
            let [key_bell, organization_bell] = self.fence.bells(entry.mark.stripes());
            let mut key_bell = pin!(key_bell.notified());
            let mut organization_bell = pin!(organization_bell.notified());
            // Registered before the marks are compared: a change in between rings.
            key_bell.as_mut().enable();
            organization_bell.as_mut().enable();

            let now = self.clock.now();
            if !self.is_believable(&entry, now) || is_due && now < entry.deadline {
                match self.read_again(&entry, &lookup).await {
                    Some(newer) => entry = newer,
                    None => return,
                }
            }
            // Of what was just read: to wait first would let the stream outlive the key by a whole time to live.
            let now = self.clock.now();
            if policy::state(&entry, now).is_err() {
                return;
            }
            // What was read may be old again already, and then there is nothing to wait for.
            is_due = self.is_believable(&entry, now) && self.wait(&entry, key_bell, organization_bell).await;
        }
    }

    /// Whether nothing was announced since the entry was read. When it has to be read again for lack of a word, `wait` says.
    fn is_believable(&self, entry: &Entry, now: Monotonic) -> bool {
        self.is_fresh(entry, entry.read_at, now)
    }

    /// Until something on the entry's stripes changes, it expires, or it has to be read again anyway, which is `true`.
    async fn wait(
        &self,
        entry: &Entry,
        key_bell: impl Future<Output = ()>,
        organization_bell: impl Future<Output = ()>,
    ) -> bool {
        let now = self.clock.now();
        let mut life = self.settings.time_to_live;
        if self.sharing == Sharing::ChangeLog {
            life = life.min(self.settings.max_staleness);
        }
        let rest = life.saturating_sub(now.since(entry.read_at));
        // Many streams of one burst must not read the store again in one burst.
        let jitter = rest.mul_f64(rand::random::<f64>() * 0.1);
        let at_most = (rest - jitter).min(entry.deadline.since(now)) + Duration::from_millis(1);
        let mut key_bell = pin!(key_bell);
        let mut organization_bell = pin!(organization_bell);
        let rung = poll_fn(|cx| {
            if key_bell.as_mut().poll(cx).is_ready() || organization_bell.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        tokio::time::timeout(at_most, rung).await.is_err()
    }

    /// The entry as it is now, or `None` when the key is refused or could not be read: after one failed read the key is
    /// not known to be good, and a stream must not outlive that.
    async fn read_again(self: &Arc<Self>, entry: &Arc<Entry>, lookup: &Lookup) -> Option<Arc<Entry>> {
        let now = self.clock.now();
        if let Some(cached) = self.cached(entry, lookup)
            && !Arc::ptr_eq(&cached, entry)
            && cached.read_at >= entry.read_at
            && self.is_fresh(&cached, now, now)
        {
            return Some(cached);
        }
        let flight = FlightKey {
            tag: entry.tag,
            as_of: AsOf::Mark(self.fence.protocol().mark(entry.mark.stripes())),
            has_key: false,
        };
        let load = || self.clone().read_in_turn(entry.clone(), lookup.clone());
        match self.flights.join(flight, None, load).await {
            Ok(Landing::Verified(entry)) => Some(entry),
            _ => None,
        }
    }

    /// That many others read is no failure, so each waits for its turn before the time of its read begins to run; but a
    /// store that hangs must not keep the last in line from knowing for ever.
    ///
    /// The turn is the load's, which has a task of its own, and not the stream's: a handler that is busy with a slow client
    /// does not poll what it watches, and a few dozen of them would keep all turns to themselves.
    async fn read_in_turn(self: Arc<Self>, entry: Arc<Entry>, lookup: Lookup) -> Landing {
        let turn = tokio::time::timeout(self.settings.max_staleness, self.watching_reads.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            return Landing::Failed(RejectionKind::StoreUnavailable, None);
        };
        let load = Load {
            core: self.clone(),
            tag: entry.tag,
            presented: None,
            // Fresh or not, what is cached knows of a hash that was replaced in the meantime by one of today's policy.
            known: Some(self.cached(&entry, &lookup).unwrap_or(entry)),
            lookup,
            client: ClientGroup::of(None),
            held_against: None,
            changes: self.fence.changes(),
        };
        load.run().await
    }

    /// What is cached of the same secret.
    fn cached(&self, entry: &Entry, lookup: &Lookup) -> Option<Arc<Entry>> {
        self.cache.get(lookup).filter(|cached| cached.tag.is(&entry.tag))
    }
}
