//! What an event says of persons: kept beside the chain, so that it can be forgotten.

use std::fmt;

use rand::Rng;
use sha2::{Digest, Sha256};

use crate::audit::netstring::{Fields, push};
use crate::key::{shortened, without_nul};

/// Of one value. What is longer is cut.
const LONGEST: usize = 1024;
const SALT: usize = 32;
/// The names of fields that say where somebody was.
const ORIGIN: [&str; 2] = ["address", "agent"];

/// What an event says of persons, as pairs of name and value: names, addresses, user agents.
///
/// They are stored beside the event, in two parts: the fields `address` and `agent`, which are deleted earlier, and all others.
/// The chain has a commitment to each part, `SHA-256(salt || values)`, so they can be forgotten and the chain still verifies. Debug
/// shows names and no values.
///
/// ```
/// use tower_api_key::audit::PersonalFields;
///
/// let mut fields = PersonalFields::default();
/// fields.push("actor.name", "Alice Adams");
/// fields.push("address", "192.0.2.7");
///
/// let before = fields.commitments();
/// fields.forget_origin();
/// assert_eq!((fields.get("address"), fields.get("actor.name")), (None, Some("Alice Adams")));
/// fields.forget();
/// assert_eq!(fields.get("actor.name"), None);
/// assert!(fields.are_forgotten());
/// assert_eq!(fields.commitments(), before);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PersonalFields {
    origin: Part,
    others: Part,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Part {
    commitment: Option<[u8; 32]>,
    kept: Option<Kept>,
}

#[derive(Clone, PartialEq, Eq)]
struct Kept {
    salt: [u8; SALT],
    fields: Vec<(String, String)>,
}

/// Personal fields as a store keeps them, in a row of their own. What was never there, or was forgotten, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonalRow {
    /// Addresses and user agents.
    pub origin: Option<PersonalPart>,
    /// All other fields.
    pub others: Option<PersonalPart>,
}

/// A part of personal fields as a store keeps it.
///
/// The bytes are as they were stored, whatever they are: a part that was altered is found by its commitment.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonalPart {
    /// Random, and deleted with the values: without it nobody can try values against the commitment.
    pub salt: Vec<u8>,
    /// Names and values, each as `length:text,`.
    pub values: String,
}

impl PersonalFields {
    /// One more field. Of a value longer than 1,024 bytes the start is kept.
    pub fn push(&mut self, name: impl Into<String>, value: impl AsRef<str>) {
        let (name, value) = (name.into(), without_nul(shortened(value.as_ref(), LONGEST)));
        let part = match ORIGIN.contains(&&*name) {
            true => &mut self.origin,
            false => &mut self.others,
        };
        part.push(name, value);
    }

    /// The first value of this name, unless it was forgotten.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All that is there, in order, addresses and user agents last.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let parts = [&self.others, &self.origin].into_iter();
        let fields = parts
            .filter_map(|part| part.kept.as_ref())
            .flat_map(|kept| &kept.fields);
        fields.map(|(name, value)| (&**name, &**value))
    }

    /// Whether some were there that were forgotten.
    pub fn are_forgotten(&self) -> bool {
        [&self.origin, &self.others].into_iter().any(Part::is_forgotten)
    }

    /// What the chain has of them: of addresses and user agents, and of all others. `None` if there never were any.
    pub fn commitments(&self) -> [Option<[u8; 32]>; 2] {
        [self.origin.commitment, self.others.commitment]
    }

    /// Deletes salts and values. The commitments stay.
    pub fn forget(&mut self) {
        self.origin.kept = None;
        self.others.kept = None;
    }

    /// Deletes addresses and user agents.
    pub fn forget_origin(&mut self) {
        self.origin.kept = None;
    }

    /// The row to be stored, unless there is nothing in it.
    pub fn row(&self) -> Option<PersonalRow> {
        let part = |part: &Part| part.kept.as_ref().map(PersonalPart::of);
        let row = PersonalRow::new(part(&self.origin), part(&self.others));
        (row != PersonalRow::default()).then_some(row)
    }

    /// From the commitments in the chain and the row beside it. `None` when the row cannot be read.
    pub(super) fn from_stored(commitments: [Option<[u8; 32]>; 2], row: Option<&PersonalRow>) -> Option<Self> {
        let [origin, others] = commitments;
        Some(Self {
            origin: Part::from_stored(origin, row.and_then(|row| row.origin.as_ref()))?,
            others: Part::from_stored(others, row.and_then(|row| row.others.as_ref()))?,
        })
    }
}

impl Part {
    fn push(&mut self, name: String, value: String) {
        let kept = self.kept.get_or_insert_with(|| {
            let mut salt = [0; SALT];
            rand::rng().fill_bytes(&mut salt);
            Kept {
                salt,
                fields: Vec::new(),
            }
        });
        kept.fields.push((name, value));
        self.commitment = Some(PersonalPart::of(kept).commitment());
    }

    fn is_forgotten(&self) -> bool {
        self.commitment.is_some() && self.kept.is_none()
    }

    fn from_stored(commitment: Option<[u8; 32]>, part: Option<&PersonalPart>) -> Option<Self> {
        let kept = match part {
            None => None,
            Some(part) => Some(Kept {
                salt: part.salt.as_slice().try_into().ok()?,
                fields: Fields(&part.values).pairs()?,
            }),
        };
        Some(Self { commitment, kept })
    }
}

impl PersonalRow {
    /// A row of these parts, for stores.
    pub fn new(origin: Option<PersonalPart>, others: Option<PersonalPart>) -> Self {
        Self { origin, others }
    }

    /// What is wrong with the row, beside a chain that has these commitments: it has other values, or more. Whether something was
    /// forgotten, if nothing is wrong.
    pub(super) fn check(row: Option<&Self>, commitments: [Option<[u8; 32]>; 2]) -> Result<bool, ()> {
        let parts = [
            row.and_then(|row| row.origin.as_ref()),
            row.and_then(|row| row.others.as_ref()),
        ];
        let mut are_forgotten = false;
        for (part, commitment) in parts.into_iter().zip(commitments) {
            match (part.map(PersonalPart::commitment), commitment) {
                (None, None) => {}
                (None, Some(_)) => are_forgotten = true,
                (Some(is), Some(should)) if is == should => {}
                (Some(_), _) => return Err(()),
            }
        }
        Ok(are_forgotten)
    }
}

impl PersonalPart {
    /// A part of these columns, for stores.
    pub fn new(salt: Vec<u8>, values: String) -> Self {
        Self { salt, values }
    }

    /// What the chain has of this part.
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

impl fmt::Debug for PersonalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonalPart([personal])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commitment_is_that_of_salt_and_values() {
        let mut fields = PersonalFields::default();
        assert_eq!((fields.commitments(), fields.row()), ([None, None], None));
        fields.push("address", "192.0.2.7");
        fields.push("after.name", "é");
        fields.push("agent", "x");
        let row = fields.row().unwrap();
        let [origin, others] = [row.origin.clone().unwrap(), row.others.clone().unwrap()];
        assert_eq!(&*origin.values, "7:address,9:192.0.2.7,5:agent,1:x,");
        assert_eq!((origin.salt.len(), &*others.values), (32, "10:after.name,2:é,"));
        assert_ne!(origin.salt, others.salt);
        let commitments = [origin, others].map(|part| {
            let bytes = [&part.salt, part.values.as_bytes()].concat();
            Some(<[u8; 32]>::from(Sha256::digest(bytes)))
        });
        assert_eq!(fields.commitments(), commitments);
        let read = PersonalFields::from_stored(commitments, Some(&row));
        assert_eq!(read, Some(fields));
    }

    #[test]
    fn equal_values_of_two_events_cannot_be_told_from_their_commitments() {
        let [one, two] = [(); 2].map(|()| {
            let mut fields = PersonalFields::default();
            fields.push("address", "192.0.2.7");
            fields
        });
        assert_ne!(one.commitments(), two.commitments());
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
            let part = PersonalPart::new(vec![0; salt], values.to_owned());
            for row in [
                PersonalRow::new(Some(part.clone()), None),
                PersonalRow::new(None, Some(part)),
            ] {
                assert_eq!(
                    PersonalFields::from_stored([None; 2], Some(&row)),
                    None,
                    "{salt} {values}"
                );
            }
        }
    }

    #[test]
    fn part_in_the_place_of_the_other_is_wrong() {
        let mut fields = PersonalFields::default();
        fields.push("address", "192.0.2.7");
        let commitments = fields.commitments();
        let row = fields.row().unwrap();
        assert_eq!(PersonalRow::check(Some(&row), commitments), Ok(false));
        assert_eq!(PersonalRow::check(None, commitments), Ok(true));
        let swapped = PersonalRow::new(row.others, row.origin);
        assert_eq!(PersonalRow::check(Some(&swapped), commitments), Err(()));
    }

    #[test]
    fn long_values_are_cut() {
        let mut fields = PersonalFields::default();
        fields.push("name", "é".repeat(1000));
        assert_eq!(fields.get("name").unwrap().len(), 1024);
    }
}
