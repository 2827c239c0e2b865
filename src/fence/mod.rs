//! The fence: how caches learn of committed changes, so that a revoke is final.

mod change;
mod heads;
mod protocol;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

pub use self::change::Change;
use self::heads::Heads;
pub(crate) use self::protocol::{Identity, Loaded, Mark, Source, Stripes, load};
use self::protocol::{Protocol, RowId};
use crate::clock::Monotonic;
use crate::key::{KeyFormat, KeyId, KeyRecord, Organization, OrganizationId, Subject};

const STRIPES: usize = 4096;
const NOTIFICATIONS: usize = 256;
/// A slice with more changes turns the epoch instead of one generation per change.
const MOST_SINGLE_CHANGES: usize = 4096;

/// Tells every cache in the process that a key or an organization has changed.
///
/// A store owns one, and its clones share it. Code that changes rows past the store's own
/// [`commit`](crate::store::ManagedStore::commit), with a hand-written `UPDATE` for example, calls
/// [`announce`](Self::announce) *after* its commit and before it reports success.
///
/// An announcement turns a generation counter that the key shares with a few others. A cached answer with an older count
/// is read from the store again before it serves another request.
#[derive(Clone)]
pub struct Fence(Arc<Inner>);

/// A fence that something else keeps alive.
#[cfg_attr(
    not(feature = "sqlite"),
    allow(dead_code, reason = "of stores that can be opened twice")
)]
pub(crate) struct WeakFence(Weak<Inner>);

struct Inner {
    protocol: Protocol,
    hasher: RandomState,
    notifications: Box<[Notify]>,
    heads: Heads,
    /// How often everything has changed.
    epochs: AtomicU64,
    /// Whether a follower was started, which may not have confirmed anything yet.
    is_followed: AtomicBool,
}

impl Fence {
    /// A fence at which nothing has changed yet.
    #[allow(
        clippy::new_without_default,
        reason = "a store that gets a fence by default could get a second one"
    )]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            protocol: Protocol::new(STRIPES),
            hasher: RandomState::new(),
            notifications: (0..NOTIFICATIONS).map(|_| Notify::new()).collect(),
            heads: Heads::default(),
            epochs: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
        }))
    }

    /// Announces committed changes. Call it after the commit.
    ///
    /// With more than 4,096 changes at once, the effect is that of [`everything_changed`](Self::everything_changed):
    /// every cached answer is read again.
    pub fn announce(&self, changes: &[Change]) {
        let protocol = &self.0.protocol;
        if changes.len() > MOST_SINGLE_CHANGES {
            for change in changes {
                if let Some((_, row)) = row(change.subject()) {
                    protocol.raise_minimum_revision(row, change.revision());
                }
            }
            self.everything_changed();
            return;
        }
        if changes
            .iter()
            .any(|change| matches!(change.subject(), Subject::Realm | Subject::Plan(_)))
        {
            self.everything_changed();
        }
        for change in changes {
            let Some((id, row)) = row(change.subject()) else {
                continue;
            };
            let stripe = self.stripe(id);
            match row {
                RowId::Key(key) => protocol.bump_key(stripe, key, change.revision()),
                RowId::Organization(organization) => {
                    protocol.bump_organization(stripe, organization, change.revision());
                }
            }
            self.notify(stripe);
        }
    }

    /// Announces that anything may have changed: every cached answer is read again; no key is hashed again.
    pub fn everything_changed(&self) {
        // First: who sees that entries are stale sees this too.
        self.0.epochs.fetch_add(1, Ordering::SeqCst);
        self.0.protocol.turn_epoch();
        for notification in &self.0.notifications {
            notification.notify_waiters();
        }
    }

    /// The store was set back to an older state, as by a restored backup: every cached answer is read again, and a record may have
    /// an older revision than was announced.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        allow(dead_code, reason = "of stores that can be set back")
    )]
    pub(crate) fn set_back(&self) {
        self.0.protocol.forget_minimum_revisions();
        self.everything_changed();
    }

    /// For a follower of a change log: states that every change committed before `at`, by any process, has been announced to this
    /// fence. Extends the lease of cached keys.
    ///
    /// `at` is a reading of the [`Clock`](crate::Clock) that the authenticator goes by, from before the log was read. The
    /// latest one counts. One that is ahead of that clock by more than the
    /// [staleness](crate::ApiKeysBuilder::max_staleness) allowed is of another clock: from then on nothing is
    /// confirmed, and every request reads the store, until the authenticator's clock comes near it.
    pub fn confirmed(&self, at: Monotonic) {
        self.0.protocol.confirm(at.as_nanos());
    }

    /// A follower of the change log starts, and will confirm.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        allow(dead_code, reason = "of stores with a follower")
    )]
    pub(crate) fn is_followed_from_now_on(&self) {
        self.0.is_followed.store(true, Ordering::SeqCst);
    }

    /// Whether no follower was started, or has ever called [`confirmed`](Self::confirmed).
    pub(crate) fn has_no_follower(&self) -> bool {
        !self.0.is_followed.load(Ordering::SeqCst) && !self.0.protocol.is_followed()
    }

    /// When a follower last confirmed; the clock's start if none has.
    pub(crate) fn confirmed_at(&self) -> Monotonic {
        Monotonic::from_nanos(self.0.protocol.confirmed_at())
    }

    /// Tells of keys that are issued and not accepted: this process accepts keys of these formats over the fence's store.
    pub(crate) fn accepts<'f>(&self, formats: impl Iterator<Item = &'f KeyFormat>) {
        self.0.heads.accepted(formats);
    }

    /// The same: this process issues a key with this prefix and environment.
    pub(crate) fn issues(&self, prefix: &str, environment: Option<&str>) {
        self.0.heads.issued(prefix, environment.unwrap_or_default());
    }

    /// How many changes were announced so far.
    pub fn changes(&self) -> u64 {
        self.0.protocol.changes()
    }

    /// How often everything has changed so far.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.epochs.load(Ordering::SeqCst)
    }

    /// The stripes of these ids. The hash is keyed, so that an attacker cannot choose ids that share a victim's stripe.
    pub(crate) fn stripes(&self, key: KeyId, organization: OrganizationId) -> Stripes {
        Stripes {
            key: self.stripe(key.as_uuid().as_u128()),
            organization: self.stripe(organization.as_uuid().as_u128()),
        }
    }

    /// Which rows a candidate was read from, and their revisions.
    pub(crate) fn identity(&self, record: &KeyRecord, organization: &Organization) -> Identity {
        Identity {
            stripes: self.stripes(record.id, organization.id),
            key: record.id.as_uuid().as_u128(),
            key_revision: record.revision,
            organization: organization.id.as_uuid().as_u128(),
            organization_revision: organization.revision,
        }
    }

    #[cfg_attr(
        not(feature = "sqlite"),
        allow(dead_code, reason = "of stores that can be opened twice")
    )]
    pub(crate) fn downgrade(&self) -> WeakFence {
        WeakFence(Arc::downgrade(&self.0))
    }

    pub(crate) fn protocol(&self) -> &Protocol {
        &self.0.protocol
    }

    /// What is notified when something on these stripes changes.
    pub(crate) fn notifications(&self, stripes: Stripes) -> [&Notify; 2] {
        [
            &self.0.notifications[usize::from(stripes.key) % NOTIFICATIONS],
            &self.0.notifications[usize::from(stripes.organization) % NOTIFICATIONS],
        ]
    }

    fn stripe(&self, id: u128) -> u16 {
        (self.0.hasher.hash_one(id) % STRIPES as u64) as u16
    }

    fn notify(&self, stripe: u16) {
        self.0.notifications[usize::from(stripe) % NOTIFICATIONS].notify_waiters();
    }
}

#[cfg_attr(
    not(feature = "sqlite"),
    allow(dead_code, reason = "of stores that can be opened twice")
)]
impl WeakFence {
    pub(crate) fn upgrade(&self) -> Option<Fence> {
        self.0.upgrade().map(Fence)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Whether it is this very fence.
    pub(crate) fn is_of(&self, fence: &Fence) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&fence.0))
    }
}

/// The id of a subject, and its row in the protocol; `None` for one that concerns every key.
fn row(subject: Subject) -> Option<(u128, RowId)> {
    match subject {
        Subject::Key(id) => Some((id.as_uuid().as_u128(), RowId::Key(id.as_uuid().as_u128()))),
        Subject::Organization(id) => Some((id.as_uuid().as_u128(), RowId::Organization(id.as_uuid().as_u128()))),
        Subject::Realm | Subject::Plan(_) => None,
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_of_the_realm_concerns_every_key() {
        let fence = Fence::new();
        let mark = fence
            .protocol()
            .mark(fence.stripes(KeyId::new(), OrganizationId::new()));
        fence.announce(&[Change::new(Subject::Realm, 0), Change::new(Subject::Realm, 0)]);
        assert!(!fence.protocol().is_current(&mark));
        assert_eq!(fence.changes(), 1);
    }

    #[test]
    fn many_changes_at_once_turn_the_epoch_once() {
        for (number, changes) in [
            (MOST_SINGLE_CHANGES, MOST_SINGLE_CHANGES as u64),
            (MOST_SINGLE_CHANGES + 1, 1),
        ] {
            let fence = Fence::new();
            let mut organization = Organization::new("bystander");
            let bystander = fence.protocol().mark(fence.stripes(KeyId::new(), organization.id));
            let announced: Vec<Change> = (0..number).map(|_| Change::new(KeyId::new(), 3)).collect();
            let marks: Vec<Mark> = announced
                .iter()
                .map(|change| match change.subject() {
                    Subject::Key(id) => fence.protocol().mark(fence.stripes(id, organization.id)),
                    _ => unreachable!(),
                })
                .collect();
            fence.announce(&announced);
            assert_eq!(fence.changes(), changes);
            assert!(marks.iter().all(|mark| !fence.protocol().is_current(mark)));
            if number > MOST_SINGLE_CHANGES {
                assert!(!fence.protocol().is_current(&bystander));
            }
            // Each of them is known with its revision.
            organization.revision = 1;
            for change in announced {
                let Subject::Key(id) = change.subject() else {
                    unreachable!()
                };
                let mut record = KeyRecord::new(organization.id, "", crate::key::Timestamp::from_millis(0));
                (record.id, record.revision) = (id, 2);
                assert!(
                    fence
                        .protocol()
                        .is_below_minimum_revision(&fence.identity(&record, &organization))
                );
                record.revision = 3;
                assert!(
                    !fence
                        .protocol()
                        .is_below_minimum_revision(&fence.identity(&record, &organization))
                );
            }
        }
    }
}
