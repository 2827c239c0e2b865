//! Members of a merge patch (RFC 7396).

use serde::{Deserialize, Deserializer};

/// A member that is left out, null, or a value.
#[derive(Clone, Debug, Default)]
pub(crate) enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// Null removes it.
    Remove,
    Set(T),
}

impl<T: Clone> Patch<T> {
    /// Changes a value that may be none.
    pub(crate) fn change(&self, value: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Remove => *value = None,
            Self::Set(new) => *value = Some(new.clone()),
        }
    }
}

impl<T: Clone + Default> Patch<T> {
    /// Changes a value that is never none: what is removed has its default.
    pub(crate) fn change_or_default(&self, value: &mut T) {
        match self {
            Self::Keep => {}
            Self::Remove => *value = T::default(),
            Self::Set(new) => *value = new.clone(),
        }
    }
}

/// With `#[serde(default)]`, so that one that is left out stays.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(value) => Self::Set(value),
            None => Self::Remove,
        })
    }
}
