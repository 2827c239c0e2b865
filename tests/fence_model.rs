//! What makes a revoke final, under a model checker.
//!
//! loom runs `src/fence/protocol.rs`, the very file, through every interleaving of changes and requests, and through
//! every older value that a load may still return. Around it stand small models of its neighbours: a store, a cache
//! without a lock against changes, and requests that take the steps of a check in its order.
//!
//! The promise: **when a change has returned, no request whose last step comes later is admitted on what was before.**
//! "Returned" is looked at as late as can be, when the hash is done and the entry is cached, just before the confirm.
//! Looked at when the request begins, it does not show what a check without confirm lets through; see
//! `looked_at_too_early_a_check_without_confirm_seems_right`.
//!
//! A protocol that admits no request keeps the promise, so each model also lists exactly the answers that occur. Wrong protocols
//! that a maintainer may think of are here too, and each is found to break the promise.
//!
//! Models are explored completely, except those with three threads or two changes in a row, which are explored to three
//! preemptions: enough to find the subtlest of the wrong protocols. loom treats `SeqCst` loads and stores as `Acquire` and
//! `Release`, which is weaker than what the file asks for, and still sufficient. The neighbours never ask for more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex as StdMutex};

use loom::future::block_on;
use loom::thread;

use self::protocol::{Identity, Loaded, Mark, Protocol, RowId, Source, Stripes};
use self::sync::{AtomicU64, Mutex, Ordering};

#[path = "../src/fence/protocol.rs"]
mod protocol;

/// What `crate::sync` is to that file when it is compiled here.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

use self::Answer::{Admitted, BelowMinimum, Inactive, NotConfirmed, Unconfirmed, Unknown, UnknownFromCache};

#[test]
fn protocol_is_followed_from_its_first_confirmation() {
    loom::model(|| {
        let protocol = Protocol::new(1);
        assert!(!protocol.is_followed());
        protocol.confirm(1);
        assert!(protocol.is_followed());
    });
}

/// As a restored backup has them.
#[test]
fn old_record_counts_once_minimum_revisions_are_forgotten() {
    loom::model(|| {
        let protocol = Protocol::new(1);
        protocol.bump_key(0, 1, 5);
        protocol.bump_organization(0, 2, 5);
        let old = |key_revision, organization_revision| Identity {
            stripes: Stripes {
                key: 0,
                organization: 0,
            },
            key: 1,
            key_revision,
            organization: 2,
            organization_revision,
        };
        assert!(protocol.is_below_minimum_revision(&old(4, 5)) && protocol.is_below_minimum_revision(&old(5, 4)));
        protocol.forget_minimum_revisions();
        assert!(!protocol.is_below_minimum_revision(&old(4, 4)));
        protocol.bump_key(0, 1, 5);
        assert!(protocol.is_below_minimum_revision(&old(4, 4)));
    });
}

#[test]
fn revoke_is_final_for_a_request_that_knows_nothing() {
    let findings = explore(Model {
        changes: vec![change_key],
        ..Model::one_request()
    });
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
}

/// The entry is stale because a neighbour on the same stripe changed; the key's stripes are known, and there are no
/// retries.
#[test]
fn revoke_is_final_for_a_request_that_finds_a_stale_entry() {
    let findings = explore(Model {
        prepare: cache_a_stale_entry,
        changes: vec![change_key],
        ..Model::one_request()
    });
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
}

#[test]
fn revoke_is_final_for_a_request_that_finds_a_fresh_entry() {
    let findings = explore(Model {
        prepare: cache_a_fresh_entry,
        changes: vec![change_key],
        ..Model::one_request()
    });
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
}

/// What one puts into the cache the other may find, fresh or stale, before or after the change.
#[test]
fn revoke_is_final_for_requests_that_share_a_cache() {
    let findings = explore(Model {
        changes: vec![change_key],
        requests: vec![Request::RIGHT; 2],
        preemptions: PREEMPTIONS,
        ..Model::one_request()
    });
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
}

#[test]
fn revoke_is_final_for_requests_sharing_a_stale_entry() {
    let findings = explore(Model {
        prepare: cache_a_stale_entry,
        changes: vec![change_key],
        requests: vec![Request::RIGHT; 2],
        preemptions: PREEMPTIONS,
    });
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
}

#[test]
fn suspended_organization_is_final() {
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        let findings = explore(Model {
            prepare,
            changes: vec![change_organization],
            ..Model::one_request()
        });
        assert_eq!(findings.broken, 0, "{findings:?}");
        findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
    }
}

/// A change by another process, which may concern any key.
#[test]
fn turn_of_the_epoch_is_final() {
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        let findings = explore(Model {
            prepare,
            changes: vec![change_of_unknown_kind],
            ..Model::one_request()
        });
        assert_eq!(findings.broken, 0, "{findings:?}");
        findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
    }
}

/// Disabled, then enabled again: who is admitted is admitted on the last state, not on the one before, which had the
/// same status and maybe other scopes.
#[test]
fn of_two_changes_in_a_row_each_is_final() {
    fn disable_and_enable(world: &World) {
        change_key(world);
        change_key(world);
    }
    let model = |prepare| Model {
        prepare,
        changes: vec![disable_and_enable],
        preemptions: PREEMPTIONS,
        ..Model::one_request()
    };
    let findings = explore(model(nothing));
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Admitted(3, 1), Inactive, NotConfirmed]);
    for prepare in [cache_a_stale_entry, cache_a_fresh_entry] {
        let findings = explore(model(prepare));
        assert_eq!(findings.broken, 0, "{findings:?}");
        findings.are([Admitted(1, 1), Admitted(3, 1), Inactive, NotConfirmed]);
    }
}

#[test]
fn key_and_its_organization_changing_at_once_are_both_final() {
    let model = |prepare| Model {
        prepare,
        changes: vec![change_key, change_organization],
        preemptions: PREEMPTIONS,
        ..Model::one_request()
    };
    let findings = explore(model(nothing));
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
    for prepare in [cache_a_stale_entry, cache_a_fresh_entry] {
        let findings = explore(model(prepare));
        assert_eq!(findings.broken, 0, "{findings:?}");
        findings.are([Admitted(1, 1), Inactive, NotConfirmed]);
    }
}

/// A change of a key on another stripe makes a request read again at most.
#[test]
fn change_elsewhere_refuses_nobody() {
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        let findings = explore(Model {
            prepare,
            changes: vec![change_elsewhere],
            ..Model::one_request()
        });
        findings.are([Admitted(1, 1)]);
    }
}

/// However many: after the first read the stripes are known, and only a change on those is in the way.
#[test]
fn changes_elsewhere_during_every_read_refuse_nobody() {
    fn read_while_others_change(world: &World) -> Record {
        change_elsewhere(world);
        world.stored.read()
    }
    for prepare in [nothing, cache_a_stale_entry] {
        let findings = explore(Model {
            prepare,
            changes: vec![],
            requests: vec![Request {
                read: read_while_others_change,
                ..Request::RIGHT
            }],
            ..Model::one_request()
        });
        findings.are([Admitted(1, 1)]);
    }
}

/// A store that breaks its contract: the lookup has another owner at each read, and a change overtakes every read.
#[test]
fn lookup_that_never_keeps_its_owner_admits_nobody() {
    struct Restless<'a>(&'a Protocol, Cell<u16>);

    impl Source for Restless<'_> {
        type Candidate = u16;
        type Verified = ();
        type Failure = Infallible;

        async fn find(&self) -> Result<Option<u16>, Infallible> {
            self.0.count_change();
            Ok(Some(self.1.replace(1 - self.1.get())))
        }

        fn identify(&self, owner: &u16) -> Identity {
            Identity {
                stripes: Stripes { key: *owner, ..STRIPES },
                key: (*owner).into(),
                key_revision: 1,
                organization: ORGANIZATION,
                organization_revision: 1,
            }
        }

        async fn verify(&self, _: u16) -> Result<(), Infallible> {
            panic!("verified on a record that a change ran past")
        }
    }

    loom::model(|| {
        let protocol = Protocol::with_minimum_revisions(2, MINIMUM_REVISIONS);
        let loaded = block_on(protocol::load(&protocol, None, &Restless(&protocol, Cell::new(0))));
        assert!(matches!(loaded, Loaded::Unconfirmed));
    });
}

/// A source that lags gives the old record, whenever it is asked. From the change on that is noticed.
#[test]
fn source_that_lags_admits_nobody_on_what_was_before() {
    for change in [change_key, change_organization] {
        for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
            let findings = explore(Model {
                prepare,
                changes: vec![change],
                requests: vec![Request::OF_A_LAGGING_SOURCE],
                ..Model::one_request()
            });
            assert_eq!(findings.broken, 0, "{findings:?}");
            findings.are([Admitted(1, 1), BelowMinimum, NotConfirmed]);
        }
        // Begun after the change returned: nothing but its minimum revision stands between the old record and a new mark.
        let findings = explore(Model {
            prepare: change,
            changes: vec![],
            requests: vec![Request::OF_A_LAGGING_SOURCE],
            ..Model::one_request()
        });
        findings.are([BelowMinimum]);
    }
}

/// A minimum revision is the highest of all revisions that were announced, in whatever order.
#[test]
fn minimum_revision_never_sinks() {
    fn change_twice_and_announce_backwards(world: &World) {
        world.stored.change_key();
        let revision = world.stored.change_key();
        world.protocol.bump_key(STRIPES.key, KEY, revision);
        world.protocol.bump_key(STRIPES.key, KEY, revision - 1);
    }
    fn read_the_one_before_the_last(world: &World) -> Record {
        Record {
            key_revision: world.stored.read().key_revision - 1,
            ..world.stored.read()
        }
    }
    let findings = explore(Model {
        prepare: change_twice_and_announce_backwards,
        changes: vec![],
        requests: vec![Request {
            read: read_the_one_before_the_last,
            ..Request::RIGHT
        }],
        ..Model::one_request()
    });
    findings.are([BelowMinimum]);
}

/// Minimum revisions are bounded, and those of the latest changes are kept, also of a record that changed long ago already.
#[test]
fn minimum_revisions_of_the_latest_changes_are_kept() {
    fn change_others(world: &World, many: usize) {
        for other in 0..many {
            world.protocol.bump_key(ELSEWHERE, NEIGHBOUR + other as u128, 1);
        }
    }
    fn change_key_and_others(world: &World) {
        change_key(world);
        change_others(world, MINIMUM_REVISIONS - 1);
        change_key(world);
        change_others(world, MINIMUM_REVISIONS - 1);
    }
    fn change_key_and_too_many_others(world: &World) {
        change_key(world);
        change_others(world, MINIMUM_REVISIONS);
    }
    let model = |prepare| Model {
        prepare,
        requests: vec![Request::OF_A_LAGGING_SOURCE],
        ..Model::one_request()
    };
    explore(model(change_key_and_others)).are([BelowMinimum]);
    explore(model(change_key_and_too_many_others)).are([Admitted(1, 1)]);
}

/// Without a revision that is known before the commit: with one, the minimum refuses the old record until then.
#[test]
fn mutant_that_bumps_before_the_commit() {
    fn bump_first(world: &World) {
        let revision = world.stored.read().key_revision;
        world.protocol.bump_key(STRIPES.key, KEY, revision);
        world.stored.change_key();
        world.returned.change_key();
    }
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        explore(Model {
            prepare,
            changes: vec![bump_first],
            ..Model::one_request()
        })
        .broken_promise();
    }
}

#[test]
fn mutant_that_removes_the_entry_before_the_commit() {
    fn remove_first(world: &World) {
        *world.cache.lock().unwrap() = None;
        world.stored.change_key();
        world.returned.change_key();
    }
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        explore(Model {
            prepare,
            changes: vec![remove_first],
            ..Model::one_request()
        })
        .broken_promise();
    }
}

#[test]
fn mutant_that_removes_the_entry_after_the_commit() {
    fn remove_last(world: &World) {
        world.stored.change_key();
        *world.cache.lock().unwrap() = None;
        world.returned.change_key();
    }
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        explore(Model {
            prepare,
            changes: vec![remove_last],
            ..Model::one_request()
        })
        .broken_promise();
    }
}

/// Where the stripes are known before the read, the order makes no difference; `changes` is not asked.
#[test]
fn mutant_that_turns_the_stripe_before_it_counts_the_change() {
    fn turn_first(world: &World) {
        let revision = world.stored.change_key();
        world.protocol.raise_minimum_revision(RowId::Key(KEY), revision);
        world.protocol.turn_key(STRIPES.key);
        world.protocol.count_change();
        world.returned.change_key();
    }
    explore(Model {
        changes: vec![turn_first],
        ..Model::one_request()
    })
    .broken_promise();
}

#[test]
fn mutant_that_raises_the_minimum_after_turning_the_stripe() {
    fn turn_first(world: &World) {
        let revision = world.stored.change_key();
        world.protocol.count_change();
        world.protocol.turn_key(STRIPES.key);
        world.protocol.raise_minimum_revision(RowId::Key(KEY), revision);
        world.returned.change_key();
    }
    for prepare in [nothing, cache_a_stale_entry] {
        explore(Model {
            prepare,
            changes: vec![turn_first],
            requests: vec![Request::OF_A_LAGGING_SOURCE],
            ..Model::one_request()
        })
        .broken_promise();
    }
}

/// The steps of the protocol's own loop for unknown stripes, with the last two swapped.
#[test]
fn mutant_that_compares_changes_before_it_reads_the_stripes() {
    fn fill(world: &World, _: Option<Stripes>, read: Read) -> Loaded<Record, Infallible> {
        for _ in 0..3 {
            let changes = world.protocol.changes();
            let record = read(world);
            if world.protocol.changes() != changes {
                continue;
            }
            let mark = world.protocol.mark(STRIPES);
            return Loaded::Verified { verified: record, mark };
        }
        Loaded::Unconfirmed
    }
    explore(Model {
        changes: vec![change_key],
        requests: vec![Request { fill, ..Request::RIGHT }],
        ..Model::one_request()
    })
    .broken_promise();
}

/// The same for stripes that are known: the mark must be older than the read.
#[test]
fn mutant_that_takes_the_mark_after_the_read() {
    fn fill(world: &World, _: Option<Stripes>, read: Read) -> Loaded<Record, Infallible> {
        let verified = read(world);
        let mark = world.protocol.mark(STRIPES);
        Loaded::Verified { verified, mark }
    }
    for prepare in [nothing, cache_a_stale_entry] {
        explore(Model {
            prepare,
            changes: vec![change_key],
            requests: vec![Request { fill, ..Request::RIGHT }],
            ..Model::one_request()
        })
        .broken_promise();
    }
}

#[test]
fn mutant_that_checks_only_at_insert() {
    for confirm in [Confirm::OnlyAtInsert, Confirm::Never] {
        for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
            explore(Model {
                prepare,
                changes: vec![change_key],
                requests: vec![Request {
                    confirm,
                    ..Request::RIGHT
                }],
                ..Model::one_request()
            })
            .broken_promise();
        }
    }
}

/// Why `returned` is looked at when it is: a change that returns while a hash is running came after the request began.
#[test]
fn looked_at_too_early_a_check_without_confirm_seems_right() {
    for prepare in [nothing, cache_a_stale_entry, cache_a_fresh_entry] {
        let findings = explore(Model {
            prepare,
            changes: vec![change_key],
            requests: vec![Request {
                confirm: Confirm::Never,
                looks: Looks::WhenItBegins,
                ..Request::RIGHT
            }],
            ..Model::one_request()
        });
        assert_eq!(findings.broken, 0, "{findings:?}");
    }
}

/// A key that was added before the request began is found, however many requests asked for it in vain before.
#[test]
fn new_key_is_found_by_who_comes_after() {
    let findings = explore_insert(PREEMPTIONS, change_key, Ask::RIGHT);
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), Unknown, UnknownFromCache]);
}

#[test]
fn mutant_that_counts_the_changes_after_the_read_of_nothing() {
    explore_insert(
        Some(2),
        change_key,
        Ask {
            counts_before_the_read: false,
            ..Ask::RIGHT
        },
    )
    .broken_promise();
}

#[test]
fn mutant_that_believes_a_refusal_whatever_changed() {
    explore_insert(
        Some(2),
        change_key,
        Ask {
            compares: false,
            ..Ask::RIGHT
        },
    )
    .broken_promise();
}

#[test]
fn mutant_that_bumps_before_a_key_is_added() {
    fn bump_first(world: &World) {
        world.protocol.bump_key(STRIPES.key, KEY, 1);
        world.stored.change_key();
        world.returned.change_key();
    }
    explore_insert(Some(2), bump_first, Ask::RIGHT).broken_promise();
}

/// Changes on another node, with a follower that was suspended: after the end of the lease, no request is admitted on the old state,
/// not even while the follower catches up.
#[test]
fn lease_ends_in_time() {
    let findings = explore_lease(Follower::RIGHT, Order::LeaseThenMark);
    assert_eq!(findings.broken, 0, "{findings:?}");
    findings.are([Admitted(1, 1), NotConfirmed]);
}

/// The mark is still current, then the follower bumps and confirms, then the lease is good again.
#[test]
fn mutant_that_asks_for_the_mark_before_the_lease() {
    explore_lease(Follower::RIGHT, Order::MarkThenLease).broken_promise();
}

#[test]
fn mutant_that_confirms_before_it_bumps() {
    let follower = Follower {
        bumps_first: false,
        ..Follower::RIGHT
    };
    explore_lease(follower, Order::LeaseThenMark).broken_promise();
}

#[test]
fn mutant_that_reads_the_log_before_the_clock() {
    let follower = Follower {
        reads_clock_first: false,
        ..Follower::RIGHT
    };
    explore_lease(follower, Order::LeaseThenMark).broken_promise();
}

const KEY: u128 = 1;
const ORGANIZATION: u128 = 2;
/// Another key; on the first one's stripe, or elsewhere.
const NEIGHBOUR: u128 = 3;
const STRIPES: Stripes = Stripes {
    key: 0,
    organization: 0,
};
const ELSEWHERE: u16 = 1;
const MINIMUM_REVISIONS: usize = 4;
/// How far the larger spaces are explored.
const PREEMPTIONS: Option<usize> = Some(3);

/// One key's record, its fence, and a cache with room for one entry.
struct World {
    protocol: Protocol,
    /// What was committed.
    stored: Row,
    /// As of which change the callers of all changes have been told that they are done.
    returned: Row,
    /// As little locked against changes as a map is.
    cache: Mutex<Option<Entry>>,
    /// For keys that are not there: as of how many changes.
    refused: Mutex<Option<u64>>,
}

/// A record and its organization in one word, so that they are read as one.
struct Row(AtomicU64);

/// Both begin at revision 1, and each change adds one. Odd ones are active.
#[derive(Clone, Copy)]
struct Record {
    key_revision: u64,
    organization_revision: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    record: Record,
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// On these revisions of the key and the organization.
    Admitted(u64, u64),
    Inactive,
    NotConfirmed,
    BelowMinimum,
    Unconfirmed,
    Unknown,
    UnknownFromCache,
}

/// An answer, and whether it breaks the promise.
struct Verdict {
    answer: Answer,
    is_broken: bool,
}

#[derive(Debug, Default)]
struct Findings {
    answers: BTreeMap<Answer, usize>,
    broken: usize,
    explored: usize,
}

type Change = fn(&World);
type Read = fn(&World) -> Record;
type Fill = fn(&World, Option<Stripes>, Read) -> Loaded<Record, Infallible>;

struct Model {
    prepare: Change,
    /// Each in a thread of its own.
    changes: Vec<Change>,
    /// Each in a thread of its own.
    requests: Vec<Request>,
    /// How often a thread may be interrupted where it could go on; `None` explores the space whole.
    preemptions: Option<usize>,
}

/// A request: the steps of a check, and how they may be wrong.
#[derive(Clone, Copy)]
struct Request {
    read: Read,
    fill: Fill,
    confirm: Confirm,
    looks: Looks,
}

#[derive(Clone, Copy, PartialEq)]
enum Confirm {
    AtTheEnd,
    OnlyAtInsert,
    Never,
}

/// When a request looks whether the change has returned.
#[derive(Clone, Copy, PartialEq)]
enum Looks {
    BeforeTheConfirm,
    WhenItBegins,
}

impl Model {
    fn one_request() -> Self {
        Self {
            prepare: nothing,
            changes: vec![],
            requests: vec![Request::RIGHT],
            preemptions: None,
        }
    }
}

impl Request {
    const RIGHT: Self = Self {
        read: |world| world.stored.read(),
        fill,
        confirm: Confirm::AtTheEnd,
        looks: Looks::BeforeTheConfirm,
    };
    const OF_A_LAGGING_SOURCE: Self = Self {
        read: |_| Record::FIRST,
        ..Self::RIGHT
    };

    fn answer(&self, world: &World) -> Verdict {
        let begun = world.returned.read();
        let cached = *world.cache.lock().unwrap();
        let entry = match cached.filter(|entry| world.protocol.is_current(&entry.mark)) {
            Some(entry) => entry,
            None => match self.load(world, cached) {
                Ok(entry) => entry,
                Err(answer) => return Verdict::kept(answer),
            },
        };
        if !entry.record.is_active() {
            // A refusal is not confirmed. It is no older than the request.
            return Verdict {
                answer: Inactive,
                is_broken: entry.record.is_older_than(begun),
            };
        }
        let returned = match self.looks {
            Looks::BeforeTheConfirm => world.returned.read(),
            Looks::WhenItBegins => begun,
        };
        if self.confirm == Confirm::AtTheEnd && !world.protocol.is_current(&entry.mark) {
            return Verdict::kept(NotConfirmed);
        }
        Verdict {
            answer: Admitted(entry.record.key_revision, entry.record.organization_revision),
            is_broken: entry.record.is_older_than(returned),
        }
    }

    fn load(&self, world: &World, stale: Option<Entry>) -> Result<Entry, Answer> {
        let known = stale.map(|entry| entry.mark.stripes());
        let entry = match (self.fill)(world, known, self.read) {
            Loaded::Verified { verified: record, mark } => Entry { record, mark },
            Loaded::BelowMinimum => return Err(BelowMinimum),
            Loaded::Unconfirmed => return Err(Unconfirmed),
            Loaded::Absent => return Err(Unknown),
            Loaded::Failed(never) => match never {},
        };
        if self.confirm == Confirm::OnlyAtInsert && !world.protocol.is_current(&entry.mark) {
            return Err(NotConfirmed);
        }
        *world.cache.lock().unwrap() = Some(entry);
        Ok(entry)
    }
}

impl Verdict {
    fn kept(answer: Answer) -> Self {
        Self {
            answer,
            is_broken: false,
        }
    }
}

impl Findings {
    fn add(&mut self, verdicts: Vec<Verdict>) {
        self.explored += 1;
        for verdict in verdicts {
            *self.answers.entry(verdict.answer).or_default() += 1;
            self.broken += usize::from(verdict.is_broken);
        }
    }

    #[track_caller]
    fn are<const N: usize>(&self, expected: [Answer; N]) {
        assert_eq!(
            self.answers.keys().copied().collect::<BTreeSet<_>>(),
            BTreeSet::from(expected),
            "{self:?}"
        );
    }

    #[track_caller]
    fn broken_promise(&self) {
        assert_ne!(self.broken, 0, "the model does not see what is wrong: {self:?}");
    }
}

impl World {
    fn new(record: Record) -> Self {
        Self {
            protocol: Protocol::with_minimum_revisions(2, MINIMUM_REVISIONS),
            stored: Row::new(record),
            returned: Row::new(record),
            cache: Mutex::new(None),
            refused: Mutex::new(None),
        }
    }
}

impl Row {
    const KEY: u64 = 1;
    const ORGANIZATION: u64 = 1 << 32;

    fn new(record: Record) -> Self {
        Self(AtomicU64::new(
            record.key_revision * Self::KEY + record.organization_revision * Self::ORGANIZATION,
        ))
    }

    fn read(&self) -> Record {
        let row = self.0.load(Ordering::Acquire);
        Record {
            key_revision: row % Self::ORGANIZATION,
            organization_revision: row / Self::ORGANIZATION,
        }
    }

    /// Returns the key's new revision.
    fn change_key(&self) -> u64 {
        self.0.fetch_add(Self::KEY, Ordering::AcqRel) % Self::ORGANIZATION + 1
    }

    /// Returns the organization's new revision.
    fn change_organization(&self) -> u64 {
        self.0.fetch_add(Self::ORGANIZATION, Ordering::AcqRel) / Self::ORGANIZATION + 1
    }
}

impl Record {
    const FIRST: Self = Self {
        key_revision: 1,
        organization_revision: 1,
    };
    /// The key is not there yet.
    const NONE: Self = Self {
        key_revision: 0,
        ..Self::FIRST
    };

    fn exists(self) -> bool {
        self.key_revision != 0
    }

    fn is_active(self) -> bool {
        self.key_revision % 2 == 1 && self.organization_revision % 2 == 1
    }

    fn is_older_than(self, other: Self) -> bool {
        self.key_revision < other.key_revision || self.organization_revision < other.organization_revision
    }
}

fn nothing(_: &World) {}

fn cache_a_fresh_entry(world: &World) {
    assert!(Request::RIGHT.load(world, None).is_ok());
}

fn cache_a_stale_entry(world: &World) {
    cache_a_fresh_entry(world);
    world.protocol.bump_key(STRIPES.key, NEIGHBOUR, 1);
}

fn change_key(world: &World) {
    let revision = world.stored.change_key();
    world.protocol.bump_key(STRIPES.key, KEY, revision);
    world.returned.change_key();
}

fn change_organization(world: &World) {
    let revision = world.stored.change_organization();
    world
        .protocol
        .bump_organization(STRIPES.organization, ORGANIZATION, revision);
    world.returned.change_organization();
}

fn change_of_unknown_kind(world: &World) {
    world.stored.change_key();
    world.protocol.turn_epoch();
    world.returned.change_key();
}

fn change_elsewhere(world: &World) {
    world.protocol.bump_key(ELSEWHERE, NEIGHBOUR, 1);
}

/// The protocol's own [`load`]. The verification takes its time by itself: whatever can happen meanwhile happens before
/// the next step that anyone can see.
fn fill(world: &World, known: Option<Stripes>, read: Read) -> Loaded<Record, Infallible> {
    struct Store<'a> {
        world: &'a World,
        read: Read,
    }

    impl Source for Store<'_> {
        type Candidate = Record;
        type Verified = Record;
        type Failure = Infallible;

        async fn find(&self) -> Result<Option<Record>, Infallible> {
            Ok(Some((self.read)(self.world)).filter(|record| record.exists()))
        }

        fn identify(&self, record: &Record) -> Identity {
            Identity {
                stripes: STRIPES,
                key: KEY,
                key_revision: record.key_revision,
                organization: ORGANIZATION,
                organization_revision: record.organization_revision,
            }
        }

        async fn verify(&self, record: Record) -> Result<Record, Infallible> {
            Ok(record)
        }
    }

    block_on(protocol::load(&world.protocol, known, &Store { world, read }))
}

fn explore(model: Model) -> Findings {
    explore_all(model.preemptions, move || {
        let world = Arc::new(World::new(Record::FIRST));
        (model.prepare)(&world);
        let mut threads = Vec::new();
        for &change in &model.changes {
            let world = world.clone();
            threads.push(thread::spawn(move || {
                change(&world);
                None
            }));
        }
        let (first, others) = model.requests.split_first().unwrap();
        for &request in others {
            let world = world.clone();
            threads.push(thread::spawn(move || Some(request.answer(&world))));
        }
        let mut verdicts = vec![first.answer(&world)];
        verdicts.extend(threads.into_iter().filter_map(|thread| thread.join().unwrap()));
        verdicts
    })
}

/// Requests for a key that is being added, and the cache of refusals between them.
#[derive(Clone, Copy)]
struct Ask {
    counts_before_the_read: bool,
    compares: bool,
}

impl Ask {
    const RIGHT: Self = Self {
        counts_before_the_read: true,
        compares: true,
    };

    fn answer(self, world: &World) -> Verdict {
        let begun = world.returned.read();
        let answer = self.look_up(world);
        Verdict {
            answer,
            is_broken: begun.exists() && matches!(answer, Unknown | UnknownFromCache),
        }
    }

    fn look_up(self, world: &World) -> Answer {
        let changes = world.protocol.changes();
        let refused = *world.refused.lock().unwrap();
        if refused.is_some_and(|refused| refused == changes || !self.compares) {
            return UnknownFromCache;
        }
        match fill(world, None, Request::RIGHT.read) {
            Loaded::Verified { verified: record, .. } => Admitted(record.key_revision, record.organization_revision),
            Loaded::Absent => {
                let changes = match self.counts_before_the_read {
                    true => changes,
                    false => world.protocol.changes(),
                };
                *world.refused.lock().unwrap() = Some(changes);
                Unknown
            }
            _ => Unconfirmed,
        }
    }
}

fn explore_insert(preemptions: Option<usize>, add: Change, ask: Ask) -> Findings {
    explore_all(preemptions, move || {
        let world = Arc::new(World::new(Record::NONE));
        let (adding, asking) = (world.clone(), world.clone());
        let adder = thread::spawn(move || add(&adding));
        let other = thread::spawn(move || ask.answer(&asking));
        let verdict = ask.answer(&world);
        adder.join().unwrap();
        vec![verdict, other.join().unwrap()]
    })
}

/// Who reads the log of changes that other nodes made, and how it may be wrong.
#[derive(Clone, Copy)]
struct Follower {
    reads_clock_first: bool,
    bumps_first: bool,
}

#[derive(Clone, Copy)]
enum Order {
    LeaseThenMark,
    MarkThenLease,
}

/// The change of the other node returns at the first time; by the second, no lease of the first is good any more.
const EARLY: u64 = 10;
const LATE: u64 = 100;
const MAX_STALENESS: u64 = 10;

impl Follower {
    const RIGHT: Self = Self {
        reads_clock_first: true,
        bumps_first: true,
    };

    fn follow(self, world: &World, clock: &AtomicU64) {
        let mut at = clock.load(Ordering::Acquire);
        let record = world.stored.read();
        if !self.reads_clock_first {
            at = clock.load(Ordering::Acquire);
        }
        if !self.bumps_first {
            world.protocol.confirm(at);
        }
        if Record::FIRST.is_older_than(record) {
            world.protocol.bump_key(STRIPES.key, KEY, record.key_revision);
        }
        world.protocol.confirm(at);
    }
}

fn explore_lease(follower: Follower, order: Order) -> Findings {
    explore_all(None, move || {
        let world = Arc::new(World::new(Record::FIRST));
        let clock = Arc::new(AtomicU64::new(EARLY));
        world.protocol.confirm(EARLY);
        let mark = world.protocol.mark(STRIPES);

        let (there, time) = (world.clone(), clock.clone());
        let other_node = thread::spawn(move || {
            there.stored.change_key();
            time.store(LATE, Ordering::Release);
        });
        let (here, time) = (world.clone(), clock.clone());
        let following = thread::spawn(move || follower.follow(&here, &time));

        let now = clock.load(Ordering::Acquire);
        let has_lease = || world.protocol.is_within_lease(EARLY, now, MAX_STALENESS);
        let is_current = || world.protocol.is_current(&mark);
        let is_admitted = match order {
            Order::LeaseThenMark => has_lease() && is_current(),
            Order::MarkThenLease => is_current() && has_lease(),
        };
        other_node.join().unwrap();
        following.join().unwrap();
        vec![Verdict {
            answer: if is_admitted { Admitted(1, 1) } else { NotConfirmed },
            is_broken: is_admitted && now > EARLY + MAX_STALENESS,
        }]
    })
}

fn explore_all(preemptions: Option<usize>, model: impl Fn() -> Vec<Verdict> + Send + Sync + 'static) -> Findings {
    let findings = Arc::new(StdMutex::new(Findings::default()));
    let found = findings.clone();
    let mut explorer = loom::model::Builder::new();
    // `LOOM_MAX_PREEMPTIONS` takes precedence, to explore everything when there is time.
    explorer.preemption_bound = explorer.preemption_bound.or(preemptions);
    explorer.check(move || {
        let verdicts = model();
        found.lock().unwrap().add(verdicts);
    });
    std::mem::take(&mut *findings.lock().unwrap())
}
