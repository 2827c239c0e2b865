//! Rotating a key: a second secret for the same record.

use std::time::Duration;

use super::error::{IssueError, IssueErrorKind};
use super::issued::IssuedKey;
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, conflict_if, retried};
use crate::audit::AuditAction;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::key::{KeyFormat, KeyId, KeySecret, KeyStatus, Timestamp};
use crate::store::{Commit, Guard, ManagedStore, StoreErrorKind, StoredKey, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Adds a second secret to a key. The old one works until the end of the grace period, or its own end if that comes
    /// first. A grace period of zero ends every older secret at once.
    ///
    /// # Errors
    /// [`RotationInProgress`](IssueErrorKind::RotationInProgress) when two secrets are live already and the grace period is
    /// not zero; `Revoked` and `Expired` for a key that no longer works; `Conflict` when another change came first 8 times;
    /// otherwise as [`issue`](Self::issue).
    pub async fn rotate(&self, id: KeyId, grace: Duration) -> Result<IssuedKey, IssueError> {
        retried!(ATTEMPTS, async {
            let stored = self.stored(id).await?;
            check_rotatable(&stored, &self.format, &self.clock, grace)?;
            let end = self.end_of_policy(&stored.record).await?;
            if end.is_some_and(|end| self.clock.is_over(end)) {
                return Err(IssueError::new(IssueErrorKind::Expired));
            }
            let StoredKey {
                mut record, secrets, ..
            } = stored;
            // Before a secret is made, which costs a hash. One that it has stands for the new one.
            let given = secrets.last().map(|secret| Write::InsertSecret(id, secret.clone()));
            let mut judged = Commit::new().write(Write::UpdateKey(record.clone()));
            judged.writes.extend(given);
            self.store.judge(&judged).await?;
            let environment = record.environment.clone();
            let (key, secret) = self.generate_secret(environment.as_deref(), &mut record).await?;
            let lookup = secret.lookup.clone();
            let event = self.key_event(&record, AuditAction::KEY_ROTATED);
            let mut commit = Commit::new()
                .write(Write::UpdateKey(record.clone()))
                .audit(event.detail("lookup", lookup.to_string()));
            let now = self.clock.wall();
            let superseded = secrets.iter().map(|old| {
                let is_live = is_live(old, |end| self.clock.is_over(end));
                supersede(id, old, is_live, now, grace)
            });
            commit.writes.extend(superseded);
            commit.writes.push(Write::InsertSecret(id, secret));
            commit.guards = secrets.iter().map(|old| as_it_is(id, old)).collect();
            // Lookups are random; a taken one is drawn anew.
            let committed = self.commit(commit).await;
            let committed = committed.map_err(conflict_if(StoreErrorKind::AlreadyExists))?;
            record.revision = committed.revision_of(id).unwrap_or(record.revision);
            Ok(IssuedKey { key, record, lookup })
        })
    }
}

/// That the secret has the ends with which it was read. Its key's revision does not tell: it stays when a secret is changed by
/// hand, and what was changed so must not be undone.
pub(super) fn as_it_is(key: KeyId, secret: &KeySecret) -> Guard {
    Guard::SecretEnds {
        key,
        lookup: secret.lookup.clone(),
        expires_at: secret.expires_at,
        grace_ends_at: secret.grace_ends_at,
    }
}

/// Whether this key may get another secret now.
fn check_rotatable(stored: &StoredKey, format: &KeyFormat, clock: &Clock, grace: Duration) -> Result<(), IssueError> {
    if stored.record.status == KeyStatus::Revoked {
        return Err(IssueError::new(IssueErrorKind::Revoked));
    }
    if stored.record.expires_at.is_some_and(|end| clock.is_over(end)) {
        return Err(IssueError::new(IssueErrorKind::Expired));
    }
    // As for expiries, a later time has no text form.
    if !clock.wall().after(grace).has_text() {
        return Err(ConfigError::new("grace period", "must end by the year 9999").into());
    }
    if stored.record.prefix != format.prefix() {
        // The record's prefix must equal that of every presented key, so the old secret would end with the change.
        return Err(ConfigError::new(
            "key format",
            format!(
                "its prefix {:?} is not that of the key, {:?}",
                format.prefix(),
                stored.record.prefix
            ),
        )
        .into());
    }
    let environment = stored.record.environment.as_deref();
    let mut environments = format.environments();
    let fits = match environment {
        Some(environment) => environments.any(|other| other == environment),
        None => environments.next().is_none(),
    };
    if !fits {
        // As with the prefix.
        let problem = format!("it makes no keys of the key's environment ({environment:?})");
        return Err(ConfigError::new("key format", problem).into());
    }
    let live = stored
        .secrets
        .iter()
        .filter(|secret| is_live(secret, |end| clock.is_over(end)))
        .count();
    if live > 1 && !grace.is_zero() {
        return Err(IssueError::new(IssueErrorKind::RotationInProgress));
    }
    Ok(())
}

/// What becomes of an old secret: it gets the end of the grace period, or is deleted if it has none left to live.
fn supersede(key: KeyId, old: &KeySecret, is_live: bool, now: Timestamp, grace: Duration) -> Write {
    if !is_live || grace.is_zero() {
        return Write::DeleteSecret {
            key,
            lookup: old.lookup.clone(),
        };
    }
    let end = now.after(grace);
    Write::UpdateSecret {
        key,
        lookup: old.lookup.clone(),
        expires_at: old.expires_at,
        // Never later than it was: a grace period is not extended by rotating again.
        grace_ends_at: Some(old.grace_ends_at.map_or(end, |earlier| earlier.min(end))),
    }
}

pub(super) fn is_live(secret: &KeySecret, is_over: impl FnOnce(Timestamp) -> bool) -> bool {
    secret.ends_at().is_none_or(|end| !is_over(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Lookup, SecretHash};

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn secret(expires_at: Option<i64>, grace_ends_at: Option<i64>) -> KeySecret {
        let hash = SecretHash::new("sha256:00").unwrap();
        let mut secret = KeySecret::new(Lookup::new("old").unwrap(), hash, Timestamp::from_millis(0));
        secret.expires_at = expires_at.map(Timestamp::from_millis);
        secret.grace_ends_at = grace_ends_at.map(Timestamp::from_millis);
        secret
    }

    /// Its own end and the end of its grace period afterwards; `None` if it was deleted.
    fn after(old: KeySecret, grace: Duration) -> Option<(Option<i64>, Option<i64>)> {
        let is_live = is_live(&old, |end| end <= NOW);
        match supersede(KeyId::new(), &old, is_live, NOW, grace) {
            Write::DeleteSecret { .. } => None,
            Write::UpdateSecret {
                expires_at,
                grace_ends_at,
                ..
            } => Some((
                expires_at.map(Timestamp::as_millis),
                grace_ends_at.map(Timestamp::as_millis),
            )),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn old_secret_keeps_its_own_end_and_gets_the_grace() {
        let second = Duration::from_secs(1);
        for (old, expected) in [
            (secret(None, None), Some((None, Some(2_000)))),
            (secret(Some(1_500), None), Some((Some(1_500), Some(2_000)))),
            (secret(None, Some(1_200)), Some((None, Some(1_200)))),
            (secret(None, Some(9_000)), Some((None, Some(2_000)))),
            (secret(Some(1_000), None), None),
            (secret(Some(9_000), Some(1_000)), None),
        ] {
            assert_eq!(after(old.clone(), second), expected, "{old:?}");
        }
    }

    #[test]
    fn zero_grace_deletes_every_older_secret() {
        for old in [secret(None, None), secret(Some(9_000), None), secret(None, Some(9_000))] {
            assert_eq!(after(old, Duration::ZERO), None);
        }
    }
}
