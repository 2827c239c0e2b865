//! A context that no check made, for tests of what comes after one (feature `testing`).

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use super::attempt::Terms;
use super::common::Common;
use super::context::AuthContext;
use super::entry::{Entry, Fingerprint};
use super::home::{Home, Watch};
use super::rejection::Rejection;
use super::tag::Tag;
use crate::client::Origin;
use crate::clock::{Clock, Monotonic};
use crate::fence::Fence;
use crate::limit::LimitState;
use crate::store::Candidate;

/// The context of a key that nobody presented, with all of its limits left.
pub(crate) fn given(candidate: Candidate) -> AuthContext {
    // The home is weak towards its authenticator, so somebody has to hold this one.
    static FOREVER: OnceLock<Arc<dyn Watch>> = OnceLock::new();
    let authenticator = FOREVER.get_or_init(|| Arc::new(Forever));
    let home = Home {
        realm: "testing".into(),
        clock: Clock::system(),
        authenticator: Arc::downgrade(authenticator),
    };
    let common = Common::new(Arc::new(home), 0);
    let fence = Fence::new();
    let stripes = fence.stripes(candidate.record.id, candidate.organization.id);
    let mark = fence.protocol().mark(stripes);
    let (lookup, fingerprint) = (candidate.secret.lookup.clone(), Fingerprint::of(&candidate.secret.hash));
    let limits = candidate.record.limits.iter().chain(&candidate.organization.limits);
    let allowance = limits
        .map(|limit| LimitState::new(limit.burst_size().get(), std::time::Duration::ZERO))
        .collect();
    let (now, never) = (Monotonic::from_nanos(0), Monotonic::from_nanos(u64::MAX));
    let entry = Entry::new(candidate, &common, Tag::of_no_key(), fingerprint, mark, now, never);
    let terms = Terms {
        client: Origin::UNKNOWN,
        scope: None,
    };
    AuthContext::new(Arc::new(entry), lookup, terms, allowance)
}

/// Stands in for the authenticator: the key never ends, and refusals are nobody's.
struct Forever;

impl Watch for Forever {
    fn revoked(self: Arc<Self>, _: AuthContext) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }

    fn record_refusal(&self, _: &Rejection, _: Origin) {}
}
