//! What an event says of persons: kept beside the chain, so that it can be forgotten.

use std::fmt;

use rand::Rng;
use sha2::{Digest, Sha256};

use crate::audit::netstring::{Fields, push};
use crate::key::shortened;

/// Of one value. What is longer is cut.
const LONGEST: usize = 1024;
const SALT: usize = 32;

/// What an event says of persons, as pairs of name and value: names, addresses, user agents.
///
/// They are stored beside the event. The chain has a commitment to them, `SHA-256(salt || values)`, so they can be forgotten
/// and the chain still verifies. Debug shows their names and no values.
///
/// ```
/// use tower_api_key::audit::PersonalFields;
///
/// let mut fields = PersonalFields::default();
/// fields.push("address", "192.0.2.7");
/// assert_eq!(fields.get("address"), Some("192.0.2.7"));
///
/// let before = fields.commitment();
/// fields.forget();
/// assert_eq!(fields.get("address"), None);
/// assert!(fields.are_forgotten());
/// assert_eq!(fields.commitment(), before);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PersonalFields {
    commitment: Option<[u8; 32]>,
    kept: Option<Kept>,
}

#[derive(Clone, PartialEq, Eq)]
struct Kept {
    salt: [u8; SALT],
    fields: Vec<(String, String)>,
}

/// Personal fields as a store keeps them, in a row of their own.
///
/// The bytes are as they were stored, whatever they are: a row that was altered is found by its commitment.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonalRow {
    /// Random, and deleted with the values: without it nobody can try values against the commitment.
    pub salt: Vec<u8>,
    /// Names and values, each as `length:text,`.
    pub values: String,
}

impl PersonalFields {
    /// One more field. Of a value longer than 1,024 bytes the start is kept.
    pub fn push(&mut self, name: impl Into<String>, value: impl AsRef<str>) {
        let kept = self.kept.get_or_insert_with(|| {
            let mut salt = [0; SALT];
            rand::rng().fill_bytes(&mut salt);
            Kept {
                salt,
                fields: Vec::new(),
            }
        });
        let value = shortened(value.as_ref(), LONGEST).to_owned();
        kept.fields.push((name.into(), value));
        self.commitment = Some(PersonalRow::of(kept).commitment());
    }

    /// The first value of this name, unless it was forgotten.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All that is there, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.kept.iter().flat_map(|kept| &kept.fields);
        fields.map(|(name, value)| (&**name, &**value))
    }

    /// Whether there were some, and they were forgotten.
    pub fn are_forgotten(&self) -> bool {
        self.commitment.is_some() && self.kept.is_none()
    }

    /// What the chain has of them; `None` if there never were any.
    pub fn commitment(&self) -> Option<[u8; 32]> {
        self.commitment
    }

    /// Deletes salt and values. The commitment stays.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// The row to be stored, unless there are none.
    pub fn row(&self) -> Option<PersonalRow> {
        self.kept.as_ref().map(PersonalRow::of)
    }

    /// From the commitment in the chain and the row beside it. `None` when the row cannot be read.
    pub(super) fn from_stored(commitment: Option<[u8; 32]>, row: Option<&PersonalRow>) -> Option<Self> {
        let kept = match row {
            None => None,
            Some(row) => Some(Kept {
                salt: row.salt.as_slice().try_into().ok()?,
                fields: Fields(&row.values).pairs()?,
            }),
        };
        Some(Self { commitment, kept })
    }
}

impl PersonalRow {
    /// A row of these columns, for stores.
    pub fn new(salt: Vec<u8>, values: String) -> Self {
        Self { salt, values }
    }

    /// What the chain has of this row.
    pub fn commitment(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(&self.salt)
            .chain_update(&self.values)
            .finalize()
            .into()
    }

    fn of(kept: &Kept) -> Self {
        let mut values = String::new();
        for (name, value) in &kept.fields {
            push(&mut values, name);
            push(&mut values, value);
        }
        Self::new(kept.salt.to_vec(), values)
    }
}

impl fmt::Debug for PersonalFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        write!(f, "PersonalFields({names:?}")?;
        f.write_str(if self.are_forgotten() { ", forgotten)" } else { ")" })
    }
}

impl fmt::Debug for PersonalRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonalRow([personal])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commitment_is_that_of_salt_and_values() {
        let mut fields = PersonalFields::default();
        assert_eq!((fields.commitment(), fields.row()), (None, None));
        fields.push("address", "192.0.2.7");
        fields.push("agent", "é");
        let row = fields.row().unwrap();
        assert_eq!(
            (row.salt.len(), &*row.values),
            (32, "7:address,9:192.0.2.7,5:agent,2:é,")
        );
        let bytes = [&row.salt, row.values.as_bytes()].concat();
        assert_eq!(fields.commitment(), Some(Sha256::digest(bytes).into()));
        let read = PersonalFields::from_stored(fields.commitment(), Some(&row));
        assert_eq!(read, Some(fields));
    }

    #[test]
    fn equal_values_of_two_events_cannot_be_told_from_their_commitments() {
        let [one, two] = [(); 2].map(|()| {
            let mut fields = PersonalFields::default();
            fields.push("address", "192.0.2.7");
            fields
        });
        assert_ne!(one.commitment(), two.commitment());
        assert_eq!(format!("{one:?}"), "PersonalFields([\"address\"])");
    }

    #[test]
    fn row_that_is_none_is_not_read() {
        for (salt, values) in [
            (31, "1:a,1:b,"),
            (33, "1:a,1:b,"),
            (32, "1:a,"),
            (32, "1:a,2:b,"),
            (32, "x"),
        ] {
            let row = PersonalRow::new(vec![0; salt], values.to_owned());
            assert_eq!(PersonalFields::from_stored(None, Some(&row)), None, "{salt} {values}");
        }
    }

    #[test]
    fn long_values_are_cut() {
        let mut fields = PersonalFields::default();
        fields.push("name", "é".repeat(1000));
        assert_eq!(fields.get("name").unwrap().len(), 1024);
    }
}
