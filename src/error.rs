//! The error of the set-up family: something configured cannot work.

/// A setting that cannot work, reported where it is set and never at request time.
///
/// The message names the setting, the offending value where it is no secret, and what would be accepted.
///
/// ```
/// use tower_api_key::key::Scope;
///
/// let error = "Orders:Read".parse::<Scope>().unwrap_err();
/// assert!(error.to_string().contains("scope"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {setting}: {problem}")]
pub struct ConfigError {
    setting: &'static str,
    problem: Box<str>,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<Box<str>>) -> Self {
        Self {
            setting,
            problem: problem.into(),
        }
    }

    /// The setting that is wrong, such as `"scope"` or `"lookup length"`.
    pub fn setting(&self) -> &str {
        self.setting
    }
}
