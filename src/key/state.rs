//! The state of a key, and how it changes.

use crate::key::{Holds, KeyId, KeyRecord, KeyStatus, Revocation};

/// Whether a key works, and why not: the part of its record that a change of its status writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyState {
    /// Whether the key works.
    pub status: KeyStatus,
    /// Set when the key was revoked.
    pub revocation: Option<Revocation>,
    /// What keeps a disabled key disabled.
    pub holds: Holds,
}

/// A change of a key's state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateChange {
    /// The key.
    pub key: KeyId,
    /// The revision that was read. A store that keeps states as text may take a key that still has it without comparing them.
    pub revision: u64,
    /// The state that was read.
    pub was: KeyState,
    /// The state that it gets.
    pub state: KeyState,
}

impl StateChange {
    /// The key of this record, as it was read, gets this state.
    pub fn new(read: &KeyRecord, state: KeyState) -> Self {
        Self {
            key: read.id,
            revision: read.revision,
            was: KeyState::of(read),
            state,
        }
    }
}

impl KeyState {
    /// The state of this key.
    pub fn of(record: &KeyRecord) -> Self {
        Self {
            status: record.status,
            revocation: record.revocation.clone(),
            holds: record.holds.clone(),
        }
    }

    /// Sets the state of this key.
    pub fn set(self, record: &mut KeyRecord) {
        (record.status, record.revocation, record.holds) = (self.status, self.revocation, self.holds);
    }

    /// The state after the key was disabled by itself. A revoked key stays revoked.
    #[must_use]
    pub(crate) fn disabled(mut self) -> Self {
        match self.status {
            KeyStatus::Active => (self.status, self.holds) = (KeyStatus::Disabled, Holds::default()),
            // Without a hold it was disabled by itself already.
            KeyStatus::Disabled if !self.holds.is_empty() => self.holds.add(Holds::ITSELF),
            KeyStatus::Disabled | KeyStatus::Revoked => {}
        }
        self
    }

    /// The state after the key was enabled by itself: whatever disabled it counts no more.
    #[must_use]
    pub(crate) fn enabled(mut self) -> Self {
        if self.status == KeyStatus::Disabled {
            (self.status, self.holds) = (KeyStatus::Active, Holds::default());
        }
        self
    }

    /// The state after a bulk change of this name disabled the key.
    #[must_use]
    pub(crate) fn held(mut self, by: &str) -> Self {
        match self.status {
            // Of before it was enabled: a row that was written by hand.
            KeyStatus::Active => (self.status, self.holds) = (KeyStatus::Disabled, Holds::default()),
            KeyStatus::Disabled if self.holds.is_empty() => self.holds.add(Holds::ITSELF),
            KeyStatus::Disabled => {}
            KeyStatus::Revoked => return self,
        }
        self.holds.add(by);
        self
    }

    /// The state after a bulk change of this name was undone. It stays disabled if something else disabled it too.
    #[must_use]
    pub(crate) fn released(mut self, by: &str) -> Self {
        if self.status == KeyStatus::Disabled && self.holds.remove(by) && self.holds.is_empty() {
            self.status = KeyStatus::Active;
        }
        self
    }

    /// The state after the key was revoked. The first revocation stays.
    #[must_use]
    pub(crate) fn revoked(mut self, revocation: &Revocation) -> Self {
        if self.status != KeyStatus::Revoked {
            self.status = KeyStatus::Revoked;
            self.revocation = Some(revocation.clone());
            self.holds = Holds::default();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Actor, OrganizationId, Timestamp};

    fn active() -> KeyState {
        KeyState::of(&KeyRecord::new(OrganizationId::new(), "key", Timestamp::from_millis(0)))
    }

    fn holds(state: &KeyState) -> Vec<&str> {
        state.holds.iter().collect()
    }

    #[test]
    fn key_disabled_by_itself_stays_so_when_a_bulk_change_is_undone() {
        let before = active().disabled().held("label:ci").released("label:ci");
        assert_eq!((before.status, holds(&before)), (KeyStatus::Disabled, vec!["key"]));
        let after = active().held("label:ci").disabled().released("label:ci");
        assert_eq!((after.status, holds(&after)), (KeyStatus::Disabled, vec!["key"]));
        for state in [before, after] {
            assert_eq!(state.enabled(), active());
        }
    }

    #[test]
    fn key_works_again_when_all_bulk_changes_are_undone() {
        let held = active().held("label:ci").held("user:alice").held("label:ci");
        assert_eq!(holds(&held), ["label:ci", "user:alice"]);
        let one = held.released("label:ci").released("label:other");
        assert_eq!((one.status, holds(&one)), (KeyStatus::Disabled, vec!["user:alice"]));
        assert_eq!(one.released("user:alice"), active());
        assert_eq!(active().disabled().released("label:ci").status, KeyStatus::Disabled);
        assert_eq!(active().released("label:ci"), active());
    }

    #[test]
    fn revoked_key_stays_as_it_is() {
        let revocation = |reason: &str| Revocation::new(Timestamp::from_millis(1), reason, Actor::service());
        let revoked = active().held("label:ci").revoked(&revocation("first"));
        assert!(revoked.holds.is_empty());
        let again = revoked.clone().held("x").released("x").disabled().enabled();
        assert_eq!(again.revoked(&revocation("second")), revoked);
    }

    #[test]
    fn key_with_too_many_holds_is_enabled_by_itself_alone() {
        let mut state = active();
        for number in 0..17 {
            state = state.held(&format!("label:{number}"));
        }
        assert_eq!(holds(&state), ["key"]);
        for number in 0..17 {
            state = state.released(&format!("label:{number}"));
        }
        assert_eq!(state.status, KeyStatus::Disabled);
    }
}
