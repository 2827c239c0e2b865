//! What keys are set to.

use super::error::{ConfigFileErrorKind, Fault, Place, problem};
use crate::error::ConfigError;

/// What a key is set to, and where.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    name: String,
    place: Place,
}

impl<T> Setting<T> {
    pub(super) fn new(value: T, name: String, place: Place) -> Self {
        Self { value, name, place }
    }

    pub(super) fn fault(&self, text: impl AsRef<str>) -> Fault {
        Fault::invalid(self.place, format!("`{}` {}", self.name, text.as_ref()))
    }

    /// Why the value is not accepted.
    pub(super) fn refused(&self, error: ConfigError) -> Fault {
        self.fault(problem(error))
    }

    /// Why the value must not stand in a file of this access.
    pub(super) fn exposed(&self, problem: &str) -> Fault {
        let text = format!(
            "`{}` has a password, and the file {problem}; or leave the URL to `DATABASE_URL`",
            self.name
        );
        Fault::new(ConfigFileErrorKind::Exposed, text).at(self.place)
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        Setting {
            value: change(self.value),
            name: self.name,
            place: self.place,
        }
    }

    pub(super) fn try_map<U>(self, change: impl FnOnce(T) -> Result<U, ConfigError>) -> Result<Setting<U>, Fault> {
        let set = self.without_value();
        let value = change(self.value).map_err(|error| set.refused(error))?;
        Ok(set.map(|()| value))
    }

    /// The name and the place.
    pub(super) fn without_value(&self) -> Setting<()> {
        Setting {
            value: (),
            name: self.name.clone(),
            place: self.place,
        }
    }
}

/// Hands a value that is set to what takes it.
pub(super) fn apply<B, T: Clone>(
    setting: &Option<Setting<T>>,
    to: B,
    set: impl FnOnce(B, T) -> Result<B, ConfigError>,
) -> Result<B, Fault> {
    match setting {
        Some(setting) => set(to, setting.value.clone()).map_err(|error| setting.refused(error)),
        None => Ok(to),
    }
}
