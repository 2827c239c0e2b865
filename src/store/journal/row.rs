//! Which row a line is about.

use uuid::Uuid;

use crate::key::{KeyId, Lookup, OrganizationId, PlanId, UserId};

/// A row that keys may lose something by. The newest line of each counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) enum RowName {
    /// The part of the realm's row that says until when keys with a CRC-32 are accepted.
    Crc,
    Plan(PlanId),
    Role(String),
    Organization(OrganizationId),
    User(OrganizationId, UserId),
    Key(KeyId),
    Secret(Lookup),
}

impl RowName {
    /// The row that an entry of the change log is about; `None` for one that no line is about, and for one that this version
    /// does not understand.
    pub(in crate::store) fn logged(kind: u64, id: Uuid, part: Option<&str>) -> Option<Self> {
        let part = part.filter(|part| !part.is_empty());
        Some(match (kind, part) {
            (1, None) => Self::Key(id.into()),
            (1, Some(lookup)) => Self::Secret(lookup.parse().ok()?),
            (2, None) => Self::Organization(id.into()),
            (2, Some(user)) => Self::User(id.into(), user.parse().ok()?),
            (3, _) => Self::Plan(id.into()),
            (4, None) => Self::Crc,
            (4, Some(role)) => Self::Role(role.to_owned()),
            _ => return None,
        })
    }

    /// In which order rows lose again what they had: what holds for a key depends on the rows before it.
    pub(in crate::store) fn rank(&self) -> u8 {
        match self {
            Self::Crc => 0,
            Self::Plan(_) => 1,
            Self::Role(_) => 2,
            Self::Organization(_) => 3,
            Self::User(..) => 4,
            Self::Key(_) => 5,
            Self::Secret(_) => 6,
        }
    }
}
