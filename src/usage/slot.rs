//! What is added to the event of a request while it runs, and when it is over.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::error::{UsageError, UsageErrorKind};
use super::event::{MOST_MICRO_USD, MOST_TOKENS};
use super::tags::Tags;
use crate::key::Scope;
use crate::sync::unpoisoned;

/// A request that is metered.
pub(crate) trait Running: Send + Sync {
    fn slot(&self) -> &Slot;

    /// Everybody who took part in it has left.
    fn end(self: Arc<Self>);
}

/// What handlers and routes say of their request.
pub(crate) struct Slot {
    noted: Mutex<Noted>,
    /// Nothing was noted yet, so that the lock is left alone.
    is_empty: AtomicBool,
    /// Who the request still runs for: its response, and each hold.
    parties: AtomicU32,
}

#[derive(Clone, Default)]
pub(crate) struct Noted {
    pub(crate) tokens: u64,
    pub(crate) micro_usd: u64,
    pub(crate) tags: Tags,
    pub(crate) scope: Option<Scope>,
    /// Whether the key lacks that scope.
    pub(crate) is_refused: bool,
}

impl Slot {
    /// Of a request that runs for its response.
    pub(crate) fn new() -> Self {
        Self {
            noted: Mutex::default(),
            is_empty: AtomicBool::new(true),
            parties: AtomicU32::new(1),
        }
    }

    /// Notes something.
    ///
    /// # Errors
    /// [`Ended`](UsageErrorKind::Ended) if the request is over.
    fn note(&self, note: impl FnOnce(&mut Noted) -> Result<(), UsageError>) -> Result<(), UsageError> {
        let mut noted = unpoisoned(self.noted.lock());
        // Before the look at whether the request is over: its event is made after the last one has left, under this lock, so it has this note.
        self.is_empty.store(false, Ordering::SeqCst);
        if self.parties.load(Ordering::SeqCst) == 0 {
            return Err(UsageErrorKind::Ended.into());
        }
        note(&mut noted)
    }

    pub(crate) fn add_tokens(&self, tokens: u64) -> Result<(), UsageError> {
        self.note(|noted| {
            noted.tokens = sum(noted.tokens, tokens, MOST_TOKENS)?;
            Ok(())
        })
    }

    pub(crate) fn add_micro_usd(&self, micro_usd: u64) -> Result<(), UsageError> {
        self.note(|noted| {
            noted.micro_usd = sum(noted.micro_usd, micro_usd, MOST_MICRO_USD)?;
            Ok(())
        })
    }

    pub(crate) fn tag(&self, name: &str, value: &str) -> Result<(), UsageError> {
        self.note(|noted| noted.tags.set(name, value))
    }

    /// Notes which scope a route asks for, and whether the key lacks it. The first one stays, but a refusal counts whenever it comes.
    pub(crate) fn scope(&self, scope: Option<&Scope>, is_refused: bool) {
        // Of a request that is over there is nobody to tell.
        let _ = self.note(|noted| {
            if noted.scope.is_none() || is_refused {
                noted.scope = scope.cloned();
            }
            noted.is_refused |= is_refused;
            Ok(())
        });
    }

    /// What was noted, once the request is over.
    pub(crate) fn noted(&self) -> Noted {
        match self.is_empty.load(Ordering::SeqCst) {
            true => Noted::default(),
            false => unpoisoned(self.noted.lock()).clone(),
        }
    }

    /// One more for whom the request runs, unless it is over.
    fn join(&self) -> Result<(), UsageError> {
        let more = |parties: u32| (parties > 0).then(|| parties.checked_add(1)).flatten();
        let joined = self.parties.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        joined.map(drop).map_err(|_| UsageErrorKind::Ended.into())
    }

    /// Whether somebody but the response takes part.
    pub(crate) fn is_held(&self) -> bool {
        self.parties.load(Ordering::SeqCst) > 1
    }

    /// One less. Whether it was the last one.
    fn leave(&self) -> bool {
        self.parties.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// One of those for whom the request runs leaves it.
pub(crate) fn leave(running: Arc<dyn Running>) {
    if running.slot().leave() {
        running.end();
    }
}

fn sum(so_far: u64, more: u64, most: u64) -> Result<u64, UsageError> {
    let sum = so_far.checked_add(more).filter(|sum| *sum <= most);
    sum.ok_or_else(|| UsageErrorKind::TooMuch.into())
}

/// Keeps a request's event open: it ends when the response has ended and every hold was dropped. For what goes on after the response,
/// such as a WebSocket: see [`AuthContext::hold`](crate::AuthContext::hold).
#[must_use = "the event goes on for as long as this lives"]
pub struct UsageHold(Option<Arc<dyn Running>>);

impl UsageHold {
    pub(crate) fn of(running: Arc<dyn Running>) -> Result<Self, UsageError> {
        running.slot().join()?;
        Ok(Self(Some(running)))
    }
}

impl Drop for UsageHold {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            leave(running);
        }
    }
}

impl fmt::Debug for UsageHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageHold").finish_non_exhaustive()
    }
}
