//! Bounds of names and limits.

use crate::error::ConfigError;
use crate::key::{LONGEST_NAME, MOST_LIMITS, RateLimit, Timestamp};

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        let problem = format!("must have 1 to {LONGEST_NAME} bytes, got {}", name.len());
        return Err(ConfigError::new("name", problem));
    }
    if let Some(at) = name.find(char::is_control) {
        let problem = format!("must have no control characters, got one at byte {}", at + 1);
        return Err(ConfigError::new("name", problem));
    }
    Ok(())
}

/// A time that has no text form would be shown as another one.
pub(super) fn check_calendar(expiry: Option<Timestamp>) -> Result<(), ConfigError> {
    match expiry {
        Some(end) if !end.has_text() => {
            let problem = "must be in the years 0000 to 9999; a key without an expiry does not expire";
            Err(ConfigError::new("expiry", problem))
        }
        _ => Ok(()),
    }
}

/// Responses tell limits apart by name, so each name must be unique.
pub(super) fn check_limits(limits: &[RateLimit], others: &[RateLimit]) -> Result<(), ConfigError> {
    if limits.len() > MOST_LIMITS {
        let problem = format!("must be at most {MOST_LIMITS}, got {}", limits.len());
        return Err(ConfigError::new("rate limits", problem));
    }
    for (index, limit) in limits.iter().enumerate() {
        let mut earlier = limits.iter().take(index).chain(others);
        if earlier.any(|other| other.name() == limit.name()) {
            return Err(ConfigError::new(
                "rate limit name",
                format!(
                    "{:?} is used twice; names must be unique across a key and its organization",
                    limit.name()
                ),
            ));
        }
    }
    Ok(())
}
