//! A create that is made once, however often it is asked for.

use subtle::ConstantTimeEq;

use super::error::{IssueError, IssueErrorKind};
use super::issued::IssuedKey;
use super::issuer::Issuer;
use super::request::IssueRequest;
use super::retry::{ATTEMPTS, retried};
use crate::key::{Actor, IdempotencyKey, IdempotencyRecord, KeyId, KeyRecord, Organization, OrganizationId, Timestamp};
use crate::store::query::OneIdempotency;
use crate::store::{Commit, ManagedStore, StoreExt, Write};

/// Separates digests of requests from all else that is made under the same secret.
const DOMAIN: &[u8] = b"ak-idempotency-1";

/// What [`Issuer::issue_once`] made or found.
#[derive(Debug)]
#[must_use = "a key that was made now is shown once and stored nowhere"]
#[allow(
    clippy::large_enum_variant,
    reason = "a new key is the usual answer, and it is not kept"
)]
#[non_exhaustive]
pub enum OnceIssued {
    /// The key was made now.
    Made(IssuedKey),
    /// It was made by an earlier request, whose answer had its text. The record is as it is now: it may be renamed, or revoked.
    MadeBefore(KeyRecord),
}

impl OnceIssued {
    /// The record of the key.
    pub fn record(&self) -> &KeyRecord {
        match self {
            Self::Made(issued) => &issued.record,
            Self::MadeBefore(record) => record,
        }
    }
}

/// A request that is made once, and whose it is.
struct Once<'k> {
    organization: OrganizationId,
    caller: Actor,
    key: &'k IdempotencyKey,
    request_hash: [u8; 32],
}

impl<S: ManagedStore> Issuer<S> {
    /// Issues a new key, unless this caller has made one with the same idempotency key in the same organization within 24 hours: for
    /// clients that repeat a request whose answer was lost. Of several that ask at once, in any processes, one makes the key and the
    /// others find it.
    ///
    /// The caller is the key that the issuer [acts with](crate::ApiKeys::issuer_for), or else its
    /// [actor](Issuer::acting_as). A request that fails stores nothing: it may be corrected, and sent with the same idempotency key.
    ///
    /// In a REST interface, [`Made`](OnceIssued::Made) is 201 with the text of the key, [`MadeBefore`](OnceIssued::MadeBefore) the
    /// record without it, and an [`IdempotencyKeyReused`](IssueErrorKind::IdempotencyKeyReused) 422. A client that has lost the text
    /// of its key rotates it, or revokes it and asks with another idempotency key.
    ///
    /// ```
    /// use tower_api_key::key::Actor;
    /// use tower_api_key::{IssueErrorKind, IssueRequest, OnceIssued};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keys = tower_api_key::testing::api_keys().open().await?;
    /// let issuer = keys.issuer().acting_as(Actor::user("alice"));
    /// let acme = issuer.create_organization("acme").await?;
    /// let (request, once) = (IssueRequest::new(acme.id, "nightly export"), "8e03978e".parse()?);
    ///
    /// let first = issuer.issue_once(request.clone(), &once).await?;
    /// assert!(matches!(first, OnceIssued::Made(_)));
    /// let again = issuer.issue_once(request.clone(), &once).await?;
    /// assert!(matches!(again, OnceIssued::MadeBefore(_)));
    /// assert_eq!(again.record(), first.record());
    ///
    /// let another = issuer.issue_once(request.canary(), &once).await;
    /// assert_eq!(another.unwrap_err().kind(), IssueErrorKind::IdempotencyKeyReused);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`IdempotencyKeyReused`](IssueErrorKind::IdempotencyKeyReused) when the caller has made a key with it for another request.
    ///   Requests are compared as they were asked for: the order of scopes is no difference, and "in 90 days" is not the same as
    ///   the time at which that is. The order of limits counts.
    /// - [`NotFound`](IssueErrorKind::NotFound) about the `key` when the one that was made has been deleted since.
    /// - Of an issuer that acts with a key, and of a request that names a creator, the same as for a new key when these may no more
    ///   make it. What else a new key must keep to, such as a policy, is not asked again of one that was made.
    /// - [`OutcomeUnknown`](IssueErrorKind::OutcomeUnknown) when the store failed while committing: ask again.
    /// - Otherwise as for [`issue`](Self::issue).
    ///
    /// # Security
    /// A row is stored with the key for 24 hours: caller, idempotency key, and a digest of the request under a secret of the realm, but
    /// neither the request nor the key. An organization has at most 10,000 rows ([`IdempotencyRecord::MOST`]), and the oldest go: a
    /// caller that makes more keys in a day can make a repetition of another caller's request make a second key.
    pub async fn issue_once(&self, request: IssueRequest, key: &IdempotencyKey) -> Result<OnceIssued, IssueError> {
        let caller = self.acting_key().map_or_else(|| self.actor.clone(), Actor::key);
        let secret = self.secrets.cursor_key(self.store.unbounded(), &self.clock).await?;
        let once = Once {
            organization: request.organization,
            request_hash: request.fingerprint(secret.mac_of(DOMAIN), &caller, key),
            caller,
            key,
        };
        let mut wanted = None;
        retried!(ATTEMPTS, async {
            let now = self.clock.wall();
            // Before the request is looked at: what is made is made, though its end may have passed.
            if let Some(before) = self.made_before(&request, &once, now).await? {
                return Ok(OnceIssued::MadeBefore(before));
            }
            let wanted = match &mut wanted {
                Some(wanted) => wanted,
                none => none.insert(self.wanted(&request)?),
            };
            let made = self.issue_now(wanted, |record| Some(once.row(record.id, now))).await;
            match made {
                Ok(issued) => Ok(OnceIssued::Made(issued)),
                // The last one that there may be is perhaps that of the same request, made meanwhile.
                Err(error) if error.kind() == IssueErrorKind::LimitReached => {
                    let before = self.made_before(&request, &once, self.clock.wall()).await?;
                    before.map(OnceIssued::MadeBefore).ok_or(error)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// The key that the same request has made.
    async fn made_before(
        &self,
        request: &IssueRequest,
        once: &Once<'_>,
        now: Timestamp,
    ) -> Result<Option<KeyRecord>, IssueError> {
        let query = OneIdempotency(once.organization, once.caller.clone(), once.key.clone());
        let Some(row) = self.store.get(query).await?.filter(|row| !row.is_over(now)) else {
            return Ok(None);
        };
        if !bool::from(row.request_hash.ct_eq(&once.request_hash)) {
            return Err(IssueError::new(IssueErrorKind::IdempotencyKeyReused));
        }
        let organization = self.store.get(once.organization).await?;
        let organization = organization.ok_or_else(|| IssueError::missing("organization"))?;
        let stored = self.store.get(row.key_id).await?.map(|stored| stored.record);
        let Some(made) = stored.filter(|record| record.organization_id == once.organization) else {
            let sentence = "the key that was made with this idempotency key has been deleted since";
            return Err(IssueError::about(IssueErrorKind::NotFound, "key", sentence));
        };
        self.may_still_make(request, &made, &organization).await?;
        Ok(Some(made))
    }

    /// Whether those who made the key might make it now.
    async fn may_still_make(
        &self,
        request: &IssueRequest,
        made: &KeyRecord,
        organization: &Organization,
    ) -> Result<(), IssueError> {
        // With the end that it has: counted from now, it would be later than what the caller may give.
        let mut record = request.record_ending(made.created_at, self.actor.clone(), made.expires_at);
        self.complete(request, &mut record);
        record.prefix.clone_from(&made.prefix);
        match record.created_by_key {
            Some(id) if self.acting_key() != Some(id) => {
                let creator = self.creator(id, organization).await?;
                creator.covers(&record, record.expires_at)?;
            }
            _ => {}
        }
        Ok(self.store.judge(&Commit::new().write(Write::InsertKey(record))).await?)
    }
}

impl Once<'_> {
    fn row(&self, made: KeyId, now: Timestamp) -> Write {
        let (caller, key) = (self.caller.clone(), self.key.clone());
        let row = IdempotencyRecord::new(self.organization, caller, key, self.request_hash, made, now);
        Write::InsertIdempotency(row)
    }
}
