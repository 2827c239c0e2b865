//! Rotation of the checksum secret.

use std::time::Duration;

use super::realm::{RealmSecrets, Rows};
use crate::key::{SecretPurpose, SecretState, ServerSecretRecord, Timestamp};
use crate::store::{ManagedStore, StoreError, StoreErrorKind, Write};

/// The ids of checksum secrets, in the order of their use. Then they begin again, with another number.
const IDS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Secrets of one id.
const MOST_NUMBERS: u8 = 8;
/// Besides what a process may lag behind: for clocks that differ and a change that is under way.
const MARGIN: Duration = Duration::from_secs(60);

/// A rotation that is prepared, to be committed.
pub(crate) struct Rotation {
    pub(crate) writes: Vec<Write>,
    pub(crate) id: String,
    /// From when new keys are made with the new secret.
    pub(crate) active_from: Timestamp,
}

/// Why there is no rotation.
pub(crate) enum NoRotation {
    /// The secret of the latest one is not in use yet.
    InProgress,
    /// The secret was given, so it is rotated where it comes from.
    Given,
    Store(StoreError),
}

impl RealmSecrets {
    /// A new secret: known to every process before the first key is made with it. The one before goes on verifying.
    pub(crate) async fn rotation<S: ManagedStore>(&self, store: &S, now: Timestamp) -> Result<Rotation, NoRotation> {
        if self.is_given() {
            return Err(NoRotation::Given);
        }
        let rows = Rows::read(store).await?;
        let rows = rows.ok_or_else(|| StoreError::new(StoreErrorKind::Unsupported))?;
        let of_checksum: Vec<&ServerSecretRecord> = rows.of_checksum().collect();
        // None is later, unless the clock was wrong when it was made: that must not stop rotations for as long.
        let latest = now.after(self.max_staleness() * 2 + MARGIN);
        let is_in_progress = |row: &&ServerSecretRecord| {
            row.state == SecretState::Pending && now < row.active_from && row.active_from <= latest
        };
        if of_checksum.iter().any(is_in_progress) {
            return Err(NoRotation::InProgress);
        }
        let (id, number) = next_id(&of_checksum).ok_or_else(|| StoreError::new(StoreErrorKind::LimitReached))?;
        let seals = rows.seals(self.root_keys());
        let mut row = seals.generate(SecretPurpose::CHECKSUM, id.to_string(), now)?;
        row.number = number;
        row.state = SecretState::Pending;
        row.active_from = latest;
        let (id, active_from) = (row.id.clone(), row.active_from);
        let mut writes = settled(&of_checksum, latest);
        writes.push(Write::InsertServerSecret(row));
        Ok(Rotation {
            writes,
            id,
            active_from,
        })
    }
}

/// The newest secret is the active one, whatever it was before, and all others are retired. One that comes into use after the
/// `latest` time is not the newest: it would make keys again some day.
fn settled(rows: &[&ServerSecretRecord], latest: Timestamp) -> Vec<Write> {
    let newest = rows
        .iter()
        .filter(|row| row.state != SecretState::Retired)
        .max_by_key(|row| match row.active_from <= latest {
            true => (1, row.active_from.as_millis()),
            false => (0, -row.active_from.as_millis()),
        });
    let write = |row: &&&ServerSecretRecord| {
        let is_newest = newest.is_some_and(|newest| std::ptr::eq(**row, *newest));
        let state = if is_newest {
            SecretState::Active
        } else {
            SecretState::Retired
        };
        (row.state != state).then(|| Write::UpdateServerSecret {
            was: (**row).clone(),
            row: ServerSecretRecord {
                state,
                ..(**row).clone()
            },
        })
    };
    rows.iter().filter_map(|row| write(&row)).collect()
}

/// The id after that of the newest secret that no other one has, or else the first with a number left.
pub(super) fn next_id(rows: &[&ServerSecretRecord]) -> Option<(char, u8)> {
    let newest = rows.iter().max_by_key(|row| (row.created_at, row.active_from));
    let place = |id: &str| IDS.iter().position(|other| id.as_bytes() == [*other]);
    let start = newest.and_then(|row| place(&row.id)).map_or(0, |place| place + 1);
    let ids = || (0..IDS.len()).map(|step| char::from(IDS[(start + step) % IDS.len()]));
    let free = |id: char| {
        let taken = |number: u8| rows.iter().any(|row| row.number == number && row.id.chars().eq([id]));
        Some((id, (0..MOST_NUMBERS).find(|number| !taken(*number))?))
    };
    let unused = ids().filter_map(free).find(|(_, number)| *number == 0);
    unused.or_else(|| ids().find_map(free))
}

impl From<StoreError> for NoRotation {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretValue;

    fn row(id: char, number: u8, created: i64, state: SecretState) -> ServerSecretRecord {
        let value = SecretValue::new(vec![1; 32]);
        let at = Timestamp::from_millis(created);
        let mut row = ServerSecretRecord::new(SecretPurpose::CHECKSUM, id.to_string(), value, at);
        (row.number, row.state) = (number, state);
        row
    }

    fn next(rows: &[ServerSecretRecord]) -> Option<(char, u8)> {
        next_id(&rows.iter().collect::<Vec<_>>())
    }

    #[test]
    fn ids_follow_each_other_and_begin_again() {
        let mut rows = vec![row('0', 0, 0, SecretState::Active)];
        for round in 0..8 {
            for id in IDS.iter().skip(usize::from(round == 0)) {
                assert_eq!(next(&rows), Some((char::from(*id), round)));
                let created = rows.len() as i64;
                rows.push(row(char::from(*id), round, created, SecretState::Retired));
            }
        }
        assert_eq!(rows.len(), 62 * 8);
        assert_eq!(next(&rows), None);
    }

    #[test]
    fn id_of_another_database_is_not_used_twice() {
        let rows = [
            row('0', 0, 1, SecretState::Active),
            row('1', 0, 0, SecretState::Retired),
        ];
        assert_eq!(next(&rows), Some(('2', 0)));
    }

    #[test]
    fn newest_secret_becomes_active_and_the_others_retire() {
        let rows = [
            row('0', 0, 0, SecretState::Retired),
            row('1', 0, 1, SecretState::Active),
            row('2', 0, 2, SecretState::Pending),
        ];
        let writes = settled(&rows.iter().collect::<Vec<_>>(), Timestamp::from_millis(2));
        let states: Vec<(String, SecretState, SecretState)> = writes
            .into_iter()
            .map(|write| match write {
                Write::UpdateServerSecret { was, row } => (row.id, was.state, row.state),
                _ => unreachable!(),
            })
            .collect();
        let expected = [
            ("1".to_owned(), SecretState::Active, SecretState::Retired),
            ("2".to_owned(), SecretState::Pending, SecretState::Active),
        ];
        assert_eq!(states, expected);
    }
}
