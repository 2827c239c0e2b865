//! A slow hash to be computed.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::error::PoolError;
use super::queue::Ahead;
use crate::hash::digest::SlowDigest;
use crate::hash::recipe::Recipe;
use crate::key::OwnedKey;
use crate::sync::unpoisoned;

/// A hash to be computed. It owns all it needs, so once begun it ends whether or not its caller still waits, and it
/// never begins twice.
pub(super) struct Job {
    pub(super) recipe: Recipe,
    pub(super) key: OwnedKey,
    pub(super) purpose: Purpose,
    pub(super) ahead: Option<Ahead>,
    pub(super) reply: Reply,
}

pub(super) type Answer = Result<SlowDigest, PoolError>;

/// What a hash is for.
pub(super) enum Purpose {
    /// To be stored, for an operator who waits for it.
    Issue,
    /// To be stored, one of many or for no one who waits.
    Store,
    /// To be compared with a stored hash. Whether a right key speaks for its client.
    Verify(SlowDigest, OnVerdict, bool),
    /// To take as long as a comparison, for a key that does not exist.
    Dummy(OnVerdict),
}

/// Called once, with whether the key was right.
pub(crate) type OnVerdict = Box<dyn FnOnce(bool) + Send>;

/// Where the answer goes. Clones are the same place, which takes one answer: a caller whose deadline has passed gets one while
/// the hash is still running.
#[derive(Clone)]
pub(super) struct Reply(Arc<Mutex<Option<oneshot::Sender<Answer>>>>);

/// Jobs that were turned away. Their answers wake callers, so they are sent after the pool's lock is released.
#[must_use = "callers wait for these answers"]
#[derive(Default)]
pub(super) struct Rejected(Vec<(Reply, PoolError, Option<Job>)>);

impl Purpose {
    /// Reports the verdict about the presented key, if there was one, and returns what it says of the client.
    pub(super) fn report(self, computed: &SlowDigest) -> Option<bool> {
        let (was_right, speaks, on_verdict) = match self {
            Self::Issue | Self::Store => return None,
            Self::Verify(stored, on_verdict, speaks) => (stored.matches(computed), speaks, on_verdict),
            Self::Dummy(on_verdict) => (false, false, on_verdict),
        };
        on_verdict(was_right);
        Some(was_right && speaks)
    }

    /// The hash is to be stored, and not asked for by a request.
    pub(super) fn is_new_hash(&self) -> bool {
        matches!(self, Self::Issue | Self::Store)
    }
}

impl Reply {
    pub(super) fn channel() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    pub(super) fn send(&self, answer: Answer) {
        let sender = unpoisoned(self.0.lock()).take();
        if let Some(sender) = sender {
            // The caller may have gone away.
            let _ = sender.send(answer);
        }
    }

    /// The caller has its answer, or has gone away.
    pub(super) fn is_closed(&self) -> bool {
        unpoisoned(self.0.lock())
            .as_ref()
            .is_none_or(oneshot::Sender::is_closed)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Rejected {
    /// The key of the job is wiped where the answer is sent.
    pub(super) fn push(&mut self, job: Job, error: PoolError) {
        self.0.push((job.reply.clone(), error, Some(job)));
    }

    /// Of a job that is running.
    pub(super) fn push_running(&mut self, reply: Reply, error: PoolError) {
        self.0.push((reply, error, None));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn send(self) {
        for (reply, error, _) in self.0 {
            reply.send(Err(error));
        }
    }
}
