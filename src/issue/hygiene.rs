//! What should be looked after: keys without an end, unused ones, scopes that are not needed.

use std::time::Duration;

use crate::key::{KeyStatus, OrganizationId, Realm, Scope, ScopeSet, SecretForm, Timestamp};
use crate::last_use::UseOfKey;
use crate::store::StoredKey;
use crate::store::query::{Cursor, Keys, Paged};

/// Which keys a report on hygiene looks at: those that are active and have not expired, except for canaries.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{Finding, Hygiene, IssueRequest};
/// use tower_api_key::key::Actor;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = tower_api_key::testing::api_keys().open().await?;
/// let issuer = keys.issuer().acting_as(Actor::user("alice"));
/// let acme = issuer.create_organization("acme").await?;
/// let _ = issuer.issue(IssueRequest::new(acme.id, "nightly export")).await?;
/// let report = keys.hygiene(Hygiene::of(acme.id).unused_for(Duration::from_secs(90 * 86_400))).await?;
/// assert_eq!(report.items[0].findings, [Finding::NoEnd]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Hygiene {
    organization: Option<OrganizationId>,
    unused_for: Duration,
    size: u16,
    after: Option<Cursor>,
}

/// A page of a report on hygiene, ordered by the ids of keys.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HygieneReport {
    /// Keys with findings. A page may have none and not be the last one.
    pub items: Vec<KeyFindings>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// How many keys this page looked at.
    pub looked_at: usize,
}

/// What was found about a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyFindings {
    /// The key.
    pub key: StoredKey,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// At least one.
    pub findings: Vec<Finding>,
}

/// Something that should be looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The key has no end.
    NoEnd,
    /// It was used, but not for the given time.
    Unused,
    /// It was never used, and is older than the given time.
    NeverUsed,
    /// It is in use and older than the given time, and these scopes of its own did not decide about any request.
    UnusedScopes(Vec<Scope>),
    /// It has a secret with a CRC-32, which anyone can make up, and is accepted until this time: rotate it.
    Crc {
        /// When such keys end.
        until: Timestamp,
    },
}

impl Hygiene {
    /// Of all organizations.
    pub fn of_all() -> Self {
        Self {
            organization: None,
            unused_for: Duration::from_secs(90 * 24 * 3600),
            size: 200,
            after: None,
        }
    }

    /// Of this organization.
    pub fn of(organization: OrganizationId) -> Self {
        Self {
            organization: Some(organization),
            ..Self::of_all()
        }
    }

    /// After which time without a use a key is reported, and from which age on its unused scopes. Default: 90 days.
    pub fn unused_for(mut self, time: Duration) -> Self {
        self.unused_for = time;
        self
    }

    /// How many keys a page looks at: 1 to 1,000, 200 by default.
    pub fn page(mut self, size: u16) -> Self {
        self.size = size;
        self
    }

    /// The page after this cursor.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The list of keys to look at. The cursor holds for this list alone, so the time of a report that goes on is not in it.
    pub(crate) fn keys(&self) -> Keys {
        let keys = self.organization.map_or_else(Keys::all, Keys::of);
        let keys = keys.status(KeyStatus::Active).page(self.size);
        match &self.after {
            Some(cursor) => keys.after(cursor.clone()),
            None => keys,
        }
    }

    /// What there is to say of these keys at this time. Without a realm no key with a CRC-32 is reported.
    pub(crate) fn report(
        &self,
        page: Paged<StoredKey>,
        uses: &[UseOfKey],
        realm: Option<&Realm>,
        now: Timestamp,
    ) -> HygieneReport {
        let looked_at = page.items.len();
        // In the order of the keys; of one that was deleted in between there are none.
        let mut uses = uses.iter().peekable();
        let examined = page.items.into_iter().map(|key| {
            let of_key = uses.next_if(|of| of.key_id == key.record.id);
            self.examine(key, of_key, realm, now)
        });
        HygieneReport {
            items: examined.flatten().collect(),
            next: page.next,
            looked_at,
        }
    }

    fn examine(
        &self,
        key: StoredKey,
        uses: Option<&UseOfKey>,
        realm: Option<&Realm>,
        now: Timestamp,
    ) -> Option<KeyFindings> {
        let record = &key.record;
        if record.is_canary || record.expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        let (mut findings, long_ago) = (Vec::new(), now.before(self.unused_for));
        if record.expires_at.is_none() {
            findings.push(Finding::NoEnd);
        }
        let last_used_at = uses.and_then(UseOfKey::last_used_at);
        let is_old = record.created_at <= long_ago;
        match last_used_at {
            None if is_old => findings.push(Finding::NeverUsed),
            Some(last) if last <= long_ago => findings.push(Finding::Unused),
            Some(_) if is_old => findings.extend(unused_scopes(&record.scopes, uses)),
            _ => {}
        }
        let is_over = |end: Timestamp| end <= now;
        let mut living = key
            .secrets
            .iter()
            .filter(|secret| !secret.ends_at().is_some_and(is_over));
        if let Some(realm) = realm.filter(|realm| realm.accepts_crc(now))
            && living.any(|secret| secret.form == SecretForm::Crc32)
        {
            findings.push(Finding::Crc {
                until: realm.crc_accepted_until,
            });
        }
        (!findings.is_empty()).then_some(KeyFindings {
            key,
            last_used_at,
            findings,
        })
    }
}

/// Nothing is said of a key that has more scopes than are noted.
fn unused_scopes(granted: &ScopeSet, uses: Option<&UseOfKey>) -> Option<Finding> {
    let used = &uses?.scopes;
    if used.len() >= UseOfKey::MOST_SCOPES {
        return None;
    }
    let is_unused = |scope: &&str| {
        let alone: ScopeSet = scope.parse().unwrap_or_default();
        !used.iter().any(|used| alone.allows(&used.scope))
    };
    let unused: Vec<Scope> = granted
        .iter()
        .filter(is_unused)
        .filter_map(|scope| scope.parse().ok())
        .collect();
    (!unused.is_empty()).then_some(Finding::UnusedScopes(unused))
}
