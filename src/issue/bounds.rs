//! What names, reasons and limits may be.

use crate::error::ConfigError;
use crate::key::RateLimit;

const LONGEST_NAME: usize = 255;
const LONGEST_REASON: usize = 1024;
/// Every request looks at all limits of its key and organization, and its answer lists them.
const MOST_LIMITS: usize = 16;

/// The start of a text that goes into a record, cut between characters.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_REASON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(ConfigError::new(
            "name",
            "must have 1 to 255 bytes and no control characters",
        ));
    }
    Ok(())
}

/// Limits are told apart by name in answers, so a name may stand for one limit only.
pub(super) fn check_limits(limits: &[RateLimit], others: &[RateLimit]) -> Result<(), ConfigError> {
    if limits.len() > MOST_LIMITS {
        let problem = format!("{} limits, but at most {MOST_LIMITS} work", limits.len());
        return Err(ConfigError::new("rate limits", problem));
    }
    for (index, limit) in limits.iter().enumerate() {
        let mut earlier = limits.iter().take(index).chain(others);
        if earlier.any(|other| other.name() == limit.name()) {
            return Err(ConfigError::new(
                "rate limit name",
                format!("{:?} is used twice across the key and its organization", limit.name()),
            ));
        }
    }
    Ok(())
}
