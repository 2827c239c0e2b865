//! Typed queries: what a store is asked, and what it answers.
//!
//! [`StoreExt::get`](crate::store::StoreExt::get) takes any of these: a [`KeyId`] or an [`OrganizationId`] for
//! one row, [`OrganizationBySlug`], [`OrganizationByEmail`], [`OneUser`] or a plan's id for another, a [`CommitId`] for whether
//! it was committed, [`Keys`], [`Organizations`], [`Users`], [`Plans`], [`Roles`], [`KnownScopes`] and [`AuditEvents`] for pages,
//! [`AuditRows`], [`AuditChains`] and [`FirstAudited`] for what verifies them, [`Keys::count`] and [`CountKeysOfForm`] for a
//! number, [`OneIdempotency`] for what was made for an idempotency key, [`KeyByHash`] for a key of another table, [`EndedKeys`] for those that may be deleted, [`ChangesAfter`] for the change log,
//! [`KeyUses`] for when keys were last used, [`KeyStatistics`] for numbers of keys, [`TheRealm`] and [`ServerSecretRecords`] for what
//! all keys have in common.

mod audit;
mod chains;
mod changes;
mod count;
mod cursor;
mod descendants;
mod ended;
mod idempotency;
mod key_by_hash;
mod key_use;
mod keys;
mod list;
mod name;
mod organizations;
mod page;
mod plans;
mod realm;
mod refusals;
mod roles;
mod statistics;
mod users;

pub use self::audit::{AuditEvents, AuditFilter};
pub use self::chains::{AuditChains, AuditRows, FirstAudited};
pub use self::changes::{ChangesAfter, LoggedChange};
pub use self::count::Count;
pub use self::cursor::{Cursor, CursorKey, SortKey};
pub use self::descendants::DescendantsOf;
pub use self::ended::EndedKeys;
pub use self::idempotency::OneIdempotency;
pub use self::key_by_hash::KeyByHash;
pub use self::key_use::KeyUses;
pub use self::keys::{CountKeys, KeyFilter, Keys};
pub use self::list::List;
pub use self::organizations::{
    CountOrganizations, OrganizationByEmail, OrganizationBySlug, OrganizationFilter, Organizations,
};
pub use self::page::{Filter, Page, Paged};
pub use self::plans::{PlanFilter, Plans};
pub use self::realm::{CountKeysOfForm, ServerSecretRecords, TheRealm};
pub use self::refusals::{RefusalCounts, Refusals};
pub use self::roles::{KnownScopes, RoleFilter, Roles, ScopeFilter};
pub use self::statistics::{KeyStatistics, Statistics};
pub use self::users::{CountUsers, OneUser, UserFilter, Users};
use crate::audit::{AuditChain, AuditEntry, AuditRow, CommitId, RefusalCount, RefusalSample};
use crate::key::{
    Actor, IdempotencyKey, IdempotencyRecord, KeyId, KeyRecord, KnownScope, Organization, OrganizationId, Plan, PlanId,
    Realm, Role, SecretForm, SecretHash, SecretPurpose, ServerSecretRecord, Timestamp, User, UserId,
};
use crate::last_use::UseOfKey;
use crate::store::StoredKey;

/// A query, as stores get it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Query {
    /// One organization; answered by [`Answer::Organization`].
    Organization(OrganizationId),
    /// The organization with this slug; answered by [`Answer::Organization`].
    OrganizationBySlug(String),
    /// The organization with this e-mail address, as it is compared; answered by [`Answer::Organization`].
    OrganizationByEmail(String),
    /// A page of organizations; answered by [`Answer::Organizations`].
    Organizations(OrganizationFilter, Page),
    /// The number of organizations; answered by [`Answer::Count`].
    CountOrganizations(OrganizationFilter),
    /// One key with its secrets; answered by [`Answer::Key`].
    Key(KeyId),
    /// The key with a secret that has exactly this hash, the one with the lowest id if there are several; answered by
    /// [`Answer::Key`].
    KeyByHash(SecretHash),
    /// Keys that ended long ago; answered by [`Answer::KeyRecords`].
    EndedKeys(EndedKeys),
    /// A page of keys; answered by [`Answer::Keys`].
    Keys(KeyFilter, Page),
    /// The number of keys; answered by [`Answer::Count`].
    CountKeys(KeyFilter),
    /// The keys that a key made, those that they made, and so on; answered by [`Answer::KeyRecords`].
    DescendantsOf(DescendantsOf),
    /// A page of audit events; answered by [`Answer::AuditEvents`].
    AuditEvents(AuditFilter, Page),
    /// Rows of audit events as they are stored; answered by [`Answer::AuditRows`].
    AuditRows(AuditRows),
    /// The first organization, from this one on, that has audit events; answered by [`Answer::FirstAudited`].
    FirstAudited(OrganizationId),
    /// Both ends of audit chains; answered by [`Answer::AuditChains`].
    AuditChains(AuditChains),
    /// Counts of refusals; answered by [`Answer::RefusalCounts`].
    RefusalCounts(RefusalCounts),
    /// Samples of refusals; answered by [`Answer::Refusals`].
    Refusals(Refusals),
    /// Whether a commit was made that has audit events; answered by [`Answer::WasCommitted`].
    Commit(CommitId),
    /// Rows of the change log with a higher number than this, at most 1,000; answered by [`Answer::Changes`].
    Changes {
        /// The last number that was seen; 0 for all.
        after: u64,
    },
    /// The realm; answered by [`Answer::Realm`].
    Realm,
    /// The secrets of the servers, of one purpose or of all; answered by [`Answer::ServerSecrets`].
    ServerSecrets(Option<SecretPurpose>),
    /// The number of keys with a secret of this form that have not ended; answered by [`Answer::Count`].
    CountKeysOfForm {
        /// The form.
        form: SecretForm,
        /// The time at which they have not ended.
        at: Timestamp,
    },
    /// One plan; answered by [`Answer::Plan`].
    Plan(PlanId),
    /// A page of plans; answered by [`Answer::Plans`].
    Plans(PlanFilter, Page),
    /// One user; answered by [`Answer::User`].
    User(OrganizationId, UserId),
    /// A page of users; answered by [`Answer::Users`].
    Users(UserFilter, Page),
    /// The number of users; answered by [`Answer::Count`].
    CountUsers(UserFilter),
    /// A page of roles; answered by [`Answer::Roles`].
    Roles(RoleFilter, Page),
    /// A page of the scopes that the realm knows; answered by [`Answer::KnownScopes`].
    KnownScopes(ScopeFilter, Page),
    /// How these keys were used, of the first 1,000 those that are there; answered by [`Answer::KeyUses`].
    KeyUses(Vec<KeyId>),
    /// Numbers of keys and of their use; answered by [`Answer::Statistics`].
    Statistics(KeyStatistics),
    /// What was made for an idempotency key of an actor; answered by [`Answer::Idempotency`].
    Idempotency(OrganizationId, Actor, IdempotencyKey),
}

impl Query {
    /// Whether [`AuditLog`](crate::store::AuditLog) answers it.
    pub fn is_of_audit(&self) -> bool {
        matches!(
            self,
            Self::AuditEvents(..)
                | Self::Commit(_)
                | Self::AuditRows(_)
                | Self::AuditChains(_)
                | Self::FirstAudited(_)
                | Self::RefusalCounts(_)
                | Self::Refusals(_)
        )
    }

    /// Whether [`UseRows`](crate::store::UseRows) answers it.
    pub fn is_of_use(&self) -> bool {
        matches!(self, Self::KeyUses(_) | Self::Statistics(_))
    }

    /// Whether [`IdempotencyRows`](crate::store::IdempotencyRows) answers it.
    pub fn is_of_idempotency(&self) -> bool {
        matches!(self, Self::Idempotency(..))
    }

    /// Whether an index leads to the few rows that it is about.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(in crate::store) fn is_of_few_rows(&self) -> bool {
        if let Self::KeyUses(keys) = self {
            return keys.len() <= 16;
        }
        matches!(
            self,
            Self::Organization(_)
                | Self::OrganizationBySlug(_)
                | Self::OrganizationByEmail(_)
                | Self::Plan(_)
                | Self::User(..)
                | Self::Key(_)
                | Self::KeyByHash(_)
                | Self::Commit(_)
                | Self::Realm
                | Self::ServerSecrets(_)
                | Self::Idempotency(..)
        )
    }
}

/// A store's answer to a [`Query`].
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a key is the usual answer, and a box would be in every store's way"
)]
#[non_exhaustive]
pub enum Answer {
    /// To [`Query::Organization`], [`Query::OrganizationBySlug`] and [`Query::OrganizationByEmail`].
    Organization(Option<Organization>),
    /// To [`Query::Organizations`].
    Organizations(Paged<Organization>),
    /// To [`Query::Key`] and [`Query::KeyByHash`].
    Key(Option<StoredKey>),
    /// To [`Query::Keys`].
    Keys(Paged<StoredKey>),
    /// To [`Query::CountKeys`], [`Query::CountOrganizations`], [`Query::CountUsers`] and [`Query::CountKeysOfForm`].
    Count(Count),
    /// To [`Query::DescendantsOf`], ordered by id, and to [`Query::EndedKeys`], those that ended first in front.
    KeyRecords(Vec<KeyRecord>),
    /// To [`Query::AuditEvents`].
    AuditEvents(Paged<AuditEntry>),
    /// To [`Query::AuditRows`], ordered by number.
    AuditRows(Vec<AuditRow>),
    /// To [`Query::FirstAudited`].
    FirstAudited(Option<OrganizationId>),
    /// To [`Query::AuditChains`], ordered by organization.
    AuditChains(Vec<AuditChain>),
    /// To [`Query::RefusalCounts`], ordered by hour, organization and kind.
    RefusalCounts(Vec<RefusalCount>),
    /// To [`Query::Refusals`], ordered by time and id.
    Refusals(Vec<RefusalSample>),
    /// To [`Query::Commit`].
    WasCommitted(bool),
    /// To [`Query::Changes`], ordered by number.
    Changes(Vec<LoggedChange>),
    /// To [`Query::Realm`].
    Realm(Realm),
    /// To [`Query::ServerSecrets`], ordered by purpose, id and number, at most 1,000.
    ServerSecrets(Vec<ServerSecretRecord>),
    /// To [`Query::Plan`].
    Plan(Option<Plan>),
    /// To [`Query::Plans`].
    Plans(Paged<Plan>),
    /// To [`Query::User`].
    User(Option<User>),
    /// To [`Query::Users`].
    Users(Paged<User>),
    /// To [`Query::Roles`].
    Roles(Paged<Role>),
    /// To [`Query::KnownScopes`].
    KnownScopes(Paged<KnownScope>),
    /// To [`Query::KeyUses`], in the order of the query.
    KeyUses(Vec<UseOfKey>),
    /// To [`Query::Statistics`].
    Statistics(Statistics),
    /// To [`Query::Idempotency`].
    Idempotency(Option<IdempotencyRecord>),
}

/// A query with its own type of answer. No other code reads an [`Answer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    note = "ask for a `KeyId`, an `OrganizationId`, `Keys`, `Organizations`, `AuditEvents`, .."
)]
pub trait TypedQuery: Send {
    /// The type of the answer.
    type Output;

    /// Whether the query takes a cursor and its answer has one.
    const HAS_CURSORS: bool = false;

    /// The same query with cursors under this secret.
    #[must_use]
    fn with_cursor_key(self, _: &CursorKey) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// The query, as stores get it.
    fn query(self) -> Query;

    /// The answer; `None` if it is one to another query.
    fn take(answer: Answer) -> Option<Self::Output>;
}

impl TypedQuery for OrganizationId {
    type Output = Option<Organization>;

    fn query(self) -> Query {
        Query::Organization(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Organization(organization) => Some(organization),
            _ => None,
        }
    }
}

impl TypedQuery for KeyId {
    type Output = Option<StoredKey>;

    fn query(self) -> Query {
        Query::Key(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Key(key) => Some(key),
            _ => None,
        }
    }
}

impl TypedQuery for CommitId {
    type Output = bool;

    fn query(self) -> Query {
        Query::Commit(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::WasCommitted(was_committed) => Some(was_committed),
            _ => None,
        }
    }
}
