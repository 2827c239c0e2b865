//! Metadata, and its merge patch.

use std::collections::BTreeMap;

use super::patch::Patch;
use crate::key::Metadata;
use crate::manage::problem::Problem;

/// Members that are set, and those that are removed by null.
pub(crate) type MetadataPatch = Patch<BTreeMap<String, Option<String>>>;

/// Metadata after a merge patch.
///
/// # Errors
/// When a name or a value is not valid.
pub(crate) fn merge(patch: &MetadataPatch, metadata: &Metadata) -> Result<Metadata, Problem> {
    let patch = match patch {
        Patch::Keep => return Ok(metadata.clone()),
        Patch::Remove => return Ok(Metadata::default()),
        Patch::Set(patch) => patch,
    };
    let mut merged = Metadata::default();
    for (name, value) in metadata.iter().filter(|(name, _)| !patch.contains_key(*name)) {
        merged.set(name, value)?;
    }
    for (name, value) in patch {
        if let Some(value) = value {
            merged.set(name, value)?;
        }
    }
    Ok(merged)
}
