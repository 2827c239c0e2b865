//! Whether a key may do no more than another one.

use crate::key::{KeyRecord, KeyStatus, Networks, RateLimit, Timestamp};

/// Whether a key with the first record may do no more than with the second one. What cannot be compared counts as more.
pub(super) fn is_narrower(one: &KeyRecord, other: &KeyRecord) -> bool {
    is_stopped(one.status) >= is_stopped(other.status)
        && other.scopes.includes(&one.scopes)
        && one.roles.iter().all(|role| other.roles.contains(role))
        && are_within(&one.networks, &other.networks)
        && is_within(one.expires_at, other.expires_at)
        && are_tighter(&one.limits, &other.limits)
        && one.lifted_limits.iter().all(|name| other.lifted_limits.contains(name))
        && other.requires.iter().all(|feature| one.requires.contains(feature))
        && (one.is_canary || !other.is_canary)
        && (one.ends_with_user || !other.ends_with_user)
        // By a label many keys are stopped at once: one that loses it is left out.
        && other.labels.iter().all(|label| one.labels.contains(label))
        && (&one.user, &one.environment, &one.prefix) == (&other.user, &other.environment, &other.prefix)
}

/// How far it is stopped: later ones are never undone by earlier ones.
fn is_stopped(status: KeyStatus) -> u8 {
    match status {
        KeyStatus::Active => 0,
        KeyStatus::Disabled => 1,
        KeyStatus::Revoked => 2,
    }
}

/// Whether the first end is no later.
pub(super) fn is_within(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => one <= other,
    }
}

/// Each limit is there on both sides: one that overrides that of another level may be looser than it.
fn are_tighter(one: &[RateLimit], other: &[RateLimit]) -> bool {
    one.len() == other.len() && first_looser(one, other).is_none()
}

/// The name of the first bound that these limits do not keep to: none of them has its name and admits no more.
pub(super) fn first_looser(limits: &[RateLimit], bounds: &[RateLimit]) -> Option<String> {
    let is_kept = |bound: &RateLimit| {
        let mut same = limits.iter().filter(|limit| limit.name() == bound.name());
        same.any(|limit| limit.is_within(bound))
    };
    let looser = bounds.iter().find(|bound| !is_kept(bound));
    looser.map(|bound| bound.name().to_owned())
}

/// Without networks a key works from anywhere.
pub(super) fn are_within(one: &Networks, other: &Networks) -> bool {
    other.is_empty() || (!one.is_empty() && one.are_within(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::OrganizationId;

    #[test]
    fn each_field_that_widens_is_found() {
        let mut base = KeyRecord::new(OrganizationId::new(), "orders", Timestamp::from_millis(0));
        base.scopes = "orders:*".parse().unwrap();
        base.roles = "reader".parse().unwrap();
        base.networks = "192.0.2.0/24".parse().unwrap();
        base.limits = vec!["requests=10/1s".parse().unwrap()];
        base.expires_at = Some(Timestamp::from_millis(9));
        base.requires = "origins".parse().unwrap();
        base.labels = "ci".parse().unwrap();
        base.status = KeyStatus::Disabled;
        assert!(is_narrower(&base, &base));
        let wider: [fn(&mut KeyRecord); 13] = [
            |key| key.scopes = "*".parse().unwrap(),
            |key| key.roles = "reader writer".parse().unwrap(),
            |key| key.networks = Networks::default(),
            |key| key.networks = "192.0.0.0/16".parse().unwrap(),
            |key| key.limits = Vec::new(),
            |key| key.limits = vec!["requests=11/1s".parse().unwrap()],
            |key| key.lifted_limits = "requests".parse().unwrap(),
            |key| key.expires_at = None,
            |key| key.expires_at = Some(Timestamp::from_millis(10)),
            |key| key.requires = Default::default(),
            |key| key.status = KeyStatus::Active,
            |key| key.labels = "nightly".parse().unwrap(),
            |key| key.user = Some("alice".parse().unwrap()),
        ];
        for (index, change) in wider.into_iter().enumerate() {
            let mut key = base.clone();
            change(&mut key);
            assert!(!is_narrower(&key, &base), "{index}");
        }
        let narrower: [fn(&mut KeyRecord); 8] = [
            |key| key.scopes = "orders:read".parse().unwrap(),
            |key| key.roles = Default::default(),
            |key| key.networks = "192.0.2.128/25".parse().unwrap(),
            |key| key.limits = vec!["requests=9/1s".parse().unwrap()],
            |key| key.expires_at = Some(Timestamp::from_millis(8)),
            |key| key.status = KeyStatus::Revoked,
            |key| key.is_canary = true,
            |key| key.labels = "ci nightly".parse().unwrap(),
        ];
        for (index, change) in narrower.into_iter().enumerate() {
            let mut key = base.clone();
            change(&mut key);
            assert!(is_narrower(&key, &base) && !is_narrower(&base, &key), "{index}");
        }
    }
}
