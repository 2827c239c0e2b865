//! The realm and its secrets.

use crate::key::{KeyStatus, Realm, SecretForm, SecretPurpose, ServerSecretRecord, Timestamp};
use crate::store::StoredKey;
use crate::store::query::{Answer, Count, Query, TypedQuery};

/// The realm of the store.
///
/// ```
/// use tower_api_key::key::Timestamp;
/// use tower_api_key::store::query::TheRealm;
/// use tower_api_key::store::{MemoryStore, StoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let realm = MemoryStore::new().get(TheRealm).await?;
/// assert!(!realm.accepts_crc(Timestamp::now()));
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct TheRealm;

/// The secrets of the servers, ordered by purpose, id and number, at most 1,000.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ServerSecretRecords {
    purpose: Option<SecretPurpose>,
}

impl ServerSecretRecords {
    /// The most rows that one answer has.
    pub const MOST: usize = 1000;

    /// Those of every purpose.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of this purpose.
    pub fn of(purpose: SecretPurpose) -> Self {
        Self { purpose: Some(purpose) }
    }
}

/// How many keys have a secret of a form, such as a CRC-32, that works now or could be made to work again: neither key nor
/// secret has ended, and the key is not revoked.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct CountKeysOfForm {
    /// The form.
    pub form: SecretForm,
    /// The time at which they have not ended.
    pub at: Timestamp,
}

impl Count {
    /// The answer to [`CountKeysOfForm`], for stores that hold rows in memory.
    pub fn of_form<'r>(keys: impl IntoIterator<Item = &'r StoredKey>, form: SecretForm, at: Timestamp) -> Self {
        let is_open = |end: Option<Timestamp>| end.is_none_or(|end| end > at);
        let counts = |key: &&StoredKey| {
            let mut secrets = key.secrets.iter().filter(|secret| secret.form == form);
            key.record.status != KeyStatus::Revoked
                && is_open(key.record.expires_at)
                && secrets.any(|secret| is_open(secret.ends_at()))
        };
        let keys = keys.into_iter().filter(counts);
        Self::of(keys.take(Self::LIMIT as usize + 1).count() as u64)
    }
}

impl TypedQuery for TheRealm {
    type Output = Realm;

    fn query(self) -> Query {
        Query::Realm
    }

    fn take(answer: Answer) -> Option<Realm> {
        match answer {
            Answer::Realm(realm) => Some(realm),
            _ => None,
        }
    }
}

impl TypedQuery for ServerSecretRecords {
    type Output = Vec<ServerSecretRecord>;

    fn query(self) -> Query {
        Query::ServerSecrets(self.purpose)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::ServerSecrets(rows) => Some(rows),
            _ => None,
        }
    }
}

impl TypedQuery for CountKeysOfForm {
    type Output = Count;

    fn query(self) -> Query {
        Query::CountKeysOfForm {
            form: self.form,
            at: self.at,
        }
    }

    fn take(answer: Answer) -> Option<Count> {
        match answer {
            Answer::Count(count) => Some(count),
            _ => None,
        }
    }
}
