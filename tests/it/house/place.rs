//! The same place on each store of this crate.

use std::time::Duration;

use tower_api_key::key::{KeyRecord, Organization};
use tower_api_key::store::query::{AuditEvents, Keys};
use tower_api_key::store::{Commit, DynStore, ManagedStore, StoreExt, Write};
use tower_api_key::testing::ManualClock;
use tower_api_key::{ApiKeys, Authenticator, IssueError, IssueErrorKind, IssueRequest, IssuedKey, Issuer};

use super::{acting, crc_format};
use crate::support::stores::Database;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A store with an issuer, an authenticator by the same clock, and one organization.
pub(crate) struct Place {
    pub(crate) hand: ManualClock,
    pub(crate) store: DynStore,
    pub(crate) issuer: Issuer<DynStore>,
    pub(crate) keys: ApiKeys<DynStore>,
    pub(crate) authenticator: Authenticator<DynStore>,
    pub(crate) acme: Organization,
    _database: Database,
}

impl Place {
    async fn over(database: Database) -> Self {
        let store = database.open().await;
        let hand = ManualClock::new();
        let settings = || {
            ApiKeys::builder(store.clone())
                .formats(crc_format())
                .hash_policy(tower_api_key::hash::HashPolicy::sha256())
                .clock(hand.clock())
        };
        let issuer = acting(settings());
        let keys = settings().checking();
        let acme = issuer.create_organization("acme").await.unwrap();
        Self {
            authenticator: keys.authenticator(),
            keys,
            hand,
            store,
            issuer,
            acme,
            _database: database,
        }
    }

    /// One for each store of this crate.
    pub(crate) async fn all() -> Vec<Self> {
        let mut places = Vec::new();
        for database in Database::each() {
            places.push(Self::over(database).await);
        }
        places
    }

    pub(crate) fn request(&self) -> IssueRequest {
        IssueRequest::new(self.acme.id, "key")
    }

    pub(crate) async fn issue(&self, request: IssueRequest) -> IssuedKey {
        self.issuer.issue(request).await.unwrap()
    }

    pub(crate) async fn organization(&self, change: impl Fn(&mut Organization) + Send + Sync) {
        self.issuer.update_organization(self.acme.id, change).await.unwrap();
    }

    pub(crate) async fn write(&self, write: Write) {
        self.store.commit(Commit::new().write(write)).await.unwrap();
    }

    /// How many keys the organization has, and how many events its trail.
    pub(crate) async fn rows(&self) -> (u64, usize) {
        let keys = self.store.get(Keys::of(self.acme.id).count()).await.unwrap();
        let events = AuditEvents::of(self.acme.id).page(1000);
        (keys.number, self.store.get(events).await.unwrap().items.len())
    }

    /// The request is refused about this field, and nothing is written.
    pub(crate) async fn refused(&self, request: IssueRequest, kind: IssueErrorKind, field: &str) -> IssueError {
        let before = self.rows().await;
        let error = self.issuer.issue(request).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (kind, Some(field)), "{error}");
        assert_eq!(self.rows().await, before, "{error}");
        error
    }

    pub(crate) async fn update_refused(
        &self,
        key: &IssuedKey,
        change: impl Fn(&mut KeyRecord) + Send + Sync,
        kind: IssueErrorKind,
        field: &str,
    ) {
        let before = self.rows().await;
        let error = self.issuer.update(key.record.id, change).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (kind, Some(field)), "{error}");
        let stored = self.issuer.key(key.record.id).await.unwrap().unwrap();
        assert_eq!(stored.record, key.record);
        assert_eq!(self.rows().await, before);
    }

    pub(crate) fn in_days(&self, days: u32) -> tower_api_key::key::Timestamp {
        self.hand.clock().wall().after(days * DAY)
    }
}

/// A detail of an audit event.
pub(crate) fn detail<'e>(event: &'e tower_api_key::audit::AuditEvent, name: &str) -> Option<&'e str> {
    let mut details = event.details.iter();
    details.find(|(other, _)| other == name).map(|(_, text)| &**text)
}
