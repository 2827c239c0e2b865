//! The rules of a rotation: which secrets a key has afterwards, and until when.

use std::time::Duration;

use super::error::{IssueError, IssueErrorKind};
use crate::error::ConfigError;
use crate::key::{KeyFormat, KeySecret, KeyStatus, Timestamp};
use crate::store::StoredKey;

/// Whether this key may get another secret now.
pub(super) fn check_rotatable(
    stored: &StoredKey,
    format: &KeyFormat,
    now: Timestamp,
    grace: Duration,
) -> Result<(), IssueError> {
    if stored.record.status == KeyStatus::Revoked {
        return Err(IssueError::new(IssueErrorKind::Revoked));
    }
    if stored.record.expires_at.is_some_and(|end| end <= now) {
        return Err(IssueError::new(IssueErrorKind::Expired));
    }
    if stored.record.prefix != format.prefix() {
        // The record's prefix must equal that of every presented key, so the old secret would die with the change.
        return Err(ConfigError::new(
            "key format",
            format!("its prefix {:?} is not that of the key", format.prefix()),
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
    let live = stored.secrets.iter().filter(|secret| is_live(secret, now)).count();
    if live > 1 && !grace.is_zero() {
        return Err(IssueError::new(IssueErrorKind::RotationInProgress));
    }
    Ok(())
}

/// The new secret, and the live old ones until the end of the grace. What has ended already is dropped.
pub(super) fn secrets_after(
    secrets: Vec<KeySecret>,
    new: KeySecret,
    now: Timestamp,
    grace: Duration,
) -> Vec<KeySecret> {
    let end = now.after(grace);
    let live = secrets
        .into_iter()
        .filter(|secret| is_live(secret, now) && !grace.is_zero());
    let dying = live.map(|mut secret| {
        secret.expires_at = Some(secret.expires_at.map_or(end, |own| own.min(end)));
        secret
    });
    dying.chain([new]).collect()
}

fn is_live(secret: &KeySecret, now: Timestamp) -> bool {
    secret.expires_at.is_none_or(|end| end > now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Lookup, SecretHash};

    fn secret(lookup: &str, expires_at: Option<i64>) -> KeySecret {
        let hash = SecretHash::new("sha256:00").unwrap();
        let mut secret = KeySecret::new(Lookup::new(lookup).unwrap(), hash, Timestamp::from_millis(0));
        secret.expires_at = expires_at.map(Timestamp::from_millis);
        secret
    }

    fn ends(secrets: &[KeySecret]) -> Vec<(String, Option<i64>)> {
        let end = |s: &KeySecret| (s.lookup.to_string(), s.expires_at.map(Timestamp::as_millis));
        secrets.iter().map(end).collect()
    }

    #[test]
    fn the_old_secret_dies_at_the_end_of_the_grace_or_its_own_whichever_is_first() {
        let now = Timestamp::from_millis(1_000);
        let old = vec![
            secret("open", None),
            secret("soon", Some(1_500)),
            secret("over", Some(1_000)),
        ];
        let after = secrets_after(old, secret("new", None), now, Duration::from_secs(1));
        let expected = [("open", Some(2_000)), ("soon", Some(1_500)), ("new", None)];
        assert_eq!(ends(&after), expected.map(|(l, e)| (l.to_owned(), e)));
    }

    #[test]
    fn no_grace_ends_every_older_secret() {
        let now = Timestamp::from_millis(1_000);
        let old = vec![secret("one", None), secret("two", Some(9_000))];
        let after = secrets_after(old, secret("new", None), now, Duration::ZERO);
        assert_eq!(ends(&after), [("new".to_owned(), None)]);
    }
}
