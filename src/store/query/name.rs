//! Lists that are ordered by id, or by name and id when names are searched.
//!
//! `prefix` is the start of the names that are searched, folded as they are.

use uuid::Uuid;

use crate::key::folded;
use crate::store::query::SortKey;

pub(super) fn matches(prefix: Option<&str>, name: &str) -> bool {
    prefix.is_none_or(|prefix| folded(name).starts_with(prefix))
}

pub(super) fn sort_key(prefix: Option<&str>, name: &str, id: Uuid) -> SortKey {
    match prefix {
        Some(_) => SortKey::Name(folded(name), id),
        None => SortKey::Id(id),
    }
}

pub(super) fn may_stand_at(prefix: Option<&str>, place: &SortKey) -> bool {
    match (prefix, place) {
        (Some(prefix), SortKey::Name(name, _)) => name.starts_with(prefix),
        (None, SortKey::Id(_)) => true,
        _ => false,
    }
}
