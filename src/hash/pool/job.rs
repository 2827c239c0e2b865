//! A slow hash to be computed.

use tokio::sync::oneshot;

use super::error::PoolError;
use crate::hash::digest::SlowDigest;
use crate::hash::recipe::Recipe;
use crate::key::OwnedKey;

/// A hash to be computed. It owns all it needs, so once begun it ends whether or not its caller still waits, and it
/// never begins twice.
pub(super) struct Job {
    pub(super) recipe: Recipe,
    pub(super) key: OwnedKey,
    pub(super) purpose: Purpose,
    pub(super) reply: oneshot::Sender<Answer>,
}

pub(super) type Answer = Result<SlowDigest, PoolError>;

/// What a hash is for.
pub(super) enum Purpose {
    /// To be stored.
    Store,
    /// To be compared with a stored hash.
    Verify(SlowDigest, OnVerdict),
    /// To take as long as a comparison, for a key that does not exist.
    Dummy(OnVerdict),
}

/// Called once, with whether the key was right.
pub(crate) type OnVerdict = Box<dyn FnOnce(bool) + Send>;

/// Jobs that were turned away. Their answers wake callers, so they are sent after the pool's lock is released.
#[must_use = "callers wait for these answers"]
#[derive(Default)]
pub(super) struct Rejected(Vec<(Job, PoolError)>);

impl Purpose {
    /// Reports the verdict about the presented key, if there was one, and returns it.
    pub(super) fn report(self, computed: &SlowDigest) -> Option<bool> {
        let (was_right, on_verdict) = match self {
            Self::Store => return None,
            Self::Verify(stored, on_verdict) => (stored.matches(computed), on_verdict),
            Self::Dummy(on_verdict) => (false, on_verdict),
        };
        on_verdict(was_right);
        Some(was_right)
    }
}

impl Rejected {
    pub(super) fn push(&mut self, job: Job, error: PoolError) {
        self.0.push((job, error));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn send(self) {
        for (job, error) in self.0 {
            // The caller may have gone away.
            let _ = job.reply.send(Err(error));
        }
    }
}
