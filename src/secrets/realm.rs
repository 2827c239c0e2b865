//! The secrets of one realm, as one handle reads and makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::reading::Reading;
use super::records::{FIRST_ID, Seals, unusable};
use super::root_key::{FILE_VARIABLE, RootKeys};
use super::settings::SecretSettings;
use crate::audit::{AuditAction, AuditEvent, AuditKeys};
use crate::clock::{Clock, Monotonic};
use crate::error::ConfigError;
use crate::fence::Fence;
use crate::key::{
    Actor, ChecksumHistory, DatedSecret, Realm, RealmChecksum, SecretForm, SecretPurpose, SecretState, ServerSecret,
    ServerSecretRecord, Timestamp,
};
use crate::store::query::{CountKeysOfForm, CursorKey, ServerSecretRecords, TheRealm};
use crate::store::{Commit, ManagedStore, StoreError, StoreErrorKind, StoreExt, Write};

/// How often opening is tried when other processes open the same store.
pub(super) const ATTEMPTS: usize = 16;

/// The secrets of the realm that a handle belongs to. Read, and made if there are none, when the handle opens or issues its
/// first key.
pub(crate) struct RealmSecrets {
    settings: SecretSettings,
    opened: OnceCell<Opened>,
    pub(super) cursors: OnceCell<CursorKey>,
    pub(super) audit: OnceCell<AuditKeys>,
    reading: Reading,
}

struct Opened {
    /// None where there is no secret, and no store to keep one in.
    checksum: Option<Arc<RealmChecksum>>,
    root_keys: Option<Arc<RootKeys>>,
}

/// The rows of a realm, and the epoch of the fence before they were read.
pub(super) struct Rows {
    pub(super) realm: Realm,
    pub(super) secrets: Vec<ServerSecretRecord>,
    epoch: u64,
}

impl RealmSecrets {
    pub(crate) fn new(settings: SecretSettings) -> Self {
        Self {
            settings,
            opened: OnceCell::new(),
            cursors: OnceCell::new(),
            audit: OnceCell::new(),
            reading: Reading::default(),
        }
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    pub(super) fn max_staleness(&self) -> Duration {
        self.settings.max_staleness
    }

    /// Reads the secrets, and makes the first one of a new store. Of several processes that do so at once, one makes it and
    /// the others read it. Once that is done, this costs nothing.
    pub(crate) async fn open<S: ManagedStore>(
        &self,
        store: &S,
        clock: &Clock,
    ) -> Result<Option<&Arc<RealmChecksum>>, StoreError> {
        let opened = self.opened.get_or_try_init(|| self.first_open(store, clock)).await?;
        Ok(opened.checksum.as_ref())
    }

    /// The same, and reads them again if they may have changed since: a handle that only issues meets no key of a secret that it
    /// does not know, and would go on making keys with a retired one.
    pub(crate) async fn recent<S: ManagedStore>(
        &self,
        store: &S,
        clock: &Clock,
    ) -> Result<Option<&Arc<RealmChecksum>>, StoreError> {
        let checksum = self.open(store, clock).await?;
        let (now, epoch) = (clock.now(), epoch_of(store));
        if checksum.is_some_and(|checksum| self.is_outdated(checksum, epoch, now, self.max_staleness())) {
            self.read_again(store).await?;
            self.reading.read_at(now);
        }
        Ok(checksum)
    }

    /// Whether everything has changed since the secrets were read, or they were read longer ago than this.
    pub(super) fn is_outdated(&self, checksum: &RealmChecksum, epoch: u64, now: Monotonic, age: Duration) -> bool {
        checksum.now().epoch() != epoch || self.reading.is_older(now, age)
    }

    /// Reads the secrets again.
    pub(crate) async fn read_again<S: ManagedStore>(&self, store: &S) -> Result<(), StoreError> {
        let Some(Opened {
            checksum: Some(checksum),
            root_keys,
        }) = self.opened.get()
        else {
            return Ok(());
        };
        let Some(rows) = Rows::read(store).await? else {
            return Ok(());
        };
        if let Some(history) = self.history(&rows, root_keys.as_deref())? {
            checksum.replace(history);
        }
        Ok(())
    }

    /// What the given secrets verify.
    pub(crate) fn without_store(&self) -> Option<Arc<RealmChecksum>> {
        Some(Arc::new(RealmChecksum::new(self.history_without_store()?)))
    }

    async fn first_open<S: ManagedStore>(&self, store: &S, clock: &Clock) -> Result<Opened, StoreError> {
        self.reading.read_at(clock.now());
        let root_keys = self.load_root_keys()?;
        let audit_key = self.audit_keys(store, clock).await?.current().cloned();
        let opened = |history: Option<ChecksumHistory>| Opened {
            checksum: history.map(RealmChecksum::new).map(Arc::new),
            root_keys: root_keys.clone(),
        };
        for _ in 0..ATTEMPTS {
            let Some(rows) = Rows::read(store).await? else {
                return Ok(opened(self.history_without_store()));
            };
            let mut commit = match self.due(store, &rows, root_keys.as_deref(), clock.wall()).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => continue,
                due => due?,
            };
            if commit.writes.is_empty() {
                warn_if_unsealed(&rows.secrets);
                return Ok(opened(self.history(&rows, root_keys.as_deref())?));
            }
            commit.audit_key = audit_key.clone();
            match store.commit(commit).await.map_err(|error| (error.kind(), error)) {
                Ok(_) | Err((StoreErrorKind::AlreadyExists | StoreErrorKind::Conflict, _)) => {}
                Err((StoreErrorKind::ReadOnly, _)) => {
                    return Ok(opened(self.history(&rows, root_keys.as_deref())?));
                }
                Err((_, error)) => return Err(error),
            }
        }
        Err(StoreError::new(StoreErrorKind::Conflict))
    }

    pub(super) fn load_root_keys(&self) -> Result<Option<Arc<RootKeys>>, StoreError> {
        match &self.settings.root_keys {
            Some(keys) => Ok(Some(keys.clone())),
            None => Ok(RootKeys::from_environment().map_err(from_config)?.map(Arc::new)),
        }
    }

    /// What is to be written before the secrets are used: the first one, seals, the end of keys with a CRC-32. A conflict if
    /// another process has made the first one since these rows were read.
    async fn due<S: ManagedStore>(
        &self,
        store: &S,
        rows: &Rows,
        root_keys: Option<&RootKeys>,
        now: Timestamp,
    ) -> Result<Commit, StoreError> {
        let seals = rows.seals(root_keys);
        let event = |action| AuditEvent::of_system(now, Actor::system(), action);
        let mut commit = Commit::new();
        for row in &rows.secrets {
            if let Some(sealed) = seals.sealed(row)? {
                let event = event(AuditAction::SERVER_SECRET_SEALED);
                let (was, row) = (row.clone(), sealed);
                commit = commit
                    .audit(event.detail("purpose", row.purpose.as_str()).detail("id", &*row.id))
                    .write(Write::UpdateServerSecret { was, row });
            }
        }
        if rows.of_checksum().next().is_none() && !self.is_given() {
            if !self.settings.accepts_unverified {
                self.check_that_none_is_lost(store, now).await?;
            }
            let row = seals.generate(SecretPurpose::CHECKSUM, FIRST_ID.to_string(), now)?;
            commit = commit.audit(created(&row, now)).write(Write::InsertServerSecret(row));
        }
        if rows.realm.accepts_crc(now) {
            let count = CountKeysOfForm {
                form: SecretForm::Crc32,
                at: now,
            };
            if store.get(count).await?.number == 0 {
                let (was, mut row) = (rows.realm, rows.realm);
                row.crc_accepted_until = now;
                let event = event(AuditAction::CRC_KEYS_ENDED);
                commit = commit.audit(event).write(Write::UpdateRealm { was, row });
            }
        }
        Ok(commit)
    }

    /// A new secret would refuse every key that was made with a lost one.
    async fn check_that_none_is_lost<S: ManagedStore>(&self, store: &S, now: Timestamp) -> Result<(), StoreError> {
        let count = CountKeysOfForm {
            form: SecretForm::Keyed,
            at: now,
        };
        if store.get(count).await?.number == 0 {
            return Ok(());
        }
        // The process that made it may have issued the keys already.
        let rows = Rows::read(store).await?;
        if rows.is_some_and(|rows| rows.of_checksum().next().is_some()) {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        Err(unusable(
            "it has keys with keyed checksums, and not the secret to verify them with: give that secret to \
             `ApiKeysBuilder::realm_secret`, or accept these keys without verifying their checksums with \
             `ApiKeysBuilder::dangerous_unverified_checksums`",
        ))
    }

    fn history(&self, rows: &Rows, root_keys: Option<&RootKeys>) -> Result<Option<ChecksumHistory>, StoreError> {
        let seals = rows.seals(root_keys);
        let stored = rows.of_checksum().map(|row| {
            let mut id = row.id.chars();
            let (Some(id), None) = (id.next(), id.next()) else {
                return Err(invalid("the id of a checksum secret must be one character"));
            };
            let secret = ServerSecret::new(id, &seals.open(row)?).map_err(|error| invalid(error.to_string()))?;
            Ok(DatedSecret {
                secret: Arc::new(secret),
                from: row.active_from,
                // A given secret makes all new keys.
                is_retired: row.state == SecretState::Retired || self.is_given(),
            })
        });
        let mut secrets: Vec<DatedSecret> = self.settings.given().collect();
        for dated in stored {
            secrets.push(dated?);
        }
        let history = ChecksumHistory::new(secrets, rows.realm.crc_accepted_until, rows.epoch);
        Ok(history.map(|history| history.accept_unverified(self.settings.accepts_unverified)))
    }

    /// For a store that only finds keys: it has no realm, so nothing says that keys with a CRC-32 have ended.
    fn history_without_store(&self) -> Option<ChecksumHistory> {
        ChecksumHistory::new(self.settings.given().collect(), Timestamp::MAX, 0)
            .map(|history| history.accept_unverified(self.settings.accepts_unverified))
    }

    pub(super) fn root_keys(&self) -> Option<&RootKeys> {
        self.opened.get()?.root_keys.as_deref()
    }

    /// Whether new keys are made with a secret that the store does not have.
    pub(super) fn is_given(&self) -> bool {
        self.settings.is_given()
    }
}

impl Rows {
    /// `None` for a store that only finds keys.
    pub(super) async fn read<S: ManagedStore>(store: &S) -> Result<Option<Self>, StoreError> {
        let epoch = epoch_of(store);
        let realm = match store.get(TheRealm).await {
            Err(error) if error.kind() == StoreErrorKind::Unsupported => return Ok(None),
            realm => realm?,
        };
        Ok(Some(Self {
            realm,
            secrets: store.get(ServerSecretRecords::all()).await?,
            epoch,
        }))
    }

    pub(super) fn of_checksum(&self) -> impl Iterator<Item = &ServerSecretRecord> {
        self.secrets.iter().filter(|row| row.purpose == SecretPurpose::CHECKSUM)
    }

    pub(super) fn seals<'a>(&self, root_keys: Option<&'a RootKeys>) -> Seals<'a> {
        Seals {
            realm: self.realm.id,
            root_keys,
        }
    }
}

fn epoch_of<S: ManagedStore>(store: &S) -> u64 {
    store.fence().map_or(0, Fence::epoch)
}

/// The audit event of a secret that is made.
pub(super) fn created(row: &ServerSecretRecord, now: Timestamp) -> AuditEvent {
    AuditEvent::of_system(now, Actor::system(), AuditAction::SERVER_SECRET_CREATED)
        .detail("purpose", row.purpose.as_str())
        .detail("id", &*row.id)
}

/// Once in a process: a service may have many handles.
pub(super) fn warn_if_unsealed(rows: &[ServerSecretRecord]) {
    static HAS_WARNED: AtomicBool = AtomicBool::new(false);
    if rows.iter().any(|row| row.sealed_by.is_none()) && !HAS_WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "the secrets of the servers are stored unsealed, so a copy of the database has them: name a file with a root \
             key in {FILE_VARIABLE}, or call `ApiKeysBuilder::root_keys`"
        );
    }
}

fn from_config(error: ConfigError) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unusable, error)
}

fn invalid(problem: impl Into<String>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidRecord, problem.into())
}
