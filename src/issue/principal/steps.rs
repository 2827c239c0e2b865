//! Changes of a key, by what they do to it.

use std::collections::BTreeSet;

use crate::issue::narrower::{are_within, is_within};
use crate::key::{Holds, KeyRecord, KeyState, KeyStatus};

/// What a change of a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It takes something, or changes how the key is called.
    Takes,
    /// It wakes the key, or takes it out of a group: for keys that the user could make as they are.
    Gives,
    /// It is not for the user of a key to make.
    Forbidden,
}

/// What this change of a record does, apart from that of its state.
pub(super) fn step(stored: &KeyRecord, record: &KeyRecord) -> Step {
    // What is added later is not for the user of a key, unless it is named here.
    let mut harmless = stored.clone();
    harmless.name.clone_from(&record.name);
    harmless.metadata.clone_from(&record.metadata);
    harmless.labels.clone_from(&record.labels);
    harmless.scopes.clone_from(&record.scopes);
    harmless.networks.clone_from(&record.networks);
    harmless.expires_at = record.expires_at;
    KeyState::of(record).set(&mut harmless);
    let is_narrower = stored.scopes.includes(&record.scopes)
        && are_within(&record.networks, &stored.networks)
        && is_within(record.expires_at, stored.expires_at);
    if harmless != *record || !is_narrower {
        return Step::Forbidden;
    }
    // By a label many keys are stopped at once.
    match stored.labels.iter().all(|label| record.labels.contains(label)) {
        true => Step::Takes,
        false => Step::Gives,
    }
}

/// What this change of a state does. What others stopped a key by is not undone.
pub(super) fn step_of_state(was: &KeyState, state: &KeyState) -> Step {
    if was == state {
        return Step::Takes;
    }
    if was.status == KeyStatus::Revoked {
        return Step::Forbidden;
    }
    if state.status == KeyStatus::Revoked {
        return Step::Takes;
    }
    let (held, stays) = (reasons(was), reasons(state));
    if state.revocation != was.revocation || (state.status == KeyStatus::Active && !state.holds.is_empty()) {
        return Step::Forbidden;
    }
    let lost: Vec<&str> = held.difference(&stays).copied().collect();
    match lost.as_slice() {
        [] => Step::Takes,
        [Holds::ITSELF] => Step::Gives,
        _ => Step::Forbidden,
    }
}

/// What keeps a key of this state disabled.
fn reasons(state: &KeyState) -> BTreeSet<&str> {
    match state.status {
        KeyStatus::Disabled if state.holds.is_empty() => BTreeSet::from([Holds::ITSELF]),
        KeyStatus::Disabled => state.holds.iter().collect(),
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Actor, OrganizationId, Revocation, Timestamp};

    fn record() -> KeyRecord {
        let mut record = KeyRecord::new(OrganizationId::new(), "key", Timestamp::from_millis(0));
        record.scopes = "orders:*".parse().unwrap();
        record.labels = "ci".parse().unwrap();
        record.networks = "192.0.2.0/24".parse().unwrap();
        record.expires_at = Some(Timestamp::from_millis(9));
        record.limits = vec!["requests=10/1s".parse().unwrap()];
        record.roles = "reader".parse().unwrap();
        record.user = Some("alice".parse().unwrap());
        record
    }

    #[test]
    fn each_field_is_narrowed_named_or_not_changed() {
        type Change = fn(&mut KeyRecord);
        let cases: [(Step, &[Change]); 3] = [
            (
                Step::Takes,
                &[
                    |key| key.name = "other".into(),
                    |key| key.metadata.set("team", "theirs").unwrap(),
                    |key| key.labels = "ci x".parse().unwrap(),
                    |key| key.scopes = "orders:read".parse().unwrap(),
                    |key| key.networks = "192.0.2.128/25".parse().unwrap(),
                    |key| key.expires_at = Some(Timestamp::from_millis(8)),
                ],
            ),
            (Step::Gives, &[|key| key.labels = "x".parse().unwrap()]),
            (
                Step::Forbidden,
                &[
                    |key| key.scopes = "orders:* users:read".parse().unwrap(),
                    |key| key.networks = Default::default(),
                    |key| key.expires_at = None,
                    |key| key.user = None,
                    |key| key.ends_with_user = true,
                    |key| key.limits = Vec::new(),
                    |key| key.limits = vec!["requests=9/1s".parse().unwrap()],
                    |key| key.lifted_limits = "requests".parse().unwrap(),
                    |key| key.roles = Default::default(),
                    |key| key.is_canary = true,
                    |key| key.requires = "origins".parse().unwrap(),
                    |key| key.environment = Some("live".into()),
                    |key| key.prefix = "other".into(),
                    |key| key.created_at = Timestamp::from_millis(1),
                    |key| key.created_by = Actor::user("bob"),
                    |key| key.created_by_key = Some(crate::key::KeyId::new()),
                    |key| key.organization_id = OrganizationId::new(),
                ],
            ),
        ];
        for (expected, changes) in cases {
            for (index, change) in changes.iter().enumerate() {
                let stored = record();
                let mut key = stored.clone();
                change(&mut key);
                assert_eq!(step(&stored, &key), expected, "{expected:?} {index}");
            }
        }
    }

    #[test]
    fn what_others_stopped_a_key_by_stays() {
        let revocation = Revocation::new(Timestamp::from_millis(1), "", Actor::service());
        let active = KeyState::of(&record());
        let disabled = active.clone().disabled();
        let held = active.clone().held("label:ci");
        let both = held.clone().disabled();
        let revoked = active.clone().revoked(&revocation);
        let mut many = held.clone();
        for number in 0..Holds::MOST {
            many = many.held(&format!("label:{number}"));
        }
        assert!(!many.holds.contains("label:ci"));
        let mut forged = disabled.clone();
        forged.revocation = Some(revocation.clone());
        let mut other = revoked.clone();
        other.revocation = Some(Revocation::new(Timestamp::from_millis(2), "", Actor::service()));
        for (was, state, expected) in [
            (&active, &active, Step::Takes),
            (&active, &disabled, Step::Takes),
            (&active, &held, Step::Takes),
            (&disabled, &both, Step::Takes),
            (&held, &both, Step::Takes),
            (&both, &revoked, Step::Takes),
            (&disabled, &active, Step::Gives),
            (&both, &held, Step::Gives),
            (&disabled, &held, Step::Gives),
            (&held, &active, Step::Forbidden),
            (&both, &active, Step::Forbidden),
            (&both, &disabled, Step::Forbidden),
            (&held, &many, Step::Forbidden),
            (&revoked, &active, Step::Forbidden),
            (&revoked, &disabled, Step::Forbidden),
            (&revoked, &other, Step::Forbidden),
            (&active, &forged, Step::Forbidden),
        ] {
            assert_eq!(step_of_state(was, state), expected, "{was:?} {state:?}");
        }
    }
}
